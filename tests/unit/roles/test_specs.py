# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults, specs and tasks of every role speak of the same variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .tasks import with_blocks

ROLES = sorted(path for path in (Path(__file__).parents[3] / "roles").iterdir() if path.is_dir())


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {} if path.exists() else {}


@pytest.fixture(params=ROLES, ids=lambda path: path.name)
def role(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def options(role: Path) -> dict[str, Any]:
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for spec in specs.values() for name, option in spec["options"].items()}


def published(role: Path) -> set[str]:
    """What the role's tasks give to others, as facts or results."""
    names: set[str] = set()
    for path in (role / "tasks").glob("*.yml"):
        for task in with_blocks(yaml.safe_load(path.read_text(encoding="utf-8"))):
            names |= {*task.get("ansible.builtin.set_fact", {}), task.get("register", "")}
    return names


def test_every_default_is_documented_and_every_document_has_its_default(role: Path) -> None:
    defaults = load(role / "defaults" / "main.yml")
    documented = options(role)
    optional = {name for name, option in documented.items() if not option.get("required")}
    assert set(defaults) == optional


def test_documented_defaults_are_the_real_ones(role: Path) -> None:
    defaults = load(role / "defaults" / "main.yml")
    for name, option in options(role).items():
        if option.get("required"):
            continue
        value = defaults[name]
        if isinstance(value, str) and "{{" in value:
            assert "default" not in option, f"{name}: its default is computed, say so in words"
        else:
            assert option.get("default") == value, name


def test_variables_carry_the_name_of_their_role(role: Path) -> None:
    assert all(name.startswith(f"{role.name}_") for name in options(role))


def test_no_variable_is_used_that_is_not_documented(role: Path) -> None:
    used = set()
    for part in ("tasks", "templates", "vars", "handlers"):
        for path in (role / part).rglob("*"):
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                used |= set(re.findall(rf"(?<![\w.]){role.name}_[a-z0-9_]+", text))
    registered = {f"{role.name}_result"} | published(role)
    assert used - registered <= set(options(role))
    assert set(load(role / "defaults" / "main.yml")) <= used | set(
        re.findall(rf"{role.name}_[a-z0-9_]+", (role / "defaults" / "main.yml").read_text())
    )
