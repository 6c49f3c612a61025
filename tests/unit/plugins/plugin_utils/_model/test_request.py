# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user writes is taken literally or rejected, and the message says the way out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.request import parse_length
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
)
from ansible_collections.inferops.ascend.tests.unit.plugins.plugin_utils._model.resolving import (
    CATALOGUE,
    rejection,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# -- malformed requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (None, "A request is None, which names no model."),
        (3, "A request is 3, which names no model."),
        (["Qwen3-14B"], "A request is a list, which names no model."),
        ("", "A request is an empty text."),
        ({}, "A request names no model."),
        (
            {"model": ["a"]},
            "A request names the model ['a'], which is not a valid name (its keys are model).",
        ),
        ({1: 2}, "A request has the key 1, which is not text."),
        ({"state": "absent"}, "A request names no model (its keys are state)."),
    ],
)
def test_what_is_no_request(request_: object, complaint: str) -> None:
    ways = "Write a model's name, or a mapping such as {model: Qwen3-14B, cards: 2}."
    assert rejection(request_) == f"{complaint} {ways}"


def test_star_stands_alone() -> None:
    assert rejection({"model": "*"}) == (
        "A request names the model *, which is valid only alone, as a term of the lookup: every row"
        " for the memory. Write it as a text, or name one model."
    )


@pytest.mark.parametrize("cards", [0, -1, True, 1.0, "two", "", {"a": 1}, "1,2"])
def test_a_number_of_cards_that_is_none(cards: object) -> None:
    assert rejection({"model": "Qwen3-14B", "cards": cards}) == (
        f"cards of Qwen3-14B is {cards!r}; it is a number of cards, 1 to 65536, or a list of the"
        " cards themselves. Write for example 2, or [4, 5]."
    )


@pytest.mark.parametrize("cards", [[], [1, 1], [1, "1"], [-1], [True], ["a"], [[1]], [1.5]])
def test_a_list_of_cards_that_is_none(cards: object) -> None:
    assert rejection({"model": "Qwen3-14B", "cards": cards}) == (
        f"cards of Qwen3-14B is {cards!r}; a list of cards contains each card's number once, counted"
        " from 0. Write for example [4, 5], or a number of cards."
    )


@pytest.mark.parametrize("value", [0, -0.5, 1.01, 95, "90%", True, float("nan"), [0.9], "much"])
def test_a_utilization_that_is_none(value: object) -> None:
    assert rejection({"model": "Qwen3-14B", "gpu_memory_utilization": value}) == (
        f"gpu_memory_utilization of Qwen3-14B is {value!r}; it is a share of the card's memory,"
        " above 0 and at most 1. Write for example 0.95."
    )


def test_other_values_of_a_wrong_kind() -> None:
    model = {"model": "Qwen3-14B"}
    assert rejection({**model, "card_memory_gb": "big"}) == (
        "card_memory_gb of Qwen3-14B is 'big'; it is the nominal memory of one card in GB. Write for example 64."
    )
    assert rejection({**model, "tensor_parallel_size": 0}) == (
        "tensor_parallel_size of Qwen3-14B is 0; it is an integer of 1 to 65536."
    )
    assert rejection({**model, "args": ["--x"]}) == (
        "args of Qwen3-14B is ['--x']; it is a mapping of vLLM's options. Write for example"
        " {enable-prefix-caching: true}."
    )
    assert rejection({**model, "args": {1: 2}}) == (
        "args of Qwen3-14B has the key 1, which is not text. Write the names of vLLM's options."
    )
    assert rejection({**model, "kind": "chat"}) == (
        "kind of Qwen3-14B is 'chat', which is none of generate, multimodal, embed, rerank."
    )
    assert rejection({**model, "name": 7}) == (
        "A request has the name 7, which is not a valid name of a service. Write a text, or leave it out:"
        " the model's name is the default."
    )


# -- lengths ---------------------------------------------------------------------------------------

LENGTH_WAYS = "Write whole tokens (16384), or K or M of 1024 (16K, 0.5K, 1M)."


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(512, 512), ("16384", 16384), ("16K", 16384), (" 0.5K", 512), ("1.5K", 1536), ("1M", 1048576)],
)
def test_lengths(value: object, tokens: int) -> None:
    assert parse_length(value) == tokens


@pytest.mark.parametrize(
    "value",
    [0, -1, True, 16.0, 0.5, float("nan"), "0", "0K", "abc", "", "auto", "K", "16 K", "-1K", "1e3",
     "16.5", "٣K", [16], {"a": 1}, 10**13],
)  # fmt: skip
def test_what_is_no_length(value: object) -> None:
    with pytest.raises(AscendError) as caught:
        parse_length(value)
    assert (
        str(caught.value)
        == f"max_model_len is {value!r}, which is not a valid length. {LENGTH_WAYS}"
    )


def test_a_small_k_means_something_else_to_the_engine() -> None:
    assert rejection({"model": "Qwen3-14B", "max_model_len": "16k"}) == (
        "max_model_len of Qwen3-14B is '16k': to vLLM a small k is a power of 1000, to the"
        " published table K is 1024. Write 16K, or whole tokens."
    )
    with pytest.raises(AscendError) as caught:
        parse_length("0.3K")
    assert str(caught.value) == (
        f"max_model_len is '0.3K', which is a fraction of a token. {LENGTH_WAYS}"
    )


@given(st.integers(1, 10**6), st.sampled_from(["", "K", "M"]))
def test_units_are_powers_of_1024(number: int, unit: str) -> None:
    assert parse_length(f"{number}{unit}") == number * {"": 1, "K": 1024, "M": 1024**2}[unit]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("max-model-len", "Write max_model_len."),
        ("Max_Model_Len", "Write max_model_len."),
        ("apiKey", "Write api_key."),
        ("dtype", "Write it into args: {dtype: ...}."),
        ("enable_prefix_caching", "Write it into args: {enable-prefix-caching: ...}."),
    ],
)
def test_a_key_in_another_spelling_is_rejected(key: str, words: str) -> None:
    with pytest.raises(AscendError, match=re.escape(words)) as caught:
        resolve({"model": "Qwen3-14B", key: "hush"}, load_catalogue(), Options())
    assert "hush" not in str(caught.value)


def test_a_key_that_looks_like_a_slip_warns_and_any_other_passes() -> None:
    request = {"model": "Qwen3-14B", "stat": "stopped", "team": 7}
    spec = resolve(request, load_catalogue(), Options()).as_dict()
    assert spec["warnings"] == ["nothing here reads the key 'stat'; is state meant?"]
    assert (spec["stat"], spec["team"]) == ("stopped", 7)


def test_a_request_without_a_model_does_not_show_its_values() -> None:
    with pytest.raises(AscendError) as caught:
        resolve({"name": "chat", "api_key": "hush"}, load_catalogue(), Options())
    assert str(caught.value).startswith(
        "The request 'chat' names no model (its keys are api_key, name)"
    )
    with pytest.raises(AscendError) as caught:
        resolve([{"api_key": "hush"}], load_catalogue(), Options())
    assert "hush" not in str(caught.value)


# -- nothing that a user can write raises anything else --------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = (
    "name", "state", "cards", "max_model_len", "gpu_memory_utilization", "card_memory_gb", "kind",
    "tensor_parallel_size", "pipeline_parallel_size", "args", "huggingface", "other",
)  # fmt: skip
LIKELY = st.one_of(
    st.integers(-1, 70),
    st.sampled_from(["16K", "0.9", "absent", 0.95, 65536, {"hf-overrides": "["}, [0, 1]]),
    JSON,
)


# How long an example takes says how busy the machine is, nothing of the code.
any_pace = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@any_pace
@given(
    st.sampled_from(["Qwen3-235B-A22B", "QwQ-32B", "bge-m3", "internvl2.5-38B", "?"]),
    st.dictionaries(st.sampled_from(KEYS), LIKELY, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_a_request_of_any_json_is_resolved_or_rejected(
    model: str, rest: dict[str, Any], estimate: bool, untested: bool
) -> None:
    options = Options(estimate=estimate, allow_untested=untested)
    try:
        got = resolve({"model": model, **rest}, CATALOGUE, options).as_dict()
    except AscendError as error:
        assert str(error).endswith(".")
        return
    if got.get("state") != "absent":
        assert got["tensor_parallel_size"] * got["pipeline_parallel_size"] == got["cards"] >= 1
        assert got["max_model_len"] >= 1
        if not untested and not estimate:
            assert got["cards"] >= got["min_cards"]


@any_pace
@given(JSON)
def test_any_json_is_resolved_or_rejected(request: object) -> None:
    with pytest.raises(AscendError):
        resolve(request, CATALOGUE, Options())
