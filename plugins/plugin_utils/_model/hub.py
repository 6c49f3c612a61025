# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The config.json and the size of the weights of a model on Hugging Face or ModelScope.

Read from the controller with the standard library: a listing and one or two small files. Interfaces: of
Hugging Face `/api/models/ID/revision/main?blobs=true` and `/ID/resolve/main/FILE`, of ModelScope
`/api/v1/models/ID/repo/files` and `/api/v1/models/ID/repo?FilePath=FILE`.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    MOST_BYTES,
    parse_json,
)
from ansible_collections.inferops.ascend.plugins.module_utils._base.text import one_line

from .._base.errors import AscendError
from .._base.variables import Variables
from .facts import Facts
from .names import is_path
from .request import Request
from .shape import DESCRIPTION, facts_of

ENDPOINTS = {"huggingface": "https://huggingface.co", "modelscope": "https://modelscope.cn"}
# In the environment of the controller, where no variable is set.
_ENDPOINT = {"huggingface": "HF_ENDPOINT"}
_TOKEN = {"huggingface": "HF_TOKEN", "modelscope": "MODELSCOPE_API_TOKEN"}
_TITLES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

SILENCE = 10.0  # seconds without a byte
PATIENCE = 30.0  # seconds for one file


@dataclass(frozen=True)
class Hub:
    """The hub that is asked for models of which nothing else is known.

    Attributes:
        name: huggingface or modelscope; the other one where a request names its id there alone.
        endpoints, tokens: by the name of the hub; what is not there is that of the environment
            (HF_ENDPOINT, HF_TOKEN, MODELSCOPE_API_TOKEN).
        scratch: a directory of this run, where answers are kept for its other processes.
    """

    name: str
    endpoints: Mapping[str, str] = field(default_factory=dict, hash=False)
    tokens: Mapping[str, str] = field(default_factory=dict, hash=False, repr=False)
    scratch: Path | None = None

    def facts(self, request: Request) -> tuple[Facts, str] | None:
        """The facts of a request's model and where they are from, or None if it has no hub id.

        Raises AscendError: the hub does not have it, or cannot be reached.
        """
        found = self._id(request)
        if found is None:
            return None
        name, hub_id = found
        endpoint = self.endpoints.get(name) or os.environ.get(_ENDPOINT.get(name, ""))
        token = self.tokens.get(name) or os.environ.get(_TOKEN[name], "")
        asked = Question(name, str(endpoint or ENDPOINTS[name]).rstrip("/"), hub_id, token)
        answer = _answer(asked, self.scratch)
        where = f"its config.json on {_TITLES[name]}"
        fault = answer.get("fault")
        if fault is None:
            try:
                return facts_of(answer["config"], answer["weight_bytes"]), where
            except AscendError as error:
                fault = f"{where} is not enough for an estimate: {error}"
        raise AscendError(
            f"{request.model} cannot be estimated: {fault}. Name its config.json on the controller in"
            " config, or give path (or huggingface or modelscope), cards and max_model_len to serve it"
            " on your own word."
        )

    def _id(self, request: Request) -> tuple[str, str] | None:
        """(hub, id) to ask for."""
        ids = {"huggingface": request.huggingface, "modelscope": request.modelscope}
        model = str(request.model).strip()
        if not any(ids.values()) and not is_path(model):
            ids = dict.fromkeys(ids, model)
        for name in (self.name, *ids):
            if _ID.fullmatch(ids[name] or ""):
                return name, str(ids[name])
        return None


def hub_of_host(variables: Variables, scratch: Path | None = None) -> Hub | None:
    """The hub that the variables of a host name, if they do. Raises AscendError."""
    name = variables.choice(("none", *ENDPOINTS), "vllm_service_estimate_hub")
    if name == "none":
        return None
    tokens = {each: variables.text(f"vllm_weights_{each}_token") for each in ENDPOINTS}
    return Hub(name, variables.mapping("vllm_weights_endpoints") or {}, tokens, scratch)


@dataclass(frozen=True)
class Question:
    """What is asked of which hub."""

    hub: str
    endpoint: str
    hub_id: str
    token: str = field(default="", repr=False)

    def configuration(self) -> dict[str, Any]:
        """{config, weight_bytes}, or {fault}: why there is none, in words."""
        if self.hub == "huggingface" and _offline():
            return {"fault": "HF_HUB_OFFLINE is set, so Hugging Face is not asked"}
        try:
            sizes = self._sizes()
            if "config.json" not in sizes:
                return {"fault": f"{self.hub_id} on {self.endpoint} has no config.json"}
            config = self._mapping(self._file("config.json"))
            if DESCRIPTION in sizes:
                config[DESCRIPTION] = self._mapping(self._file(DESCRIPTION))
        except urllib.error.HTTPError as error:
            return {"fault": self._refused(error.code)}
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            reason = one_line(str(getattr(error, "reason", None) or error))
            return {
                "fault": f"{self.endpoint} cannot be asked for {self.hub_id}: {reason}. Where the"
                " controller reaches a mirror alone, set vllm_weights_endpoints or HF_ENDPOINT"
            }
        return {"config": config, "weight_bytes": _weights(sizes)}

    def _refused(self, status: int) -> str:
        if status in (401, 403, 404):
            return (
                f"{self.endpoint} has no model {self.hub_id}, or shows it to others only (status"
                f" {status}). Check the id, or set vllm_weights_{self.hub}_token or {_TOKEN[self.hub]}"
            )
        return f"{self.endpoint} answers with status {status} for {self.hub_id}"

    def _sizes(self) -> dict[str, int]:
        """Bytes by path of the model's files."""
        if self.hub == "huggingface":
            listing = self._mapping(f"/api/models/{quote(self.hub_id)}/revision/main?blobs=true")
            return {each["rfilename"]: int(each.get("size") or 0) for each in listing["siblings"]}
        files = f"/api/v1/models/{quote(self.hub_id)}/repo/files?Revision=master&Recursive=true"
        found = self._mapping(files)["Data"]["Files"]
        return {each["Path"]: int(each.get("Size") or 0) for each in found}

    def _file(self, path: str) -> str:
        if self.hub == "huggingface":
            return f"/{quote(self.hub_id)}/resolve/main/{path}"
        return f"/api/v1/models/{quote(self.hub_id)}/repo?Revision=master&FilePath={path}"

    def _mapping(self, path: str) -> dict[str, Any]:
        """What is at a path of the hub. Raises OSError, HTTPException, ValueError."""
        request = urllib.request.Request(self.endpoint + path)
        if self.token:
            huggingface = ("Authorization", f"Bearer {self.token}")
            modelscope = ("Cookie", f"m_session_id={self.token}")
            # Not for the storage server that large files are redirected to.
            request.add_unredirected_header(
                *(huggingface if self.hub == "huggingface" else modelscope)
            )
        end = time.monotonic() + PATIENCE
        data = b""
        with urllib.request.build_opener().open(request, timeout=SILENCE) as answer:
            while part := answer.read1(1 << 16):
                data += part
                if len(data) > MOST_BYTES:
                    raise ValueError(f"{path} has more than {MOST_BYTES} bytes")
                if time.monotonic() > end:
                    raise ValueError(f"{path} took more than {PATIENCE:g} seconds")
        content = parse_json(data)
        if not isinstance(content, dict):
            raise ValueError(f"{path} is not a mapping")
        return content


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _weights(sizes: Mapping[str, int]) -> int | None:
    """Bytes of the weights: safetensors of one form, else PyTorch's files; None: there are none."""
    files = {path: size for path, size in sizes.items() if "/" not in path}
    tensors = {path: size for path, size in files.items() if path.endswith(".safetensors")}
    models = {p: s for p, s in tensors.items() if not p.startswith("consolidated")} or tensors
    torch = {p: s for p, s in files.items() if re.fullmatch(r"pytorch_model.*\.bin", p)}
    return sum((models or torch).values()) or None


@lru_cache(maxsize=256)
def _answer(asked: Question, scratch: Path | None) -> dict[str, Any]:
    """The hub's answer, a fault too, asked for once in a run."""
    if scratch is None or not scratch.is_dir():
        return asked.configuration()
    words = "\0".join((asked.hub, asked.endpoint, asked.hub_id))
    known = scratch / f"hub-{hashlib.sha256(words.encode()).hexdigest()[:32]}.json"
    # Of the processes of a run, which begin at the same time, one asks and the others wait.
    with known.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        answer: dict[str, Any] = json.loads(text) if text else asked.configuration()
        if not text:
            file.write(json.dumps(answer))
    return answer
