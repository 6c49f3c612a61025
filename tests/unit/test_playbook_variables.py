# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of variables has every one that a playbook reads, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

CONDITIONS = {"when", "failed_when", "changed_when", "until", "that"}
ANSIBLE = re.compile(
    "ansible_.*|groups|hostvars|inventory_hostname|item|lookup|now|omit|query|role_.*|__.*"
)
OURS = re.compile("(vllm|ascend|capacity)_[a-z_]+")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or []


def templates(value: Any, key: str = "") -> Iterator[str]:
    """What Ansible renders in a playbook or a file of tasks."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from templates(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from templates(item, key)
    elif isinstance(value, str):
        yield value if "{{" in value or "{%" in value else ""
        if key in CONDITIONS and "{{" not in value:
            yield "{{ " + value + " }}"


def given(value: Any) -> Iterator[str]:
    """Names that a playbook or a file of tasks sets itself."""
    if isinstance(value, list):
        for item in value:
            yield from given(item)
    elif isinstance(value, dict):
        yield str(value.get("register", ""))
        for name in ("vars", "ansible.builtin.set_fact"):
            yield from value.get(name) or {}
        for item in value.values():
            yield from given(item)


@pytest.fixture(scope="module")
def files(repository: Path) -> list[Path]:
    return sorted((repository / "playbooks").rglob("*.yml"))


@pytest.fixture(scope="module")
def known(repository: Path, files: list[Path]) -> set[str]:
    """Variables of roles, and what roles and playbooks set."""
    names = set()
    for path in repository.glob("roles/*/meta/argument_specs.yml"):
        for spec in load(path)["argument_specs"].values():
            names |= set(spec["options"])
    for path in [*files, *repository.glob("roles/*/tasks/*.yml")]:
        names |= set(given(load(path)))
    return names


@pytest.fixture(scope="module")
def documented(repository: Path) -> dict[str, Any]:
    entries = load(repository / "vars" / "playbook_variables.yml").values()
    return {name: option for options in entries for name, option in options.items()}


@pytest.fixture(scope="module")
def trees(files: list[Path]) -> list[nodes.Template]:
    environment = Environment(autoescape=True)
    return [environment.parse(text) for path in files for text in templates(load(path))]


@pytest.fixture(scope="module")
def texts(repository: Path) -> tuple[set[str], set[str]]:
    """Texts in the code of plugins: all of them, and those by which something is read of variables."""
    every, read = set(), set()
    for path in repository.glob("plugins/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                every.add(node.value)
            if path.parent.name == "action" and isinstance(node, ast.Call) and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and getattr(node.func, "attr", "") == "get":
                    read.add(str(first.value))
    return every, read


@pytest.fixture(scope="module")
def rendered(trees: list[nodes.Template]) -> set[str]:
    found = {name for tree in trees for name in tree.find_all(nodes.Name)}
    stored = {name.name for name in found if name.ctx == "store"}
    return {name.name for name in found} - stored


def test_every_variable_that_is_read_is_on_the_page(
    rendered: set[str],
    texts: tuple[set[str], set[str]],
    known: set[str],
    documented: dict[str, Any],
) -> None:
    playbooks = {name for name in rendered if not ANSIBLE.fullmatch(name)}
    plugins = {name for name in texts[1] if OURS.fullmatch(name)}
    assert (playbooks | plugins) - known - set(documented) == set()


def test_every_variable_on_the_page_is_read(
    rendered: set[str], texts: tuple[set[str], set[str]], documented: dict[str, Any]
) -> None:
    assert set(documented) - rendered - texts[0] == set()


def test_no_variable_of_a_role_is_on_the_page_twice(
    known: set[str], documented: dict[str, Any]
) -> None:
    assert known & set(documented) == set()


def test_defaults_on_the_page_are_those_of_the_playbooks(
    trees: list[nodes.Template], documented: dict[str, Any]
) -> None:
    differ = []
    for tree in trees:
        for used in tree.find_all(nodes.Filter):
            if used.name != "default" or not isinstance(used.node, nodes.Name):
                continue
            name = used.node.name
            if name in documented and isinstance(used.args[0], nodes.Const):
                value = used.args[0].value
                if documented[name].get("default", "") != ("" if value is None else value):
                    differ.append(f"{name}: {value}")
    assert not differ


def test_documents_name_variables_that_there_are(
    repository: Path, known: set[str], documented: dict[str, Any]
) -> None:
    roles = [path.name for path in (repository / "roles").iterdir()]
    prefixes = {name.rsplit("_", 1)[0] for name in documented} - {"ascend", "ascend_model"}
    ours = re.compile(rf"(?<![/\w.])(?:{'|'.join([*roles, *prefixes])})_[a-z_]*[a-z]\b")
    pages = [repository / "README.md", *repository.glob("docs/**/*.md")]
    unknown = {
        f"{page.relative_to(repository)}: {name}"
        for page in pages
        for name in ours.findall(page.read_text(encoding="utf-8"))
        if name not in known and name not in documented
    }
    assert not unknown
