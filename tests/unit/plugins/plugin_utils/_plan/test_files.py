# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of anybody else's is touched, and nothing is half done."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan import files
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import (
    FILE,
    HOST_VARS,
    defined_where,
    read_directory,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import INSTANCES
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.files import (
    Change,
    apply,
    write_page,
)

from .plan_files import entry, loaded, place_on, text


def changes(directory: files.Directory, *hosts: str) -> list[Change]:
    return [
        Change(
            host,
            directory.target(host),
            directory.plans[host].text if host in directory.plans else None,
            text(entry(f"on-{host}")),
        )
        for host in hosts
    ]


def test_modes_are_kept_and_those_of_new_files_are_the_users(tmp_path: Path) -> None:
    kept = place_on(tmp_path, "a", text())
    kept.chmod(0o604)
    before = os.umask(0o027)
    try:
        directory = read_directory(tmp_path)
        apply(directory, changes(directory, "a", "b"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o604
    made = tmp_path / HOST_VARS / "b" / FILE
    assert stat.S_IMODE(made.stat().st_mode) == 0o640
    assert sorted(path.name for path in (tmp_path / HOST_VARS).iterdir()) == ["a", "b"]


def test_what_was_removed_takes_its_empty_directory_along(tmp_path: Path) -> None:
    for host in ("a", "b"):
        place_on(tmp_path, host, text())
    (tmp_path / HOST_VARS / "b" / "own.yml").touch()
    directory = read_directory(tmp_path)
    apply(
        directory,
        [Change(h, directory.target(h), directory.plans[h].text, None) for h in ("a", "b")],
    )
    left = sorted(str(path.relative_to(tmp_path / HOST_VARS)) for path in tmp_path.rglob("*.yml"))
    assert left == ["b/own.yml"]
    assert not (tmp_path / HOST_VARS / "a").exists()


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[files.Directory]:
    """A run that dies at the second rename, and does not get to clean up."""
    place_on(tmp_path, "b", text())
    directory = read_directory(tmp_path)
    replace, renamed = os.replace, []

    def dying(source: Any, target: Any) -> None:
        renamed.append(target)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        patch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            apply(directory, changes(directory, "a", "b", "c"))
    yield directory


def test_an_interrupted_run_leaves_complete_files_and_is_completed(
    tmp_path: Path, interrupted: files.Directory
) -> None:
    assert loaded(tmp_path, "a")[INSTANCES][0]["name"] == "on-a"
    assert loaded(tmp_path, "b")[INSTANCES] == []
    assert INSTANCES not in loaded(tmp_path, "c")
    again = read_directory(tmp_path)
    assert len(again.stale) == 1
    apply(again, changes(again, "a", "b", "c"))
    assert sorted(path.name for path in (tmp_path / HOST_VARS).iterdir()) == ["a", "b", "c"]
    assert [loaded(tmp_path, host)[INSTANCES][0]["name"] for host in "abc"] == [
        "on-a",
        "on-b",
        "on-c",
    ]


def test_nothing_is_written_where_one_file_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = read_directory(tmp_path)
    write = files._stage_file
    count = 0

    def full(*args: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(28, "No space left on device", "x")
        write(*args)

    monkeypatch.setattr(files, "_stage_file", full)
    with pytest.raises(AscendError, match="there is no room on"):
        apply(directory, changes(directory, "a", "b"))
    assert list((tmp_path / HOST_VARS).iterdir()) == []


def test_a_page_is_written_when_its_stamp_is_another(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "plan.md"
    assert write_page(page, "one\nstamp 1\n", "stamp 1", check=True) == (True, "")
    assert not page.parent.exists()
    assert write_page(page, "one\nstamp 1\n", "stamp 1", check=False) == (True, "")
    assert write_page(page, "two\nstamp 1\n", "stamp 1", check=False)[0] is False
    assert page.read_text() == "one\nstamp 1\n"
    assert write_page(page, "two\nstamp 2\n", "stamp 2", check=False) == (True, "one\nstamp 1\n")
    assert [path.name for path in page.parent.iterdir()] == ["plan.md"]


def test_a_page_in_the_place_of_a_link_is_not_open_to_all(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    page = tmp_path / "plan.md"
    page.symlink_to("kept")
    write_page(page, "text", "stamp", check=False)
    assert page.stat().st_mode & 0o022 == 0
    assert (tmp_path / "kept").read_text() == "mine"


def test_the_file_that_defines_a_variable_is_found(tmp_path: Path) -> None:
    ours = place_on(tmp_path, "h", text())
    assert defined_where("h", ["g"], [tmp_path], {ours}) is None
    (tmp_path / "group_vars").mkdir()
    other = tmp_path / "group_vars" / "g.yaml"
    other.write_text("vllm_service_instances: []\n", encoding="utf-8")
    assert defined_where("h", ["g"], [tmp_path], {ours}) == other
    nearer = tmp_path / HOST_VARS / "h" / "more.yml"
    nearer.write_text("vllm_service_instances: []\n", encoding="utf-8")
    assert defined_where("h", ["g"], [tmp_path], {ours}) == nearer
