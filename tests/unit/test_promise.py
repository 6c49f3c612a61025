# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/promise.md promises of names, types and defaults is kept.

The names are in data/promised.json. With RECORD=1 in the environment it is written again: when a version is released,
for what is new in it. It never loses a name before version 2.0.0.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.report import CHECKS
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.request import REQUEST_KEYS

PROMISED = Path(__file__).parent / "data" / "promised.json"
# The page says that the engine that is installed by default may be a later one.
LATER = {"vllm_runtime_version"}
# Schemas of what playbooks write and of what users write.
SCHEMAS = ("capacity", "deploy", "model_table", "plan", "status", "verify", "vllm_options")


def shape(options: dict[str, Any]) -> dict[str, Any]:
    """Options or values by name: type, choices, default, whether one has to be given, and what is in it."""
    found: dict[str, Any] = {}
    for name, option in options.items():
        inner = next(filter(None, map(option.get, ("options", "suboptions", "contains"))), {})
        found[name] = {
            key: option[key]
            for key in ("type", "elements", "choices", "default")
            if key in option and not (key == "default" and name in LATER)
        }
        if option.get("required"):
            found[name]["required"] = True
        if inner:
            found[name]["inside"] = shape(inner)
    return found


def fields(schema: dict[str, Any]) -> dict[str, Any]:
    """Fields of a JSON Schema with their types."""
    found = {key: schema[key] for key in ("type", "enum", "$ref") if key in schema}
    for key in ("properties", "$defs", "patternProperties"):
        if key in schema:
            found[key] = {name: fields(inner) for name, inner in schema[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found[key] = fields(schema[key])
    return found


def directories(repository: Path) -> list[str]:
    """Directories on hosts that the page about what changes there names, and that the code has."""
    page = (repository / "docs" / "first-hour.md").read_text(encoding="utf-8")
    _before, _title, section = page.partition("\n## What it changes on a host\n")
    named = re.findall(r"`(/[\w./@-]+?)(?:/NAME)?`", section.partition("\nNot changed:")[0])
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for top in ("plugins", "roles")
        for path in (repository / top).rglob("*")
        if path.suffix in (".py", ".yml", ".j2")
    )
    return sorted({each for each in named if re.search(rf"{re.escape(each)}(?![\w-])", code)})


def names(repository: Path) -> dict[str, Any]:
    """All that is promised, as the code has it."""

    def data(path: str) -> Any:
        return yaml.safe_load((repository / path).read_text(encoding="utf-8"))

    dumped = subprocess.run(
        ["ansible-doc", "--metadata-dump", "--no-fail-on-errors", "inferops.ascend"],
        capture_output=True,
        check=True,
    ).stdout
    documents = json.loads(dumped)["all"]
    page = (repository / "docs" / "promise.md").read_text(encoding="utf-8")
    modules = re.search(r"^\| lookups and filters; the modules (.*?) \|", page, re.MULTILINE)
    assert modules
    used = set(re.findall(r"`(\w+)`", modules[1]))

    def plugins(kind: str) -> Iterator[tuple[str, Any]]:
        for name, document in documents[kind].items():
            short = name.removeprefix("inferops.ascend.")
            if kind != "module" or short in used:
                returned = document["return"] or {}
                options = document["doc"].get("options") or {}
                yield short, {"options": shape(options), "returns": shape(returned)}

    variables = data("vars/playbook_variables.yml")
    failures = (repository / "vars" / "failures").glob("*.yml")
    return {
        "playbooks": {
            path.stem: shape(variables.get(path.stem, {}))
            for path in (repository / "playbooks").glob("*.yml")
            # A part of other playbooks.
            if path.stem != "choose_hosts"
        },
        "tags of site": sorted(
            tag for part in data("playbooks/site.yml") for tag in part.get("tags", ())
        ),
        "directories on hosts": directories(repository),
        "variables of all playbooks": shape(variables["all"]),
        "roles": {
            name.removeprefix("inferops.ascend."): {
                entry: shape(spec["options"]) for entry, spec in role["entry_points"].items()
            }
            for name, role in documents["role"].items()
        },
        "keys of a service": sorted(REQUEST_KEYS),
        **{f"{kind}s": dict(plugins(kind)) for kind in ("module", "lookup", "filter")},
        "schemas": {name: fields(data(f"vars/schemas/{name}.schema.json")) for name in SCHEMAS},
        "profiles": [each["name"] for each in data("vars/hardware_profiles.yml")["profiles"]],
        "checks": sorted(CHECKS),
        "causes": sorted(
            each["id"]
            for path in failures
            for each in data(f"vars/failures/{path.name}")["failures"]
        ),
    }


def broken(old: Any, new: Any, where: str) -> Iterator[str]:
    """What of the old is not in the new, or is another."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            if key in new:
                yield from broken(value, new[key], f"{where}/{key}")
            elif key not in ("required", "elements") or (key, new.get("type")) == (
                "elements",
                "list",
            ):
                yield f"{where}/{key} is gone"
        if new.get("required") is True and "required" not in old:
            yield f"{where} has to be given now"
        for key in new.keys() - old.keys():
            if isinstance(new[key], dict) and new[key].get("required") is True:
                yield f"{where}/{key} is new and has to be given"
    elif isinstance(old, list) and isinstance(new, list) and not where.endswith("/default"):
        yield from (f"{where}/{each} is gone" for each in old if each not in new)
    elif old != new and not (where.endswith("/type") and new == "raw"):
        yield f"{where} was {old} and is {new}"


def test_a_promise_is_broken_by_what_a_user_would_notice() -> None:
    old = {
        "one": {"type": "int", "default": 1, "choices": [1, 2]},
        "two": {"type": "list", "elements": "str"},
    }
    wider = {**old, "two": {"type": "raw"}, "three": {"type": "str", "default": "x"}}
    assert not list(broken(old, wider, ""))
    new = {
        "one": {"type": "int", "default": 2, "choices": [2, 3], "required": True},
        "three": {"type": "str", "required": True},
    }
    assert list(broken(old, new, "")) == [
        "/one/default was 1 and is 2",
        "/one/choices/1 is gone",
        "/one has to be given now",
        "/two is gone",
        "/three is new and has to be given",
    ]


def test_what_was_promised_is_there(repository: Path) -> None:
    found = names(repository)
    if os.environ.get("RECORD"):
        text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
        PROMISED.write_text(text + "\n", encoding="utf-8")
    promised = json.loads(PROMISED.read_text(encoding="utf-8"))
    assert not list(broken(promised, found, ""))
