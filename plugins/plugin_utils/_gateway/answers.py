# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a gateway answers by itself, in the shapes of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .gateway import Gateway

# Of answers that HAProxy gives where a request or a server fails.
FAILURES = {
    400: ("invalid_request_error", "bad_request", "The request is not valid HTTP."),
    408: (
        "invalid_request_error",
        "request_timeout",
        "The request did not arrive completely in time.",
    ),
    500: ("server_error", "internal_error", "The gateway could not handle the request."),
    502: (
        "server_error",
        "bad_gateway",
        "The server of the model ended the connection without a valid answer.",
    ),
    503: ("server_error", "no_replica", "No replica of the model is up at present."),
    504: ("server_error", "timeout", "The server of the model did not answer in time."),
}
_REQUEST = "invalid_request_error"


def error(kind: str, code: str, message: str) -> str:
    """The body of an error."""
    detail = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": detail}) + "\n"


def answers(gateway: Gateway) -> dict[str, str]:
    """Text by path of all that the gateway answers by itself."""
    megabytes = gateway.max_body_bytes >> 20
    paths = ", ".join(gateway.paths)
    found = {f"errors/{status}.json": error(*words) for status, words in FAILURES.items()}
    found["errors/401.json"] = error(
        _REQUEST,
        "invalid_api_key",
        "No valid key in the header Authorization: Bearer KEY, or x-api-key: KEY.",
    )
    found["errors/403.json"] = _formatted(
        error("permission_error", "model_not_allowed", "This key may not ask for the model MODEL.")
    )
    found["errors/405.json"] = error(_REQUEST, "method_not_allowed", "This path takes POST.")
    found["errors/413.json"] = error(
        _REQUEST, "request_too_large", f"The body is larger than {megabytes} MiB."
    )
    found["errors/429.json"] = error(
        "rate_limit_error", "rate_limit_exceeded", "This key has no more requests in this minute."
    )
    found["errors/path.json"] = error(
        _REQUEST, "unknown_path", f"There is no such path. There are /v1/models and {paths}."
    )
    found["errors/model.json"] = error(
        _REQUEST, "model_missing", "The body is not a JSON object with a text as model."
    )
    names = [name for backend in gateway.backends for name in backend.names]
    found["errors/unknown.json"] = _unknown(names)
    found["models.json"] = models(gateway, names)
    for key in gateway.limited:
        own = [name for name in names if key.may_use(name)]
        found[f"errors/unknown-{key.name}.json"] = _unknown(own)
        found[f"models/{key.name}.json"] = models(gateway, own)
    return found


def models(gateway: Gateway, names: Iterable[str]) -> str:
    """The answer of /v1/models that lists these names, sorted."""
    chosen = set(names)
    data: list[dict[str, Any]] = []
    for backend in gateway.backends:
        for name in backend.names:
            if name not in chosen:
                continue
            entry = {"id": name, "object": "model", "created": 0, "owned_by": "vllm"}
            if backend.length is not None:
                entry["max_model_len"] = backend.length
            data.append(entry)
    data.sort(key=lambda entry: str(entry["id"]))
    return json.dumps({"object": "list", "data": data}) + "\n"


def _unknown(names: Iterable[str]) -> str:
    listed = ", ".join(sorted(names)) or "none"
    return _formatted(
        error(
            _REQUEST,
            "model_not_found",
            f"The model MODEL does not exist. Models of this gateway: {listed}.",
        )
    )


def _formatted(text: str) -> str:
    """A text as HAProxy's log-format, with the model that the client asked for."""
    return text.replace("%", "%%").replace("MODEL", "%[var(txn.model),json(utf8s)]", 1)
