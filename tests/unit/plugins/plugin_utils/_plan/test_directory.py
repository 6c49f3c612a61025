# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links and files beside the directory of a host."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import (
    adopted_path,
    beside,
    hidden_file_message,
    place_fault,
    read_directory,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import INSTANCES
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.files import Change, apply
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.locations import FILE, HOST_VARS

from .plan_files import entry, loaded, place_on, text


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    base = tmp_path / "base"
    (base / HOST_VARS).mkdir(parents=True)
    (base / HOST_VARS / "a").symlink_to(outside)
    (base / HOST_VARS / "b").mkdir()
    (base / HOST_VARS / "b" / FILE).symlink_to(outside / "x")
    directory = read_directory(base)
    assert "symbolic link" in str(place_fault(directory, "a"))
    assert "symbolic link" in str(place_fault(directory, "b"))
    assert place_fault(directory, "c") is None
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / HOST_VARS).symlink_to(outside)
    assert str(outside) in str(place_fault(read_directory(linked), "c"))


@pytest.mark.parametrize("name", ["h.yml", "h.yaml", "h.json", "h"])
def test_the_command_that_is_named_fixes_it(tmp_path: Path, name: str) -> None:
    directory_path = tmp_path / "with space" / HOST_VARS
    directory_path.mkdir(parents=True)
    (directory_path / name).write_text('{"mine": 5}', encoding="utf-8")
    directory = read_directory(tmp_path / "with space")
    (file,) = beside(directory, "h")
    said = hidden_file_message(directory, "h", file)
    assert "would no longer be read" in said
    command = said.split("into the directory: ")[1].split(" ; or")[0]
    assert os.system(command) == 0
    put_beside = directory_path / "h" / FILE
    put_beside.write_text(text(entry("a")), encoding="utf-8")
    read = loaded(tmp_path / "with space", "h")
    assert (read["mine"], read[INSTANCES][0]["name"]) == (5, "a")
    assert not beside(read_directory(tmp_path / "with space"), "h")


@pytest.mark.parametrize("name", ["h.yml", "h"])
def test_what_is_moved_can_be_read_at_any_time(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / HOST_VARS / name
    path.parent.mkdir()
    path.write_text("mine: 5", encoding="utf-8")
    directory = read_directory(tmp_path)
    (file,) = beside(directory, "h")
    seen = []

    def looking(do: Any) -> Any:
        def then(*args: Any, **options: Any) -> Any:
            result = do(*args, **options)
            seen.append(loaded(tmp_path, "h").get("mine"))
            return result

        return then

    for module, function in ((os, "rename"), (os, "replace"), (shutil, "copy2"), (Path, "unlink")):
        monkeypatch.setattr(module, function, looking(getattr(module, function)))
    target = adopted_path(directory, "h", file)
    apply(directory, [Change("h", directory.target("h"), None, text(entry("a")), file, target)])
    assert len(seen) >= 4
    assert set(seen) == {5}


@pytest.mark.parametrize("name", ["h.yml", "h.yaml", "h.json", "h"])
@pytest.mark.parametrize("there", [False, True])
def test_adopted_files_are_read_beside_the_plan(tmp_path: Path, name: str, there: bool) -> None:
    path = tmp_path / HOST_VARS / name
    path.parent.mkdir()
    path.write_text('{"mine": 5}', encoding="utf-8")
    path.chmod(0o640)
    if there and name != "h":
        (tmp_path / HOST_VARS / "h").mkdir()
    directory = read_directory(tmp_path)
    (file,) = beside(directory, "h")
    target = adopted_path(directory, "h", file)
    apply(directory, [Change("h", directory.target("h"), None, text(entry("a")), file, target)])
    read = loaded(tmp_path, "h")
    assert (read["mine"], read[INSTANCES][0]["name"]) == (5, "a")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert not beside(read_directory(tmp_path), "h")


def test_the_directory_of_another_host_is_no_file_beside(tmp_path: Path) -> None:
    place_on(tmp_path, "h.yml", text())
    assert not beside(read_directory(tmp_path), "h")
