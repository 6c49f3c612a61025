# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a user writes as a key of a request or as a variable, an answer of ours comes in time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import role_defaults
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.request import REQUEST_KEYS
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings
from ansible_collections.inferops.ascend.tests.timed import in_time


def nested(make: Callable[[Any], Any], levels: int = 5000) -> Any:
    value: Any = 1
    for _level in range(levels):
        value = make(value)
    return value


def looped() -> list[Any]:
    value: list[Any] = []
    value += [value, value]
    return value


HOSTILE: dict[str, Any] = {
    "2^31": 2147483648,
    "10^9-1": 10**9 - 1,
    "10^30": 10**30,
    "negative": -1,
    "infinite": float("inf"),
    "not a number": float("nan"),
    "deep list": nested(lambda inner: [inner]),
    "deep mapping": nested(lambda inner: {"a": inner}),
    "in itself": looped(),
    "long text": "x" * 1_000_000,
    "deep JSON": "[" * 100_000,
    "large number in JSON": '{"a": 1e400}',
    "long list": [0] * 1_000_000,
    "list of large": [0, 2147483648],
    "control": "a\x1bc\x07b",
    "options": {"data-parallel-size": 10**9 - 1, "speculative-config": "[" * 100_000},
}


def answer(values: dict[str, Any]) -> str:
    """What the collection says of a host's variables before contact, an error of ours too."""
    try:
        settings = Settings({"ascend_host_profile": "atlas-800i-a2-64g", **values}.get)
        settings.check()
        deployment = Deployment(settings, load_catalogue())
        deployment.check_declared()
        return str(deployment.as_dict())
    except AscendError as error:
        return str(error)


@pytest.mark.parametrize("key", sorted(REQUEST_KEYS))
def test_a_key_of_a_request(key: str) -> None:
    for name, value in HOSTILE.items():
        with in_time(f"{key} {name}"):
            answer({"vllm_service_instances": [{"model": "Qwen3-14B", key: value}]})


@pytest.mark.parametrize("role", ["vllm_service", "ascend_host", "vllm_runtime"])
def test_a_variable(role: str) -> None:
    seed = int(time.time())
    names = sorted(role_defaults(role))
    print(f"seed {seed}")
    # Some of them, others in each run: all take a minute.
    for variable in random.Random(seed).sample(names, min(len(names), 12)):
        for name, value in HOSTILE.items():
            with in_time(f"{variable} {name}, seed {seed}"):
                answer({"vllm_service_instances": [{"model": "Qwen3-14B"}], variable: value})


def test_a_number_of_cards_does_not_fill_the_memory() -> None:
    text = answer({"vllm_service_instances": ["Qwen3-14B"], "vllm_service_cards": 2147483648})
    assert "a host cannot have 2147483648 cards; at most 1024 are read" in text


def test_values_that_aliases_repeat_are_counted() -> None:
    value: Any = "x"
    for _level in range(20):
        value = [value, value, value]
    with in_time("aliases"), pytest.raises(AscendError, match="one of more than 1000000 values"):
        plain(value, "vllm_service_instances")
    with pytest.raises(AscendError, match="deeper than 100 levels"):
        plain(HOSTILE["deep list"], "vllm_service_instances")
