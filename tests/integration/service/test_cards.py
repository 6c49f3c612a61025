# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards that come late, and cards that have other numbers than when a service was placed on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..hosts import scenario, started
from ..playbooks import CLEAN, Books, codes

pytestmark = pytest.mark.hosts

SCENARIO = scenario("cards")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("cards") / "inventory.yml"
    with started(SCENARIO, path, "--host", "h1:a2-64g") as inventory:
        yield inventory


@pytest.fixture
def books(inventory: Path, tmp_path: Path) -> Iterator[Books]:
    it = Books(SCENARIO, inventory, tmp_path)
    yield it
    it.sh("h1", CLEAN + "; ascend-sim reset", check=False)


def test_a_service_waits_for_its_cards_and_refuses_others(books: Books) -> None:
    books.list_services(
        "h1",
        {"model": "Qwen3-0.6B", "name": "front", "cards": [0]},
        {"model": "Qwen3-0.6B", "name": "back", "cards": [2, 3]},
        vllm_service_restart_delay=1,
    )
    assert books.run("deploy").status == 0

    # As at a boot where the driver is late.
    books.sh("h1", "systemctl stop vllm@back; ascend-sim set late=true")
    books.sh("h1", "systemctl start --no-block vllm@back")
    books.sh("h1", waits_for_line("back", "waits until the driver has made /dev/davinci2 /dev/dav"))
    assert books.sh("h1", "systemctl show -P ActiveState vllm@back").strip() == "activating"
    books.sh("h1", "ascend-sim set late=false")
    books.wait_until_serving("h1", 8001)

    # A card before it died: 2 and 3 are other cards now, 0 is not.
    books.sh("h1", "systemctl stop 'vllm@*'; ascend-sim drop 1; systemctl start vllm@front")
    books.sh(
        "h1",
        "systemctl start vllm@back; until systemctl is-failed -q vllm@back; do sleep 0.2; done",
    )
    states = books.sh("h1", "systemctl show -P NRestarts -P ExecMainStatus vllm@back").split()
    assert sorted(states) == ["0", "78"]
    books.sh("h1", waits_for_line("back", "/dev/davinci2 is the card at PCI address 82:00.0 now"))
    books.wait_until_serving("h1", 8000)

    less = {"ascend_host_excluded_cards": [7]}  # it is known that there is a card less
    verified, compared = books.verify(**less)
    assert verified.status != 0
    found = codes(compared["h1"])
    assert "identity" in found["back"], found
    assert "front" not in found, found

    deployed = books.run("deploy", **less)
    assert deployed.status == 0, deployed.output
    assert "that card is /dev/davinci1 now" in deployed.output
    assert books.verify(**less)[0].status == 0


def waits_for_line(name: str, text: str) -> str:
    seen = f"journalctl -b -o cat -u vllm@{name} | grep -qF '{text}'"
    return f'timeout 120 sh -c "until {seen}; do sleep 0.2; done"'
