# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A gateway: where it listens, what it takes, whose keys it knows, and what it routes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._base.errors import AscendError
from .._base.values import shown, whole_number
from .backends import Backend
from .keys import ClientKey

TLS = ("self-signed", "files", "none")


@dataclass(frozen=True)
class Gateway:
    """One gateway, as its files are written from it.

    Attributes:
        bind, metrics_bind: addresses to listen on.
        tls: whether clients speak TLS to it.
        max_body_bytes: of a request.
        receive_timeout: seconds within which a request has to be there completely.
        request_timeout: seconds in which a server may answer nothing.
        paths: that are passed on.
    """

    bind: str
    port: int
    metrics_bind: str
    metrics_port: int
    tls: bool
    max_body_bytes: int
    max_connections: int
    receive_timeout: int
    request_timeout: int
    paths: tuple[str, ...]
    keys: tuple[ClientKey, ...]
    backends: tuple[Backend, ...]

    @property
    def limited(self) -> tuple[ClientKey, ...]:
        """Keys that may not ask for every model."""
        return tuple(key for key in self.keys if key.models is not None)

    @classmethod
    def of(
        cls,
        given: Mapping[str, object],
        keys: Sequence[ClientKey],
        backends: Sequence[Backend],
    ) -> Gateway:
        """From the options of the action `vllm_gateway`. Raises AscendError."""
        port, metrics_port = _port(given, "port"), _port(given, "metrics_port")
        if port == metrics_port:
            raise AscendError(
                f"vllm_gateway_port and vllm_gateway_metrics_port are both {port}. Give one of them"
                " another value."
            )
        listed = given["paths"]
        paths = tuple(map(str, listed)) if isinstance(listed, Sequence) else ()
        wrong = [
            path
            for path in paths
            if not path.startswith("/") or not path.isprintable() or " " in path
        ]
        if wrong or not paths:
            raise AscendError(
                f"vllm_gateway_paths has {shown(wrong)}; paths such as /v1/chat/completions are needed."
            )
        return cls(
            bind=_address(given, "bind"),
            port=port,
            metrics_bind=_address(given, "metrics_bind"),
            metrics_port=metrics_port,
            tls=given["tls"] != "none",
            max_body_bytes=_number(given, "max_body_mb") << 20,
            max_connections=_number(given, "max_connections"),
            receive_timeout=_number(given, "receive_timeout"),
            request_timeout=_number(given, "request_timeout"),
            paths=paths,
            keys=tuple(keys),
            backends=tuple(backends),
        )

    def warnings(self) -> list[str]:
        """What is worth knowing about its keys, in sentences."""
        served = {name for backend in self.backends for name in backend.names}
        found = [
            f"key {key.name} may ask for {', '.join(missing)}, which nothing serves."
            for key in self.limited
            if (missing := [name for name in key.models or () if name not in served])
        ]
        if not self.keys:
            found.append(
                "vllm_gateway_keys is empty: whoever reaches the gateway may ask for every model."
            )
        return found

    def report(self, host: str) -> list[str]:
        """The address and what is behind it, in lines. host: the gateway's name."""
        scheme = "https" if self.tls else "http"
        lines = [f"{scheme}://{host}:{self.port}/v1"]
        for backend in self.backends:
            servers = ", ".join(server.name for server in backend.servers)
            lines.append(f"  {', '.join(backend.names)}: {servers}")
        return lines


def _number(given: Mapping[str, object], name: str, most: int = 1 << 20) -> int:
    number = whole_number(given[name])
    if not number or number > most:
        raise AscendError(
            f"vllm_gateway_{name} is {shown(given[name])}; an integer of 1 to {most} is needed."
        )
    return number


def _port(given: Mapping[str, object], name: str) -> int:
    return _number(given, name, 65535)


def _address(given: Mapping[str, object], name: str) -> str:
    text = str(given[name]).strip("[]")
    if not text or not all(char.isalnum() or char in ".:-_*" for char in text):
        raise AscendError(
            f"vllm_gateway_{name} is {shown(given[name])}; an address, or 0.0.0.0, is needed."
        )
    return f"[{text}]" if ":" in text else text
