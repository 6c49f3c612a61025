# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rule of docs/architecture.md: imports go one way, and no file of code is longer than 400 lines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
PREFIX = "ansible_collections.inferops.ascend.plugins."
LINES = 400

# What each part of a layer may import, beside itself. Of names in one tuple none imports another.
CONTROLLER = (
    ("placed_services", "host_options"),
    ("host_variables", "host_python", "deployment"),
    ("group_check", "variable_check"),
    ("groups",),
    ("_status",),
    ("_host", "_weights", "_runtime", "_plan", "_calibrate", "_gateway", "_monitoring"),
    ("settings",),
    ("_service",),
    ("_place",),
    ("_model",),
    ("_base",),
)
HOSTS = (("_weights", "_runtime", "_calibrate", "_gateway"), ("_service",), ("_host",), ("_base",))


def source_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Modules and names of this collection that a file imports, without the common prefix."""
    found = set()
    package = path.relative_to(PLUGINS).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        module = node.module or ""
        if node.level:
            module = ".".join([*package[: len(package) - node.level + 1], *module.split(".")])
        elif module.startswith(PREFIX):
            module = module[len(PREFIX) :]
        else:
            continue
        found |= {f"{module.strip('.')}.{alias.name}" for alias in node.names}
    return found


def part_of(dotted: str) -> tuple[str, str]:
    """(layer, package or module) of `plugin_utils._model.tables.Row`."""
    layer, part = dotted.split(".")[:2]
    return layer, part


def rank(order: tuple[tuple[str, ...], ...], part: str) -> int:
    return next(number for number, names in enumerate(order) if part in names)


@pytest.mark.parametrize(
    "layer, order",
    [("plugin_utils", CONTROLLER), ("module_utils", HOSTS)],
    ids=["controller", "hosts"],
)
def test_imports_go_one_way(layer: str, order: tuple[tuple[str, ...], ...]) -> None:
    wrong = []
    for path in source_files(f"plugins/{layer}"):
        relative = path.relative_to(PLUGINS / layer)
        part = relative.parts[0].removesuffix(".py")
        for name in imports(path):
            other_layer, other = part_of(name)
            if other_layer == "module_utils" and layer == "plugin_utils":
                continue  # the controller knows the formats of the hosts
            if other_layer != layer or (other != part and rank(order, other) <= rank(order, part)):
                wrong.append(f"{layer}/{relative} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in source_files("plugins/plugin_utils", "plugins/module_utils"):
        module = ".".join(path.relative_to(PLUGINS).with_suffix("").parts)
        graph[module] = imports(path)
    modules = set(graph)
    edges = {
        module: {
            other
            for other in modules
            if other != module and any(f"{name}.".startswith(f"{other}.") for name in names)
        }
        for module, names in graph.items()
    }
    while leaves := {module for module, needed in edges.items() if not needed}:
        edges = {
            module: needed - leaves for module, needed in edges.items() if module not in leaves
        }
    assert not edges, f"these import each other: {', '.join(sorted(edges))}"


def test_no_file_imports_a_private_name_of_another() -> None:
    wrong = []
    for path in source_files("plugins"):
        for name in imports(path):
            if name.rsplit(".", 1)[-1].startswith("_"):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["plugins", "tests"])
def test_no_file_is_longer_than_400_lines(folder: str) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in source_files(folder)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES
    }
    assert not long, f"files of more than {LINES} lines, each likely to hold two ideas: {long}"
