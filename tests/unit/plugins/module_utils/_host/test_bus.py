# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which card is which device node, by the driver's table."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host.bus import (
    bus_ids,
    cards_text,
    moved_cards,
    with_addresses,
)


def driver(root: Path, table: str, device: str = "0000:c1:00.0") -> None:
    directory = root / "sys/bus/pci/devices" / device
    directory.mkdir(parents=True)
    (directory / "devdrv_sysfs_bdf_to_devid").write_text(table)


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("c1:00.0 ---> 0\n81:00.0 ---> 2\n", {0: "c1:00.0", 2: "81:00.0"}),
        ("0000:C1:00.0 ---> 0\n", {0: "c1:00.0"}),
        ("read failed, ret:-1\nc1:00.0 ---> x\n", {}),
        ("", {}),
    ],
)
def test_the_drivers_table_is_read(tmp_path: Path, table: str, found: dict[int, str]) -> None:
    driver(tmp_path, table)
    assert bus_ids(tmp_path) == found


def test_a_card_that_tells_nothing_hides_no_other(tmp_path: Path) -> None:
    driver(tmp_path, "", "0000:01:00.0")
    driver(tmp_path, "c1:00.0 ---> 0\n")
    assert bus_ids(tmp_path) == {0: "c1:00.0"}
    assert bus_ids(tmp_path / "without") == {}


def test_an_address_that_is_not_known_is_not_compared() -> None:
    text = cards_text(["/dev/davinci2", "/dev/davinci3", "/dev/hisi_hdc"], {2: "81:00.0"})
    assert text == "2=81:00.0,3="
    assert moved_cards(text, {2: "81:00.0", 3: "99:00.0"}) == []
    assert moved_cards(text, {}) == []
    assert moved_cards(None, {2: "81:00.0"}) == []
    assert moved_cards("²=81:00.0,x=81:00.0", {2: "01:00.0"}) == [], "a unit edited by hand"


def test_cards_with_other_numbers_are_told_with_where_they_are() -> None:
    shifted = {0: "c1:00.0", 1: "81:00.0", 2: "82:00.0"}
    assert moved_cards("2=81:00.0,3=82:00.0,4=01:00.0", shifted) == [
        {"device": "/dev/davinci2", "was": "81:00.0", "now": "82:00.0", "at": "/dev/davinci1"},
        {"device": "/dev/davinci3", "was": "82:00.0", "now": None, "at": "/dev/davinci2"},
    ]


def test_addresses_come_into_a_file_where_the_device_nodes_are_named(tmp_path: Path) -> None:
    driver(tmp_path, "c1:00.0 ---> 0\n")
    text = "A=@CARDS:/dev/davinci0,/dev/davinci1@\nB=@CARDS\n"
    assert with_addresses(text, tmp_path) == "A=0=c1:00.0,1=\nB=@CARDS\n"
