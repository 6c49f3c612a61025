# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on a host: what is ours, what is somebody else's, and what a diff may show."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.files import (
    DesiredFile,
    FileChange,
    compare,
    mark,
    marked_names,
    remove_leftovers,
    set_aside,
    stage,
    switch,
)

UNIT = "vllm@chat.service"
OURS = mark(UNIT)


def no_label(_temporary: str, _final: str) -> None:
    pass


@pytest.fixture(autouse=True)
def directory_that_a_service_can_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)


def converge(desired: DesiredFile, adopt: bool = False) -> str | None:
    change = compare(desired, adopt)
    assert change is not None
    return switch(stage(change, no_label))


def test_a_file_is_written_once_with_its_mode_and_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "new" / "chat.yaml"
    desired = DesiredFile(UNIT, str(path), OURS + "port: 8000\n", 0o640)
    converge(desired)
    assert path.read_text() == desired.content
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert compare(desired, adopt=False) is None


def test_a_changed_mode_alone_is_a_difference(tmp_path: Path) -> None:
    desired = DesiredFile(UNIT, str(tmp_path / "chat.env"), OURS + "A=1\n", 0o600, secret=True)
    converge(desired)
    os.chmod(desired.path, 0o644)
    change = compare(desired, adopt=False)
    assert change is not None
    assert change.diff()["before_header"].endswith("mode 0644")
    switch(stage(change, no_label))
    assert stat.S_IMODE(os.stat(desired.path).st_mode) == 0o600


def test_a_hand_made_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text("mine: true\n")
    with pytest.raises(HostError, match=r"chat\.yaml was not written by this collection"):
        compare(DesiredFile(UNIT, str(path), OURS), adopt=False)
    assert path.read_text() == "mine: true\n"


def test_an_adopted_file_leaves_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text("mine: true\n")
    copy = converge(DesiredFile(UNIT, str(path), OURS), adopt=True)
    assert copy is not None and Path(copy).read_text() == "mine: true\n"
    assert path.read_text() == OURS


def test_a_link_is_somebody_elses(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text(OURS)
    (tmp_path / "chat.yaml").symlink_to(target)
    with pytest.raises(HostError, match="was not written by this collection"):
        compare(DesiredFile(UNIT, str(tmp_path / "chat.yaml"), OURS + "x: 1\n"), adopt=False)


def test_a_directory_in_the_way_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="neither a file nor a link"):
        compare(DesiredFile(UNIT, str(tmp_path), OURS), adopt=True)


def test_a_file_of_another_unit_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(mark("other@.service"))
    assert compare(DesiredFile(UNIT, str(path), None), adopt=False) is None


def test_an_unwanted_file_of_ours_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(OURS)
    converge(DesiredFile(UNIT, str(path), None))
    assert not path.exists()


def test_bytes_that_are_no_text_are_a_difference_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_bytes(OURS.encode() + b"\xff\xfe\n")
    desired = DesiredFile(UNIT, str(path), OURS)
    converge(desired)
    assert path.read_text() == OURS


def test_a_secret_never_reaches_a_diff(tmp_path: Path) -> None:
    desired = DesiredFile(
        UNIT, str(tmp_path / "chat.env"), OURS + "VLLM_API_KEY=first\n", 0o600, secret=True
    )
    converge(desired)
    change = compare(desired._replace(content=OURS + "VLLM_API_KEY=second\n"), adopt=False)
    assert change is not None
    shown = str(change.diff())
    assert "first" not in shown and "second" not in shown
    assert change.diff()["before"] != change.diff()["after"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    desired = DesiredFile(UNIT, str(tmp_path / "chat.yaml"), OURS + "port: 8000\n")
    converge(desired)
    change = compare(desired._replace(content=OURS + "port: 8001\n"), adopt=False)
    assert change is not None

    def fail(_temporary: str, _final: str) -> None:
        raise OSError("no space left")

    with pytest.raises(HostError, match="no space"):
        switch(stage(change, fail))
    assert os.listdir(tmp_path) == ["chat.yaml"]
    assert Path(desired.path).read_text() == desired.content


def test_only_our_files_name_instances(tmp_path: Path) -> None:
    texts = {
        "a": mark("vllm@a.service"),
        "by-hand": "[Service]\n",
        "c.d": mark("vllm@c.d.service"),
        "copied": mark("vllm@a.service"),
        "other": mark("x@other.service"),
    }
    for name, text in texts.items():
        folder = tmp_path / f"vllm@{name}.service.d"
        folder.mkdir()
        (folder / "placement.conf").write_text(text)
    pattern = str(tmp_path / "vllm@%i.service.d" / "placement.conf")
    assert marked_names(pattern, "vllm@.service") == ["a", "c.d"]


def test_a_directory_that_the_service_cannot_enter_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o700)
    with pytest.raises(HostError, match=rf"chmod o\+x {folder}"):
        compare(DesiredFile(UNIT, str(folder / "chat.yaml"), OURS), adopt=False)
    assert compare(
        DesiredFile(UNIT, str(folder / "chat.env"), OURS, 0o600, secret=True), adopt=False
    )


def test_a_file_where_a_directory_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "vllm").write_text("")
    with pytest.raises(HostError, match="is not a directory"):
        compare(DesiredFile(UNIT, str(tmp_path / "vllm" / "chat.yaml"), OURS), adopt=True)


def test_a_dangling_link_that_is_adopted_is_kept(tmp_path: Path) -> None:
    (tmp_path / "chat.env").symlink_to(tmp_path / "gone")
    copy = converge(DesiredFile(UNIT, str(tmp_path / "chat.env"), OURS), adopt=True)
    assert copy is not None and os.readlink(copy) == str(tmp_path / "gone")


def test_what_a_foreign_file_holds_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "placement.conf"
    path.write_text("Environment=VLLM_API_KEY=hand-made-key\n")
    change = compare(DesiredFile(UNIT, str(path), OURS), adopt=True)
    assert change is not None and "hand-made-key" not in str(change.diff())


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    """Also of instances that nobody lists any more; what is in use or of somebody else stays."""
    (tmp_path / ".inferops-ascend-new.yaml.abcd_123").write_text("half")
    (tmp_path / ".inferops-ascend-abcd_123").write_text("half, by 0.2.0")
    (tmp_path / "chat.yaml").write_text(OURS)
    (tmp_path / "empty").mkdir()
    for name, entry in (
        ("new", ".inferops-ascend-placement.conf.abcd_123"),
        ("chat", "placement.conf"),
        ("mine", "a"),
    ):
        (tmp_path / f"vllm@{name}.service.d").mkdir()
        (tmp_path / f"vllm@{name}.service.d" / entry).write_text("text")
    (tmp_path / "vllm@gone.service.d").mkdir()
    drop_in = str(tmp_path / "vllm@%i.service.d" / "placement.conf")
    remove_leftovers([str(tmp_path / "%i.yaml"), str(tmp_path / "absent" / "%i"), drop_in])
    assert sorted(os.listdir(tmp_path)) == [
        "chat.yaml",
        "empty",
        "vllm@chat.service.d",
        "vllm@mine.service.d",
    ]


def test_what_another_run_is_writing_beside_it_stays(tmp_path: Path) -> None:
    """In /etc/systemd/system units of services, of the gateway and of trials are, each under its lock."""
    names = ("vllm@.service", "vllm-gateway.service", "vllm@.service.d", "vllm-calibrate@.service")
    ready = {
        name: stage(
            FileChange(DesiredFile(name, str(tmp_path / name), "text"), None, None), no_label
        )
        for name in names
    }
    remove_leftovers(
        [str(tmp_path / "vllm@.service"), str(tmp_path / "vllm@%i.service.d" / "a.conf")]
    )
    assert not Path(ready.pop("vllm@.service").temporary).exists()
    for each in ready.values():
        switch(each)
    assert sorted(os.listdir(tmp_path)) == sorted(ready)


@pytest.mark.parametrize(
    ("before", "after", "path", "read"),
    [
        ("a: 1\n", "a: 2\n", "/etc/vllm/chat.yaml", True),
        ("# older\n[Service]\n", "# newer\n\n[Service]\n", "/etc/systemd/system/x.conf", False),
        ("[Service]\nNice=1\n", "[Service]\n", "/etc/systemd/system/x.conf", True),
        ("# a value\na: 1\n", "a: 1\n", "/etc/vllm/chat.yaml", True),
    ],
)
def test_a_process_has_read_what_was_there_before_it_started(
    before: str, after: str, path: str, read: bool
) -> None:
    change = FileChange(DesiredFile(UNIT, path, OURS + after), OURS + before, 0o644, touched=100.0)
    assert change.was_read_by(200.0) is read
    assert not change.was_read_by(99.0), "it was changed after the start"
    assert not change._replace(before=None).was_read_by(200.0), "there was nothing to read"
    assert not change._replace(before=change.desired.content).was_read_by(200.0), "only its mode"


def test_a_file_that_is_set_aside_leaves_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "zz.conf"
    path.write_text("[Service]\nNice=1\n")
    copy = switch(stage(set_aside(UNIT, str(path)), no_label))
    assert not path.exists()
    assert copy is not None and Path(copy).read_text() == "[Service]\nNice=1\n"


def test_a_program_that_comes_or_goes_is_no_page_of_a_diff(tmp_path: Path) -> None:
    desired = DesiredFile(UNIT, str(tmp_path / "group-chat"), OURS + "line\n" * 900)
    change = compare(desired, adopt=False)
    lines = desired.content.count("\n") if desired.content else 0
    assert change is not None and change.diff()["after"] == f"({lines} lines, not shown)\n"
    converge(desired)
    change = compare(desired._replace(content=f"{desired.content}one more\n"), adopt=False)
    assert change is not None and change.diff()["after"].endswith("line\none more\n")
