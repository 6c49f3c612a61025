# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of services: what exists, memory, mask, ports, weights and disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._base.values import whole_number
from .._base.words import listed
from .._model.facts import load_facts
from .._model.profiles import visible_memory
from .._place.service import PlacedService, Placement
from .._service.engine import weights_directory
from .checks import HostChecks, name_of
from .findings import format_card, format_process

_MIB = 1 << 20


def check_existing(checks: HostChecks) -> None:
    """What is known of services before they are placed."""
    if checks.settings.services is None and not checks.settings.prepare:
        checks.warning(
            "placement",
            "services",
            "vllm_service_instances is not defined where this host is checked, so no service"
            " was checked: neither cards, memory nor ports.",
            "Define it for the host or the play, not for the role vllm_service alone.",
        )
    if checks.cards:
        _check_lost(checks)
        return
    # There is nothing to place on, which is reported; ports are known all the same.
    for spec in checks.started:
        name = name_of(spec)
        existing = checks.existing.get(name)
        port = whole_number(spec.extra.get("port") or (existing.port if existing else None))
        if port is not None:
            check_ports(checks, name, Placement(name, port=port))


def _check_lost(checks: HostChecks) -> None:
    """A service of ours on a card that is not shown would move, though it may well serve."""
    known = {int(card["logic_id"]) for card in checks.cards} | checks.excluded
    for spec in checks.present:
        name = name_of(spec)
        existing = checks.existing.get(name)
        lost = sorted(set(existing.cards) - known) if existing else []
        if lost and not spec.pinned_cards:
            checks.error(
                "placement",
                f"service {name}",
                f"it is placed on card {listed(lost)}, which npu-smi does not show"
                " with its ids now; it would be moved and restarted.",
                "Run again, and compare with `npu-smi info` and `npu-smi info -m` by hand. If"
                " the card is gone for good, add its logic id to ascend_host_excluded_cards.",
            )


def check_services(checks: HostChecks, placed: Sequence[PlacedService]) -> None:
    """Placed services against the cards and ports of their host."""
    by_id = {card["logic_id"]: card for card in checks.cards}
    started = [service for service in placed if service.spec.state == "started"]
    sharers: dict[tuple[int, ...], list[PlacedService]] = {}
    for service in started:
        sharers.setdefault(service.placement.cards, []).append(service)
    for together in sharers.values():
        check_memory(checks, together, [by_id[card] for card in together[0].placement.cards])
    for service in started:
        its_cards = [by_id[card] for card in service.placement.cards]
        check_mask(checks, service, its_cards, _utilization(sharers[service.placement.cards]))
        check_ports(checks, service.name, service.placement, len(its_cards))
    _check_device_share(checks, sharers.values())


def _utilization(services: Sequence[PlacedService]) -> float:
    """Of all services on the same cards."""
    return round(sum(service.spec.gpu_memory_utilization for service in services), 6)


def _name(service: PlacedService) -> str:
    return service.name


def _names(services: Sequence[PlacedService]) -> str:
    return f"service{'s' if services[1:] else ''} {', '.join(each.name for each in services)}"


def check_memory(
    checks: HostChecks, services: Sequence[PlacedService], cards: Sequence[Mapping[str, Any]]
) -> None:
    """services: those that have these cards, together."""
    utilization = _utilization(services)
    for card in cards:
        if not checks.lacks_memory(card, utilization):
            continue
        share = (checks.free(card) or 0.0) / (checks.visible(card) or 1.0)
        runs = checks.service_on(card) in {service.name for service in services}
        published = visible_memory(card, checks.profile)
        together = " together" if len(services) > 1 else ""
        checks.add(
            "warning" if runs or not published else "error",
            "memory",
            f"{_names(services)}, {format_card(card)}",
            f"{checks.memory_need(card, utilization)}; the engine would not start"
            + (" again." if runs else ".")
            + ("" if published else " How much of it the engine sees is not known."),
            f"Free the card's memory, or set gpu_memory_utilization to"
            f" {int(share * 100) / 100:g} or less{together}.",
        )


def _check_device_share(checks: HostChecks, sharers: Iterable[Sequence[PlacedService]]) -> None:
    """Whether a card may be used from several mount namespaces is a setting of the driver.

    It is off by default, and again when the host restarts: "device-share" in Huawei's reference of
    npu-smi, and uda_occupy_dev_by_ns in the driver's uda_access.c. A unit has a namespace as a container
    has.
    """
    by_id = {card["logic_id"]: card for card in checks.cards}
    for together in sharers:
        here = [each for each in map(checks.existing.get, map(_name, together)) if each]
        if len(together) < 2 or sum(each.running for each in here) > 1:
            continue  # what runs together may
        cards = [by_id[number] for number in together[0].placement.cards]
        known = checks.facts.get("device_share") or {}
        missing = [card for card in cards if known.get(str(card["logic_id"])) is not True]
        if not missing:
            continue
        off = [card["logic_id"] for card in missing if str(card["logic_id"]) in known]
        commands = [
            f"npu-smi set -t device-share -i {card['npu_id']} -c {card['chip_id'] or 0} -d 1"
            for card in missing
        ]
        checks.add(
            # That of units is known from the driver's source alone.
            "error" if off and checks.settings.unit.contained else "warning",
            "device_share",
            _names(together),
            "they have the same cards, which the driver allows only where the device-share of each card"
            + (
                f" is on; that of card {listed(off)} is off."
                if off
                else " is on, which is not known."
            )
            + " It is off by default and after each restart of the host; the second service then fails"
            " with error 507899 or -8020.",
            f"Set it as root while nothing uses the card: {'; '.join(commands)}",
        )


def check_mask(
    checks: HostChecks,
    service: PlacedService,
    cards: Sequence[Mapping[str, Any]],
    utilization: float,
) -> None:
    """utilization: of all services on the cards."""
    if checks.profile is None or not checks.profile.quadratic_mask:
        return
    visible = min((checks.visible(card) or 0.0 for card in cards), default=0.0)
    left = visible * (1 - utilization)
    length = service.spec.max_model_len
    mask = length * length * 2 / _MIB
    if visible and mask > left:
        checks.warning(
            "mask",
            f"service {service.name}",
            f"this chip needs a mask of {length} x {length} x 2 bytes = {mask:.0f} MB on every"
            f" card; beside gpu_memory_utilization {utilization:g} of {visible:.0f} MB only"
            f" {left:.0f} MB are left for it.",
            "Set a shorter max_model_len (16384 takes 512 MB) or a lower gpu_memory_utilization.",
        )


def check_ports(checks: HostChecks, name: str, placed: Placement, cards: int = 0) -> None:
    first, last = placed.hccl_ports or (0, 0)
    kv_first, kv_last = placed.kv_ports or (0, 0)
    for entry in checks.facts["ports"]:
        port, unit = entry["port"], entry["unit"]
        if unit in checks.ours:
            continue
        who = format_process(entry) if entry["pid"] else "a process that is not visible"
        if port == placed.port:
            what = f"port {port}"
            advice = "Stop it, give the service another `port`, or move vllm_service_port_base."
        elif first <= port <= last and cards > 1:
            what = f"port {port} of its HCCL ports {first}-{last}"
            advice = "Stop it, or move vllm_service_hccl_port_base."
        elif kv_first <= port <= kv_last:
            what = f"port {port} of its KV transfer ports {kv_first}-{kv_last}"
            advice = "Stop it, or give the service another kv_port in its kv-transfer-config."
        else:
            continue
        message = f"{what} is taken: {who} listens there."
        checks.error("ports", f"service {name}", message, advice)


def check_weights(checks: HostChecks) -> None:
    weights_dir, facts = checks.settings.weights_dir, checks.facts
    needed, unknown = 0, 0
    missing: list[str] = []
    for spec in checks.present:
        directory = weights_directory(spec.as_dict(), weights_dir)
        if directory is None or directory in missing or facts["models"].get(directory, False):
            continue
        missing.append(directory)
        checks.warning(
            "weights",
            directory,
            f"the weights of service {spec.name} are not there.",
            "Fetch them, or give the service the `path` where they are.",
        )
        if spec.extra.get("path"):
            continue
        known = load_facts().get(str(spec.model))
        size = known.runtime_weight_bytes if known else None
        needed, unknown = needed + (size or 0), unknown + (size is None)
    free = facts["disk"]["free_bytes"]
    if needed and free is not None and free < needed:
        checks.warning(
            "disk",
            weights_dir,
            f"weights that are not there yet take {needed / 1e9:.1f} GB"
            + (f" and {unknown} of unknown size" if unknown else "")
            + f"; {free / 1e9:.1f} GB are free at {facts['disk']['at']}.",
            "Make room, or set vllm_service_weights_dir to a larger disk.",
        )
