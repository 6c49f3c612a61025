# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated `hccn_tool`: the network of the cards, which is apart from that of the host.

What it prints is what Huawei's driver prints (the sources of hccn_tool and its published guides).
Devices are named by physical id. Settings of the simulated network: README.md beside this file.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import time
from pathlib import Path
from typing import Any

import ascend_sim as sim

Card = dict[str, Any]
State = dict[str, Any]

CONF = Path("/etc/hccn.conf")
PACKETS = 3
NO_ADDRESS = ("Get ipconf failed, because no ip was preset there!\n", 13)
NO_GATEWAY = ("Get gateway failed, because no gateway was preset there!\n", 1)
NOT_ALLOWED = ("permission denied: pls check this cmd run permission.\n", 1)
UNSUPPORTED = ("The command is not supported on this product.\n", 1)
FAILED = ("Cmd executed failed\n", 1)


def conf(state: State) -> str:
    """The text of /etc/hccn.conf."""
    lines = []
    for card in sorted(sim.cards_of(state), key=lambda one: int(one["phy_id"])):
        if card.get("address"):
            for key in ("address", "netmask", "netdetect", "gateway"):
                lines.append(f"{key}_{card['phy_id']}={card[key]}\n")
    return "".join(lines)


def answers(state: State, card: Card, address: str, mine: str, link: str) -> bool:
    """Whether another card answers at an address: in this card's network, and not set to be away."""
    if link != "UP" or address in state.get("unreachable", []):
        return False
    return ipaddress.ip_address(address) in ipaddress.ip_network(
        f"{mine}/{card['netmask']}", strict=False
    )


def ping(state: State, card: Card, address: str) -> tuple[str, int]:
    """Over RoCE, from the card's own address."""
    if not card["address"]:
        return NO_ADDRESS
    found = answers(state, card, address, card["address"], card["link"])
    text = f"device {card['phy_id']} PING {address}\n"
    for number in range(PACKETS):
        text += (
            f"recv seq={number},time=0.1{number}4000ms\n"
            if found
            else (f"recv time out seq={number}\n")
        )
    received = PACKETS if found else 0
    loss = 100 - 100 * received / PACKETS
    text += f"{PACKETS} packets transmitted, {received} received, {loss:.2f}% packet loss\n"
    return text, 0


def hccs_ping(state: State, card: Card, address: str) -> tuple[str, int]:
    """Over HCCS within a super-pod, whatever the link to the switch says."""
    found = answers(state, card, address, card["vnic"], "UP")
    text = f"device {card['phy_id']} PING {address}\n\n"
    for number in range(PACKETS):
        text += f"This pkt {'ping success' if found else 'check recv msg fail'}!\n"
        spent = "7.520" if found else "0.000"
        text += f"recv seq {number}, time = {spent}us, L1 plane check result = 0x0\n\n"
    received = PACKETS if found else 0
    loss = 100 - 100 * received / PACKETS
    text += f"{PACKETS} packets transmitted, {received} received, {loss:.2f}% packets loss\n"
    spent = "7.520" if found else "0.000"
    for kind in ("max", "min", "average", "TP95"):
        text += f"{kind} time {spent}us\n"
    return text, 0


def query(state: State, card: Card, what: str) -> tuple[str, int]:
    """`hccn_tool -i N WHAT -g`."""
    address = card["address"]
    if what == "-ip":
        if not address:
            return NO_ADDRESS
        return f"ipaddr:{address}\nnetmask:{card['netmask']}\n", 0
    if what == "-gateway":
        if not address:
            return NO_GATEWAY
        return f"default gateway:{card['gateway']}, Iface:eth{card['phy_id']}\n", 0
    if what == "-vnic":
        if "vnic" not in card:
            return UNSUPPORTED
        return f"vnic link status: UP\nvnic ipaddr: {card['vnic']}\nvnic netmask: 255.255.0.0\n", 0
    known = {
        "-link": f"link status: {card['link']}\n",
        "-net_health": f"net health status: {card['net_health']}\n",
        "-netdetect": f"netdetect address: {card['netdetect'] if address else '0.0.0.0'}\n",
        "-tls": (
            f"dev_id:{card['phy_id']}, tls switch[{card['tls']}](0:disable, 1:enable), "
            "tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days\n"
        ),
    }
    return (known[what], 0) if what in known else ("Get unknown option!\n", 1)


def run(words: list[str]) -> tuple[str, int]:
    """Output and exit status of `hccn_tool WORDS`."""
    state = sim.load_state()
    if state.get("hccn_error") == "hang":
        time.sleep(3600)
    if state.get("hccn_error") is not None:
        return FAILED
    if not sim.may_use_driver():
        return NOT_ALLOWED
    if len(words) < 4 or words[0] != "-i" or words[3] != "-g":
        return "Get invalid parameters!\n", 1
    cards = [card for card in sim.cards_of(state) if str(card["phy_id"]) == words[1]]
    if not cards or "link" not in cards[0]:
        return "The device is not exist!\n", 1
    if words[2] not in ("-ping", "-hccs_ping"):
        return query(state, cards[0], words[2])
    if len(words) != 6 or words[4] != "address":
        return "Get invalid parameters!\n", 1
    if os.geteuid() != 0:
        return NOT_ALLOWED
    try:
        ipaddress.ip_address(words[5])
    except ValueError:
        return "The ip address you configured is invalid!\n", 1
    if words[2] == "-ping":
        return ping(state, cards[0], words[5])
    return hccs_ping(state, cards[0], words[5]) if "vnic" in cards[0] else UNSUPPORTED


def main() -> int:
    output, status = run(sys.argv[1:])
    sys.stdout.write(output)
    return status
