# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The parts of a start and the known failures, from ``vars/``, as the host's module takes them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

VARS = Path(__file__).resolve().parents[2] / "vars"


def _read(name: str, key: str) -> list[dict[str, Any]]:
    data = yaml.safe_load((VARS / name).read_text(encoding="utf-8"))
    return [dict(entry) for entry in data[key]]


@lru_cache(maxsize=None)
def _phases() -> tuple[dict[str, Any], ...]:
    return tuple(_read("start_phases.yml", "phases"))


@lru_cache(maxsize=None)
def _failures() -> tuple[dict[str, Any], ...]:
    return tuple(_read("failures.yml", "failures"))


def phases() -> list[dict[str, Any]]:
    """The phases of a start in order: {name, text, lines (patterns)}."""
    return [dict(each) for each in _phases()]


def failures() -> list[dict[str, Any]]:
    """The failures in order: {id, lines, results, statuses, cause, advice, retry, source}."""
    return [dict(each) for each in _failures()]
