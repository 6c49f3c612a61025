# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no table lists is held against the configuration of its weights on the host."""

from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._host.findings import Finding
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import (
    Deployment,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_options import host_options
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

from .facts import A2, checked, facts

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
REQUEST = {"model": "Ours-70B", "path": "/data/ours", "cards": 4, "max_model_len": "32K"}


def found(request: dict[str, Any], size: int | None = 141 * 10**9, **config: Any) -> list[Finding]:
    known = {"config": {**CONFIG, **config}, "weight_bytes": size}
    host = facts(models={"/data/ours": True}, configurations={"/data/ours": known})
    return [each for each in checked(host, request).findings if each.code == "configuration"]


def test_a_request_that_fits_is_not_mentioned() -> None:
    assert found(REQUEST) == []
    assert found(REQUEST, size=None) == []


def test_weights_that_do_not_fit_are_an_error() -> None:
    (only,) = found({**REQUEST, "cards": 2})
    assert only.severity == "error"
    assert only.message.startswith(
        "its weights are 65.7 GiB on each of 2 cards, which carry 0 tokens by estimate (0 to 0),"
        " limited by the weights; max_model_len is 32768."
    )


def test_a_length_between_a_careful_and_a_generous_estimate_is_a_warning() -> None:
    (only,) = found({**REQUEST, "max_model_len": "64K"}, size=205 * 10**9)
    assert (only.severity, "by estimate" in only.message) == ("warning", True)


def test_heads_that_do_not_divide_are_an_error() -> None:
    (only,) = found(REQUEST, num_attention_heads=50, hidden_size=6400)
    assert (only.severity, "tensor_parallel_size 4" in only.message) == ("error", True)


def test_a_configuration_that_says_too_little_is_a_warning() -> None:
    (only,) = found(REQUEST, vocab_size=None)
    assert (only.severity, "no vocab_size" in only.message) == ("warning", True)


def test_what_the_weights_need_to_start_is_known_by_their_configuration() -> None:
    awq = {"quantization_config": {"quant_method": "awq", "bits": 4}}
    (only,) = found(REQUEST, **awq)
    assert only.severity == "error"
    assert "cannot start: vllm-ascend has no kernels for the quantization" in only.message
    args = {"quantization": "compressed-tensors"}
    assert found({**REQUEST, "args": args}, **awq) == []
    (only,) = found(REQUEST, auto_map={"AutoConfig": "configuration_ours.OursConfig"})
    assert (only.severity, "args: {trust-remote-code: true}" in only.message) == ("warning", True)
    trusted = {**REQUEST, "args": {"trust-remote-code": True}}
    assert found(trusted, auto_map={"AutoConfig": "configuration_ours.OursConfig"}) == []


def test_only_what_no_table_lists_is_read_on_the_host() -> None:
    def options(*requests: Any) -> dict[str, Any]:
        variables = {"ascend_host_profile": A2, "vllm_service_instances": list(requests)}
        settings = Settings(variables.get)
        return host_options(settings, Deployment(settings, load_catalogue()))

    assert options(REQUEST, "Qwen3-14B")["configurations"] == ["/data/ours"]
    assert "configurations" not in options("Qwen3-14B")
