# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of hosts say that they have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.hosts import Hardware
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import Problems
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.requests import (
    RequestReader,
)

from .inventories import A2, Hosts


def hardware(**variables: Any) -> Hardware:
    found, problems, _unused = _hardware(variables)
    assert not problems
    return found["h"]


def _hardware(
    variables: Mapping[str, Any], seen: Mapping[str, Any] | None = None
) -> tuple[dict[str, Hardware], list[str], list[str]]:
    problems = Problems()
    found, ask = RequestReader(Hosts({"h": variables}), problems).hardware(["h"], seen or {})
    return found, problems.lines(), ask


def test_a_profile_says_what_a_host_has_and_variables_of_the_role_go_before() -> None:
    own = hardware(ascend_host_profile="atlas-800i-a3", ascend_host_excluded_cards=[3])
    assert (own.cards, own.unit, own.options.card_memory_gb) == (tuple(range(16)), 2, 64)
    assert own.excluded == (3,)
    own = hardware(
        ascend_host_profile="atlas-800i-a3",
        ascend_host_excluded_cards=[3],
        vllm_service_cards=4,
        vllm_service_cards_per_board="1",
        vllm_service_excluded_cards=[],
        vllm_service_unavailable_cards={"2": "health Alarm"},
        vllm_service_port_base=9000,
    )
    assert (own.cards, own.unit, own.excluded) == ((0, 1, 2, 3), 1, (2,))
    assert own.ports.base == 9000


def test_ports_begin_where_those_of_the_role_begin() -> None:
    defaults = Path(__file__).parents[5] / "roles" / "vllm_service" / "defaults" / "main.yml"
    role = yaml.safe_load(defaults.read_text(encoding="utf-8"))
    ports = hardware(ascend_host_profile="atlas-800i-a3").ports
    for name in ("base", "hccl_base", "hccl_count"):
        key = name.replace("base", "port_base").replace("hccl_count", "hccl_port_count")
        assert getattr(ports, name) == role[f"vllm_service_{key}"]


def test_cards_and_memory_stand_for_a_profile() -> None:
    own = hardware(vllm_service_cards=[0, 1, 5], vllm_service_card_memory_gb=32)
    assert (own.cards, own.options.card_memory_gb, own.options.profile) == ((0, 1, 5), 32, None)


def test_only_hosts_that_do_not_say_it_are_asked() -> None:
    assert _hardware({})[2] == ["h"]
    assert _hardware({"vllm_service_cards": 4})[2] == ["h"]
    # A profile whose number of cards is the host's own.
    assert _hardware({"ascend_host_profile": "atlas-300i-duo-96g"})[2] == ["h"]
    duo = {"ascend_host_profile": "atlas-300i-duo-96g", "vllm_service_cards": 8}
    assert _hardware(duo)[2] == []


def test_a_host_that_was_asked_has_the_cards_that_it_shows() -> None:
    cards = [
        {"logic_id": n, "phy_id": n, "name": "910B3", "memory_total_mb": 65536} for n in range(8)
    ]
    found, problems, ask = _hardware({}, {"h": cards})
    assert (found["h"].options.card_memory_gb, found["h"].cards, ask) == (64, tuple(range(8)), [])
    unknown = [{**card, "name": "920X"} for card in cards]
    assert "ascend_host_profile" in _hardware({}, {"h": unknown})[1][0]


def test_hosts_on_which_requests_are_resolved_alike_are_of_one_kind() -> None:
    hosts = {
        "a": A2,
        "b": {**A2, "ascend_host_excluded_cards": [1]},
        "c": {**A2, "vllm_service_cards": 4},
        "d": {**A2, "vllm_service_allow_untested": True},
    }
    found, _unused = RequestReader(Hosts(hosts), Problems()).hardware(hosts, {})
    kinds = {name: own.kind for name, own in found.items()}
    assert kinds["a"] == kinds["b"]
    assert len(set(kinds.values())) == 3


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ascend_host_profile": "atlas-900"}, "no hardware profile 'atlas-900'"),
        ({"vllm_service_cards": "many"}, "vllm_service_cards: the host's cards"),
        ({"vllm_service_cards": 0}, "no cards"),
        ({"ascend_host_excluded_cards": 3}, "ascend_host_excluded_cards"),
        ({"vllm_service_cards_per_board": 3}, "power of two"),
        ({"vllm_service_estimate": "perhaps"}, "vllm_service_estimate"),
        ({"vllm_service_port_base": "high"}, "vllm_service_port_base"),
        ({"ascend_model_tables": 5}, "ascend_model_tables"),
        ({"ascend_host_excluded_cards": "{{ nowhere }}"}, "ascend_host_excluded_cards: {{ nowhere"),
    ],
)
def test_what_no_host_can_have(variables: dict[str, Any], words: str) -> None:
    lines = _hardware({**A2, **variables})[1]
    assert len(lines) == 1
    assert lines[0].startswith("h: ")
    assert words in lines[0]


class NativeHosts(Hosts):
    """An inventory of which templates give lists too, as Ansible's do."""

    def render(self, host: str, text: str) -> object:
        return [1] if "ill" in text else "atlas-800i-a2-32g"


def test_a_template_of_a_host_is_rendered_for_it() -> None:
    hosts = {
        "a": {**A2, "ascend_host_excluded_cards": "{{ ill }}", "ill": [1]},
        "b": {"ascend_host_profile": "atlas-800i-a2-{{ size }}g", "size": 32},
    }
    found, _unused = RequestReader(NativeHosts(hosts), Problems()).hardware(hosts, {})
    assert found["a"].excluded == (1,)
    assert found["b"].options.card_memory_gb == 32
