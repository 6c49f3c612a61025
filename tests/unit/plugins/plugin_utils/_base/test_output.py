# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for programs that a run writes on the controller."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import (
    check_writable,
    write_json,
    write_text,
)


def test_a_file_is_replaced_behind_its_link_and_keeps_its_mode(tmp_path: Path) -> None:
    file, link = tmp_path / "real" / "report.json", tmp_path / "report.json"
    link.symlink_to(file)
    write_json(str(link), {"host": "h1"})
    assert json.loads(file.read_text(encoding="utf-8")) == {"host": "h1"}
    assert file.stat().st_mode & 0o777 == 0o644
    file.chmod(0o600)
    with file.open(encoding="utf-8") as before:
        write_json(str(link), {})
        # Who reads the former one reads it to its end.
        assert json.load(before) == {"host": "h1"}
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o600)
    assert os.listdir(file.parent) == ["report.json"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    write_text(pipe, "text")
    reader.join(60)
    assert read == ["text"] and pipe.is_fifo()


def test_a_directory_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    message = f"^{tmp_path} is a directory. Name a file in it, such as {tmp_path}/report.json.$"
    for attempt in (lambda: write_text(tmp_path, "text"), lambda: check_writable(str(tmp_path))):
        with pytest.raises(AscendError, match=message):
            attempt()


def test_what_cannot_be_written_is_found_before_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AscendError, match=f"{tmp_path}/file.*: Not a directory.*Name another file"):
        check_writable(str(tmp_path / "file" / "below" / "report.json"))
    for name in ("new/below/report.json", "file", "pipe"):
        check_writable(str(tmp_path / name))
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_a_directory_that_is_closed_to_the_user_is_found_before(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    child = os.fork()
    if not child:
        status = 1
        try:
            if not os.geteuid():  # root may write everywhere
                os.setuid(65534)
            check_writable(str(tmp_path / "report.json"))
        except AscendError as error:
            status = 0 if "Permission denied" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
