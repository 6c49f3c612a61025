# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which environment is made, made current and removed; tests/integration installs real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.environments import (
    BUILDING,
    COMPLETE,
    USED,
)
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.run import (
    Environments,
    Outcome,
)
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import (
    EnvironmentSpec,
    Step,
)

from ._local import Local

STEPS = (Step(("vllm==2",)),)


def make(root: Path, name: str, *, age: float = 0, used: float | None = None) -> Path:
    """A complete environment, made and current last so many seconds ago."""
    directory = root / name
    (directory / "bin").mkdir(parents=True)
    recipe = EnvironmentSpec(str(root), name, STEPS).recipe
    marker = directory / COMPLETE
    marker.write_text(json.dumps({"recipe": recipe, "python": "3.11.2"}))
    os.utime(marker, (time.time() - age,) * 2)
    if used is not None:
        (directory / USED).touch()
        os.utime(directory / USED, (time.time() - used,) * 2)
    return directory


def compare(root: Path, name: str, **more: Any) -> Outcome:
    spec = EnvironmentSpec(str(root), name, **{"steps": STEPS, **more})
    return Environments(Local(), spec, proc=str(root / "no-proc")).compare()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three complete environments; the newest one is current."""
    make(tmp_path, "1", age=300, used=300)
    make(tmp_path, "2", age=200, used=100)
    make(tmp_path, "3", age=100, used=50)
    (tmp_path / "current").symlink_to("3")
    (tmp_path / "no-proc").mkdir()
    return tmp_path


def test_one_that_is_there_and_current_changes_nothing(root: Path) -> None:
    assert compare(root, "3", keep=2) == Outcome(False, False, (), "3", "2")


def test_the_way_back_keeps_the_one_it_came_from(root: Path) -> None:
    outcome = compare(root, "1", keep=1)
    assert (outcome.builds, outcome.switches, outcome.current) == (False, True, "1")
    assert outcome.previous == "3"
    assert outcome.removes == ("2",)


def test_the_one_it_came_from_is_kept_before_a_newer_one_that_was_never_current(root: Path) -> None:
    make(root, "9")
    outcome = compare(root, "1", keep=1)
    assert outcome.previous == "3"
    assert "9" in outcome.removes


def test_all_are_kept_unless_a_number_is_given(root: Path) -> None:
    assert compare(root, "3").removes == ()
    assert compare(root, "3", keep=0).removes == ("2", "1")


def test_a_half_made_one_is_made_again_and_others_of_its_kind_are_removed(root: Path) -> None:
    for name in ("4", "5"):
        (root / name).mkdir()
        (root / name / BUILDING).touch()
    # Its installer may have outlived a killed run.
    (root / "no-proc" / "10").mkdir()
    (root / "no-proc" / "10" / "cmdline").write_text(f"{root}/5/bin/python3\0-m\0pip\0")
    outcome = compare(root, "4", keep=5)
    assert (outcome.builds, outcome.removes) == (True, ("5",))


def test_current_is_never_pointed_at_one_without_its_marker(root: Path) -> None:
    (root / "4").mkdir()
    environments = Environments(Local(), EnvironmentSpec(str(root), "4"))
    with pytest.raises(HostError, match="is not complete"):
        environments.act(Outcome(False, True, (), "4", None))
    assert os.readlink(root / "current") == "3"


def test_the_switch_is_seen_complete_by_whoever_reads(root: Path) -> None:
    """Somebody who reads the link all the time finds it at every moment."""
    code = (
        "import os, sys, time\nseen = set()\nend = time.time() + 60\n"
        f"while time.time() < end and not os.path.exists({str(root / 'stop')!r}):\n"
        f"    seen.add(os.readlink({str(root / 'current')!r}))\n"
        "print(' '.join(sorted(seen)))\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    for number in range(200):
        name = str(number % 3 + 1)
        environments = Environments(
            Local(), EnvironmentSpec(str(root), name), proc=str(root / "no-proc")
        )
        environments.act(environments.compare())
    (root / "stop").touch()
    output, _errors = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert set(output.split()) <= {"1", "2", "3"}
    assert sorted(p.name for p in root.iterdir() if p.name.startswith(".")) == []


def test_what_a_killed_switch_left_is_removed(root: Path) -> None:
    for left in (root / ".inferops-ascend-a", root / "2" / ".inferops-ascend-.used.abcd_123"):
        left.touch()
    environments = Environments(Local(), EnvironmentSpec(str(root), "2"), str(root / "no-proc"))
    environments.act(environments.compare())
    assert list(root.glob("*/.inferops-ascend-*")) == []
    assert (root / ".inferops-ascend-a").exists(), "nothing writes there"


def test_one_that_was_never_current_is_no_way_back(root: Path) -> None:
    make(root, "9")
    assert compare(root, "3").previous == "2"


def test_without_steps_it_has_to_be_there(root: Path) -> None:
    assert compare(root, "1", steps=()).switches
    with pytest.raises(HostError, match="there is 3, 2, 1"):
        compare(root, "7", steps=())


def test_other_packages_and_other_peoples_directorys_are_refused(root: Path) -> None:
    with pytest.raises(HostError, match=r"without vllm==3, with vllm==2.*vllm_runtime_name: 3-2"):
        compare(root, "3", steps=(Step(("vllm==3",)),))
    (root / "mine").mkdir()
    with pytest.raises(HostError, match="was not made by this role"):
        compare(root, "mine")
    (root / "current").unlink()
    (root / "current").mkdir()
    with pytest.raises(HostError, match="is not a link"):
        compare(root, "3")


def test_a_root_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spec = EnvironmentSpec(str(tmp_path / "file" / "vllm"), "1", STEPS)
    with pytest.raises(HostError, match=r"cannot be written.*vllm_runtime_root"):
        Environments(Local(), spec).act(Outcome(False, False, (), None, None))


def test_fewer_than_no_environments_cannot_be_kept(root: Path) -> None:
    with pytest.raises(HostError, match=r"keep is -1.*vllm_runtime_keep"):
        compare(root, "3", keep=-1)


@pytest.mark.parametrize("name", ["current", "tools", "../x", "a/b", ".x"])
def test_names_that_are_not_a_directory_of_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(HostError, match="cannot be the name"):
        compare(tmp_path, name)
