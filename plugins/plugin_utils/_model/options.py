# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engine's options by version, from `vars/vllm_options.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._base.data import vars_file


def load_options() -> Mapping[str, Any]:
    """{version: {option: facts}}, and `_about`."""
    options: Mapping[str, Any] = vars_file("vllm_options.json")
    return options


def dashed(key: str) -> str:
    """An option's name with dashes, without leading ones."""
    return key.replace("_", "-").lstrip("-").lower()


def is_option(key: str) -> bool:
    """Whether any version of the engine has an option of this name, in either spelling."""
    return any(dashed(key) in version for version in load_options().values())
