# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network of the cards between the hosts of one service, by what hccn_tool says of each device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._base.words import listed
from .across import MemberReading
from .report import CheckReport

_HEALTHY = "Success"
_SWITCH = {"0": " (off)", "1": " (on)"}
_NETWORKS = {"ping": "RoCE", "hccs_ping": "HCCS"}


def pings_of(here: MemberReading, others: Sequence[MemberReading]) -> list[dict[str, Any]]:
    """{device, kind, host, address}: each card of this host to the one at its place on each other.

    In one super-pod cards talk over HCCS, else over RoCE. What has no address gets no ping.
    """
    found = []
    for other in others:
        kind, address = ("hccs_ping", "vnic") if _is_pod(here, other) else ("ping", "address")
        for card, there in zip(here.cards, other.cards, strict=False):
            target = (other.devices or {}).get(str(there["device"]), {}).get(address)
            if target and here.devices:
                found.append(
                    {
                        "device": card["device"],
                        "kind": kind,
                        "host": other.host,
                        "address": target,
                    }
                )
    return found


def _is_pod(one: MemberReading, other: MemberReading) -> bool:
    """Whether the cards of two hosts talk over HCCS."""
    pods = _pods(one) | _pods(other)
    logic = [each.logic_pod for each in (one, other)]
    return len(pods) == 1 and None not in pods and logic[0] == logic[1]


def _pods(member: MemberReading) -> set[str | None]:
    """The physical super-pods of its cards; {None} where there is none."""
    return {device.get("super_pod") for device in _devices(member).values()} or {None}


def _devices(member: MemberReading) -> dict[int, Mapping[str, Any]]:
    """What is known of the service's cards on a host, by device."""
    known = member.devices or {}
    numbers = [card["device"] for card in member.cards]
    return {number: known[str(number)] for number in numbers if str(number) in known}


def check_cards(checks: CheckReport, name: str, members: Sequence[MemberReading]) -> None:
    """All of it: addresses, TLS, super-pods, pings, links and health."""
    subject = f"service {name}"
    for member in members:
        if member.devices is None:
            checks.warning(
                "cluster_cards",
                f"{subject}, {member.host}",
                "hccn_tool was not found, so the network of its cards was not checked. Searched for"
                f" it in {member.searched}.",
                "It comes with the driver.",
            )
    read = [each for each in members if each.devices is not None]
    _check_addresses(checks, subject, read)
    _check_tls(checks, subject, read)
    _check_pods(checks, subject, read)
    for member in read:
        lost = _check_pings(checks, subject, member)
        _check_links(checks, subject, member, lost)


def _check_addresses(checks: CheckReport, subject: str, members: Sequence[MemberReading]) -> None:
    owners: dict[str, str] = {}
    over_roce = not all(_is_pod(members[0], each) for each in members)
    for member in members:
        devices = _devices(member)
        for number, device in devices.items():
            if device["problem"]:
                checks.warning(
                    "cluster_cards", f"{subject}, {member.host}", f"{device['problem']}.", ""
                )
            if device["address"] is None:
                continue
            where = f"device {number} of {member.host}"
            other = owners.setdefault(device["address"], where)
            if other != where:
                checks.error(
                    "cluster_cards",
                    subject,
                    f"{other} and {where} both have the address {device['address']}.",
                    "Give each card an address of its own (/etc/hccn.conf).",
                )
        lacking = [
            number
            for number, device in devices.items()
            if device["address"] is None
            and not device["problem"]
            and (over_roce or device["vnic"] is None)
        ]
        if lacking:
            checks.error(
                "cluster_cards",
                f"{subject}, {member.host}",
                f"{_named(lacking)} {'have' if len(lacking) > 1 else 'has'} no address, so no card"
                " of another host reaches it.",
                "Set one with `hccn_tool -i N -ip -s address A netmask M`.",
            )


def _check_tls(checks: CheckReport, subject: str, members: Sequence[MemberReading]) -> None:
    by_switch: dict[str, list[str]] = {}
    for member in members:
        here: dict[str, list[int]] = {}
        for number, device in _devices(member).items():
            if device["tls"] is not None:
                here.setdefault(str(device["tls"]), []).append(number)
        for switch, numbers in here.items():
            by_switch.setdefault(switch, []).append(f"{_named(numbers)} of {member.host}")
    if len(by_switch) > 1:
        shown = "; ".join(
            f"{switch}{_SWITCH.get(switch, '')} for {' and '.join(where)}"
            for switch, where in sorted(by_switch.items())
        )
        checks.error(
            "cluster_tls",
            subject,
            f"TLS of the cards' network differs: {shown}. HCCL then finds no connection (EI0006).",
            "Set it equal, for example off with `hccn_tool -i N -tls -s enable 0` for each device.",
        )


def _check_pods(checks: CheckReport, subject: str, members: Sequence[MemberReading]) -> None:
    by_logic: dict[str, dict[str, str]] = {}
    for member in members:
        pods = sorted(str(pod) for pod in _pods(member) if pod is not None)
        if member.logic_pod is not None and pods:
            by_logic.setdefault(member.logic_pod, {})[member.host] = " and ".join(pods)
    for logic, hosts in by_logic.items():
        if len(set(hosts.values())) > 1:
            shown = ", ".join(f"{pod} of {host}" for host, pod in hosts.items())
            checks.error(
                "cluster_pods",
                subject,
                f"HCCL_LOGIC_SUPERPOD_ID is {logic} on hosts of different super-pods ({shown}): HCCL"
                " waits for links that are not there.",
                "Leave it out, or give hosts of different super-pods different values.",
            )


def _check_pings(checks: CheckReport, subject: str, member: MemberReading) -> set[int]:
    """Report pings without an answer; return the devices that did not have all answers."""
    devices = _devices(member)
    lost: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for ping in member.pings:
        if ping["device"] in devices and not 0 < ping["sent"] == ping["received"]:
            lost.setdefault((ping["host"], ping["kind"]), []).append(ping)
    for (host, kind), pings in lost.items():
        numbers = [int(each["device"]) for each in pings]
        first = pings[0]
        shown = first["problem"] or f"{first['received']} of {first['sent']} packets came back"
        partly = all(each["received"] for each in pings)
        checks.add(
            "warning" if partly else "error",
            "cluster_ping",
            subject,
            f"{_named(numbers)} of {member.host} {_lacks(numbers, partly=partly)}"
            f" {host} over {_NETWORKS[kind]} (device {first['device']} to {first['address']}:"
            f" {shown}){_states(devices, numbers)}.",
            "Check cables, switch ports and addresses of the cards' network, which is apart from"
            " that of the host.",
        )
    return {int(each["device"]) for pings in lost.values() for each in pings}


def _lacks(numbers: Sequence[int], *, partly: bool) -> str:
    if partly:
        return "loses packets to" if len(numbers) == 1 else "lose packets to"
    return "gets no answer from" if len(numbers) == 1 else "get no answer from"


def _states(devices: Mapping[int, Mapping[str, Any]], numbers: Sequence[int]) -> str:
    """Link and health of devices where they explain something."""
    found = [
        f"link {devices[number]['link']}, health {devices[number]['net_health']}"
        for number in numbers
        if devices[number]["link"] not in (None, "UP")
        or devices[number]["net_health"] not in (None, _HEALTHY)
    ]
    return f"; {found[0]}" if found else ""


def _check_links(checks: CheckReport, subject: str, member: MemberReading, lost: set[int]) -> None:
    """A link that is down, and health; what a ping contradicts is a warning."""
    answered = {int(each["device"]) for each in member.pings} - lost
    by_state: dict[tuple[str, str, bool], list[int]] = {}
    for number, device in _devices(member).items():
        link, health = device["link"] or "UP", device["net_health"] or _HEALTHY
        if number not in lost and (link, health) != ("UP", _HEALTHY):
            by_state.setdefault((link, health, number in answered), []).append(number)
    for (link, health, reached), numbers in by_state.items():
        checks.add(
            "error" if link != "UP" and not reached else "warning",
            "cluster_cards",
            f"{subject}, {member.host}",
            f"link {link} and health {health} of {_named(numbers)}"
            + (
                ", and yet each of its pings to other hosts is answered."
                if reached
                else "; no ping tells more."
            ),
            "Some A3 hosts report so although the cards reach each other."
            if reached
            else "Check cables and switch ports of the cards' network.",
        )


def _named(numbers: Sequence[int]) -> str:
    return f"device{'s' if len(numbers) > 1 else ''} {listed(numbers)}"
