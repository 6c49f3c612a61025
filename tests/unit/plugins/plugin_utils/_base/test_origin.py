# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a variable is set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.origin import Origins

GROUPS = ["ascend", "rack"]


@pytest.fixture
def origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Origins:
    monkeypatch.chdir(tmp_path)
    for path, text in {
        "group_vars/all.yml": "# a: 0\na: 1\nb: 1\n",
        "group_vars/ascend/one.yml": "---\n'b': 1\nc: 2\n",
        "group_vars/rack.json": '{"c": 3}',
        "host_vars/h1": "d: [x]\n",
        "hosts.ini": "[ascend]\nh1 e=5 ff=6\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def load(path: Path) -> object:
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    return Origins([tmp_path], load, {"z": 1}, {"all": 9, "ascend": 8, "rack": 2})


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("a", 1, "group_vars/all.yml, line 2"),
        ("b", 1, "group_vars/ascend/one.yml, line 2"),
        ("c", 3, "group_vars/rack.json, line 1"),
        ("c", 2, "group_vars/ascend/one.yml, line 3"),
        ("d", ["x"], "host_vars/h1, line 1"),
        ("e", 5, "hosts.ini, line 2"),
        ("f", 6, None),
        ("z", 1, "-e"),
    ],
)
def test_the_nearest_file_that_has_the_value_is_named(
    origins: Origins, tmp_path: Path, name: str, value: Any, place: str | None
) -> None:
    assert origins.of(name, value, "h1", GROUPS, str(tmp_path / "hosts.ini")) == place
