# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The preflight of services over several hosts, in three steps between which Ansible waits for all.

Each host is read and listens; then each connects to the others and its cards ping theirs; then the
leader of a service compares its hosts, and one report names all that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._base.errors import AscendError
from ._base.words import counted
from ._host import across, across_cards
from ._host.across import MemberReading
from ._host.report import CheckReport
from ._service.engine import weights_directory
from ._service.group import GUARD_PORT, SUPER_POD, Group
from .groups import Deployments, hosts_of, spans_hosts, together
from .settings import Settings

# What a step of a host gave, as the action `group_check` returned it in this run; None: nothing.
Results = Callable[[str], "Mapping[str, Any] | None"]

# Seconds for reading and for connecting, of as many hosts as are contacted at once; after that the
# listeners of a run that was interrupted end.
_BATCH, _LONGEST = 120.0, 1800.0


@dataclass(frozen=True)
class Asked:
    """Options of the module group_info, with what each connection and ping is for."""

    arguments: dict[str, Any]
    connections: Sequence[dict[str, Any]]
    pings: Sequence[dict[str, Any]]

    def results(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """{connections, pings} with their results. found: what the module returned."""
        pairs = zip(self.connections, found["connections"], strict=True)
        answers = {_key(each): each for each in found["pings"]}
        return {
            "connections": [{**each, "result": result} for each, result in pairs],
            "pings": [{**each, **answers[_key(each)]} for each in self.pings],
        }


def _key(ping: Mapping[str, Any]) -> tuple[int, str, str]:
    return int(ping["device"]), str(ping["kind"]), str(ping["address"])


class GroupCheck:
    """The services over several hosts that should run on this host, and what is asked for them.

    Attributes:
        services: those whose hosts all passed their own checks, by name.
        groups: theirs. faults: {name: why there is no group}.
    """

    def __init__(self, host: str, settings: Settings, deployments: Deployments) -> None:
        self.host, self.settings = host, settings
        self.services: dict[str, Mapping[str, Any]] = {}
        self.groups: dict[str, Group] = {}
        self.faults: dict[str, str] = {}
        self._own = deployments(host) or {"services": [], "origins": []}
        self._requests: dict[str, Any] = {}
        for service, place in zip(self._own["services"], self._own["origins"], strict=True):
            started = service.get("state", "started") == "started"
            if not spans_hosts(service) or not started:
                continue
            if any(deployments(each) is None for each in hosts_of(service)):
                continue
            name = str(service["name"])
            self.services[name] = service
            self._requests[name] = settings.requests[place]
            try:
                self.groups[name] = together(service, settings, deployments)
            except AscendError as error:
                self.faults[name] = str(error)

    # -- each host is read --------------------------------------------------------------------

    def to_read(self, batches: int) -> dict[str, Any]:
        """Options of group_info. batches: how often Ansible contacts as many hosts as it may."""
        arguments: dict[str, Any] = {"stop": True}
        if self.settings.npu_smi:
            arguments["npu_smi"] = self.settings.npu_smi
        directories = (self._directory(name) for name in self.groups)
        arguments["weights"] = sorted({each for each in directories if each})
        arguments["ports"] = sorted({p for group in self.groups.values() for p in group.listens})
        cards = {card["phy_id"]: card for name in self.groups for card in self._cards(name)}
        arguments["devices"] = [
            {"device": device, "npu_id": card["npu_id"], "chip_id": card["chip_id"]}
            for device, card in cards.items()
        ]
        if self.groups:
            ports: dict[str, list[str]] = {}
            for group in self.groups.values():
                peers = [each.address for each in group.members if each != group.member]
                ports.setdefault(str(group.port + GUARD_PORT), []).extend(peers)
            arguments["listen"] = {
                "address": next(iter(self.groups.values())).member.address,
                "ports": ports,
                "seconds": min(_LONGEST, _BATCH * batches),
            }
        return arguments

    def _directory(self, name: str) -> str | None:
        return weights_directory(self.services[name], self.settings.weights_dir)

    def _cards(self, name: str) -> list[Mapping[str, Any]]:
        by_id = {card["logic_id"]: card for card in self._own["host"]["npu"]["cards"]}
        return [by_id[card] for card in self.services[name]["cards"] if card in by_id]

    def reading(self, found: Mapping[str, Any], sent: float, received: float) -> dict[str, Any]:
        """What the other hosts and the next steps use of it.

        found: what the module returned. sent, received: the controller's time before and after.
        """
        engine = bool(self.settings.checked_executable)
        # What this collection runs goes, or moves, before a service needs the port.
        ours = {each["unit"] for each in self._own["host"]["services"]}
        services = {}
        for name, group in self.groups.items():
            directory = self._directory(name)
            services[name] = {
                "cards": [
                    {"logic": card["logic_id"], "device": card["phy_id"]}
                    for card in self._cards(name)
                ],
                "weights": {name: found["weights"][directory]} if directory else {},
                "taken": [
                    each
                    for each in found["taken"]
                    if each["port"] in group.listens and each["unit"] not in ours
                ],
                "logic_pod": self._logic_pod(name),
            }
        clock = found["clock"]
        return {
            "versions": across.version_row(self._own["host"], engine=engine),
            "clock": [clock["ended"] - received, clock["began"] - sent],
            "devices": found.get("devices"),
            "searched": found.get("searched", ""),
            "listener": found.get("listener"),
            # Who connects to it.
            "awaited": sorted(
                {each.host for group in self.groups.values() for each in group.members}
                - {self.host}
            ),
            "services": services,
        }

    def _logic_pod(self, name: str) -> str | None:
        request = self._requests[name]
        env = request.get("env") if isinstance(request, Mapping) else None
        value = {**self.settings.env, **(env or {})}.get(SUPER_POD)
        return None if value is None else str(value)

    # -- each reaches the others --------------------------------------------------------------

    def to_reach(self, read: Results) -> Asked:
        connections: dict[tuple[str, int], dict[str, Any]] = {}
        tokens: dict[tuple[str, int], dict[str, Any]] = {}
        pings: dict[tuple[int, str, str], dict[str, Any]] = {}
        for name, group in self.groups.items():
            for member in group.members:
                listener = (read(member.host) or {}).get("listener")
                if member == group.member or not listener:
                    continue
                tried = {"": listener["free_port"]}
                if listener["ports"].get(str(group.port + GUARD_PORT)) in ("", "taken"):
                    tried[name] = group.port + GUARD_PORT
                for service, port in tried.items():
                    if port is None:
                        continue
                    free = not listener["ports"].get(str(port))
                    connections[member.host, port] = {
                        "service": service,
                        "host": member.host,
                        "port": port,
                    }
                    tokens[member.host, port] = {
                        "address": member.address,
                        "port": port,
                        "token": listener["token"] if free else "",
                    }
            readings = {each.host: each for each in self._readings(name, group, read)}
            here = readings.pop(self.host)
            found = across_cards.pings_of(here, list(readings.values()))
            pings.update({_key(each): each for each in found})
        arguments: dict[str, Any] = {
            "source": next((group.member.address for group in self.groups.values()), ""),
            "connect": list(tokens.values()),
            "pings": [
                {key: each[key] for key in ("device", "kind", "address")} for each in pings.values()
            ],
        }
        return Asked(arguments, list(connections.values()), list(pings.values()))

    def _readings(
        self,
        name: str,
        group: Group,
        read: Results,
        reached: Results = lambda host: None,
    ) -> list[MemberReading]:
        """Those hosts of a service that were read, by rank."""
        found = []
        for member in group.members:
            reading = read(member.host) or {}
            part = (reading.get("services") or {}).get(name)
            if part is None:
                continue
            results = reached(member.host) or {}
            found.append(
                MemberReading(
                    member.host,
                    member.address,
                    reading["versions"],
                    (reading["clock"][0], reading["clock"][1]),
                    part["weights"],
                    part["taken"],
                    part["cards"],
                    reading["devices"],
                    reading["searched"],
                    part["logic_pod"],
                    (reading["listener"] or {}).get("ports", {}),
                    results.get("connections") or (),
                    results.get("pings") or (),
                )
            )
        return found

    # -- and the leader compares --------------------------------------------------------------

    def is_still_listening(self, read: Results, reached: Results) -> bool:
        """Whether a listener of this host waits for a host that did not get through."""
        for host in (read(self.host) or {}).get("awaited") or ():
            connections = (reached(host) or {}).get("connections") or ()
            here = [each["result"] for each in connections if each["host"] == self.host]
            if not here or set(here) != {"open"}:
                return True
        return False

    def reports(self, read: Results, reached: Results) -> dict[str, dict[str, Any]]:
        """By name, the report of each service that this host leads. Raises AscendError."""
        found = {}
        for name, service in self.services.items():
            hosts = hosts_of(service)
            if hosts[0] != self.host:
                continue
            checks = CheckReport(self.settings.checks)
            if name in self.faults:
                checks.error("cluster", f"service {name}", self.faults[name], "")
            else:
                members = self._readings(name, self.groups[name], read, reached)
                for check in (
                    across.check_versions,
                    across.check_weights,
                    across.check_clocks,
                    across.check_ports,
                    across.check_reach,
                    across_cards.check_cards,
                ):
                    check(checks, name, members)
            stops = self.settings.stop_on_error
            found[name] = checks.reported(
                f"service {name} over {', '.join(hosts)}",
                "The service was not changed on any of its hosts."
                if stops
                else "The run continues, because ascend_host_stop_on_error is false.",
            )
        return found


def held(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """{name: reason} of the services that cannot be served by their hosts together."""
    found = {}
    for name, report in reports.items():
        errors = [each for each in report["findings"] if each["severity"] == "error"]
        if errors:
            first = errors[0]
            more = f" The preflight of the service has {counted(len(errors), 'error')}."
            text = f"{first['code']}, {first['subject']}: {first['message']} {first['advice']}"
            found[name] = text.rstrip() + (more if len(errors) > 1 else "")
    return found
