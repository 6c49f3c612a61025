# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine's options by version, from `vars/vllm_options.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import read_json

from .._base.data import vars_file
from .._base.errors import AscendError
from .._base.values import shown
from .versions import row_of

# A release, a candidate of it, a rebuild (0.23.0.post1) or a local build (0.23.0+empty).
_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+){2,3})((rc|\.post|\.dev)[0-9]+)*(\+.*)?")

# What this collection writes for every service.
_EVERY_LIST = ("host", "port", "max-model-len", "served-model-name", "tensor-parallel-size")


def load_options() -> Mapping[str, Any]:
    """{version: {option: facts}}, and `_about`."""
    options: Mapping[str, Any] = vars_file("vllm_options.json")
    return options


def is_file(version: object) -> bool:
    """Whether the name of an option list is the path of a file, which the playbook options wrote."""
    return str(version).strip().endswith(".json")


def named_list(name: object, otherwise: str) -> str:
    """What vllm_runtime_row has as options, if it has any.

    Raises AscendError for what names no list.
    """
    if not name:
        return otherwise
    if isinstance(name, str) and (is_file(name) or _VERSION.fullmatch(name.strip())):
        return name.strip()
    raise AscendError(
        f"vllm_runtime_row, options: {shown(name)} is neither a version, as '0.23.0', nor the path of a"
        " .json file, which the playbook inferops.ascend.options writes."
    )


def facts_of(version: object) -> Mapping[str, Any]:
    """{option: facts} of the list that counts for a version, or of the file that is named."""
    facts: Mapping[str, Any]
    if is_file(version):
        facts = _read_file(str(version).strip())["options"]
    else:
        facts = load_options()[list_of(version)]
    return facts


@lru_cache(maxsize=8)
def _read_file(path: str) -> Mapping[str, Any]:
    """{version, options} of a file. Raises AscendError for what is none."""
    way = "Write the file with the playbook inferops.ascend.options."
    file = Path(path).expanduser()
    fault, found = None, None
    try:
        found = read_json(file)
    except OSError as error:
        fault = error.strerror or str(error)
    except ValueError as error:
        fault = str(error)
    if fault:
        raise AscendError(f"vllm_runtime_row, options: {path} cannot be read: {fault}. {way}")
    found = found if isinstance(found, dict) else {}
    version, options = found.get("version"), found.get("options")
    options = options if isinstance(options, dict) else {}
    listed = all(
        isinstance(fact, dict) and isinstance(fact.get("opts"), list) and "action" in fact
        for fact in options.values()
    )
    if not listed or not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise AscendError(
            f"vllm_runtime_row, options: {path} does not have a version and its options. {way}"
        )
    lacks = [name for name in _EVERY_LIST if name not in options]
    if lacks:
        raise AscendError(
            f"vllm_runtime_row, options: {path} does not have {', '.join(lacks)}, which every version"
            f" of vllm serve has. {way}"
        )
    return {"version": version, "options": options}


def list_of(version: object) -> str:
    """The version whose option list counts for a version of vLLM or vllm-ascend.

    Its own, else the nearest older one, else the oldest; that of a file is the engine's. Raises
    AscendError for what is not a version.
    """
    text = str(version).strip()
    if is_file(text):
        return str(_read_file(text)["version"])
    row = row_of(text)
    found = _VERSION.fullmatch(row.vllm if row else text)
    if found is None:
        raise AscendError(
            f"the version of vLLM is {text!r} (vllm_service_engine_version), which is not a version."
            " Write it as in 0.18.0."
        )
    lists = sorted((name for name in load_options() if not name.startswith("_")), key=number)
    older = [name for name in lists if number(name) <= number(found[1])]
    return older[-1] if older else lists[0]


def missing_list(version: object) -> str | None:
    """What to know of a version without an option list of its own; None where it has one."""
    if is_file(version):
        return None
    listed, text = list_of(version), str(version).strip().removeprefix("v")
    if engine_number(text) == number(listed):
        return None
    return f"vLLM {text} has no option list here; args are read by that of vLLM {listed}"


def number(version: str) -> tuple[int, ...]:
    """A version as a number to compare: (0, 18, 0)."""
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])


def engine_number(version: str) -> tuple[int, ...]:
    """The number of vLLM, by its own version or that of vllm-ascend; empty if it is none."""
    row = row_of(version)
    return number(row.vllm if row else version)


def dashed(key: str) -> str:
    """An option's name with dashes, without leading ones."""
    return key.replace("_", "-").lstrip("-").lower()


def is_option(key: str) -> bool:
    """Whether any version of the engine has an option of this name, in either spelling."""
    return any(dashed(key) in version for version in load_options().values())
