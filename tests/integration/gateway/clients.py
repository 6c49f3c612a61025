# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a gateway, of tests and of the demo."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any

LAST_EVENT = "data: [DONE]\n\n"


@dataclass
class Answer:
    """What a gateway answered."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Client:
    """Asks a gateway."""

    address: str
    context: ssl.SSLContext
    key: str

    @classmethod
    def of(cls, address: str, certificate: str, key: str) -> Client:
        """certificate: the only one that it trusts, in PEM."""
        return cls(address, ssl.create_default_context(cadata=certificate), key)

    def ask(
        self, model: str = "", path: str = "/v1/chat/completions", body: Any = None, **more: Any
    ) -> Answer:
        """The answer to a request for a model; to GET without one."""
        connection = http.client.HTTPSConnection(self.address, context=self.context, timeout=120)
        headers = {"Authorization": f"Bearer {self.key}"}
        if body is None and model:
            body = json.dumps({"model": model, **more}).encode()
        # It may answer before it has read all.
        with contextlib.suppress(ssl.SSLEOFError, BrokenPipeError, ConnectionResetError):
            connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, text)


@dataclass
class Load:
    """Clients that ask for a model all the time; `failed` are the answers that were none.

    streams: every other client asks for streams, which are complete with their last event. pause: seconds
    between an answer and the next request.
    """

    client: Client
    streams: bool = False
    model: str = "chat"
    threads: int = 4
    pause: float = 0.0
    served: int = 0
    failed: list[str] = field(default_factory=list)

    def _run(self, stream: bool) -> None:
        more = {"stream": True} if stream else {}
        while not self._over.wait(self.pause):
            try:
                answer = self.client.ask(self.model, **more)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                continue
            if answer.status == 200 and (not stream or answer.text.endswith(LAST_EVENT)):
                self.served += 1
            else:
                self.failed.append(f"{answer.status} {answer.text}")

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self.streams and bool(number % 2),))
            for number in range(self.threads)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
