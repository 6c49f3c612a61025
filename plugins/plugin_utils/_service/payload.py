# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the controller sends to a host for the instances of a template unit."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.files import (
    effective,
    instance_of,
    mark,
)

from .._base.errors import AscendError
from .._base.systemd import INSTANCE_NAME

_UNIT = re.compile(r"[A-Za-z0-9_-]+@\.service")

Render = Callable[[str, Mapping[str, Any]], str]


@dataclass
class Payload:
    """Rendered files by path, and the digests by instance name."""

    contents: dict[str, str] = field(default_factory=dict)
    secret_contents: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    secret_digests: dict[str, str] = field(default_factory=dict)

    def arguments(
        self,
        instances: Sequence[Mapping[str, Any]],
        files: Sequence[Mapping[str, Any]],
        instance_files: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The options of the module systemd_instances that follow from what was rendered."""
        return {
            **vars(self),
            "files": [_without_source(each) for each in files],
            "instance_files": [_without_source(each) for each in instance_files],
            "instances": [_bare(instance) for instance in instances],
        }


def build(
    unit: str,
    instances: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
    instance_files: Sequence[Mapping[str, Any]],
    render: Render,
) -> Payload:
    """Render every file and compute the digests.

    `render(src, variables)` renders one template. An instance's digest is the SHA-256 of all that
    its process depends on: the shared files and those of the instance, without the comments of
    units, so that a changed comment restarts nothing. Secrets have a separate digest, which only
    secret files contain.

    Raises AscendError for a name that systemd could misread, and for two files at one path.
    """
    if not _UNIT.fullmatch(unit):
        raise AscendError(f"unit {unit!r} is not a template unit: write it like vllm@.service")
    payload = Payload()
    # Rendered in place of a digest, which is only known when all is rendered. No value that a
    # user wrote can be mistaken for it.
    placeholder = secrets.token_hex(16)
    for each in files:
        _add(payload.contents, each["dest"], mark(unit) + render(each["src"], {}))
    shared = list(payload.contents.items())
    for instance in instances:
        name = instance.get("name")
        if not isinstance(name, str) or not INSTANCE_NAME.fullmatch(name):
            raise AscendError(
                f"instance name {name!r} cannot be used: write letters, digits, '.', '_' and '-', at "
                "most 63 of them, beginning with a letter or digit"
            )
        if instance.get("state", "started") == "absent":
            continue
        public, secret = _render_instance(name, instance, instance_files, render, placeholder)
        digest = _digest(shared + list(public.items()), placeholder)
        secret_digest = _digest(list(secret.items()), placeholder) if secret else ""
        header = mark(instance_of(unit, name))
        for path, text in public.items():
            _add(payload.contents, path, header + text.replace(placeholder, digest))
        for path, text in secret.items():
            text = text.replace(placeholder, secret_digest)
            _add(payload.secret_contents, path, header + text)
        payload.digests[name] = digest
        payload.secret_digests[name] = secret_digest
    return payload


def _render_instance(
    name: str,
    instance: Mapping[str, Any],
    instance_files: Sequence[Mapping[str, Any]],
    render: Render,
    placeholder: str,
) -> tuple[dict[str, str], dict[str, str]]:
    public: dict[str, str] = {}
    secret: dict[str, str] = {}
    for each in instance_files:
        if each["dest"].count("%i") != 1:
            raise AscendError(
                f"instance_files: {each['dest']} has to contain %i, the name of the instance, "
                "once: without it the file is the same for every instance"
            )
        variables: dict[str, Any] = {"instance": instance}
        is_secret = bool(each.get("secret"))
        if is_secret:
            variables["secret_digest"] = placeholder
        else:
            variables["instance_digest"] = placeholder
        text = render(each["src"], variables)
        if text.strip():
            _add(secret if is_secret else public, each["dest"].replace("%i", name), text)
    return public, secret


def _add(texts: dict[str, str], path: str, text: str) -> None:
    if path in texts:
        raise AscendError(
            f"two files go to {path}: give each instance another name and each file another path"
        )
    texts[path] = text


def _digest(texts: Sequence[tuple[str, str]], placeholder: str) -> str:
    total = hashlib.sha256()
    for path, text in sorted(texts):
        text = effective(path, text.replace(placeholder, ""))
        total.update(f"{path}\0{text}\0".encode())
    return total.hexdigest()[:32]


def warnings(instances: Sequence[Mapping[str, Any]]) -> list[str]:
    """The warnings of all instances, each with the name of its instance."""
    found = []
    for instance in instances:
        texts = instance.get("warnings") or []
        texts = [texts] if isinstance(texts, str) else texts
        found += [f"{instance['name']}: {text}" for text in texts]
    return found


def _without_source(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "src"}


def _bare(instance: Mapping[str, Any]) -> dict[str, Any]:
    return {key: instance[key] for key in ("name", "state", "cards") if key in instance}
