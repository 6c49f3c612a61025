# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What servers answer over HTTP, on real sockets."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service.probe import (
    addresses,
    ask,
    get,
)
from ansible_collections.inferops.ascend.tests.ports import free_ports


def test_a_server_that_serves_tells_its_models(serve: Any) -> None:
    answer = ask(None, serve(), None, 5)
    models = [{"id": "chat", "max_model_len": 32768}]
    assert answer == {"health": 200, "models": models, "error": None}


def test_a_key_is_sent_and_a_wrong_one_is_said_but_not_shown(serve: Any) -> None:
    port = serve(key="right-key")
    assert ask(None, port, "right-key", 5)["error"] is None
    wrong = ask(None, port, "wrong-key", 5)
    assert wrong["health"] == 200 and wrong["models"] == []
    assert "/v1/models answers 401" in wrong["error"]
    odd = ask(None, port, "a\nb: c", 5)  # http.client refuses it, and quotes it
    assert odd["error"] is not None and "b: c" not in odd["error"]


def test_what_a_model_is_called_cannot_act_on_a_terminal(serve: Any) -> None:
    models = '{"data": [{"id": "\\u001bcchat\\u0007", "max_model_len": "\\u001bc"}]}'
    answer = ask(None, serve(models=models), None, 5)
    assert answer["models"] == [{"id": "chat", "max_model_len": None}]


@pytest.mark.parametrize(
    "models",
    [
        "[" * 50_000,
        '{"data": [' + "[" * 300 + "]" * 300 + "]}",
        "",
        "[]",
        "{}",
        '{"data": 3}',
        '{"data": [{}]}',
        "\x00",
    ],
)
def test_an_odd_list_of_models_is_said(serve: Any, models: str) -> None:
    answer = ask(None, serve(models=models), None, 5)
    assert answer["health"] == 200
    assert answer["models"] == []
    assert "something else than a list of models" in answer["error"]


def test_a_server_that_is_not_well_is_told_by_its_status(serve: Any) -> None:
    answer = ask(None, serve(health=503), None, 5)
    assert answer == {"health": 503, "models": [], "error": "/health answers 503"}


def test_a_server_that_never_answers_costs_its_time_and_no_more(mute: int) -> None:
    begun = time.monotonic()
    answer = ask(None, mute, None, 0.5)
    assert time.monotonic() - begun < 3
    assert answer["health"] is None
    assert answer["error"] == f"no answer from port {mute} within 0.5 s"


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1"])
def test_an_answer_in_drops_costs_its_time_and_no_more(first: bytes) -> None:
    def drip(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection:
            connection.sendall(first)
            for _drop in range(100):
                time.sleep(0.1)
                try:
                    connection.sendall(b".")
                except OSError:
                    return

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        begun = time.monotonic()
        answer = get("127.0.0.1", listener.getsockname()[1], "/health", None, 1.0)
        assert time.monotonic() - begun < 4
    assert answer.status is None
    assert answer.error is not None and "within 1 s" in answer.error


def test_a_port_on_which_nobody_listens_is_said(serve: Any) -> None:
    port = free_ports(1)[0]
    error = ask(None, port, None, 5)["error"]
    assert error == f"nothing listens on port {port} yet"


def test_proxies_of_the_environment_are_not_asked(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(None, serve(), None, 5)["health"] == 200


def test_an_address_of_its_own_is_asked_there() -> None:
    assert addresses("0.0.0.0") == ["127.0.0.1", "::1"]
    assert addresses("::") == ["::1", "127.0.0.1"]
    assert addresses("10.0.0.7") == ["10.0.0.7"]
    assert addresses("[fd00::7]") == ["fd00::7"]
