# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that a service reads: its weights, and what its `args` and `env` name.

Which options and variables name files is in vars/named_files.yml. In a container a path counts where it
is inside; `on_host` tells where that is on the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .._base.systemd import unit_word
from .arguments import read_args
from .engine import weights_directory
from .engine_names import from_json
from .file_names import MODEL, UNKNOWN, WRITTEN, Entry, option_entry, variable_entry, written
from .options import options_of
from .unit import UnitSettings

_PATH = re.compile(r"/[^\x00-\x1f]+")
_NAMED = re.compile(r"[^={/]+=(/.*)")


@dataclass(frozen=True)
class NamedFile:
    """A path that a service reads.

    Attributes:
        path: absolute, as the service sees it.
        kind: file, directory, model (a directory of which every file is read), written (a directory that
            the service writes below) or unknown.
        origin: what names it, in words: `args, chat-template`.
        optional: the service starts without it.
    """

    path: str
    kind: str
    origin: str
    optional: bool = False


def files_of(service: Mapping[str, Any], settings: UnitSettings) -> tuple[NamedFile, ...]:
    """The weights of a service, and each file that its `args` and `env` name; each path once.

    service: a spec, or a placed service, with its `env`.
    Raises AscendError for `args` that this version of vLLM could not read.
    """
    found = {each.path: each for each in reversed([*_all(service, settings)])}
    return tuple(reversed(found.values()))


def _all(service: Mapping[str, Any], settings: UnitSettings) -> Iterator[NamedFile]:
    weights = weights_directory(service, settings.weights_dir)
    if weights is not None:
        yield NamedFile(weights, MODEL, "its weights")
    engine = options_of(settings.options_version)
    # A spec that is not resolved yet does not have its kind.
    known = {**service, "kind": service.get("kind") or "embed"}
    args = read_args(known, engine, f"service {service.get('name') or service.get('model')}")
    for name, value in args.items():
        entry = option_entry(name)
        if name in written()[1] and isinstance(value, str) and _PATH.fullmatch(value):
            yield NamedFile(value, WRITTEN, f"args, {name}", True)
        if entry:
            for item in value if isinstance(value, list) else [value]:
                yield from _of_option(entry, f"args, {name}", from_json(item))
    for name, text in _env(service, settings).items():
        yield from _of_variable(str(name), text)


def _env(service: Mapping[str, Any], settings: UnitSettings) -> dict[Any, Any]:
    env = service.get("env")
    recipe = service.get("recipe_env") or {}
    return {**recipe, **settings.env, **(env if isinstance(env, Mapping) else {})}


def _of_option(entry: Entry, origin: str, value: object) -> Iterator[NamedFile]:
    if isinstance(value, (Mapping, list)):
        for key, path in _pairs(value):
            kind = entry.keys.get(key)
            if kind and _PATH.fullmatch(path):
                yield NamedFile(path, kind, f"{origin}, {key}", entry.optional)
    elif entry.kind and isinstance(value, str):
        named = _NAMED.fullmatch(value)
        path = named[1] if named else value
        if _PATH.fullmatch(path):
            yield NamedFile(path, entry.kind, origin, entry.optional)


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    """Every key of a value with its text, at any depth."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, str):
                yield str(key), item
            else:
                yield from _pairs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _pairs(item)


def _of_variable(name: str, text: object) -> Iterator[NamedFile]:
    entry = variable_entry(name)
    if not isinstance(text, str):
        return
    parts = re.split("[: ]+", text) if entry and entry.many else [text]
    if name in written()[0] and _PATH.fullmatch(text):
        yield NamedFile(text, WRITTEN, f"env, {name}", True)
        return
    for path in parts:
        if _PATH.fullmatch(path) and (entry or ":" not in path):
            kind = entry.kind if entry and entry.kind else UNKNOWN
            yield NamedFile(path, kind, f"env, {name}", bool(entry and entry.optional))


# -- in a container -----------------------------------------------------------------------------


def mounts(service: Mapping[str, Any], settings: UnitSettings) -> list[tuple[str, str, str]]:
    """(path on the host, path inside, ro or rw) of what a container of a service sees of the host.

    The directory of weights, vllm_service_container_mounts, and what `args` and `env` name unless it is
    below one of them or in the image. Raises AscendError for what no unit can contain.
    """
    found = _given_mounts(service, settings)
    for each in sorted(files_of(service, settings), key=lambda file: file.path):
        mounted = any(below(each.path, target) for _source, target, _mode in found)
        if (
            each.kind not in (UNKNOWN, WRITTEN)
            and not mounted
            and on_host(each.path, found, settings)
        ):
            try:
                word = unit_word(each.path)
            except AscendError as error:
                raise AscendError(
                    f"service {service.get('name')}, {each.origin}: {error}"
                ) from error
            found.append((word, word, "ro"))
    return found


def on_host(path: str, mounted: list[tuple[str, str, str]], settings: UnitSettings) -> str | None:
    """Where a path inside a container is on the host; None for one that is in the image."""
    inside = [each for each in mounted if below(path, each[1])]
    if inside:
        source, target, _mode = max(inside, key=lambda each: len(each[1]))
        return source + path[len(target) :]
    if any(below(path, directory) for directory in settings.container_image_paths):
        return None
    return path


def _given_mounts(service: Mapping[str, Any], settings: UnitSettings) -> list[tuple[str, str, str]]:
    """The weights, with which what is below them is mounted, and what the user lists."""
    path = service.get("path")
    weights = unit_word(settings.weights_dir)
    if path and not below(str(path), weights):
        weights = unit_word(path)
    found = [(weights, weights, "ro")]
    for mount in settings.container_mounts:
        parts = unit_word(mount).split(":")
        parts += parts if len(parts) == 1 else []
        parts += ["ro"] if len(parts) == 2 else []
        if len(parts) != 3 or parts[2] not in ("ro", "rw") or not parts[1].startswith("/"):
            raise AscendError(
                f"vllm_service_container_mounts has {mount!r}. Write PATH, PATH:INSIDE or"
                " PATH:INSIDE:rw, with absolute paths."
            )
        found.append((parts[0], parts[1], parts[2]))
    return found


def below(path: str, directory: str) -> bool:
    """Whether a path is a directory or below it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")
