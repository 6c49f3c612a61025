# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model that only its weights on the host tell of: resolved when these were read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import (
    services_to_render,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_options import host_options

from ._host.facts import card, facts
from ._host.test_configuration import CONFIG
from .test_deployment import A2, deployment, settings, where

OURS = {"model": "Ours-70B", "path": "/data/ours"}
FOUND = {"config": CONFIG, "weight_bytes": 141 * 10**9}
ESTIMATE: Any = {"vllm_service_estimate": True, "ascend_host_cann_scripts": []}


def host(found: Any = "as found", directory: str = "/data/ours", **more: Any) -> dict[str, Any]:
    shown = FOUND if found == "as found" else found
    return facts(configurations={directory: shown}, **more)


def findings(report: Any, code: str = "configuration") -> list[tuple[str, str]]:
    return [(each.severity, each.message) for each in report.findings if each.code == code]


def test_it_is_placed_by_what_the_host_shows_among_the_others_in_their_order() -> None:
    made = deployment("Qwen3-14B", OURS, "Qwen3-8B", **ESTIMATE)
    made.check_declared()
    assert where([each.as_dict() for each in made.services]) == [
        ("qwen3-14b", [0], 8000),
        ("qwen3-8b", [1], 8001),
    ]
    assert not made.is_complete
    assert host_options(made.settings, made)["configurations"] == ["/data/ours"]
    report = made.check(host())
    assert findings(report) == []
    found = made.as_dict()
    assert where(found["services"]) == [
        ("qwen3-14b", [0], 8000),
        ("ours-70b", [4, 5, 6, 7], 8001),
        ("qwen3-8b", [1], 8002),
    ]
    ours = found["services"][1]
    assert ours["provenance"]["basis"] == "estimated"
    assert ours["max_model_len"] == 131072
    assert ours["warnings"] == [
        "estimated, never run: Ours-70B on cards of 64 GB follows from the config.json in /data/ours"
        " on the host, 32.8 GiB of weights on a card, its length limited by its native context"
    ]
    assert found["origins"] == [0, 1, 2]
    assert found["fingerprint"]


def test_cards_of_the_request_get_the_length_that_fits() -> None:
    made = deployment({**OURS, "cards": [2, 3, 4, 5]}, **ESTIMATE)
    made.check(host({**FOUND, "weight_bytes": 200 * 10**9}))
    (service,) = made.as_dict()["services"]
    assert service["cards"] == [2, 3, 4, 5]
    assert 4096 < service["max_model_len"] < 131072


def test_weights_below_the_directory_of_all_weights_count_by_their_id() -> None:
    made = deployment("us/Ours-70B", **ESTIMATE)
    directory = "/var/lib/vllm/weights/us/Ours-70B"
    assert host_options(made.settings, made)["configurations"] == [directory]
    made.check(host(directory=directory))
    assert [each.name for each in made.services] == ["us-ours-70b"]


@pytest.mark.parametrize(
    "found, words",
    [
        (None, "/data/ours on the host has no config.json that can be read"),
        ({"config": {}, "weight_bytes": None}, "is not enough for an estimate of Ours-70B: the"),
        ({**FOUND, "weight_bytes": 10**13}, "Ours-70B on cards of 64 GB"),
    ],
)
def test_what_cannot_be_estimated_there_is_an_error_of_the_preflight(
    found: Any, words: str
) -> None:
    made = deployment(OURS, "Qwen3-8B", **ESTIMATE)
    ((severity, message),) = findings(made.check(host(found)))
    assert (severity, words in message) == ("error", True), message
    assert [each.name for each in made.services] == ["qwen3-8b"]
    assert made.as_dict()["fingerprint"] == ""


def test_too_many_cards_are_an_error_of_the_placement() -> None:
    made = deployment(OURS, **ESTIMATE)
    (error,) = findings(made.check(host(cards=[card(n) for n in range(2)])), "placement")
    assert "service ours-70b needs 4 cards" in error[1]


def test_other_memory_than_declared_is_held_against_it_too() -> None:
    cards = [card(n, name="910B4", memory_total_mb=32768) for n in range(8)]
    report = deployment({**OURS, "cards": 4}, **ESTIMATE).check(host(cards=cards))
    ((severity, message),) = findings(report, "model")
    assert (severity, "on 4 cards of 32 GB should carry 0 tokens" in message) == ("error", True)


@pytest.mark.parametrize("request_", ["Ours-70B", {"model": "Ours-70B", "name": "ours"}])
def test_a_name_alone_is_rejected_before_contact(request_: Any) -> None:
    with pytest.raises(
        AscendError, match="No table lists the model 'Ours-70B'.*deploy it with path"
    ):
        deployment(request_, **ESTIMATE)


def test_without_an_estimate_it_is_rejected_before_contact() -> None:
    with pytest.raises(AscendError, match="No table lists the model 'Ours-70B'.*set estimate"):
        deployment(OURS)


def test_later_tasks_have_what_was_read() -> None:
    asked = {"ascend_host_profile": A2, **ESTIMATE}
    made = deployment(OURS, **ESTIMATE)
    made.check(host())
    known = made.as_dict()
    (same,) = services_to_render(settings(OURS, **asked), load_catalogue, known)
    assert same["cards"] == [0, 1, 2, 3]
    changed = settings(OURS, vllm_service_port_base=9000, **asked)
    (service,) = services_to_render(changed, load_catalogue, known)
    assert (service["cards"], service["port"]) == ([0, 1, 2, 3], 9000)
    with pytest.raises(
        AscendError, match="in /data/ours on the host, which were not read. The role"
    ):
        services_to_render(changed, load_catalogue, None)
