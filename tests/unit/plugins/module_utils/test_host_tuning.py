# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings below a temporary root: set, kept for the next boot, and put back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host_tuning import (
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
    assert len(Tuning(root, True, systemd).restore().changes) == 7
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


def test_files_made_by_hand_and_broken_records_are_refused(root: Path) -> None:
    for name in ("../../etc/passwd", "swappiness", "vm swappiness"):
        with pytest.raises(TuningError, match="no name of a sysctl"):
            Tuning(root, runner=Systemd()).apply({name: "0"}, "", False)
    path = root / SYSCTL_FILE
    path.parent.mkdir(parents=True)
    path.write_text("vm.swappiness = 1\n")
    with pytest.raises(TuningError, match="made by hand"):
        apply(root, Systemd())
    assert path.read_text() == "vm.swappiness = 1\n"
    (root / RECORD).write_text("{")
    with pytest.raises(TuningError, match=r"tuning\.json cannot be read"):
        Tuning(root)
