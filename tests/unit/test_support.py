# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/support.md has a row for all that the data and the settings of the tests know, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.release import __version__
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import needed


def tables(page: str) -> dict[str, list[str]]:
    """Rows of the first table below each heading, without its head."""
    found = {}
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        rows = [line for line in part.splitlines() if line.startswith("|")]
        found[part.splitlines()[0]] = rows[2:]
    return found


@pytest.fixture(scope="module")
def rows(repository: Path) -> dict[str, list[str]]:
    return tables((repository / "docs" / "support.md").read_text(encoding="utf-8"))


def data(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def test_hosts_are_the_profiles_and_tried_are_those_of_the_tests(
    repository: Path, rows: dict[str, list[str]]
) -> None:
    used = "".join(
        path.read_text(encoding="utf-8")
        for path in (repository / "tests/integration").rglob("*.py")
    )
    assert rows["Hosts"] == [
        row(
            f"`{each['name']}`",
            each["title"],
            ", ".join(each["chips"]),
            each["cards"] or "its own number",
            each["card_memory_gb"],
            "tried" if each["name"] in used else "read",
        )
        for each in data(repository / "vars/hardware_profiles.yml")["profiles"]
    ]


def test_engines_are_the_version_matrix_and_tried_are_those_with_an_option_list(
    repository: Path, rows: dict[str, list[str]]
) -> None:
    matrix = data(repository / "vars/version_matrix.yml")
    lists = json.loads((repository / "vars/vllm_options.json").read_text(encoding="utf-8"))
    assert rows["Engines"] == [
        row(
            each["vllm"],
            each["vllm_ascend"],
            each["cann"],
            " to ".join(each["python"]),
            each["wheels"],
            "tried" if each["vllm"] in lists else "read",
        )
        for each in matrix["versions"]
    ]


def test_controllers_are_those_of_the_matrix_and_tried_is_that_of_the_tests(
    repository: Path, rows: dict[str, list[str]]
) -> None:
    matrix = (repository / "tests/tools/matrix").read_text(encoding="utf-8")
    pinned = (repository / "requirements-dev.txt").read_text(encoding="utf-8")
    used = re.findall(r"^ansible-core == (\d+\.\d+)", pinned, re.MULTILINE)
    known = re.findall(r"^    controller (\S+) (.+)$", matrix, re.MULTILINE)
    cells = [line.strip("| ").split(" | ") for line in rows["Controllers"]]
    assert [(core, pythons, tried) for core, pythons, hosts, tried in cells] == [
        (core, ", ".join(pythons.split()), "tried" if core in used else "read")
        for core, pythons in known
    ]
    oldest = ".".join(map(str, needed()))
    running = ".".join(__version__.split(".")[:2])
    assert [hosts.split()[0] for core, _py, hosts, _tried in cells if core == running] == [oldest]
    assert known[0][0] in data(repository / "meta/runtime.yml")["requires_ansible"]


def terms(text: str) -> list[str]:
    """Names of profiles, and versions, each once."""
    return list(dict.fromkeys(re.findall(r"`[^`]+`|\b\d[\w.]+", text)))


@pytest.mark.parametrize("page", ["README.md", "docs/zh/README.md"])
def test_the_first_page_has_in_short_what_the_tables_have(
    page: str, repository: Path, rows: dict[str, list[str]]
) -> None:
    def column(table: str, number: int, end: str = "") -> list[str]:
        lines = [line for line in rows[table] if line.endswith(f"{end} |")]
        return terms(" ".join(line.split(" | ")[number] for line in lines))

    engines, cann, cores = column("Engines", 0), column("Engines", 2), column("Controllers", 0)
    lines = (repository / page).read_text(encoding="utf-8").splitlines()
    (at,) = [number for number, line in enumerate(lines) if "`atlas-950dt`" in line]
    assert [terms(line) for line in lines[at : at + 4]] == [
        column("Hosts", 0, "tried") + column("Hosts", 0, "read"),
        column("Engines", 0, "tried") + [engines[-1], engines[0]],
        [cann[-1], cann[0]],
        column("Controllers", 0, "tried") + [cores[0], cores[-1]],
    ]
