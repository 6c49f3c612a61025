# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services a gateway routes to, by which names, and which keys it takes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.backends import (
    Backend,
    backends_of,
    warnings,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.keys import parse_keys
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.names import (
    backend_name,
    server_name,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.targets import (
    Target,
    of_service,
    outside,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

SERVICE = {
    "name": "chat",
    "model": "Qwen3-14B",
    "kind": "generate",
    "huggingface": "Qwen/Qwen3-14B",
    "cards": [0, 1],
    "port": 8000,
    "max_model_len": 32768,
    "gpu_memory_utilization": 0.95,
    "tensor_parallel_size": 2,
}
KEY = "a-key-of-24-characters-x"


def routed(variables: dict[str, Any] | None = None, **changed: Any) -> Target | None:
    unit = Settings((variables or {}).get).unit
    return of_service({**SERVICE, **changed}, unit, "npu-01", "10.0.0.1")


def target(name: str, *names: str, **more: Any) -> Target:
    service, _colon, host = name.partition(":")
    return Target(name, service, host, host, 8000, names, **more)


def summary(backends: list[Backend]) -> dict[str, tuple[set[str], list[str]]]:
    return {
        each.name: (set(each.names), [server.name for server in each.servers]) for each in backends
    }


def test_a_service_answers_to_its_names_and_adapters_at_its_address() -> None:
    found = routed(args={"enable-lora": True, "lora-modules": ["sql=/sql", '{"name": "de"}']})
    assert found is not None
    assert (found.name, found.endpoint) == ("chat:npu-01", "10.0.0.1:8000")
    assert found.names == ("Qwen3-14B", "chat", "sql", "de")
    assert (found.length, found.api_key) == (32768, "")
    found = routed(served_model_name=["fast"], api_key="secret")
    assert found is not None and (found.names, found.api_key) == (("fast",), "secret")
    assert "secret" not in repr(found)
    found = routed({"vllm_service_host": "192.0.2.7"})
    assert found is not None and found.endpoint == "192.0.2.7:8000"


def test_what_answers_no_client_is_not_routed() -> None:
    hosts = ["npu-00", "npu-01"]
    assert routed(cluster={"leader": "npu-00", "rank": 1, "hosts": hosts}) is None
    assert routed(cluster={"leader": "npu-01", "rank": 0, "hosts": hosts[::-1]}) is not None
    assert routed(state="stopped") is None
    assert routed(state="absent") is None
    for role, expected in (("kv_producer", True), ("kv_consumer", True), ("kv_both", False)):
        args = {"kv-transfer-config": {"kv_connector": "Some", "kv_role": role}}
        assert (routed(args=args) is None) is expected, role
    with pytest.raises(AscendError, match="no gateway reaches it"):
        routed({"vllm_service_host": "127.0.0.1"})
    with pytest.raises(AscendError, match="served_model_name"):
        routed(served_model_name=["two words"])


def test_names_with_the_same_servers_share_a_backend() -> None:
    found = backends_of(
        [
            target("chat:h1", "Qwen3-14B", "chat"),
            target("chat:h2", "Qwen3-14B", "chat"),
            target("long:h3", "Qwen3-14B", "long"),
        ],
        [],
    )
    assert summary(found) == {
        "model-Qwen3-14B": ({"Qwen3-14B"}, ["chat:h1", "chat:h2", "long:h3"]),
        "model-chat": ({"chat"}, ["chat:h1", "chat:h2"]),
        "model-long": ({"long"}, ["long:h3"]),
    }


def test_replicas_of_different_keys_or_lengths_are_not_passed_over() -> None:
    one, other = target("chat:h1", "m", api_key="a"), target("chat:h2", "m", api_key="b")
    with pytest.raises(AscendError, match="chat:h1, chat:h2 answer to m with different") as caught:
        backends_of([one, other], [])
    assert "served_model_name" in str(caught.value)
    lengths = [target("chat:h1", "m", length=8192), target("chat:h2", "m", length=4096)]
    backends = backends_of(lengths, [])
    assert backends[0].length == 4096
    (warning,) = warnings(backends)
    assert "chat:h1 (8192), chat:h2 (4096)" in warning


def test_affinity_is_by_the_name_of_a_service_or_a_model() -> None:
    targets = [target("chat:h1", "m", "chat"), target("other:h1", "n")]
    assert [each.affinity for each in backends_of(targets, ["chat"])] == [True, False]
    assert [each.affinity for each in backends_of(targets, ["n"])] == [False, True]
    with pytest.raises(AscendError, match="nothing, which nothing serves. There are chat, m, n"):
        backends_of(targets, ["nothing"])


def test_servers_outside_the_fleet_are_backends_too() -> None:
    value = [{"names": ["pd"], "servers": ["10.0.0.9:9000", "proxy.example:9000"], "api_key": "k"}]
    (backend,) = backends_of(outside(value), [])
    assert [each.endpoint for each in backend.servers] == ["10.0.0.9:9000", "proxy.example:9000"]
    assert backend.api_key == "k"
    for wrong in ({"names": ["pd"]}, {"names": [], "servers": ["a:1"]}, {"name": "x"}):
        with pytest.raises(AscendError, match="vllm_gateway_backends, item 1"):
            outside([wrong])
    for server in ("10.0.0.9", "10.0.0.9:0", "10.0.0.9:70000", "http://a:1"):
        with pytest.raises(AscendError, match="is not ADDRESS:PORT"):
            outside([{"names": ["pd"], "servers": [server]}])
    for key in ("k\nmodel-chat other", "k k"):
        with pytest.raises(AscendError, match="api_key has a character") as caught:
            outside([{"names": ["pd"], "servers": ["a:1"], "api_key": key}])
        assert key not in str(caught.value)


def test_names_for_haproxy_differ_where_the_names_differ() -> None:
    assert server_name("chat", "npu-01.example") == "chat:npu-01.example"
    assert backend_name("Qwen/Qwen3-14B") != backend_name("Qwen_Qwen3-14B")
    assert backend_name("Qwen/Qwen3-14B").startswith("model-Qwen_Qwen3-14B.")


def test_a_key_is_known_by_its_hash_alone() -> None:
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    clear, hashed = parse_keys([{"name": "a", "key": KEY}])[0], digest.upper()
    assert clear.digest == hashed and KEY not in repr(clear)
    (limited,) = parse_keys([{"name": "b", "sha256": digest, "models": ["m"]}])
    assert limited.digest == hashed and limited.may_use("m") and not limited.may_use("n")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ([{"name": "a", "key": "short"}], "16 or more"),
        ([{"name": "a", "key": KEY, "sha256": "0" * 64}], "either key"),
        ([{"name": "a"}], "either key"),
        ([{"name": "a b", "key": KEY}], "letters, digits"),
        ([{"name": "a", "sha256": KEY}], "64 hexadecimal digits"),
        ([{"name": "a", "key": KEY}, {"name": "b", "key": KEY}], "a and b have the same key"),
        ([{"name": "a", "key": KEY}, {"name": "a", "key": KEY + "x"}], "the same name"),
        ([{"name": "a", "key": KEY, "models": "m"}], "a list of names"),
        ([{"name": "a", "key": KEY, "models": ["m\nb"]}], "A name that a service answers to"),
        ([{"name": "a", "key": KEY, "requests_per_minute": 0}], "from 1 on"),
        ([{"name": "a", "key": KEY, "rate": 5}], "has rate"),
        ({"a": KEY}, "a list of keys"),
    ],
)
def test_what_is_no_key_is_rejected_without_showing_it(keys: Any, words: str) -> None:
    with pytest.raises(AscendError, match=words) as caught:
        parse_keys(keys)
    assert KEY not in str(caught.value)
