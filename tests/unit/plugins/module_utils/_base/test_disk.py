# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that is full, read only or has immutable files is named, with what was and was not done."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.files import (
    DesiredFile,
    FileChange,
    compare,
    mark,
    stage,
    switch,
    write_atomically,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service.handover import Placements
from ansible_collections.inferops.ascend.plugins.module_utils._service.writes import Writes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "a disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


def test_a_full_disk(small: Path) -> None:
    path = small / "unit.conf"
    path.write_text("before", "utf-8")
    with pytest.raises(HostError) as caught:
        write_atomically(str(path), "x" * 100_000)
    words = str(caught.value)
    assert words.startswith(
        f"{path} cannot be written: there is no room on the file system none (tmpfs)"
    )
    assert f"at {small} (" in words and "are free), and 100000 bytes are needed" in words
    assert words.endswith(f"{path} is as it was.")
    assert path.read_text("utf-8") == "before" and os.listdir(small) == ["unit.conf"]


def test_a_disk_without_room_for_another_file(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "none", tmp_path], check=True)
    try:
        (tmp_path / "one").touch()
        with pytest.raises(HostError, match=r"bytes and 0 files are free"):
            write_atomically(str(tmp_path / "two"), "text")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_is_read_only(small: Path) -> None:
    unit = "vllm@a.service"
    kept = small / "kept.conf"
    kept.write_text(f"{mark(unit)}old", "utf-8")
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    for content in (f"{mark(unit)}new", None):
        change = compare(DesiredFile(unit, str(kept), content), False)
        assert change
        with pytest.raises(HostError, match="is mounted for reading only") as caught:
            switch(stage(change, lambda _temporary, _final: None))
        assert f"remount,rw {small}" in str(caught.value) and "as it was" in str(caught.value)
    assert kept.read_text("utf-8").endswith("old")


def writes(*files: DesiredFile) -> Writes:
    plan: Any = SimpleNamespace(
        paths=[each.path for each in files],
        shared_changes=[FileChange(each, None, None) for each in files],
        changes={},
        placed=Placements({}, {}, {}),
        units=SimpleNamespace(label=None),
        accounts=SimpleNamespace(create=lambda: None),
    )
    return Writes(plan, [], [])


def test_nothing_changes_where_one_file_has_no_room(small: Path, tmp_path: Path) -> None:
    first = DesiredFile("vllm@.service", str(tmp_path / "first"), "1")
    second = DesiredFile("vllm@.service", str(small / "second"), "2" * 100_000)
    with pytest.raises(HostError, match="there is no room on") as caught:
        writes(first, second)
    assert str(caught.value).endswith("No file was changed, and no service was stopped or started.")
    assert os.listdir(tmp_path) == [small.name] and os.listdir(small) == []


def test_what_was_and_was_not_written_is_told(small: Path, tmp_path: Path) -> None:
    first, second, third = (
        DesiredFile("vllm@.service", str(directory / name), "text")
        for directory, name in ((tmp_path, "first"), (small, "second"), (tmp_path, "third"))
    )
    ready = writes(first, second, third)
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(HostError, match="is mounted for reading only") as caught:
        ready.make([], (), [])
    assert str(caught.value).endswith(
        f"Written before: {first.path}. Not written: {second.path}, {third.path}. No service was"
        " stopped or started."
    )
    assert sorted(os.listdir(tmp_path)) == [small.name, "first"]


def test_a_directory_that_is_immutable(tmp_path: Path) -> None:
    directory = tmp_path / "fixed"
    directory.mkdir()
    if subprocess.run(["chattr", "+i", directory], capture_output=True, check=False).returncode:
        # This file system has no such attribute: the kernel's answer is the same.
        words = disk.explain(
            PermissionError(errno.EPERM, "Operation not permitted"), str(directory)
        )
    else:
        try:
            with pytest.raises(HostError) as caught:
                write_atomically(str(directory / "a"), "text")
            words = str(caught.value)
        finally:
            subprocess.run(["chattr", "-i", directory], check=True)
    assert "Is it immutable?" in words and "chattr -i" in words and str(directory) in words


def test_the_file_system_of_a_path_that_is_not_there_yet(small: Path) -> None:
    found = disk.mount_of(str(small / "not" / "yet"))
    assert found and (found.point, found.kind) == (str(small), "tmpfs")
    other = disk.mount_of(f"{small} beside")
    assert other and other.point != str(small)
