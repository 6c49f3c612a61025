# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment that is asked for: its packages, in steps, and where they come from."""

from __future__ import annotations

import math
import os
import re
from typing import Any, Mapping, NamedTuple, Protocol

from .._base import process


class Module(Protocol):
    """What runs the commands of an installation."""

    def run_command(
        self,
        args: list[str],
        environ_update: dict[str, str] | None = None,
        cwd: str | None = None,
        pass_fds: tuple[int, ...] | None = None,
    ) -> tuple[int, str, str]:
        """Run a command; return status, output and errors."""


class Commands:
    """Runs commands within bounds. timeout: seconds of one; an installation takes as long as it takes."""

    def __init__(self, timeout: float = math.inf) -> None:
        self.timeout = timeout

    def run_command(
        self,
        args: list[str],
        environ_update: dict[str, str] | None = None,
        cwd: str | None = None,
        pass_fds: tuple[int, ...] | None = None,
    ) -> tuple[int, str, str]:
        """Run a command; return status, output and errors. Raises HostError, as process.run does."""
        env = {**os.environ, **(environ_update or {})}
        done = process.run(args, self.timeout, env, shared=pass_fds or (), cwd=cwd)
        return done.status, done.text, done.errors


class Step(NamedTuple):
    """One call of the installer.

    Attributes:
        requirements: what is installed, as in a requirements file.
        overrides: requirements that take the place of what the packages ask for.
        exclude: packages that are not installed although packages ask for them.
        environment: variables of the call.
    """

    requirements: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


class EnvironmentSpec(NamedTuple):
    """An environment as it should be, and how it is made.

    Attributes:
        root: directory of all environments.
        name: directory of this one below `root`; empty to read only.
        steps: none for one that has to be there already.
        expect: version by distribution that has to be installed at the end. One without a local
            part (`+cpu`) is met by any build of it.
        metadata: distributions that are only named, with their version, for a package that is
            asked for under another name than it was published by.
        constraints: as in a constraints file.
        python: path or name of an interpreter; empty to choose.
        python_min, python_max: oldest and newest minor version, such as (3, 10).
        tools: directory of uv; empty for `tools` below the root.
        index_url, extra_index_urls, find_links, offline: where packages come from.
        environment: variables of every call, such as a proxy.
        program: what has to be in its bin directory.
        switch: make it current.
        keep: complete environments kept beside the current one; None for all.
    """

    root: str
    name: str = ""
    steps: tuple[Step, ...] = ()
    expect: Mapping[str, str] = {}
    metadata: Mapping[str, str] = {}
    constraints: tuple[str, ...] = ()
    python: str = ""
    python_min: tuple[int, int] = (3, 8)
    python_max: tuple[int, int] = (3, 99)
    tools: str = ""
    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    offline: bool = False
    environment: Mapping[str, str] = {}
    program: str = ""
    switch: bool = True
    keep: int | None = None

    @property
    def path(self) -> str:
        return os.path.join(self.root, self.name)

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides which packages are in it; where they come from does not."""
        return {
            "steps": [
                {
                    "requirements": list(step.requirements),
                    "overrides": list(step.overrides),
                    "exclude": list(step.exclude),
                }
                for step in self.steps
            ],
            "constraints": list(self.constraints),
            "metadata": dict(sorted(self.metadata.items())),
        }


def normal(name: str) -> str:
    """The name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def same_version(found: str, wanted: str) -> bool:
    """Whether a version is the wanted one; a local part (`+cpu`) counts only if it is wanted."""
    return found == wanted or ("+" not in wanted and found.split("+", 1)[0] == wanted)


def difference(before: Any, after: Mapping[str, Any]) -> str:
    """What differs between two recipes, in words."""
    old, new = _lines(before if isinstance(before, Mapping) else {}), _lines(after)
    extra = [line for line in old if line not in new]
    missing = [line for line in new if line not in old]
    if extra and missing:
        return f"without {', '.join(missing)}, with {', '.join(extra)}"
    if extra:
        return f"with {', '.join(extra)}, which is not asked for"
    if missing:
        return f"without {', '.join(missing)}"
    return "the same ones in another order"


def _lines(recipe: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for step in recipe.get("steps", []):
        lines += step.get("requirements", [])
        lines += [f"override {each}" for each in step.get("overrides", [])]
        lines += [f"excluded {each}" for each in step.get("exclude", [])]
    lines += [f"constraint {each}" for each in recipe.get("constraints", [])]
    lines += [f"metadata {name} {each}" for name, each in recipe.get("metadata", {}).items()]
    return lines
