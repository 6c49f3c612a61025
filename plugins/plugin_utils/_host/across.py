# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts of one service compared with each other, from what each of them was read to be.

docs/cluster.md has the list of what is compared, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .findings import format_process
from .report import CheckReport

# Seconds. Hosts that follow a time server differ by less than one; the reading adds the time of a
# connection, which is known and taken off.
CLOCKS = 5.0
_SHOWN = 3  # names of files in a message


@dataclass(frozen=True)
class MemberReading:
    """What is known of a host of the service.

    Attributes:
        versions: {what: version}, as `version_row` returns them.
        weights: {name: mark} of the files of its weights, None where there is none; missing where
            the service has no directory for them.
        clock: (lowest, highest) by which its clock is ahead of the controller's, in seconds.
        taken: who listens on ports that the service needs here, without services of this collection.
        cards: {logic, device} of the service's cards in order. devices: what hccn_tool says of each
            device, by its number as text; None where it was not found, in the places `searched`.
        logic_pod: HCCL_LOGIC_SUPERPOD_ID of the service here, or None.
        listener: {port: why it could not listen there, `taken`, or empty}.
        connections: {service (empty: of all), host, port, result} of those to other hosts.
        pings: {device, kind, host, address, sent, received, problem} of its cards' pings.
    """

    host: str
    address: str
    versions: Mapping[str, str]
    clock: tuple[float, float]
    weights: Mapping[str, Mapping[str, str] | None]
    taken: Sequence[Mapping[str, Any]]
    cards: Sequence[Mapping[str, int]]
    devices: Mapping[str, Mapping[str, Any]] | None
    searched: str
    logic_pod: str | None
    listener: Mapping[str, str]
    connections: Sequence[Mapping[str, Any]] = ()
    pings: Sequence[Mapping[str, Any]] = ()


def version_row(facts: Mapping[str, Any], *, engine: bool) -> dict[str, str]:
    """What has to be equal on all hosts, as far as it is known.

    facts: what the module host_info returns. engine: whether the engine that runs is the host's,
    and neither in an image, which the members' settings compare, nor about to be replaced.
    """
    npu = facts["npu"]
    chips = dict.fromkeys(str(card["name"]) for card in npu["cards"])
    found: dict[str, Any] = {"chip": " and ".join(sorted(chips)), "driver": npu["driver_version"]}
    if engine:
        cann = dict.fromkeys(each for each in facts["cann"].values() if each)
        found["CANN"] = " and ".join(cann)
        installed = facts["engine"]
        found["vLLM"] = installed["vllm"]
        found["vllm-ascend"] = installed["vllm_ascend"]
        found["torch_npu"] = installed["torch_npu"]
        # Ray and pickled messages want the same minor version.
        found["Python"] = ".".join(str(installed["python"] or "").split(".")[:2])
    return {what: str(version) for what, version in found.items() if version}


def check_versions(checks: CheckReport, name: str, members: Sequence[MemberReading]) -> None:
    for what in dict.fromkeys(key for each in members for key in each.versions):
        hosts = {each.host: each.versions[what] for each in members if what in each.versions}
        if len(set(hosts.values())) > 1:
            checks.error(
                "cluster_versions",
                f"service {name}",
                f"its hosts have different versions of {what}: {_by_value(hosts)}."
                if what != "chip"
                else f"its hosts have different chips: {_by_value(hosts)}.",
                "Install the same on all of them."
                if what != "chip"
                else "Plan the service over hosts of one kind.",
            )


def check_weights(checks: CheckReport, name: str, members: Sequence[MemberReading]) -> None:
    known = {each.host: dict(each.weights[name] or {}) for each in members if name in each.weights}
    if len(known) < 2:
        return
    subject = f"service {name}"
    lacking = [host for host, files in known.items() if not files]
    having = {host: files for host, files in known.items() if files}
    if lacking and having:
        checks.error(
            "cluster_weights",
            subject,
            f"{_names(lacking)} {_has(lacking)} no weights for it, and {_names(list(having))}"
            f" {_has(having)}.",
            "Run the playbook weights on all of them.",
        )
    first = next(iter(having), "")
    for host, files in having.items():
        names = {*files, *having[first]}
        other = sorted(each for each in names if files.get(each) != having[first].get(each))
        if other:
            shown = ", ".join(
                f"{each} ({having[first].get(each, 'missing')} on {first},"
                f" {files.get(each, 'missing')} on {host})"
                for each in other[:_SHOWN]
            )
            more = f", and {len(other) - _SHOWN} more files" if len(other) > _SHOWN else ""
            checks.error(
                "cluster_weights",
                subject,
                f"the weights of {first} and {host} differ: {shown}{more}.",
                "Download the same revision on all of them, or copy the files.",
            )


def check_clocks(checks: CheckReport, name: str, members: Sequence[MemberReading]) -> None:
    """The two hosts that are certainly furthest apart."""
    pairs = [(a.clock[0] - b.clock[1], a.host, b.host) for a in members for b in members]
    apart, ahead, behind = max(pairs, default=(0.0, "", ""))
    if apart > CLOCKS:
        checks.warning(
            "cluster_clocks",
            f"service {name}",
            f"the clock of {ahead} is at least {apart:.0f} s ahead of that of {behind}. What their"
            " logs say cannot be put in order, and a certificate may be valid on one alone.",
            "Let both follow the same time server (timedatectl shows whether they do).",
        )


def check_ports(checks: CheckReport, name: str, members: Sequence[MemberReading]) -> None:
    for member in members:
        for entry in member.taken:
            who = format_process(entry) if entry["pid"] else "a process that is not visible"
            checks.error(
                "cluster_ports",
                f"service {name}, {member.host}",
                f"port {entry['port']}, one of those by which its hosts talk to each other, is"
                f" taken: {who} listens there.",
                "Stop it, or move vllm_service_cluster_port_base on all hosts.",
            )


_RESULTS = {
    "silent": "nothing comes back",
    "refused": "the connection is refused",
    "other": "somebody else answers",
}


def check_reach(checks: CheckReport, name: str, members: Sequence[MemberReading]) -> None:
    """Connections between each two of the hosts, both ways."""
    address = {each.host: each.address for each in members}
    for member in members:
        for port, reason in member.listener.items():
            if reason not in ("", "taken"):
                checks.error(
                    "cluster_reach",
                    f"service {name}, {member.host}",
                    f"it cannot listen at {member.address}, port {port}: {reason}.",
                    "Correct vllm_service_cluster_address and vllm_service_cluster_interface.",
                )
        found: dict[str, list[Mapping[str, Any]]] = {}
        for each in member.connections:
            if each["host"] in address and each["service"] in ("", name):
                found.setdefault(str(each["host"]), []).append(each)
        for host, connections in found.items():
            wrong = [each for each in connections if each["result"] != "open"]
            if not wrong:
                continue
            shown = ", ".join(
                f"port {each['port']}: {_RESULTS.get(each['result'], each['result'])}"
                for each in wrong
            )
            results = {each["result"] for each in wrong}
            checks.error(
                "cluster_reach",
                f"service {name}",
                f"{member.host} ({member.address}) does not reach {host} ({address[host]}): {shown}.",
                _way_out(results, member.address, host, partly=len(wrong) < len(connections)),
            )


def _way_out(results: set[str], address: str, host: str, *, partly: bool) -> str:
    if results == {"other"}:
        return (
            f"Another machine may have the address of {host}, or something between them answers:"
            " compare vllm_service_cluster_address with `ip address`."
        )
    allow = (
        f"Allow all TCP from {address} on {host}, for example with `firewall-cmd --permanent"
        f" --zone=trusted --add-source={address}`."
    )
    if partly:
        return (
            f"Single ports are not enough, because engines and HCCL listen at ports that the kernel"
            f" chooses. {allow}"
        )
    if results <= {"silent", "refused"}:
        return f"A firewall drops or refuses it, or the address is not that network's. {allow}"
    return f"Check the route and the addresses. {allow}"


def _by_value(hosts: Mapping[str, str]) -> str:
    """`24.1 on h1 and h2, 24.2 on h3`."""
    by_value: dict[str, list[str]] = {}
    for host, value in hosts.items():
        by_value.setdefault(value, []).append(host)
    return ", ".join(f"{value} on {_names(names)}" for value, names in by_value.items())


def _names(hosts: Sequence[str]) -> str:
    return " and ".join([", ".join(hosts[:-1]), hosts[-1]] if len(hosts) > 1 else hosts)


def _has(hosts: Sequence[str] | Mapping[str, Any]) -> str:
    return "has" if len(hosts) == 1 else "have"
