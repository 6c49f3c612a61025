# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine's options by version, from `vars/vllm_options.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .._base.data import vars_file
from .._base.errors import AscendError
from .versions import row_of

# A release, a candidate of it, a rebuild (0.23.0.post1) or a local build (0.23.0+empty).
_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+){2,3})((rc|\.post|\.dev)[0-9]+)*(\+.*)?")


def load_options() -> Mapping[str, Any]:
    """{version: {option: facts}}, and `_about`."""
    options: Mapping[str, Any] = vars_file("vllm_options.json")
    return options


def list_of(version: object) -> str:
    """The version whose option list counts for a version of vLLM or vllm-ascend.

    Its own, else the nearest older one, else the oldest. Raises AscendError for what is not a version.
    """
    text = str(version).strip()
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
    listed, text = list_of(version), str(version).strip().removeprefix("v")
    row = row_of(text)
    if number(row.vllm if row else text) == number(listed):
        return None
    return f"vLLM {text} has no option list here; args are read by that of vLLM {listed}"


def number(version: str) -> tuple[int, ...]:
    """A version as a number to compare: (0, 18, 0)."""
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])


def dashed(key: str) -> str:
    """An option's name with dashes, without leading ones."""
    return key.replace("_", "-").lstrip("-").lower()


def is_option(key: str) -> bool:
    """Whether any version of the engine has an option of this name, in either spelling."""
    return any(dashed(key) in version for version in load_options().values())
