# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which card is which /dev/davinciN: the driver's table of PCI addresses.

Every card's directory in sysfs has the same table, lines `c1:00.0 ---> 0` that root alone may read.
Source: devdrv_sysfs_bdf_to_devid_show in devdrv_sysfs.c of the Ascend driver.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Mapping, Sequence

from .._base.reading import OutOfBounds, read_text
from .._base.text import is_number

CARDS = "INFEROPS_CARDS"
_TABLE = "devdrv_sysfs_bdf_to_devid"
_MOST_BYTES = 1 << 16  # sysfs gives one page
_LINE = re.compile(r"(?:[0-9a-f]{4,8}:)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]) -+> ([0-9]{1,4})")
_PLACE = re.compile(r"@CARDS:([a-z0-9/,]*)@")
_NODE = re.compile(r"/dev/davinci([0-9]{1,4})")


def bus_ids(root: Path) -> dict[int, str]:
    """PCI address, without its domain, by N of /dev/davinciN. Empty where the driver does not tell."""
    for file in sorted((root / "sys/bus/pci/devices").glob("*/" + _TABLE)):
        try:
            text = read_text(file, "replace", _MOST_BYTES)
        except (OSError, OutOfBounds):
            continue
        found = {}
        for line in text.lower().splitlines():
            match = _LINE.fullmatch(line.strip())
            if match:
                found[int(match.group(2))] = match.group(1)
        if found:
            return found
    return {}


def cards_text(devices: Sequence[str], known: Mapping[int, str]) -> str:
    """`0=c1:00.0,1=` for device nodes; nothing behind the sign where the address is not known."""
    numbers = [int(match.group(1)) for match in map(_NODE.fullmatch, devices) if match]
    return ",".join(f"{number}={known.get(number, '')}" for number in numbers)


def with_addresses(text: str, root: Path = Path("/")) -> str:
    """A text with `cards_text` of this host in place of `@CARDS:/dev/davinci0,/dev/davinci1@`."""
    if "@CARDS:" not in text:
        return text
    known = bus_ids(root)
    return _PLACE.sub(lambda found: cards_text(found.group(1).split(","), known), text)


def moved_cards(text: str | None, known: Mapping[int, str]) -> list[dict[str, Any]]:
    """Cards of `cards_text` that are others now: {device, was, now, at} of each.

    now: the address that the device node has, None where it has none and its card is another one's.
    at: the device node of the card that it was, None where the driver does not show that card.
    """
    found = []
    for entry in (text or "").split(","):
        number, _sign, was = entry.partition("=")
        if not is_number(number) or not was:
            continue
        now = known.get(int(number))
        at = next((n for n, address in sorted(known.items()) if address == was), None)
        if now != was and not (now is None and at is None):
            found.append(
                {
                    "device": f"/dev/davinci{number}",
                    "was": was,
                    "now": now,
                    "at": None if at is None else f"/dev/davinci{at}",
                }
            )
    return found
