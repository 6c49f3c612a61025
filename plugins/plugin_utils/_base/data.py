# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the collection's data files are, and their content.

The shipped files are checked against their schemas by the tests, not at run time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import read_bytes

from .yaml_text import LOADER, parse_yaml

ROOT = Path(__file__).resolve().parents[3]
VARS = ROOT / "vars"
# Bytes of a file of a user; the published table has some 30,000.
_MOST_YAML = 8_000_000


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, read again at each call.

    Raises OSError, and yaml.YAMLError or ValueError for what is not YAML or out of bounds.
    """
    return parse_yaml(read_bytes(path, _MOST_YAML))


@lru_cache(maxsize=None)
def vars_file(name: str) -> Any:
    """The content of a file below `vars/`, YAML or JSON; read once, so it must not be changed."""
    path = VARS / name
    return json.loads(path.read_text("utf-8")) if path.suffix == ".json" else _read_plain(path)


# Scalars of the shipped files by the tag that YAML resolves them to.
_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:str": str,
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:bool": lambda text: text.lower() in ("true", "yes", "on"),
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:timestamp": date.fromisoformat,
}


def _read_plain(path: Path) -> Any:
    """What `read_yaml` reads, for plain values without merge keys: in half the time, most of which
    PyYAML needs for types of its users and for values that contain themselves."""
    with path.open("rb") as stream:
        return _value(yaml.compose(stream, Loader=LOADER))


def _value(node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _SCALARS[node.tag](node.value)
    if isinstance(node, yaml.MappingNode):
        return {_value(key): _value(value) for key, value in node.value}
    return [_value(each) for each in node.value]


@lru_cache(maxsize=None)
def role_defaults(role: str) -> Mapping[str, Any]:
    """The default values of a role's variables as written, templates included."""
    defaults: Mapping[str, Any] = read_yaml(ROOT / "roles" / role / "defaults" / "main.yml") or {}
    return defaults
