# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server of the stand-in vLLM."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import vllm_config
from vllm_behaviour import FAILURES, Behaviour, error, say
from vllm_links import ask
from vllm_metrics import Meter
from vllm_service import Service


class Api(ThreadingHTTPServer):
    """The HTTP server, on the socket that was bound at the start."""

    daemon_threads = True

    def __init__(
        self,
        listener: socket.socket,
        service: Service,
        behaviour: Behaviour,
        engine: int,
        to_engine: bytes | None,
    ) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.server_address = listener.getsockname()[:2]
        self.service = service
        self.behaviour = behaviour
        self.engine = engine
        self.to_engine = to_engine  # of a service over several hosts
        self.created = int(time.time())
        self.meter = Meter(service.version, service.names[0])

    @property
    def running(self) -> int:
        return self.meter.running


class Handler(BaseHTTPRequestHandler):
    """The few endpoints that a deployment asks."""

    server: Api
    protocol_version = "HTTP/1.1"
    server_version = "uvicorn"

    def log_message(self, format: str, *args: Any) -> None:
        say(format % args)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        if self.path not in ("/health", "/metrics"):
            self.server.meter.answered(self.path.partition("?")[0], self.command, int(code))
            address = f"{self.client_address[0]}:{self.client_address[1]}"
            print(f'INFO:     {address} - "{self.requestline}" {int(code)}', flush=True)

    def answer(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status: int, message: str) -> None:
        kinds = {400: "BadRequestError", 404: "NotFoundError"}
        detail = {"message": message, "type": kinds.get(status, "Error"), "code": status}
        self.answer(status, {"error": detail})

    def allowed(self) -> bool:
        keys = self.server.service.api_keys
        if not keys or not self.path.startswith("/v1"):
            return True
        given = self.headers.get("Authorization", "")
        if given.startswith("Bearer ") and given[7:] in keys:
            return True
        self.answer(401, {"error": "Unauthorized"})
        return False

    def do_GET(self) -> None:
        service = self.server.service
        if not self.allowed():
            return
        path = self.path.partition("?")[0]
        if self.server.behaviour.mute:
            time.sleep(3600)
        if path == "/health":
            self.answer(self.server.behaviour.health, "")
        elif path == "/version":
            self.answer(200, {"version": service.version, "stand_in": vllm_config.STAND_IN})
        elif path == "/v1/models":
            self.answer(200, {"object": "list", "data": [self.card(n) for n in service.names]})
        elif path == "/metrics":
            self.answer(200, self.metrics(), "text/plain; version=0.0.4; charset=utf-8")
        else:
            self.answer(404, {"detail": "Not Found"})

    def card(self, name: str) -> dict[str, Any]:
        service = self.server.service
        return {
            "id": name,
            "object": "model",
            "created": self.server.created,
            "owned_by": "vllm",
            "root": service.model,
            "parent": None,
            "max_model_len": service.max_model_len,
        }

    def metrics(self) -> str:
        ranks = ""
        group = self.server.service.group
        if group is not None and self.server.to_engine is not None:
            there = ask(self.server.to_engine, "who", 2) or 0
            ranks = (
                f"# HELP standin:ranks ranks of all hosts that are connected\n"
                f"# TYPE standin:ranks gauge\nstandin:ranks {there}\n"
                f"# HELP standin:ranks_total ranks that the options ask for\n"
                f"# TYPE standin:ranks_total gauge\nstandin:ranks_total {group.total}\n"
            )
        return ranks + self.server.meter.text(Behaviour.load(self.server.service.all_names).metrics)

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(size)
        if not self.allowed():
            return
        service = self.server.service
        path = self.path.partition("?")[0].removeprefix("/v1").removeprefix("/v2")
        pooling = ("/embeddings", "/rerank", "/score", "/pooling", "/classify")
        generating = ("/completions", "/chat/completions")
        if path not in (pooling if service.pooling else generating):
            self.answer(404, {"detail": "Not Found"})
            return
        try:
            request = json.loads(raw or b"{}")
        except ValueError:
            self.refuse(400, "the request is no JSON")
            return
        name = request.get("model") or service.names[0]
        if name not in service.names:
            self.refuse(404, f"The model `{name}` does not exist.")
            return
        begun = time.monotonic()
        self.server.meter.begin()
        try:
            if not request.get("stream"):
                time.sleep(self.server.behaviour.request_seconds)
            if (
                self.server.to_engine is not None
                and ask(self.server.to_engine, "step", None) is None
            ):
                self.refuse(500, "EngineCore encountered an issue.")
                return
            self.respond(path, name, request)
        finally:
            self.server.meter.end(time.monotonic() - begun)

    def respond(self, path: str, name: str, request: dict[str, Any]) -> None:
        texts = request.get("input") or request.get("prompt") or request.get("documents") or ""
        texts = [texts] if isinstance(texts, str) else list(texts)
        if path == "/chat/completions":
            texts = [str(m.get("content", "")) for m in request.get("messages", [])]
        tokens = [len(str(text).split()) for text in texts]
        limit = self.server.service.max_model_len
        asked = max(tokens or [0]) + int(request.get("max_tokens") or 0)
        if asked > limit:
            self.refuse(
                400,
                f"This model's maximum context length is {limit} tokens. However, you requested "
                f"{asked} tokens.",
            )
            return
        full = self.server.behaviour.full_tokens
        if full is not None and asked > full:
            error(FAILURES["oom"], "EngineCore")
            os.kill(self.server.engine, signal.SIGKILL)
            self.refuse(500, "EngineCore encountered an issue.")
            return
        self.server.meter.count(sum(tokens), int(request.get("max_tokens") or 1))
        usage = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
        base = {"id": "standin-0", "created": int(time.time()), "model": name, "usage": usage}
        text = f"({vllm_config.STAND_IN})"
        if request.get("stream") and path in ("/completions", "/chat/completions"):
            self.stream(path, {**base, "usage": None}, text.split(" "))
        elif path == "/completions":
            choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
            self.answer(200, {**base, "object": "text_completion", "choices": [choice]})
        elif path == "/chat/completions":
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer(200, {**base, "object": "chat.completion", "choices": [choice]})
        elif path == "/rerank":
            results = [
                {"index": i, "document": {"text": t}, "relevance_score": 1 / (i + 1)}
                for i, t in enumerate(texts)
            ]
            self.answer(200, {**base, "results": results})
        else:
            data = [
                {"object": "embedding", "index": i, "embedding": [0.0, 0.6, 0.8]}
                for i in range(len(texts))
            ]
            self.answer(200, {**base, "object": "list", "data": data})

    def stream(self, path: str, base: dict[str, Any], words: list[str]) -> None:
        """An answer in server-sent events, a word each, over the seconds that a request takes."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in words:
            time.sleep(self.server.behaviour.request_seconds / len(words))
            choice: dict[str, Any] = {"index": 0, "finish_reason": None}
            if path == "/completions":
                event = {**base, "object": "text_completion", "choices": [{**choice, "text": word}]}
            else:
                choice["delta"] = {"content": word}
                event = {**base, "object": "chat.completion.chunk", "choices": [choice]}
            self.chunk(f"data: {json.dumps(event)}\n\n")
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
