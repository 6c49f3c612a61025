# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keys of clients, which a gateway knows by their SHA-256 alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._base.errors import AscendError
from .._base.values import kind_of, shown, whole_number
from .names import can_be_found

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
_KEYS = ("name", "key", "sha256", "models", "requests_per_minute")
# Of a clear key: those that people think up are guessed from their hashes.
_LEAST = 16


@dataclass(frozen=True)
class ClientKey:
    """A client's key.

    Attributes:
        digest: SHA-256 of the key, as HAProxy writes it: hexadecimal, in capital letters.
        models: names that it may ask for; None for all.
        requests_per_minute: None for any number.
    """

    name: str
    digest: str
    models: tuple[str, ...] | None = None
    requests_per_minute: int | None = None

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models


def parse_keys(value: object) -> tuple[ClientKey, ...]:
    """The keys that a user lists. Raises AscendError, which never shows a key."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise AscendError(f"vllm_gateway_keys is {kind_of(value)}; a list of keys is needed.")
    found = tuple(_key(each, number) for number, each in enumerate(value, 1))
    for attribute, what in (("name", "name"), ("digest", "key")):
        seen: dict[str, str] = {}
        for each in found:
            key = str(getattr(each, attribute))
            if key in seen:
                raise AscendError(
                    f"vllm_gateway_keys: {seen[key]} and {each.name} have the same {what}. Each needs"
                    " one that no other has."
                )
            seen[key] = each.name
    return found


def _key(value: object, number: int) -> ClientKey:
    who = f"vllm_gateway_keys, item {number}"
    if not isinstance(value, Mapping):
        raise AscendError(
            f"{who} is {kind_of(value)}; a mapping such as {{name: team-a, key: ...}} is needed."
        )
    name = value.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AscendError(
            f"{who}: name is {shown(name)}; letters, digits and . _ - are needed, at most 63. It is in"
            " the gateway's log."
        )
    who = f"vllm_gateway_keys, {name}"
    unknown = [str(key) for key in value if key not in _KEYS]
    if unknown:
        raise AscendError(f"{who} has {', '.join(unknown)}; it may have {', '.join(_KEYS)}.")
    return ClientKey(name, _digest(value, who), _models(value, who), _rate(value, who))


def _digest(value: Mapping[str, object], who: str) -> str:
    key, digest = value.get("key"), value.get("sha256")
    if (key is None) == (digest is None):
        raise AscendError(f"{who}: write either key, from a vault, or sha256, its hash.")
    if digest is not None:
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise AscendError(
                f"{who}: sha256 is not 64 hexadecimal digits. Take what"
                " `printf %s KEY | sha256sum` prints."
            )
        return digest.upper()
    if not isinstance(key, str) or len(key) < _LEAST or not key.isascii() or not key.isprintable():
        raise AscendError(
            f"{who}: key is not a text of {_LEAST} or more printable ASCII characters. Make one with"
            " `openssl rand -hex 24`."
        )
    if " " in key:
        raise AscendError(f"{who}: key has a space, which no Authorization header carries.")
    return hashlib.sha256(key.encode()).hexdigest().upper()


def _models(value: Mapping[str, object], who: str) -> tuple[str, ...] | None:
    models = value.get("models")
    if models is None:
        return None
    if not isinstance(models, Sequence) or isinstance(models, str):
        raise AscendError(f"{who}: models is {kind_of(models)}; a list of names is needed.")
    for each in models:
        if not isinstance(each, str):
            raise AscendError(f"{who}: models lists {kind_of(each)}, where a name is needed.")
        if not can_be_found(each):
            raise AscendError(
                f"{who}: models lists {shown(each)}. A name that a service answers to is needed; it has"
                " no space."
            )
    return tuple("".join([each]) for each in models)


def _rate(value: Mapping[str, object], who: str) -> int | None:
    rate = value.get("requests_per_minute")
    if rate is None:
        return None
    number = whole_number(rate)
    if not number:
        raise AscendError(
            f"{who}: requests_per_minute is {shown(rate)}; an integer from 1 on is needed."
        )
    return number
