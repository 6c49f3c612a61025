# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings below a temporary root: set, kept for the next boot, and put back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import tuning
from ansible_collections.inferops.ascend.plugins.module_utils._host.tuning import (
    RECORD,
    SYSCTL_FILE,
    TMPFILES_FILE,
    Outcome,
    Tuning,
    TuningError,
)

SWAP = "proc/sys/vm/swappiness"
GOVERNOR = "sys/devices/system/cpu/cpufreq/policy{}/scaling_governor"
WISH = {"vm.swappiness": "0", "kernel.sched_migration_cost_ns": "50000"}


class Systemd:
    """A systemctl that knows irqbalance."""

    def __init__(self, enabled: str = "enabled", active: str = "active") -> None:
        self.enabled = enabled
        self.active = active

    def __call__(self, command: list[str]) -> str:
        verb = command[1]
        if verb == "disable":
            self.enabled, self.active = "disabled", "inactive"
        elif verb == "enable":
            self.enabled = "enabled"
        elif verb == "start":
            self.active = "active"
        return {"is-enabled": self.enabled, "is-active": self.active}.get(verb, "")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, value in (
        (SWAP, "60\n"),
        ("sys/kernel/debug/sched/migration_cost_ns", "500000\n"),
        (GOVERNOR.format(0), "schedutil\n"),
        (GOVERNOR.format(8), "powersave\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    return tmp_path


def values(root: Path) -> list[str]:
    names = (
        SWAP,
        "sys/kernel/debug/sched/migration_cost_ns",
        GOVERNOR.format(0),
        GOVERNOR.format(8),
    )
    return [(root / name).read_text().strip() for name in names]


def apply(root: Path, systemd: Systemd, stop: bool = True, check: bool = False) -> Outcome:
    return Tuning(root, check, systemd).apply(WISH, "performance", stop)


def test_what_was_set_is_put_back(root: Path) -> None:
    systemd = Systemd()
    outcome = apply(root, systemd)
    assert values(root) == ["0", "50000", "performance", "performance"]
    assert (systemd.enabled, systemd.active) == ("disabled", "inactive")
    assert outcome.failed == []
    assert "vm.swappiness = 0\n" in (root / SYSCTL_FILE).read_text()
    boot = (root / TMPFILES_FILE).read_text()
    assert "w /sys/kernel/debug/sched/migration_cost_ns - - - - 50000\n" in boot
    assert f"w /{GOVERNOR.format(8)} - - - - performance\n" in boot
    assert (root / RECORD).stat().st_mode & 0o777 == 0o600
    assert apply(root, systemd).changes == [], "a second run changes nothing"
    outcome = Tuning(root, runner=systemd).restore()
    assert {each["name"] for each in outcome.changes} >= {"vm.swappiness", "irqbalance"}
    assert values(root) == ["60", "500000", "schedutil", "powersave"]
    assert (systemd.enabled, systemd.active) == ("enabled", "active")
    for name in (RECORD, SYSCTL_FILE, TMPFILES_FILE):
        assert not (root / name).exists()
    assert Tuning(root, runner=systemd).restore().changes == []


def test_check_mode_says_all_and_does_nothing(root: Path) -> None:
    systemd = Systemd()
    before = values(root)
    outcome = apply(root, systemd, check=True)
    assert len(outcome.changes) == 7
    assert values(root) == before
    assert systemd.active == "active"
    assert not (root / "var").exists()
    assert not (root / "etc").exists()
    apply(root, systemd)
    record = (root / RECORD).read_text()
    outcome = Tuning(root, True, systemd).restore()
    assert len(outcome.changes) == 8, "the record goes, too"
    assert (root / RECORD).read_text() == record
    assert values(root)[0] == "0"


def test_the_first_value_found_is_kept_over_runs(root: Path) -> None:
    apply(root, Systemd())
    Tuning(root, runner=Systemd()).apply({"vm.swappiness": "10"}, "", False)
    assert values(root) == ["10", "500000", "schedutil", "powersave"], "no longer wished: put back"
    found = json.loads((root / RECORD).read_text())["found"]
    assert found["vm.swappiness"]["found"] == "60"
    assert list(found) == ["vm.swappiness"]
    assert not (root / TMPFILES_FILE).exists()


def test_a_run_that_was_broken_off_can_be_undone(root: Path) -> None:
    class Killed(Systemd):
        def __call__(self, command: list[str]) -> str:
            if command[1] == "disable":
                raise KeyboardInterrupt
            return super().__call__(command)

    with pytest.raises(KeyboardInterrupt):
        apply(root, Killed())
    assert values(root)[0] == "0"
    Tuning(root, runner=Systemd()).restore()
    assert values(root) == ["60", "500000", "schedutil", "powersave"]


def test_what_others_changed_since_is_left_alone(root: Path) -> None:
    apply(root, Systemd())
    (root / SWAP).write_text("5\n")
    outcome = Tuning(root, runner=Systemd("disabled", "inactive")).restore()
    assert values(root)[0] == "5"
    assert outcome.notes == [
        "vm.swappiness: it is 5, which was not set from here, so it is left as it is"
        " (found before: 60)"
    ]


def test_what_the_kernel_does_not_take_is_named_and_the_rest_is_done(root: Path) -> None:
    (root / SWAP).unlink()
    (root / SWAP).mkdir()  # open() for writing fails, for root too
    outcome = apply(root, Systemd())
    assert [each["name"] for each in outcome.failed] == ["vm.swappiness"]
    assert "/proc/sys/vm/swappiness does not take 0: Is a directory" in outcome.failed[0]["message"]
    assert (root / GOVERNOR.format(8)).read_text().strip() == "performance"


def test_what_a_host_does_not_have_is_passed_over(tmp_path: Path) -> None:
    outcome = Tuning(tmp_path, runner=Systemd("", "inactive")).apply(WISH, "performance", True)
    assert outcome.changes == []
    assert len(outcome.notes) == 4
    assert not (tmp_path / RECORD).exists()


def test_a_governor_that_the_driver_does_not_offer(root: Path) -> None:
    folder = (root / GOVERNOR.format(0)).parent
    (folder / "scaling_available_governors").write_text("powersave schedutil\n")
    assert "governor policy0: it has powersave schedutil, not performance" in (
        apply(root, Systemd()).notes
    )


class Stopped(Exception):
    """Stands for a kill."""


def interrupted(root: Path, value: str, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Declare another value of vm.swappiness, and be killed before a step."""

    def stop(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Tuning, before, stop)
        swappiness(root, value)


def swappiness(root: Path, value: str) -> Outcome:
    return Tuning(root, runner=Systemd()).apply({"vm.swappiness": value}, "", False)


def entry(root: Path) -> dict[str, object]:
    found = json.loads((root / RECORD).read_text())["found"]["vm.swappiness"]
    return {"found": found["found"], "set": found["set"]}


@pytest.fixture
def picky(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel that takes no value above 200."""
    write = tuning.write_value

    def refuse(path: Path, value: str) -> None:
        if int(value) > 200:
            raise OSError(22, "Invalid argument")
        write(path, value)

    monkeypatch.setattr(tuning, "write_value", refuse)
    return root


@pytest.mark.parametrize("step", ["_set", "_persist"])
def test_a_second_run_broken_off_at_any_step_can_be_undone(
    root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    swappiness(root, "0")
    interrupted(root, "10", monkeypatch, before=step)
    interrupted(root, "20", monkeypatch, before=step)
    assert entry(root) == {"found": "60", "set": ["0", "10", "20"]}
    for value in ("0", "10", "20"):  # also after a reboot, which the old files then shape
        (root / SWAP).write_text(value + "\n")
        record = (root / RECORD).read_text()
        outcome = Tuning(root, runner=Systemd()).restore()
        assert (values(root)[0], outcome.notes) == ("60", [])
        (root / RECORD).write_text(record)
    swappiness(root, "10")
    assert entry(root) == {"found": "60", "set": ["10"]}, "superseded by a write that was taken"
    (root / SWAP).write_text("0\n")  # by somebody else, then
    outcome = Tuning(root, runner=Systemd()).restore()
    assert values(root)[0] == "0"
    assert "vm.swappiness: it is 0, which was not set from here" in outcome.notes[0]


def test_an_undoing_broken_off_can_be_repeated(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swappiness(root, "0")

    def stop(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Tuning, "_replace", stop)
        Tuning(root, runner=Systemd()).restore()
    (root / SWAP).write_text("0\n")  # a reboot, with the file still there
    assert Tuning(root, runner=Systemd()).restore().notes == []
    assert values(root)[0] == "60"
    assert not (root / SYSCTL_FILE).exists()


def test_a_refused_value_is_not_set_at_boot_and_loses_nothing(picky: Path) -> None:
    outcome = swappiness(picky, "999")
    assert "does not take 999: Invalid argument" in outcome.failed[0]["message"]
    assert not (picky / SYSCTL_FILE).exists()
    swappiness(picky, "0")
    boot = (picky / SYSCTL_FILE).read_text()
    assert len(swappiness(picky, "999").failed) == 1
    assert (picky / SYSCTL_FILE).read_text() == boot, "what the kernel took before stays"
    assert entry(picky) == {"found": "60", "set": ["0"]}
    assert Tuning(picky, runner=Systemd()).restore().notes == []
    assert values(picky)[0] == "60"


def test_a_value_refused_at_first_leaves_others_free_to_set_theirs(picky: Path) -> None:
    swappiness(picky, "999")
    (picky / SWAP).write_text("30\n")
    assert [each["name"] for each in Tuning(picky, runner=Systemd()).restore().changes] == [
        "/" + RECORD
    ]
    assert values(picky)[0] == "30"
    swappiness(picky, "999")
    (picky / SWAP).write_text("40\n")
    swappiness(picky, "0")
    assert entry(picky) == {"found": "40", "set": ["0"]}, "nothing was set before"


def test_a_declared_value_changed_by_others_is_set_again_and_named(root: Path) -> None:
    swappiness(root, "0")
    (root / SWAP).write_text("5\n")
    outcome = swappiness(root, "0")
    assert outcome.notes == [
        "vm.swappiness: it was 5, which was not set from here; it is declared to be 0"
        " (found at first: 60)"
    ]
    assert values(root)[0] == "0"
    Tuning(root, runner=Systemd()).restore()
    assert values(root)[0] == "60"


def test_irqbalance_masked_by_others_since_stays_masked(root: Path) -> None:
    apply(root, Systemd())
    systemd = Systemd("masked", "inactive")
    outcome = Tuning(root, runner=systemd).restore()
    assert systemd.enabled == "masked"
    assert outcome.notes[0].startswith("irqbalance: it is masked, inactive, which was not set from")
    assert not (root / RECORD).exists()


GOOD = {"path": SWAP, "found": "60", "set": ["0"]}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "Expecting property name"),
        ("[]", "no mapping 'found'"),
        ('{"x": 1}', "no mapping 'found'"),
        ({"x": 1}, "x is 1, not a mapping"),
        ({"x": {}}, "x has the path None"),
        ({"x": {**GOOD, "path": "etc/passwd"}}, "x has the path 'etc/passwd'"),
        ({"x": {**GOOD, "path": "proc/sys/../../etc/passwd"}}, "which is not below /proc/sys"),
        ({"x": {**GOOD, "found": 60}}, "x does not tell what was found"),
        ({"x": {"path": SWAP, "set": ["0"]}}, "x does not tell what was found"),
        ({"x": {**GOOD, "set": [0]}}, "x does not tell what was set"),
        ({"irqbalance": {"enabled": "enabled"}}, "irqbalance has no text 'active'"),
    ],
)
def test_a_broken_record_is_named_with_the_way_out(root: Path, text: object, what: str) -> None:
    path = root / RECORD
    path.parent.mkdir(parents=True)
    path.write_text(text if isinstance(text, str) else json.dumps({"found": text}))
    with pytest.raises(TuningError) as caught:
        Tuning(root)
    message = str(caught.value)
    assert message.startswith(f"/{RECORD} cannot be read: ")
    assert what in message
    assert "Restore it from a backup, or remove it" in message


def test_a_record_with_one_value_set_is_read(root: Path) -> None:
    swappiness(root, "0")
    (root / RECORD).write_text(json.dumps({"found": {"vm.swappiness": {**GOOD, "set": "0"}}}))
    Tuning(root, runner=Systemd()).restore()
    assert values(root)[0] == "60"


def test_files_made_by_hand_are_refused_and_left(root: Path) -> None:
    for name in ("../../etc/passwd", "swappiness", "vm swappiness"):
        with pytest.raises(TuningError, match="no name of a sysctl"):
            Tuning(root, runner=Systemd()).apply({name: "0"}, "", False)
    path = root / SYSCTL_FILE
    path.parent.mkdir(parents=True)
    path.write_text("vm.swappiness = 1\n")
    with pytest.raises(TuningError, match="made by hand"):
        apply(root, Systemd())
    assert values(root)[0] == "60", "refused before anything is changed"
    assert not (root / RECORD).exists()
    path.unlink()
    apply(root, Systemd())
    path.write_text("vm.swappiness = 1\n")
    outcome = Tuning(root, runner=Systemd()).restore()
    assert f"/{SYSCTL_FILE}: it was made by hand, so it is left as it is" in outcome.notes
    assert path.read_text() == "vm.swappiness = 1\n"
    assert values(root)[0] == "60"
