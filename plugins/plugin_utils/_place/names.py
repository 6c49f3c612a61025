# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of services."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .._base.errors import AscendError
from .._base.systemd import INSTANCE_NAME
from .._base.values import kind_of

_ACCOUNT = re.compile(r"[a-z0-9_-]+")
# What useradd and systemd take: utmp keeps 32 bytes of a name, of which systemd leaves one for the end.
_ACCOUNT_LENGTH = 31


def slug(text: str) -> str:
    """A model's name as a service's name: `Qwen2-VL-7B` -> `qwen2-vl-7b`.

    Lower-case; every run of characters other than a-z, 0-9, `.` and `_` becomes one `-`. Empty
    where nothing is left.
    """
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")


def service_name(spec: Mapping[str, Any]) -> str:
    """The name of a spec's service, valid as a systemd instance and as a file's name.

    The lookup sets the model's name where the user gave none; that is made a slug. A name that
    the user gave is kept unchanged. Raises AscendError that proposes a valid name.
    """
    name, model = spec.get("name"), spec.get("model")
    if name is None:
        raise AscendError(
            "a service has no name. Pass what the lookup inferops.ascend.model returns."
        )
    if not isinstance(name, str):
        raise AscendError(
            f'service name {name!r} is {kind_of(name)}: write it between quotes, name: "{name}".'
        )
    made = slug(name) if name == model else "".join([name])
    if INSTANCE_NAME.fullmatch(made):
        return made
    advice = slug(name)[:63].strip("-._")
    reason = (
        f"it has {len(made)} characters, at most 63 fit"
        if INSTANCE_NAME.fullmatch(made[:63])
        else "it takes letters and digits of ASCII, and `.`, `_`, `-` after the first character"
    )
    raise AscendError(
        f"service name {made or name!r} cannot name a systemd unit: {reason}. "
        + (f"Write name: {advice}" if advice else "Give the service another `name`.")
    )


def account_name(service: str) -> str:
    """The user of a service that has one to itself: `chat` -> `vllm-chat`.

    A name that an account cannot have, or that is too long for one, is shortened and gets a hash, so that
    services of different names have different users: `Qwen2.5-7B` -> `vllm-qwen2-5-7b-` and 8 digits.
    """
    plain = f"vllm-{service}"
    if _ACCOUNT.fullmatch(service) and len(plain) <= _ACCOUNT_LENGTH:
        return plain
    digest = hashlib.sha256(service.encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9_]+", "-", service.lower())
    return f"vllm-{words[: _ACCOUNT_LENGTH - 14].strip('-')}-{digest}"


def check_accounts(services: Iterable[str]) -> None:
    """Raise AscendError where two services of one host, each with a user to itself, have the same one."""
    seen: dict[str, str] = {}
    for service in services:
        other = seen.setdefault(account_name(service), service)
        if other != service:
            raise AscendError(
                f"services {other} and {service} would both run as {account_name(service)}, and each could"
                " read what the other keeps. Give one of them another `name`."
            )
