# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services over several hosts, put together from the deployments of their hosts."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._base.errors import AscendError
from ._base.values import whole_number
from ._model.catalogue import Catalogue
from ._model.cluster import RAY
from ._service.group import PORTS, Group, Member
from ._service.removal import listed_names
from .settings import Settings

# Keys of a service that are the same on all its hosts.
_EQUAL = (
    "model",
    "path",
    "served_model_name",
    "engine",
    "data_parallel_size",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "max_model_len",
    "gpu_memory_utilization",
    "args",
)

# The deployment of a host, as the action `deployment` returned it in this run; None: there is none.
Deployments = Callable[[str], "Mapping[str, Any] | None"]


@dataclass
class Grouped:
    """The services of a host, those over several hosts with their `group`.

    Attributes:
        services: what can be written.
        held: {name: reason} of services that are left as they are, because another of their hosts
            cannot take its part.
        behind: {name: hosts} of services that stop or go, whose part on other hosts stays because
            those were not reached.
    """

    services: list[dict[str, Any]] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    behind: dict[str, list[str]] = field(default_factory=dict)


def spans_hosts(service: Mapping[str, Any]) -> bool:
    return service.get("cluster") is not None and service.get("state") != "absent"


def hosts_of(service: Mapping[str, Any]) -> list[str]:
    """The hosts of a service that spans some, by rank."""
    return [str(host) for host in service["cluster"]["hosts"]]


def is_awaited(service: object, hosts: Sequence[str]) -> bool:
    """Whether a service's readiness is asked on this host: of a member alone if its leader is not
    among the hosts of the run.

    service: a placed one, or a request.
    """
    cluster = service.get("cluster") if isinstance(service, Mapping) else None
    if not isinstance(cluster, Mapping):
        return True
    return whole_number(cluster.get("rank")) == 0 or cluster.get("leader") not in hosts


def grouped(
    services: Sequence[dict[str, Any]],
    settings: Settings,
    deployments: Deployments,
    here: str,
    refused: Callable[[Mapping[str, Any]], str | None] = lambda service: None,
) -> Grouped:
    """Give each service over several hosts its group. Raises AscendError.

    deployments: of each host of the run that passed its checks. here: this host's name. refused: why
    the hosts of a service, compared with each other, cannot serve it; None where they can.
    """
    found = Grouped()
    own = deployments(here) or {}
    written = written_groups(own)
    for service in services:
        if not spans_hosts(service):
            found.services.append(service)
            continue
        name = service["name"]
        reason = refused(service)
        if reason is not None:
            found.held[name] = reason
            continue
        missing = [host for host in hosts_of(service) if deployments(host) is None]
        if not missing:
            group = together(service, settings, deployments)
            found.services.append({**service, "group": group})
        elif service.get("state") == "stopped" and name in written:
            found.services += as_written([service], settings, here, own)
        else:
            found.held[name] = (
                f"{', '.join(missing)} failed the checks of this run or was not reached, and all its"
                f" hosts are changed together. Correct {', '.join(missing)}, then run again."
            )
    starting = {each["name"] for each in services if each.get("state", "started") == "started"}
    for name, hosts in written.items():
        lost = [host for host in hosts if host != here and deployments(host) is None]
        if lost and name not in starting:
            found.behind[name] = lost
    return found


def written_groups(deployment: Mapping[str, Any]) -> dict[str, list[str]]:
    """{name: hosts by rank} of the services over several hosts that a host has the files of.

    deployment: what the action `deployment` returned for it.
    """
    existing = (deployment.get("host") or {}).get("standing") or []
    return {
        each["name"]: [str(member["host"]) for member in each["group"]["members"]]
        for each in existing
        if each.get("group")
    }


def as_written(
    services: Sequence[dict[str, Any]],
    settings: Settings,
    here: str,
    deployment: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The same for a comparison: other hosts have the addresses that were last written on this one.

    here: this host's name. deployment: what the action `deployment` returned for it.
    """
    known = {each["name"]: each.get("group") for each in deployment["host"]["standing"]}
    found = []
    for service in services:
        if spans_hosts(service):
            group = known.get(service["name"]) or {
                "members": [],
                "port": settings.cluster_port_base,
            }
            addresses = {each["host"]: each["address"] for each in group["members"]}
            own = deployment.get("group_address") or {"address": "", "interface": ""}
            members = tuple(
                Member(host, own["address"], own["interface"])
                if host == here
                else Member(host, str(addresses.get(host, "")))
                for host in hosts_of(service)
            )
            rank = int(service["cluster"]["rank"])
            service = {**service, "group": Group(_engine(service), rank, members, group["port"])}
        found.append(service)
    return found


def check_run(
    services: Sequence[Mapping[str, Any]],
    deployment: Mapping[str, Any],
    here: str,
    run: Mapping[str, Any],
) -> frozenset[str]:
    """The hosts of the run that have not failed.

    services, deployment: of the host `here`. run: Ansible's variables of the play and its hosts.
    Raises AscendError for a service whose hosts are not all in the play, or not in one batch of it.
    """
    every = run.get("ansible_play_hosts_all") or [here]
    check_members(services, written_groups(deployment), every, run.get("hostvars") or {})
    left = frozenset(run.get("ansible_play_hosts") or [here])
    check_batch(services, left.difference(run.get("ansible_play_batch") or left))
    return left


def check_ranks(services: Sequence[Mapping[str, Any]], here: str) -> None:
    """Raises AscendError for a service in whose hosts this one has another rank, or is not.

    here: this host's name.
    """
    for service in services:
        if not spans_hosts(service):
            continue
        hosts, rank = hosts_of(service), whole_number(service["cluster"]["rank"]) or 0
        if hosts[rank] != here:
            right = f"rank: {hosts.index(here)}" if here in hosts else "them, with this host"
            raise AscendError(
                f"service {service['name']} spans {', '.join(hosts)}, and the variables of {here} have"
                f" rank {rank}, which is {hosts[rank]}. Write {right}, or plan again."
            )


def check_members(
    services: Sequence[Mapping[str, Any]],
    written: Mapping[str, Sequence[str]],
    hosts: Sequence[str],
    known: Container[str],
) -> None:
    """Raises AscendError for a service some of whose hosts are not among those of the run.

    written: what `written_groups` returns, of services that may go from this host. hosts: of the
    run. known: of the inventory.
    """
    for service in services:
        if spans_hosts(service):
            _check_known(service, known)
            check_hosts(str(service["name"]), hosts_of(service), hosts)
    for name, others in written.items():
        check_hosts(name, [host for host in others if host in known], hosts)


def _check_known(service: Mapping[str, Any], known: Container[str]) -> None:
    unknown = [host for host in hosts_of(service) if host not in known]
    if unknown:
        raise AscendError(
            f"service {service['name']} spans {', '.join(hosts_of(service))}, and the inventory has no"
            f" host {' or '.join(unknown)}. Plan again, or correct the key cluster in"
            " vllm_service_instances of its hosts."
        )


def left_behind(name: str, hosts: Sequence[str]) -> str:
    """What is reported of a service that stopped or went on some of its hosts alone."""
    was = "was" if len(hosts) == 1 else "were"
    return (
        f"{name}: {', '.join(hosts)} {was} not reached and still has its part, which starts no engine"
        " alone. Run again with all its hosts when that is possible."
    )


def check_hosts(name: str, spanned: Sequence[str], hosts: Sequence[str]) -> None:
    """Raises AscendError where some of the hosts of a service are not among those of the run."""
    missing = [host for host in spanned if host not in hosts]
    if missing:
        raise AscendError(
            f"service {name} spans {', '.join(spanned)}, and this run leaves out"
            f" {', '.join(missing)}. Its hosts are changed together: run with --limit"
            f" {','.join(spanned)}, or without --limit."
        )


def check_batch(services: Sequence[Mapping[str, Any]], others: Container[str]) -> None:
    """Raises AscendError for a service some of whose hosts come in another batch of the play.

    others: the hosts of the play's other batches.
    """
    for service in services:
        apart = (
            [host for host in hosts_of(service) if host in others] if spans_hosts(service) else []
        )
        if apart:
            raise AscendError(
                f"service {service['name']} spans {', '.join(hosts_of(service))}, and with the serial of"
                f" this play {', '.join(apart)} does not come together with this host. Its hosts are"
                " changed together: leave serial out, or give it batches that have all of them."
            )


def requested(requests: object, catalogue: Callable[[], Catalogue]) -> list[dict[str, Any]]:
    """{name, cluster} of the requests for services over several hosts, as far as they can be read."""
    found = []
    for request in requests if isinstance(requests, list) else ():
        cluster = request.get("cluster") if isinstance(request, Mapping) else None
        hosts = cluster.get("hosts") if isinstance(cluster, Mapping) else None
        names = listed_names([request], catalogue()) if isinstance(hosts, list) else []
        found += [{"name": name, "cluster": cluster} for name in names]
    return found


def spans(deployment: Mapping[str, Any]) -> dict[str, list[str]]:
    """The hosts of each service over several of which a host has a part or is to have one, by its name.

    deployment: what the action `deployment` returned for the host.
    """
    listed = [each for each in deployment["services"] if spans_hosts(each)]
    return {**written_groups(deployment), **{str(each["name"]): hosts_of(each) for each in listed}}


def together(service: Mapping[str, Any], settings: Settings, deployments: Deployments) -> Group:
    """The group of a service, as this host sees it.

    Raises AscendError where the variables of its hosts do not agree.
    """
    name = str(service["name"])
    members: list[Member] = []
    owners: dict[str, str] = {}
    # As each host was checked, which in an upgrade is for another version than `service` is.
    parts: dict[str, Mapping[str, Any]] = {}
    own = int(service["cluster"]["rank"])
    for host in hosts_of(service):
        deployment = deployments(host) or {}
        part = next((each for each in deployment["services"] if each["name"] == name), None)
        if part is None or not spans_hosts(part) or hosts_of(part) != hosts_of(service):
            raise AscendError(
                f"service {name} spans {', '.join(hosts_of(service))}, and the variables of {host} list no"
                " service of that name over the same hosts. Plan again, or correct the key cluster"
                f" in vllm_service_instances of {host}."
            )
        parts[host] = part
        address = deployment["group_address"]
        if address is None:
            raise AscendError(f"the address of {host}, a host of service {name}, is not known.")
        other = owners.setdefault(address["address"], host)
        if other != host:
            raise AscendError(
                f"{other} and {host}, hosts of service {name}, both have the address"
                f" {address['address']}. Set vllm_service_cluster_address for each."
            )
        if address["port_base"] != settings.cluster_port_base:
            raise AscendError(
                f"vllm_service_cluster_port_base is {address['port_base']} on {host} and"
                f" {settings.cluster_port_base} on {hosts_of(service)[own]}, hosts of service {name}."
                " Set it equal on all of them."
            )
        members.append(Member(host, address["address"], address["interface"]))
    _check_equal(name, parts)
    _check_ray(service, deployments)
    port = settings.cluster_port_base + PORTS * int(parts[members[0].host]["cards"][0])
    return Group(_engine(service), own, tuple(members), port)


def _check_equal(name: str, parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises AscendError where the hosts of a service list it differently; their guards would refuse it.

    parts: the service as each host lists it.
    """
    (here, one), *others = parts.items()
    for there, other in others:
        keys = [key for key in _EQUAL if one.get(key) != other.get(key)]
        if one.get("state", "started") != other.get("state", "started"):
            keys.insert(0, "state")
        if len(one["cards"]) != len(other["cards"]):
            keys.append("the number of cards")
        if keys:
            raise AscendError(
                f"service {name} differs between {here} and {there} in {', '.join(keys)}. Its hosts"
                " serve it together: plan again, or write the same on all of them."
            )


def _check_ray(service: Mapping[str, Any], deployments: Deployments) -> None:
    """Raises AscendError where another service has its Ray on the same ports of a host.

    Two with one leader never have; the ports of other engines are those of their leader alone.
    """

    def first_card(name: str, leader: str) -> int | None:
        listed = (deployments(leader) or {}).get("services") or ()
        cards = (each["cards"] for each in listed if each["name"] == name and each.get("cards"))
        return next((int(each[0]) for each in cards), None)

    name, leader = str(service["name"]), hosts_of(service)[0]
    for host in hosts_of(service) if _engine(service) == RAY else ():
        for other in (deployments(host) or {}).get("services") or ():
            if other["name"] == name or not spans_hosts(other) or _engine(other) != RAY:
                continue
            first, head = first_card(name, leader), hosts_of(other)[0]
            if head != leader and first == first_card(other["name"], head):
                raise AscendError(
                    f"services {name} and {other['name']} both run Ray on {host}, on the same ports,"
                    f" because card {first} is the first one of both on their leaders {leader} and"
                    f" {head}. Give them one leader, other cards there, or the engine native."
                )


def _engine(service: Mapping[str, Any]) -> str:
    return str(service["engine"])
