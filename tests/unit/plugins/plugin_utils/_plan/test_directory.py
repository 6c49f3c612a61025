# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where files go, names that Ansible would look for elsewhere, links, and files beside a directory."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import (
    FILE,
    HOST_VARS,
    Places,
    adopted_path,
    beside,
    hidden_file_message,
    name_fault,
    place_fault,
    read_directory,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import INSTANCES
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.files import Change, apply
from hypothesis import given, settings
from hypothesis import strategies as st

from .plan_files import entry, loaded, place_on, text


def test_where_files_go(tmp_path: Path) -> None:
    for name in ("one/hosts.yml", "two/sub/more.yml", "three/a.yml", "three/b.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    sources = [str(one / "hosts.yml"), str(two), str(three / "a.yml"), "x,y,", "/nowhere"]
    places = Places(sources, "")
    assert places.of(str(one), str(one / "hosts.yml")) == (one, "hosts.yml")
    # Ansible reads no host_vars beside a file in a directory of the inventory's directory.
    assert places.of(str(two / "sub"), str(two / "sub" / "more.yml")) == (two, "sub/more.yml")
    assert places.speaks_for(two, "sub/more.yml")
    assert places.speaks_for(three, "a.yml")
    assert not places.speaks_for(three, "b.yml")
    with pytest.raises(AscendError, match="vllm_plan_output"):
        places.of(None, None)
    with pytest.raises(AscendError, match="whose directory Ansible reads"):
        places.of("/elsewhere", "/elsewhere/hosts")
    output = Places(sources, str(tmp_path / "out"))
    assert output.of(None, None) == (tmp_path / "out", "of the command line")
    assert output.of(str(one), str(one / "hosts.yml")) == (tmp_path / "out", "hosts.yml")
    assert output.speaks_for(tmp_path / "out", "of the command line")


def test_a_directory_and_its_file_are_called_the_same(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.touch()
    for source in (tmp_path, file):
        places = Places([str(source)], "")
        assert places.of(str(tmp_path), str(file)) == (tmp_path, "hosts.yml")
        assert places.speaks_for(tmp_path, "hosts.yml")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../etc",
        "/etc",
        "a/b",
        "a\0b",
        "$HOME",
        "a$b",
        "a\nb",
        "x" * 256,
        "\ud800",
    ],
)
def test_names_that_ansible_would_look_for_elsewhere(name: str) -> None:
    assert name_fault(name)


@pytest.mark.parametrize(
    "name",
    ["npu-01", "fe80::1", "2001:db8::1", "a b", "~root", "#x", "{{ x }}", "é", "*", "-a", "a~"],
)
def test_odd_names_that_work(tmp_path: Path, name: str) -> None:
    assert name_fault(name) is None
    place_on(tmp_path, name, text(entry("a")))
    assert loaded(tmp_path, name)[INSTANCES][0]["name"] == "a"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.lists(st.sampled_from(["..", ".", "a", "", "~", "$HOME", "etc"]), max_size=5).map("/".join)
)
@settings(max_examples=200, deadline=None)
def test_no_name_leads_out_of_the_directory_or_to_where_ansible_does_not_look(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    outer = tmp_path_factory.mktemp("outer", numbered=True)
    base = outer / "base"
    base.mkdir()
    if name_fault(name) is None:
        directory = read_directory(base)
        assert not beside(directory, name)
        apply(directory, [Change(name, directory.target(name), None, text(entry("a")))])
        files = [path for path in outer.rglob("*") if not path.is_dir()]
        assert [path.parent.parent for path in files] == [base / HOST_VARS]
        assert loaded(base, name)[INSTANCES][0]["name"] == "a"
    assert [path.name for path in outer.iterdir()] == ["base"]
    shutil.rmtree(outer)


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
