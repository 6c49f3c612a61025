# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates are rendered only where needed, and secrets do not get into the plan."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import TaggedValue
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.requests import (
    RequestReader,
)

from .inventories import group, problems, read


def test_only_what_is_needed_is_rendered_and_only_for_what_holds_a_template() -> None:
    request = {
        "model": "Qwen3-{{ size }}",
        "max_model_len": "16K",
        "api_key": "{{ vault_key }}",
        "env": {"A": "{{ nowhere }}"},
    }
    services, _unused, wrong, inventory = read(group([request, "QwQ-32B"], 2, size="14B"))
    assert not wrong
    assert inventory.rendered == [("npu-01", "Qwen3-{{ size }}"), ("npu-02", "Qwen3-{{ size }}")]
    request = services["qwen3-14b"].request
    assert request.passed == {"api_key": "{{ vault_key }}", "env": {"A": "{{ nowhere }}"}}


def test_a_shared_list_without_templates_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    request = RequestReader._request

    def counting(self: RequestReader, *args: Any) -> Any:
        nonlocal count
        count += 1
        return request(self, *args)

    monkeypatch.setattr(RequestReader, "_request", counting)
    read(group(["Qwen3-14B", {"model": "QwQ-32B", "args": {"seed": "{{ x }}"}}], 50, x=1))
    assert count == 2


def test_a_template_that_renders_to_other_requests_is_two_requests() -> None:
    hosts = group([{"model": "Qwen3-14B", "max_model_len": "{{ length }}"}], 2, length="16K")
    hosts["npu-02"]["length"] = "8K"
    assert "npu-01 and npu-02 ask for it with other values of max_model_len" in read(hosts)[2][0]


def test_args_of_a_host_are_its_own_affair() -> None:
    hosts = group([{"model": "Qwen3-14B", "args": {"seed": "{{ seed }}"}}], 2, seed=1)
    hosts["npu-02"]["seed"] = 2
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].request.passed["args"] == {"seed": "{{ seed }}"}


def test_lists_may_be_named_and_joined_without_being_rendered() -> None:
    key = {"model": "Qwen3-14B", "api_key": "{{ vault_key }}"}
    hosts = group("{{ base + more }}", 2, base=[key], more="{{ deeper }}", deeper=["QwQ-32B"])
    services, _unused, wrong, inventory = read(hosts)
    assert not wrong
    assert sorted(services) == ["qwen3-14b", "qwq-32b"]
    assert services["qwen3-14b"].request.passed == {"api_key": "{{ vault_key }}"}
    assert not inventory.rendered


@pytest.mark.parametrize(
    ("secrets", "name"),
    [
        ({"api_key": "hush-hush"}, "api_key"),
        ({"api_key": 12345678}, "api_key"),
        ({"api_key": TaggedValue("!unsafe", "hush-hush{{")}, "api_key"),
        ({"secret_env": {"HF_TOKEN": "hush-hush"}}, "secret_env, HF_TOKEN"),
        ({"secret_env": "hush-hush"}, "secret_env"),
        ({"env": {"HF_TOKEN": "hush-hush"}}, "HF_TOKEN"),
        ({"env": {"VLLM_API_KEY": "hush-hush"}}, "VLLM_API_KEY"),
        ({"args": {"api_key": "hush-hush"}}, "api_key"),
    ],
)
def test_a_secret_in_plain_text_is_rejected_and_not_shown(
    secrets: dict[str, Any], name: str
) -> None:
    text = problems([{"model": "Qwen3-14B", **secrets}])
    assert name in text
    assert "hush" not in text
    assert "12345678" not in text


def test_a_secret_that_tells_nothing_passes() -> None:
    request = {
        "model": "Qwen3-14B",
        "api_key": TaggedValue("!vault", "$ANSIBLE_VAULT;1.1;AES256\n00"),
        "secret_env": {"HF_TOKEN": "{{ vault_token }}", "NONE": None},
    }
    services, _unused, wrong, _unused = read(group([request]))
    assert not wrong
    assert services["qwen3-14b"].request.passed["api_key"] == request["api_key"]


def test_where_weights_come_from_is_handed_on_as_it_is_written() -> None:
    weights = {"source": "archive", "location": "{{ vault_address }}"}
    services, _unused, wrong, _unused = read(group([{"model": "Qwen3-14B", "weights": weights}]))
    assert not wrong
    assert services["qwen3-14b"].request.passed["weights"] == weights
