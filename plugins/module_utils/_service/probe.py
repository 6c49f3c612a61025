# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a vLLM server answers over HTTP, asked from its host."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from typing import Any, NamedTuple

from .._base.reading import parse_json
from .._base.text import one_line

_ANSWER_LIMIT = 4 << 20  # bytes of one answer
_MODELS_LIMIT = 1000  # a server lists its names and adapters


class Answer(NamedTuple):
    """An answer over HTTP, or why there is none."""

    status: int | None
    body: bytes = b""
    error: str | None = None


def get(
    address: str,
    port: int,
    path: str,
    key: str | None,
    timeout: float,
    tls: bool = False,
    body: bytes | None = None,
) -> Answer:
    """GET, or POST of a JSON body, without proxies or redirects; `timeout` seconds for all of it."""
    connection: http.client.HTTPConnection
    if tls:
        # The server of this host is asked by an address that no certificate names.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
    late = threading.Event()
    end: threading.Timer | None = None
    try:
        headers = {"Connection": "close"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection.connect()
        # The limit of the socket counts from one byte to the next, so an answer in single bytes could go on forever.
        end = threading.Timer(timeout, _cut_off, (connection.sock, late))
        end.start()
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request("POST" if body is not None else "GET", path, body, headers)
        answer = connection.getresponse()
        content = answer.read(_ANSWER_LIMIT)
        if not late.is_set():
            return Answer(answer.status, content)
    except socket.timeout:
        late.set()
    except ConnectionRefusedError:
        return Answer(None, error=f"nothing listens on port {port} yet")
    except (OSError, ValueError, http.client.HTTPException) as error:
        if not late.is_set():
            # The name of the exception alone: its text may repeat what was sent.
            return Answer(None, error=f"asking port {port} failed: {type(error).__name__}")
    finally:
        if end:
            end.cancel()
        connection.close()
    return Answer(None, error=f"no answer from port {port} within {timeout:g} s")


def _cut_off(connected: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def addresses(host: str | None) -> list[str]:
    """Where a server that listens on `host` is reached from its host."""
    name = (host or "").strip("[]")
    if name in ("", "0.0.0.0", "*"):
        return ["127.0.0.1", "::1"]
    if name == "::":
        return ["::1", "127.0.0.1"]
    return [name]


def ask(
    host: str | None, port: int, key: str | None, timeout: float, tls: bool = False
) -> dict[str, Any]:
    """{health: status or None, models: [{id, max_model_len}], error: text or None}."""
    result: dict[str, Any] = {"health": None, "models": [], "error": None}
    where = addresses(host)
    for address in where:
        health = get(address, port, "/health", None, timeout, tls)
        if health.status is not None or "nothing listens" not in (health.error or ""):
            break
    result["health"], result["error"] = health.status, health.error
    if health.status is None:
        return result
    if health.status != 200:
        result["error"] = f"/health answers {health.status}"
        return result
    models = get(address, port, "/v1/models", key, timeout, tls)
    if models.status != 200:
        result["error"] = models.error or f"/v1/models answers {models.status}"
        if models.status == 401:
            result["error"] += ": it needs another API key than the one in the service's file"
        return result
    try:
        entries = parse_json(models.body.decode("utf-8"))["data"]
        result["models"] = [_model(each) for each in entries[:_MODELS_LIMIT]]
    except (ValueError, KeyError, TypeError, AttributeError):
        result["error"] = "/v1/models answers with something else than a list of models"
    return result


def _model(entry: Any) -> dict[str, Any]:
    length = entry.get("max_model_len")
    whole = isinstance(length, int) and not isinstance(length, bool)
    return {"id": one_line(str(entry["id"])), "max_model_len": length if whole else None}


def answers(
    host: str | None,
    port: int,
    model: str,
    pooling: bool,
    key: str | None,
    timeout: float,
    tls: bool,
) -> str | None:
    """Why the least request is not answered; None where it is.

    A leader whose group is gone still answers /health with 200, until the first request. pooling:
    of a model that embeds or scores.
    """
    path, asked = "/v1/completions", {"model": model, "prompt": "1", "max_tokens": 1}
    if pooling:
        path, asked = "/v1/embeddings", {"model": model, "input": "1"}
    body = json.dumps(asked).encode()
    answer = get(addresses(host)[0], port, path, key, timeout, tls, body)
    # A server without this path, or that only scores, is asked for something else by its clients.
    if answer.status in (200, 404, 405) or (pooling and answer.status == 400):
        return None
    return answer.error or f"{path} answers {answer.status}"
