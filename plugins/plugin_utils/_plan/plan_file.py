# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text of the plan's file of a host: host_vars/HOST/vllm_service_instances.yml.

A marker in its first lines identifies a file of the plan. A file without it belongs to the user, and
is neither written nor removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from .._base.values import whole_number
from .._base.yaml_text import LOADER, parse_yaml
from .entries import INSTANCES, Entry, printable, source_lines
from .fleet import Assignment
from .inventory import TaggedValue

_MARK = "# Written by the playbook inferops.ascend.plan from the inventory "
_HEADER = """\
---
{mark}{source}.
# To change what is served, change vllm_plan_services and run it again. It rewrites this file, and
# removes it when the host leaves. Cards and ports that are changed here stay where they fit. Without
# the first line the file is yours: it is left alone, and the host taken as it says.
"""

# Reads a plan; a value under a tag of Ansible's is kept as a text.
_Loader: Any = type("_Loader", (LOADER,), {})


def _tagged(loader: Any, suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!", _tagged)


@dataclass
class PlanFile:
    """A file of the plan as it is.

    assignments: where services are. ports: by the unit's name. unplaced_names: of entries without cards,
    which the plan writes none of. fault: why it cannot be read.
    """

    path: Path
    text: str
    source: str
    names: list[str] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    unplaced_names: list[str] = field(default_factory=list)
    fault: str | None = None

    def describes(self, value: object) -> bool:
        """Whether a list of services is the one that is here."""
        if not isinstance(value, (list, tuple)):
            return False
        other = PlanFile(self.path, "", "")
        for item in value:
            if isinstance(item, Mapping):
                _add_entry(other, self.path.parent.name, item)
        mine, its = ((each.names, each.assignments, each.ports) for each in (self, other))
        return mine == its


def marked_source(data: bytes) -> str | None:
    """The inventory that the marker of a file names; None where there is no marker."""
    for line in data.split(b"\n", 8)[:8]:
        if line.startswith(_MARK.encode()):
            return line[len(_MARK) :].decode(errors="replace").strip().removesuffix(".")
        if line.strip() and not line.startswith((b"#", b"---")):
            return None
    return None


def read_plan_file(path: Path, host: str, data: bytes, source: str) -> PlanFile:
    try:
        text = data.decode()
        content = _content(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        fault = f"{path}{line} is not YAML. Fix or delete it."
        return PlanFile(path, data.decode(errors="replace"), source, fault=fault)
    existing = PlanFile(path, text, source)
    if not isinstance(content, dict) or not isinstance(content.get(INSTANCES, []), list):
        existing.fault = f"{path} is not a list of services. Fix or delete it."
        return existing
    others = sorted(str(key) for key in content if key != INSTANCES)
    if others:
        existing.fault = (
            f"{path} also sets {', '.join(others)}, which the plan would remove. Move that to"
            f" another file in {path.parent}."
        )
        return existing
    for item in content.get(INSTANCES, []):
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            _add_entry(existing, host, item)
        else:
            model = item.get("model") if isinstance(item, dict) else item
            # Of anything else nothing is shown: who knows what is in it.
            existing.unplaced_names.append(
                printable(model) if isinstance(model, str) else "an entry"
            )
    return existing


@lru_cache(maxsize=1 << 10)
def _content(text: str) -> Any:
    """What a file contains; most hosts of a large fleet have the same as another one."""
    content = parse_yaml(text, _Loader)
    return {} if content is None else content


def _add_entry(existing: PlanFile, host: str, item: Mapping[str, Any]) -> None:
    name = str(item.get("name"))
    existing.names.append(name)
    port = whole_number(item.get("port"))
    if port is not None:
        existing.ports.setdefault(name, port)
    cards = item.get("cards")
    ids = [whole_number(card) for card in cards] if isinstance(cards, list) else []
    if not ids or any(card is None for card in ids):
        existing.unplaced_names.append(printable(name))
        return
    cluster = item.get("cluster")
    cluster = cluster if isinstance(cluster, Mapping) else {}
    hosts = cluster.get("hosts")
    existing.assignments.append(
        Assignment(
            name,
            host,
            tuple(sorted(card for card in ids if card is not None)),
            str(cluster["leader"]) if "leader" in cluster else None,
            whole_number(cluster.get("rank")) or 0,
            tuple(map(str, hosts)) if isinstance(hosts, list) else (),
        )
    )


# Texts that are safe without quotes, and those among them that YAML takes for something else.
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])


def _quoted(text: str) -> str:
    """A text of JSON, which is YAML too once nothing in it is unprintable."""
    return "".join(
        char if char.isprintable() else f"\\U{ord(char):08x}"
        for char in json.dumps(text, ensure_ascii=False)
    )


def _scalar(value: object) -> str:
    """A value on one line, as Ansible's YAML reads it back."""
    if isinstance(value, TaggedValue):
        return f"{value.tag} {_quoted(value.text)}"
    if not isinstance(value, str):
        text = json.dumps(value)
        # YAML 1.1 knows no exponent without a point.
        return text.replace("e", ".0e", 1) if re.fullmatch(r"-?\d+e.*", text) else text
    bare = _BARE.fullmatch(value) and value.lower() not in _WORDS
    return value if bare else _quoted(value)


def _lines(key: str, value: object, indent: str) -> Iterator[str]:
    """A value under a key or a dash, as lines."""
    lead = f"{indent}{key}"
    if isinstance(value, TaggedValue) and value.tag == "!vault":
        yield f"{lead} !vault |"
        for line in value.text.strip().split("\n"):
            yield f"{indent}  {line.strip()}"
    elif isinstance(value, dict) and value:
        yield lead
        for name, item in value.items():
            yield from _lines(f"{_scalar(name)}:", item, f"{indent}  ")
    elif isinstance(value, list) and value:
        if all(not isinstance(item, (list, dict, TaggedValue)) for item in value):
            yield f"{lead} [{', '.join(_scalar(item) for item in value)}]"
            return
        yield lead
        for item in value:
            yield from _lines("-", item, f"{indent}  ")
    else:
        yield f"{lead} {_scalar(value)}"


class Writer:
    """Makes the text of files; what a service has on every host is made once."""

    def __init__(self) -> None:
        self._passed: dict[int, str] = {}
        self._sources: dict[tuple[int, int], str] = {}

    def text(self, entries: Sequence[Entry], source: str) -> str:
        """The file of a host. source: the inventory's name, for the marker."""
        parts = [_HEADER.format(mark=_MARK, source=source)]
        parts.append(f"{INSTANCES}:\n" if entries else f"{INSTANCES}: []\n")
        for entry in entries:
            settled = entry.settled
            parts.append(
                f"{self._source(entry)}"
                f"  - name: {_scalar(settled['name'])}\n"
                f"    model: {_scalar(settled['model'])}\n"
                f"    cards: [{', '.join(map(str, settled['cards']))}]\n"
            )
            for key, value in settled.items():
                if key not in ("name", "model", "cards"):
                    parts += [f"{line}\n" for line in _lines(f"{key}:", value, "    ")]
            parts.append(self._rest(entry.passed))
        return "".join(parts)

    def _source(self, entry: Entry) -> str:
        key = (id(entry.service), id(entry.spec))
        if key not in self._sources:
            self._sources[key] = "".join(f"  # {line}\n" for line in source_lines(entry))
        return self._sources[key]

    def _rest(self, passed: Mapping[str, Any]) -> str:
        found = self._passed.get(id(passed))
        if found is None:
            lines = [
                f"{line}\n"
                for key, value in passed.items()
                for line in _lines(f"{_scalar(key)}:", value, "    ")
            ]
            found = self._passed[id(passed)] = "".join(lines)
        return found
