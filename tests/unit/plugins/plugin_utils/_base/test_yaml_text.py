# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML of a user that would never end, or take all memory, is rejected in time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import OutOfBounds
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.yaml_text import parse_yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.row import with_row
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.plan_file import read_plan_file

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
)
MERGES = "m0: &m0 {k: v}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "more than 1000000 values"),
        (MERGES, "more than 1000000 values"),
        ("a: &a [*a]\n", "contains itself"),
        ("[" * 500 + "]" * 500, "deeper than 100 levels"),
        ("a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60, "deeper than 100"),
    ],
)
def test_yaml_out_of_bounds(text: str, words: str) -> None:
    begin = time.monotonic()
    with pytest.raises(OutOfBounds, match=words):
        parse_yaml(text)
    assert time.monotonic() - begin < 20


def test_aliases_that_repeat_little_are_read() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\n")["b"] == {"x": 1, "y": 2}
    assert parse_yaml("") is None


def test_files_of_a_user_with_such_yaml_are_named(tmp_path: Path) -> None:
    table = tmp_path / "ours.yml"
    table.write_text(f"table: ours\n{BOMB}", "utf-8")
    with pytest.raises(AscendError, match=r"ours\.yml cannot be read: it has more than"):
        load_catalogue([str(table)])
    with pytest.raises(AscendError, match=r"ours\.yml is not YAML"):
        with_row(BOMB, {"model": "A"}, "ours", str(table))
    marked = (
        f"# Written by the playbook inferops.ascend.plan from the inventory x.\n{BOMB}".encode()
    )
    existing = read_plan_file(tmp_path / "p.yml", "h1", marked, "x")
    assert "p.yml is not YAML" in str(existing.fault)


def test_a_table_that_is_a_pipe_or_endless_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    with (tmp_path / "large.yml").open("wb") as file:
        file.truncate(1 << 33)
    for name in ("pipe", "large"):
        with pytest.raises(AscendError, match=rf"{name}\.yml"):
            load_catalogue([str(tmp_path / f"{name}.yml")])
