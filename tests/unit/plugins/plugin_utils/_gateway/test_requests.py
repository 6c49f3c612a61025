# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real HAProxy does with requests by the files of a gateway."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError

from .conftest import Engine

if TYPE_CHECKING:
    from .conftest import Running, Start

ALL, SOME, FEW = "all-models-key-0001", "some-models-key-001", "few-requests-key-01"
KEYS: list[dict[str, Any]] = [
    {"name": "all", "key": ALL},
    {"name": "some", "sha256": hashlib.sha256(SOME.encode()).hexdigest(), "models": ["chat"]},
    {"name": "few", "key": FEW, "requests_per_minute": 3},
]


@pytest.fixture
def two(start: Start) -> Running:
    """Two replicas of chat, with an adapter, and one of bge with a key."""
    one, other, embed = Engine("one"), Engine("other"), Engine("embed")
    return start(
        one.target("chat", "h1", "Qwen3-14B", "chat", "sql"),
        other.target("chat", "h2", "Qwen3-14B", "chat", "sql"),
        embed.target("bge", "h1", "BAAI/bge", "bge", api_key="the-key-of-bge"),
        keys=KEYS,
    )


def test_each_name_goes_to_the_servers_that_answer_to_it(two: Running) -> None:
    for model in ("Qwen3-14B", "chat", "sql"):
        answers = [two.ask(model, ALL).json for _n in range(4)]
        assert {each["engine"] for each in answers} == {"one", "other"}
        assert {each["model"] for each in answers} == {model}
        assert {each["authorization"] for each in answers} == {None}, "the client's key went on"
    for model in ("BAAI/bge", "bge"):
        answer = two.ask(model, ALL, "/v1/embeddings").json
        assert (answer["engine"], answer["authorization"]) == ("embed", "Bearer the-key-of-bge")


def test_the_models_of_all_hosts_are_listed_and_those_of_a_key_alone(two: Running) -> None:
    listed = two.ask(key=ALL, path="/v1/models", method="GET").json
    assert [each["id"] for each in listed["data"]] == [
        "BAAI/bge", "Qwen3-14B", "bge", "chat", "sql",
    ]  # fmt: skip
    assert listed["data"][0]["max_model_len"] == 32768
    listed = two.ask(key=SOME, path="/v1/models", method="GET").json
    assert [each["id"] for each in listed["data"]] == ["chat"]


def test_a_key_may_come_as_x_api_key_and_goes_no_further(two: Running) -> None:
    answer = two.ask("chat", headers={"x-api-key": ALL})
    assert (answer.status, answer.json["authorization"], answer.json["x-api-key"]) == (
        200, None, None,
    )  # fmt: skip
    answer = two.ask("bge", headers={"x-api-key": SOME})
    assert (answer.status, answer.code) == (403, "model_not_allowed")
    assert two.ask("chat", headers={"x-api-key": "wrong-key"}).status == 401
    # A wrong Authorization is not made good by the other header.
    assert two.ask("chat", "wrong-key", headers={"x-api-key": ALL}).status == 401


def test_a_path_is_one_line(start: Start) -> None:
    with pytest.raises(AscendError, match="vllm_gateway_paths has"):
        start(paths=["/v1/completions\n/"])


def test_what_is_rejected_has_the_shape_of_an_error_of_openai(two: Running) -> None:
    for key in ("", "wrong-key", ALL.upper()):
        answer = two.ask("chat", key)
        assert (answer.status, answer.code) == (401, "invalid_api_key")
    answer = two.ask('no"such', ALL)
    assert (answer.status, answer.code) == (404, "model_not_found")
    assert answer.json["error"]["message"] == (
        'The model no"such does not exist. Models of this gateway: BAAI/bge, Qwen3-14B, bge, chat,'
        " sql."
    )
    answer = two.ask("nothing", SOME)
    assert (answer.status, answer.code) == (404, "model_not_found")
    assert "bge" not in answer.json["error"]["message"]
    answer = two.ask("bge", SOME, "/v1/embeddings")
    assert (answer.status, answer.code) == (403, "model_not_allowed")
    assert two.ask("chat", SOME).status == 200
    for body in (b"{", b"[]", b'{"messages": []}', b""):
        answer = two.ask(key=ALL, body=body)
        assert (answer.status, answer.code) == (400, "model_missing"), body
    for path in ("/v1/load_lora_adapter", "/v1/chat/completions/", "//v1/completions", "/"):
        answer = two.ask("chat", ALL, path)
        assert (answer.status, answer.code) == (404, "unknown_path"), path
    answer = two.ask(key=ALL, path="/v1/completions", method="GET")
    assert (answer.status, answer.code) == (405, "method_not_allowed")


def test_a_key_has_its_requests_of_a_minute_and_no_more(two: Running) -> None:
    assert two.ask("nothing", FEW).status == 404, "what is rejected does not count"
    assert [two.ask("chat", FEW).status for _n in range(3)] == [200] * 3
    answer = two.ask("chat", FEW)
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    assert answer.headers["retry-after"]
    assert two.ask("chat", ALL).status == 200


def test_bodies_up_to_the_limit_pass_and_others_are_413(two: Running) -> None:
    def body(size: int) -> bytes:
        text = json.dumps({"model": "chat", "messages": [{"content": ""}]})
        return text.replace('""', '"' + "x" * (size - len(text)) + '"').encode()

    limit = 1 << 20
    assert two.ask(key=ALL, body=body(limit)).json["model"] == "chat"
    assert two.ask(key=ALL, body=iter([body(limit)])).json["model"] == "chat"
    for size in (limit + 1, 3 * limit):
        answer = two.ask(key=ALL, body=body(size))
        assert (answer.status, answer.code) == (413, "request_too_large")
    chunked = two.ask(key=ALL, body=iter([body(limit + 1)]))
    assert (chunked.status, chunked.code) == (413, "request_too_large")


def test_without_a_key_nothing_large_is_read(two: Running) -> None:
    with socket.create_connection(("127.0.0.1", two.port), timeout=60) as client:
        client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 401")


def test_a_slow_client_gets_408_and_holds_up_nobody(start: Start) -> None:
    running = start(Engine("one").target("chat", "h1", "chat"), receive_timeout=1)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
        client.sendall(head + b'{"model": ')
        assert running.ask("chat").status == 200
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def request(**body: Any) -> bytes:
    text = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


def test_a_stream_comes_as_it_is_made_and_ends_with_its_client(start: Start) -> None:
    engine = Engine("one")
    running = start(engine.target("chat", "h1", "chat"))
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
        client.sendall(request(model="chat", stream=True))
        seen = b""
        while b"data: 3" not in seen:
            seen += client.recv(1000)
    assert time.monotonic() - begun < 20, "it has 600 parts, one each 0.05 s"
    assert engine.gone.wait(20)


def test_the_engine_is_told_when_a_client_does_not_wait_for_its_answer(start: Start) -> None:
    engine = Engine("one")
    running = start(engine.target("chat", "h1", "chat"))
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
        client.sendall(request(model="chat", hold=True))
        while 'haproxy_server_current_sessions{proxy="model-chat",server="chat:h1"} 1' not in (
            running.ask(path="/metrics", method="GET", port=running.metrics_port).body.decode()
        ):
            pass
        assert not engine.gone.is_set()
    assert engine.gone.wait(20)


def test_a_replica_that_is_gone_costs_no_request(start: Start) -> None:
    one, other = Engine("one"), Engine("other")
    running = start(one.target("chat", "h1", "chat"), other.target("chat", "h2", "chat"))
    assert {running.ask("chat").json["engine"] for _n in range(4)} == {"one", "other"}
    one.stop()
    assert {running.ask("chat").json["engine"] for _n in range(20)} == {"other"}


def test_a_host_that_does_not_resolve_takes_out_no_other(start: Start) -> None:
    one, other = Engine("one"), Engine("other")
    lost = replace(other.target("chat", "h2", "chat"), address="no-such-host.invalid")
    running = start(one.target("chat", "h1", "chat"), lost)
    assert {running.ask("chat").json["engine"] for _n in range(4)} == {"one"}


def test_a_model_without_a_replica_is_503(start: Start) -> None:
    one = Engine("one")
    running = start(one.target("chat", "h1", "chat"))
    one.stop()
    answer = running.ask("chat")
    assert (answer.status, answer.code) == (503, "no_replica")


def test_one_beginning_goes_to_one_server_by_choice(start: Start) -> None:
    engines = [Engine(f"e{number}") for number in range(4)]
    targets = [each.target("chat", each.name, "chat") for each in engines]
    running = start(*targets, affinity=["chat"])
    favourites, kept = set(), 0
    for prompt in range(10):
        message = [{"content": f"You are number {prompt}."}]
        found = [running.ask("chat", messages=message).json["engine"] for _n in range(6)]
        favourite = max(found, key=found.count)
        favourites.add(favourite)
        kept += found.count(favourite)
    assert len(favourites) > 1
    # One goes elsewhere where the request before it is not over yet for HAProxy.
    assert kept > 50, "of 60; some 25 without it"


def test_metrics_name_backends_and_servers(two: Running) -> None:
    text = two.ask(path="/metrics", method="GET", port=two.metrics_port).body.decode()
    assert 'haproxy_server_status{proxy="model-chat",server="chat:h2",state="UP"} 1' in text
    assert two.ask(path="/metrics", key=ALL, method="GET").status == 404
