# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens before vLLM where cards are late, or others: the real script, on files instead of a driver's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import template

SCRIPT = Path(__file__).parents[3] / "roles" / "vllm_service" / "templates" / "start.sh.j2"
PLACED = "2=81:00.0,3=82:00.0"
TABLE = ("0000:81:00.0 ---> 2", "0000:82:00.0 ---> 3")
# Card 1 has died, and those after it have closed up.
CLOSED_UP = ("0000:82:00.0 ---> 2",)


@dataclass(frozen=True)
class Start:
    """How a start ended. reason: why the unit is not to be started again; empty where it may."""

    status: int
    told: str
    reason: str


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "devices" / "a").mkdir(parents=True)
    return tmp_path


def start(root: Path, nodes: Sequence[int], table: Sequence[str], limit: int = 1) -> Start:
    """nodes: of /dev/davinciN. table: the lines that the driver shows."""
    for number in nodes:
        (root / f"davinci{number}").symlink_to("/dev/null")
    (root / "devices" / "a" / "devdrv_sysfs_bdf_to_devid").write_text("\n".join(table) + "\n")
    unit = SimpleNamespace(device_timeout=limit, container=False)
    text = template(str(SCRIPT)).render(unit=unit)
    for path, here in (
        ("/sys/bus/pci/devices", f"{root}/devices"),
        ('-c "/dev/', f'-c "{root}/'),
        ("/run/inferops-start", f"{root}/run"),
    ):
        assert path in text
        text = text.replace(path, here)
    run = subprocess.run(
        ["sh", "-c", text, "start", "chat"],
        env={"PATH": "/usr/bin:/bin", "INFEROPS_CARDS": PLACED},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    reason = root / "run" / "chat"
    return Start(run.returncode, run.stdout, reason.read_text() if reason.exists() else "")


def test_the_cards_are_there(root: Path) -> None:
    assert start(root, [2, 3], TABLE) == Start(0, "", "")


@pytest.mark.parametrize("nodes", [[2, 3], [2]])
def test_a_card_that_has_moved_is_told_also_where_the_wait_is_short(
    root: Path, nodes: list[int]
) -> None:
    shown = ("0000:81:00.0 ---> 4", "0000:82:00.0 ---> 3")
    ended = start(root, nodes, shown)
    moved = (
        "the card at PCI address 81:00.0, /dev/davinci2 when the service was placed, is"
        " /dev/davinci4 now"
    )
    assert ended.status == 0
    assert ended.reason.startswith(f"vllm@chat: {moved}: the numbers of the cards have changed")
    waits = {
        2: f"waits up to 1 s, because the driver may not have listed all cards yet: {moved}",
        1: "waits until the driver has made /dev/davinci3, up to 1 s",
    }
    assert ended.told.splitlines() == [f"vllm@chat: {waits[len(nodes)]}"]


def test_another_card_is_told_at_once(root: Path) -> None:
    ended = start(root, [2], CLOSED_UP, limit=600)
    assert (ended.status, ended.told) == (0, "")
    assert "/dev/davinci2 is the card at PCI address 82:00.0 now" in ended.reason


def test_a_card_that_does_not_come_is_no_reason_to_give_up(root: Path) -> None:
    ended = start(root, [2], TABLE)
    assert (ended.status, ended.reason) == (1, "")
    assert "the driver has not made /dev/davinci3 within 1 s: see dmesg" in ended.told
