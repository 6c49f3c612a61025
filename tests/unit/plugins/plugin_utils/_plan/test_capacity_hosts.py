# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of hosts that capacity is shown for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.capacity_hosts import (
    HostKind,
    kinds_of,
    named_profiles,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

A2, A3, DUO = "atlas-800i-a2-64g", "atlas-800i-a3", "atlas-300i-duo-96g"


def kinds(
    answers: Mapping[str, Any] | None = None, **hosts: Mapping[str, Any]
) -> tuple[list[HostKind], dict[str, str]]:
    return kinds_of([(name, variables.get) for name, variables in hosts.items()], answers)


def cards(number: int, name: str, memory: int) -> dict[str, Any]:
    found = [{"logic_id": n, "name": name, "memory_total_mb": memory} for n in range(number)]
    return {"npu": {"cards": found, "problems": []}}


def test_hosts_that_are_alike_are_one_kind() -> None:
    a2 = {"ascend_host_profile": A2}
    newer = {**a2, "vllm_service_engine_version": "0.23.0"}
    found, left_out = kinds(a=a2, b=newer, c=a2, d={"ascend_host_profile": DUO})
    assert [(k.name, k.hosts, k.cards, k.memory, k.engine_version) for k in found] == [
        (A2, ("a", "c"), 8, 64, "0.18.0"),
        (f"{A2} #2", ("b",), 8, 64, "0.23.0"),
        (DUO, ("d",), None, 48, "0.18.0"),
    ]
    assert not left_out
    assert not any(kind.contacted for kind in found)


def test_cards_that_services_may_not_use_do_not_count() -> None:
    (found,), _none = kinds(a={"ascend_host_profile": A2, "ascend_host_excluded_cards": [3, 7]})
    assert found.cards == 6
    (found,), _none = kinds(a={"vllm_service_cards": 4, "vllm_service_card_memory_gb": 32})
    assert (found.name, found.cards) == ("cards of 32 GB", 4)


def test_a_host_that_does_not_say_what_it_has_is_left_out_with_the_way_to_ask_it() -> None:
    found, left_out = kinds(
        a={},
        b={"ascend_host_profile": "atlas-9"},
        c={"ascend_host_profile": A2},
        d={"ascend_host_profile": A2, "vllm_service_engine_version": "banana"},
    )
    assert [kind.hosts for kind in found] == [("c",)]
    assert "-e capacity_contact=true" in left_out["a"]
    assert "atlas-9" in left_out["b"]
    assert "'banana' (vllm_service_engine_version), which is not a version" in left_out["d"]


def test_what_hosts_show_counts_before_what_is_declared() -> None:
    answers = {
        "a": {**cards(4, "910B3", 65536), "engine": {"vllm": "0.23.0", "vllm_ascend": "0.23.0rc1"}},
        "b": cards(16, "Ascend910", 65536),
        "c": {"npu": {"cards": [], "problems": [{"message": "npu-smi was not found"}]}},
        "d": {"unreachable": True, "msg": "no route\n to host"},
        "e": cards(2, "910X", 65536),
        "f": {**cards(8, "910B3", 65536), "engine": {"vllm": "0.23.0"}},
    }
    found, left_out = kinds(
        answers,
        a={"vllm_service_cards": [0, 1], "vllm_service_card_memory_gb": 64},
        b={"ascend_host_profile": A2},
        c={"ascend_host_profile": A2},
        d={"ascend_host_profile": A2},
        e={},
        f={"ascend_host_profile": "atlas-800t-a2-64g", "vllm_runtime_method": "container"},
    )
    assert [(k.name, k.hosts, k.memory, k.engine_version) for k in found] == [
        (A3, ("b",), 64, "0.18.0"),
        ("atlas-800t-a2-64g", ("f",), 64, "0.18.0"),
    ]
    assert all(kind.contacted for kind in found)
    # Four 910B3 are no known host.
    assert left_out == {
        "a": "its 4 cards (910B3) fit no profile. Set ascend_host_profile to the profile of the host.",
        "c": "it could not be asked for its cards: npu-smi was not found",
        "d": "it could not be asked for its cards: no route to host",
        "e": "its 2 cards (910X) fit no profile. Set ascend_host_profile to the profile of the host.",
    }


def test_named_profiles_need_no_host_and_have_the_engine_of_the_settings() -> None:
    settings = Settings({"vllm_service_engine_version": "0.23.0"}.get)
    found = named_profiles([A3, DUO, A3], settings)
    assert [(k.name, k.cards, k.memory, k.hosts, k.engine_version) for k in found] == [
        (A3, 16, 64, (), "0.23.0"),
        (DUO, None, 48, (), "0.23.0"),
    ]
    with pytest.raises(AscendError, match=f"'a3' .capacity_profiles.* {A3}"):
        named_profiles(["a3"], settings)
