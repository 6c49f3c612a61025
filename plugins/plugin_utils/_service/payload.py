# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the controller sends to a host for the instances of a template unit."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
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


def build(
    unit: str,
    instances: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
    instance_files: Sequence[Mapping[str, Any]],
    render: Render,
) -> dict[str, Any]:
    """Render every file and compute the digests; return the options of the module for them.

    `render(src, variables)` renders one template. An instance's digest is the SHA-256 of all that
    its process depends on: the shared files and those of the instance, without the comments of
    units, so that a changed comment restarts nothing. Secrets have a separate digest, which only
    secret files contain.

    Raises AscendError for a name that systemd could misread, and for two files at one path.
    """
    if not _UNIT.fullmatch(unit):
        raise AscendError(f"unit {unit!r} is not a template unit: write it like vllm@.service")
    for each in instance_files:
        if each["dest"].count("%i") != 1:
            raise AscendError(
                f"instance_files: {each['dest']} has to contain %i, the name of the instance, "
                "once: without it the file is the same for every instance"
            )
    contents: dict[str, str] = {}
    secret_contents: dict[str, str] = {}
    digests: dict[str, str] = {}
    secret_digests: dict[str, str] = {}
    # Rendered in place of a digest, which is only known when all is rendered. No value that a
    # user wrote can be mistaken for it.
    placeholder = secrets.token_hex(16)
    for each in files:
        _add(contents, each["dest"], mark(unit) + render(each["src"], {}))
    shared = list(contents.items())
    for instance in instances:
        name = instance.get("name")
        if not isinstance(name, str) or not INSTANCE_NAME.fullmatch(name):
            raise AscendError(
                f"instance name {name!r} cannot be used: write letters, digits, '.', '_' and '-', at "
                "most 63 of them, beginning with a letter or digit"
            )
        if instance.get("state", "started") == "absent":
            continue
        public: dict[str, str] = {}
        secret: dict[str, str] = {}
        for each in instance_files:
            kind = "secret_digest" if each.get("secret") else "instance_digest"
            text = render(each["src"], {"instance": instance, kind: placeholder})
            if text.strip():
                found = secret if each.get("secret") else public
                _add(found, each["dest"].replace("%i", name), text)
        digests[name] = _digest([*shared, *public.items()], placeholder)
        secret_digests[name] = _digest(list(secret.items()), placeholder) if secret else ""
        header = mark(instance_of(unit, name))
        for path, text in public.items():
            _add(contents, path, header + text.replace(placeholder, digests[name]))
        for path, text in secret.items():
            _add(secret_contents, path, header + text.replace(placeholder, secret_digests[name]))
    return {
        "contents": contents,
        "secret_contents": secret_contents,
        "digests": digests,
        "secret_digests": secret_digests,
        "files": [_without_source(each) for each in files],
        "instance_files": [_without_source(each) for each in instance_files],
        "instances": [_bare(instance) for instance in instances],
    }


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
    return {key: instance[key] for key in ("name", "state", "cards", "user") if key in instance}
