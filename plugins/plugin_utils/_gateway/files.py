# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a gateway, as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .._base import data
from .._service.services import template
from .answers import FAILURES, answers
from .gateway import Gateway

DIRECTORY = "/etc/vllm-gateway"
UNIT = "/etc/systemd/system/vllm-gateway.service"
STATE_PROGRAM = "/usr/local/libexec/inferops/gateway-state"
CERTIFICATE = "tls.pem"
_TEMPLATES = data.ROOT / "roles" / "vllm_gateway" / "templates"


@dataclass(frozen=True)
class Files:
    """Text by path: below DIRECTORY, and elsewhere. secret: below DIRECTORY, for root alone and never shown.

    digest: of all below DIRECTORY, which a running HAProxy reports as its description.
    """

    directory: Mapping[str, str]
    secret: Mapping[str, str]
    system: Mapping[str, str]
    digest: str


def files_of(gateway: Gateway, certificate: str | None) -> Files:
    """The files of a gateway.

    certificate: a certificate with its chain and its key, in PEM; None for one that is made on the host.
    """
    directory = {**answers(gateway), **_maps(gateway), "paths.list": _lines(gateway.paths)}
    secret = {
        "services.map": _lines(
            f"{backend.name} {backend.api_key}" for backend in gateway.backends if backend.api_key
        ),
        "keys.map": _lines(f"{key.digest} {key.name}" for key in gateway.keys),
    }
    if gateway.tls and certificate is not None:
        secret[CERTIFICATE] = certificate
    variables = {
        "gateway": gateway,
        "limited": gateway.limited,
        "backends": gateway.backends,
        "statuses": list(FAILURES),
    }
    body = _render("haproxy.cfg.j2", {**variables, "digest": ""})
    digest = _digest({**directory, **secret, "haproxy.cfg": body})
    directory["haproxy.cfg"] = _render("haproxy.cfg.j2", {**variables, "digest": digest})
    unit = {"stop_timeout": 10, "files": 2 * gateway.max_connections + 1024, "digest": ""}
    text = _render("vllm-gateway.service.j2", unit)
    system = {
        UNIT: _render("vllm-gateway.service.j2", {**unit, "digest": _digest(text)}),
        STATE_PROGRAM: _render("gateway-state.py.j2", {}),
    }
    return Files(directory, secret, system, digest)


def _maps(gateway: Gateway) -> dict[str, str]:
    rights = []
    for key in gateway.keys:
        names = [key.name] if key.models is None else [f"{key.name}/{each}" for each in key.models]
        rights += [f"{name} 1" for name in names]
    return {
        "models.map": _lines(
            f"{name} {backend.name}" for backend in gateway.backends for name in backend.names
        ),
        "rights.map": _lines(rights),
        "limits.map": _lines(
            f"{key.name} {key.requests_per_minute}"
            for key in gateway.keys
            if key.requests_per_minute is not None
        ),
    }


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _render(name: str, variables: Mapping[str, object]) -> str:
    return template(str(_TEMPLATES / name)).render(variables) + "\n"
