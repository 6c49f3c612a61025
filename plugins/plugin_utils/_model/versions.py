# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The version matrix: which versions of engine, CANN and Python were released together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .._base.data import vars_file
from .._base.errors import AscendError
from .._base.values import kind_of, plain
from .._base.words import counted

# The keys of a row that decide what is installed or compared, and the type of each.
_TYPES = {
    "vllm": str,
    "vllm_ascend": str,
    "distribution": str,
    "python": list,
    "cann": str,
    "torch_npu": str,
    "packages": dict,
    "wheels": str,
    "options": str,
    "exclude": list,
    "metadata": dict,
}
_FOR_READERS = frozenset(("notes", "sources"))
_SPECIFIER = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)\s*[0-9]")
_RELEASE = re.compile(r"([0-9]+\.[0-9]+\.[0-9]+)((rc|\.post|\.dev)[0-9]+)*")
_PYTHON = re.compile(r"3\.[0-9]{1,2}")


@dataclass(frozen=True)
class VersionRow:
    """One row: versions that were released and tested together.

    Attributes:
        python: the oldest and the newest version that the engine runs on.
        vllm_ascend, cann, torch_npu: None where the row does not name them.
        distribution: the name under which this vLLM was published.
        packages: version specifiers by distribution.
        wheels: the platform of vllm-ascend's wheels on PyPI; "none": it has a source distribution
            only; None: not known.
        options: the version whose option list counts; None: its own, or the nearest older one.
        exclude: distributions that others ask for and that must not be installed.
        metadata: versions of distributions to name as installed.
        listed: whether a row says so; False: all that is known is what the newest row has.
    """

    vllm: str
    python: tuple[str, str]
    vllm_ascend: str | None = None
    distribution: str = "vllm"
    cann: str | None = None
    torch_npu: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    wheels: str | None = None
    options: str | None = None
    listed: bool = True

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> VersionRow:
        """A row as it is written in the matrix, already checked."""
        known = {key: value for key, value in row.items() if key in _TYPES}
        oldest, newest = row["python"]
        known.update(python=(oldest, newest), exclude=tuple(row.get("exclude", ())))
        return cls(**known)

    def matches(self, version: str) -> bool:
        """Whether this is the row of that version of vLLM or vllm-ascend."""
        return version in (self.vllm, self.vllm_ascend)

    @property
    def candidate(self) -> bool:
        """Whether this is a release candidate."""
        return bool(re.search(r"rc[0-9]+$", self.vllm_ascend or self.vllm))

    @property
    def title(self) -> str:
        """What messages call it: a candidate by its own version, which vLLM's does not tell."""
        return self.vllm_ascend if self.candidate and self.vllm_ascend else self.vllm


@lru_cache(maxsize=1)
def matrix() -> Mapping[str, Any]:
    """vars/version_matrix.yml."""
    data: dict[str, Any] = vars_file("version_matrix.yml")
    return data


@lru_cache(maxsize=2)
def rows(device: str = "npu") -> tuple[VersionRow, ...]:
    """The rows for a device, npu or cpu, newest first."""
    key = "cpu_versions" if device == "cpu" else "versions"
    return tuple(VersionRow.from_dict(row) for row in matrix()[key])


def row_of(version: str, device: str = "npu") -> VersionRow | None:
    """The row of a version of vllm-ascend, or else the newest of a version of vLLM.

    Candidates have rows of their own, and share their vLLM with the release: `0.18.0` is the
    release, `0.18.0rc1` the candidate.
    """
    wanted = version.removeprefix("v")
    for versions in ("vllm_ascend", "vllm"):
        for row in rows(device):
            if getattr(row, versions) == wanted:
                return row
    return None


def _later(version: str, device: str) -> VersionRow | None:
    """What is known of a version of vllm-ascend that is later than every row; None for another.

    Its own pins are to decide what is installed beside it, and it goes with the vLLM of its number.
    """
    found = _RELEASE.fullmatch(version)
    newest = rows("npu")[0]
    if device != "npu" or found is None or _numbers(found[1]) <= _numbers(newest.vllm):
        return None
    return VersionRow(
        vllm=found[1],
        vllm_ascend=version,
        python=newest.python,
        exclude=newest.exclude,
        listed=False,
    )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def known_versions(device: str = "npu") -> str:
    """The versions of the matrix for a message, newest first, candidates by their number."""
    text = ", ".join(dict.fromkeys(row.vllm for row in rows(device) if not row.candidate))
    candidates = sum(row.candidate for row in rows(device))
    return f"{text} and {counted(candidates, 'release candidate')}" if candidates else text


def find(version: object, own_row: object = None, *, device: str = "npu") -> VersionRow:
    """The row of a version of vLLM or vllm-ascend; `own_row`, if given, takes its place.

    A version that is later than all rows has one that is not `listed`. Raises AscendError for another
    version without a row, naming those there are, and for an own row with an unknown key or a value of
    another type.
    """
    if own_row:
        return parse(own_row)
    wanted = str(version).removeprefix("v")
    row = row_of(wanted, device) or _later(wanted, device)
    if row is not None:
        return row
    raise AscendError(
        f"the version matrix has no row of vLLM {wanted} for the device {device}; it has"
        f" {known_versions(device)}. Set vllm_runtime_version to one of these (with"
        " vllm_service_engine_version, which it follows), or write the row yourself in"
        " vllm_runtime_row."
    )


def parse(value: object) -> VersionRow:
    """The user's vllm_runtime_row. Raises AscendError that names what is wrong in it."""
    row = plain(value, "vllm_runtime_row")
    if not isinstance(row, dict):
        raise AscendError(
            f"vllm_runtime_row is {kind_of(value)}; a mapping like a row of the version matrix is"
            " needed, {vllm: 0.18.0, python: ['3.10', '3.11']}."
        )
    kinds = {str: "a text in quotes", list: "a list", dict: "a mapping"}
    for key, item in row.items():
        if key in _FOR_READERS:
            continue
        if key not in _TYPES:
            raise AscendError(
                f"vllm_runtime_row has the key {key!r}; a row has {', '.join(_TYPES)}."
            )
        if not isinstance(item, _TYPES[key]):
            raise AscendError(
                f"vllm_runtime_row, {key} is {kind_of(item)}; {kinds[_TYPES[key]]} is needed."
            )
    for name, pin in row.get("packages", {}).items():
        if not isinstance(pin, str) or not _SPECIFIER.match(pin):
            raise AscendError(
                f"vllm_runtime_row, packages, {name} is {pin!r}; versions with an operator before"
                f' them are needed, in quotes: {name}: "=={pin}".'
            )
    for key in ("vllm", "python"):
        if key not in row:
            raise AscendError(
                f"vllm_runtime_row has no {key}, which tells what is to be installed."
            )
    if len(row["python"]) != 2 or not all(
        isinstance(each, str) and _PYTHON.fullmatch(each) for each in row["python"]
    ):
        raise AscendError(
            "vllm_runtime_row, python needs the oldest and the newest version, in quotes:"
            ' ["3.10", "3.11"].'
        )
    return VersionRow.from_dict(row)
