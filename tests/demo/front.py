# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of the demo's gateway: one request to each model, and a load that counts what was lost."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from dataclasses import dataclass, field

PATHS = {"embed": "/v1/embeddings", "rerank": "/v1/rerank"}


@dataclass(frozen=True)
class Gateway:
    """Where the gateway listens, the certificate that it made for itself, and a client's key."""

    address: str
    certificate: str
    key: str

    def ask(self, model: str, kind: str = "generate", stream: bool = False) -> str:
        """The model that answered; ValueError, HTTPException or OSError where none did."""
        body = {"model": model, "stream": stream, "max_tokens": 8}
        body |= {
            "embed": {"input": "Hello"},
            "rerank": {"query": "Hello", "documents": ["Hello", "Goodbye"]},
        }.get(kind, {"messages": [{"role": "user", "content": "Hello"}]})
        context = ssl.create_default_context(cadata=self.certificate)
        connection = http.client.HTTPSConnection(self.address, context=context, timeout=60)
        headers = {"Authorization": f"Bearer {self.key}"}
        path = PATHS.get(kind, "/v1/chat/completions")
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {text}")
        if not stream:
            return str(json.loads(text)["model"])
        if not text.rstrip().endswith("data: [DONE]"):
            raise ValueError(f"the stream broke off: {text[-200:]}")
        return model


@dataclass
class Load:
    """Asks for a model without a pause, every second answer as a stream."""

    gateway: Gateway
    model: str
    served: int = 0
    lost: list[str] = field(default_factory=list)

    def _run(self, number: int) -> None:
        while not self._over.wait(0.05):
            try:
                self.gateway.ask(self.model, stream=number % 2 == 1)
                self.served += 1
            except (ValueError, OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[n]) for n in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
