# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where files go, and names that Ansible would look for elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import (
    beside,
    read_directory,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import INSTANCES
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.files import Change, apply
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.locations import (
    HOST_VARS,
    Places,
    name_fault,
)
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
