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
from ansible_collections.inferops.ascend.plugins.module_utils._runtime import environment
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.environment import (
    BUILDING,
    COMPLETE,
    USED,
    Environments,
    InstallError,
    Interpreter,
    Step,
    Wish,
    difference,
    requirement_name,
    same_version,
    users,
)

STEPS = (Step(("vllm==2",)),)


class Local:
    """Commands of this machine, as AnsibleModule runs them."""

    def run_command(self, args: list[str], **_options: Any) -> tuple[int, str, str]:
        done = subprocess.run(args, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


def make(root: Path, name: str, *, age: float = 0, used: float | None = None) -> Path:
    """A whole environment, made and current last so many seconds ago."""
    folder = root / name
    (folder / "bin").mkdir(parents=True)
    recipe = Wish(str(root), name, STEPS).recipe
    marker = folder / COMPLETE
    marker.write_text(json.dumps({"recipe": recipe, "python": "3.11.2"}))
    os.utime(marker, (time.time() - age,) * 2)
    if used is not None:
        (folder / USED).touch()
        os.utime(folder / USED, (time.time() - used,) * 2)
    return folder


def look(root: Path, name: str, **more: Any) -> environment.Outcome:
    wish = Wish(str(root), name, **{"steps": STEPS, **more})
    return Environments(Local(), wish, proc=str(root / "no-proc")).look()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three whole environments; the newest one is current."""
    make(tmp_path, "1", age=300, used=300)
    make(tmp_path, "2", age=200, used=100)
    make(tmp_path, "3", age=100, used=50)
    (tmp_path / "current").symlink_to("3")
    (tmp_path / "no-proc").mkdir()
    return tmp_path


def test_one_that_is_there_and_current_changes_nothing(root: Path) -> None:
    assert look(root, "3", keep=2) == environment.Outcome(False, False, (), "3", "2")


def test_the_way_back_keeps_the_one_it_came_from(root: Path) -> None:
    outcome = look(root, "1", keep=1)
    assert (outcome.builds, outcome.switches, outcome.current) == (False, True, "1")
    assert outcome.previous == "3"
    assert outcome.removes == ("2",)


def test_the_one_it_came_from_is_kept_before_a_newer_one_that_was_never_current(root: Path) -> None:
    make(root, "9")
    outcome = look(root, "1", keep=1)
    assert outcome.previous == "3"
    assert "9" in outcome.removes


def test_all_are_kept_unless_a_number_is_given(root: Path) -> None:
    assert look(root, "3").removes == ()
    assert look(root, "3", keep=0).removes == ("2", "1")


def test_a_half_made_one_is_made_anew_and_others_of_its_kind_are_removed(root: Path) -> None:
    for name in ("4", "5"):
        (root / name).mkdir()
        (root / name / BUILDING).touch()
    # Its installer may have outlived a killed run.
    (root / "no-proc" / "10").mkdir()
    (root / "no-proc" / "10" / "cmdline").write_text(f"{root}/5/bin/python3\0-m\0pip\0")
    outcome = look(root, "4", keep=5)
    assert (outcome.builds, outcome.removes) == (True, ("5",))


def test_current_is_never_pointed_at_one_without_its_marker(root: Path) -> None:
    (root / "4").mkdir()
    environments = Environments(Local(), Wish(str(root), "4"))
    with pytest.raises(InstallError, match="not whole"):
        environments.act(environment.Outcome(False, True, (), "4", None))
    assert os.readlink(root / "current") == "3"


def test_the_switch_is_seen_whole_by_whoever_looks(root: Path) -> None:
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
        environments = Environments(Local(), Wish(str(root), name), proc=str(root / "no-proc"))
        environments.act(environments.look())
    (root / "stop").touch()
    output, _errors = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert set(output.split()) <= {"1", "2", "3"}
    assert sorted(p.name for p in root.iterdir() if p.name.startswith(".")) == []


def test_one_that_was_never_current_is_no_way_back(root: Path) -> None:
    make(root, "9")
    assert look(root, "3").previous == "2"


def test_without_steps_it_has_to_be_there(root: Path) -> None:
    assert look(root, "1", steps=()).switches
    with pytest.raises(InstallError, match="there is 3, 2, 1"):
        look(root, "7", steps=())


def test_other_packages_and_other_peoples_folders_are_refused(root: Path) -> None:
    with pytest.raises(
        InstallError, match=r"without vllm==3, with vllm==2.*vllm_runtime_name: 3-2"
    ):
        look(root, "3", steps=(Step(("vllm==3",)),))
    (root / "mine").mkdir()
    with pytest.raises(InstallError, match="was not made by this role"):
        look(root, "mine")
    (root / "current").unlink()
    (root / "current").mkdir()
    with pytest.raises(InstallError, match="is no link"):
        look(root, "3")


def test_a_root_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wish = Wish(str(tmp_path / "file" / "vllm"), "1", STEPS)
    with pytest.raises(InstallError, match=r"cannot be written.*vllm_runtime_root"):
        Environments(Local(), wish).act(environment.Outcome(False, False, (), None, None))


def test_fewer_than_no_environments_cannot_be_kept(root: Path) -> None:
    with pytest.raises(InstallError, match=r"keep is -1.*vllm_runtime_keep"):
        look(root, "3", keep=-1)


@pytest.mark.parametrize("name", ["current", "../x", "a/b", ".x"])
def test_names_that_are_no_folder_of_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(InstallError, match="cannot be the name"):
        look(tmp_path, name)


def test_who_uses_an_environment(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    proc = tmp_path_factory.mktemp("proc")
    for pid, part, text in (
        ("10", "cmdline", f"{root}/1/bin/python3\0{root}/current/bin/vllm\0serve\0"),
        ("11", "maps", f"7f00 r-xp 0 08:01 1 {root}/2/lib/x.so\n"),
        ("12", "cmdline", f"vi\0{root}\0"),
    ):
        (proc / pid).mkdir()
        (proc / pid / part).write_text(text)
    unit = root / "a.conf"
    unit.write_text(f"ExecStart={root}/3/bin/vllm serve\n")
    assert users(str(root), str(proc), [str(unit)]) == {
        "1": "process 10",
        "current": "process 10",
        "2": "process 11",
        "3": str(unit),
    }


def test_a_process_of_this_machine_is_seen(root: Path) -> None:
    (root / "2" / "bin" / "sleep").symlink_to("/bin/sleep")
    process = subprocess.Popen([str(root / "2" / "bin" / "sleep"), "60"])
    try:
        assert users(str(root)) == {"2": f"process {process.pid}"}
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ("2.9.0", "2.9.0", True),
        ("2.9.0+cpu", "2.9.0", True),
        ("2.9.0.post1", "2.9.0", False),
        ("2.13.0", "2.13.0+cpu", False),
        ("0.18.0+empty", "0.18.0", True),
    ],
)
def test_a_build_is_its_version(found: str, wanted: str, same: bool) -> None:
    assert same_version(found, wanted) is same


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("torch==2.9.0", "torch"),
        ("Torch_NPU >= 2; python_version < '4'", "torch-npu"),
        ("vllm[audio]~=0.1", "vllm"),
        ("x @ file:///x.whl", "x"),
    ],
)
def test_names_of_requirements(text: str, name: str) -> None:
    assert requirement_name(text) == name


def test_what_differs_is_said() -> None:
    wish = Wish("/r", "n", STEPS, constraints=("numpy<2",), metadata={"vllm": "2+cpu"})
    assert difference({}, wish.recipe) == (
        "without vllm==2, constraint numpy<2, metadata vllm 2+cpu"
    )
    assert difference(wish.recipe, Wish("/r", "n", STEPS).recipe) == (
        "with constraint numpy<2, metadata vllm 2+cpu, which is not asked for"
    )


# -- interpreters ----------------------------------------------------------------------------------


def test_this_machines_python_is_found_with_its_version() -> None:
    found = environment.probe(Local(), sys.executable)
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.venv
    assert environment.probe(Local(), "/bin/true") is None
    assert environment.probe(Local(), "/bin/false") is None


class Pythons(Local):
    """A host whose Pythons are these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: Interpreter) -> None:
        monkeypatch.setattr(environment, "interpreters", lambda _module: list(found))


OLD = Interpreter("/usr/bin/python3.9", (3, 9, 2), True)
BARE = Interpreter("/usr/bin/python3.11", (3, 11, 2), False)
NEW = Interpreter("/usr/bin/python3.12", (3, 12, 3), True)
SHUT = Interpreter("/root/bin/python3.11", (3, 11, 9), True, "/root")


def choose(monkeypatch: pytest.MonkeyPatch, *found: Interpreter, uv: bool = False) -> Interpreter:
    wish = Wish("/opt/vllm", "0.18.0", python_min=(3, 10), python_max=(3, 11))
    return environment.choose(Pythons(monkeypatch, *found), wish, uv)


def test_the_python_that_fits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Interpreter("/usr/bin/python3.10", (3, 10, 1), True)
    assert choose(monkeypatch, NEW, SHUT, BARE, fits, OLD) == fits
    # uv makes environments itself.
    assert choose(monkeypatch, NEW, SHUT, BARE, fits, OLD, uv=True) == BARE


def test_none_that_fits_is_refused_with_what_is_there_and_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InstallError) as caught:
        choose(monkeypatch, NEW, SHUT, BARE, OLD)
    text = str(caught.value)
    assert "0.18.0 needs Python 3.10 to 3.11 with its venv module" in text
    assert "/usr/bin/python3.12 (3.12.3)" in text
    assert "/usr/bin/python3.11 (3.11.2, without its venv module)" in text
    assert "/root/bin/python3.11 (3.11.9, below /root which others cannot enter)" in text
    assert "python3.11-venv" in text


def test_a_python_that_only_root_reaches_is_no_use(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    (shut / "python3").touch()
    closed = Path(environment._closed(str(shut / "python3")))
    assert closed in (shut, *shut.parents)
    assert not closed.stat().st_mode & 0o001
    assert environment._closed("/usr/bin/env") == ""


# -- the lock --------------------------------------------------------------------------------------


def test_what_a_killed_run_started_still_holds_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with environment.held(path, 1) as descriptor:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(descriptor,))
    try:
        with pytest.raises(InstallError, match="Another run is installing"), environment.held(
            path, 0.3
        ):
            pass
    finally:
        child.kill()
        child.wait()
    with environment.held(path, 1):
        pass
