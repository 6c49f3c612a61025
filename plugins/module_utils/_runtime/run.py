# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run over the environments of a host: compare, then install, switch and remove."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
from typing import Iterable, NamedTuple, Sequence

from .._base.errors import HostError
from .._base.files import remove_leftovers, sync_directory, write_atomically
from .available import faults
from .build import build
from .environments import (
    COMPLETE,
    CURRENT,
    REMOVING,
    SWITCHING,
    TOOLS,
    USED,
    State,
    current,
    states,
    unit_files,
    users,
)
from .interpreters import choose
from .spec import EnvironmentSpec, Module, difference
from .uv import Uv

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class Outcome(NamedTuple):
    """What is to be done or was done."""

    builds: bool
    switches: bool
    removes: tuple[str, ...]
    current: str | None
    previous: str | None


class Environments:
    """The environments of one host: compare, then act. Both raise HostError."""

    def __init__(self, module: Module, spec: EnvironmentSpec, proc: str = "/proc") -> None:
        self.module = module
        self.spec = spec
        self.proc = proc
        self.lock: int | None = None
        if spec.name and (not _NAME.fullmatch(spec.name) or spec.name in (CURRENT, TOOLS)):
            raise HostError(
                f"{spec.name!r} cannot be the name of an environment: write letters, digits and "
                f". _ + -, beginning with a letter or digit, and not {CURRENT!r} or {TOOLS!r}."
            )
        if spec.keep is not None and spec.keep < 0:
            raise HostError(
                f"keep is {spec.keep}; a number of environments from 0 is needed (in the role: "
                "vllm_runtime_keep)."
            )

    def compare(self) -> Outcome:
        """Compare the host with what is asked for; nothing is changed."""
        spec = self.spec
        found = states(spec.root)
        now = current(spec.root)
        builds = bool(spec.name) and self._must_build(found.get(spec.name))
        if builds:
            self.python = choose(spec)
        after = spec.name if spec.name and spec.switch else now
        others = [s for s in found.values() if s.kind == "complete" and s.name != after]
        if after != now:
            # The one that stops being current is the first to go back to.
            others.sort(key=lambda state: state.name != now)
        previous = next((s.name for s in others if s.name == now or s.last_current), None)
        spare = [state.name for state in others if state.name != spec.name]
        removes = spare[spec.keep :] if spec.keep is not None else []
        if removes:
            in_use = users(spec.root, self.proc, unit_files())
            removes = [name for name in removes if name not in in_use]
        # What may still run from a half-made one is its installer, which has the lock.
        removes += [s.name for s in found.values() if s.kind == "building" and s.name != spec.name]
        return Outcome(builds, after != now, tuple(removes), after, previous)

    def _must_build(self, state: State | None) -> bool:
        spec = self.spec
        if state is None or state.kind == "building":
            if not spec.steps:
                complete = [s.name for s in states(spec.root).values() if s.kind == "complete"]
                raise HostError(
                    f"{spec.path} is not there or was not finished, and no steps are given to "
                    f"install. Install that version first; there is {', '.join(complete) or 'none'}."
                )
            return True
        if state.kind == "foreign":
            raise HostError(
                f"{spec.path} was not made by this role (it has no {COMPLETE}), so it is neither "
                "used nor changed. Move it away; or give the new environment another name (in "
                "the role: vllm_runtime_name); or, to go on with an engine that somebody else "
                "installs, set vllm_runtime_method: external."
            )
        if spec.steps and state.record.get("recipe") != spec.recipe:
            raise HostError(
                f"{spec.path} is there, made from other packages: "
                f"{difference(state.record.get('recipe'), spec.recipe)}. A complete environment is "
                "not changed, because services run from it. Give the new one another name "
                f"(in the role: vllm_runtime_name: {spec.name}-2)."
            )
        return False

    def missing(self, coming: Sequence[str]) -> list[str]:
        """What is not there to make the environment from, a sentence each; nothing is changed.

        coming: names of files that will be copied into the directories of packages first.
        """
        uv = Uv(self.module, self.spec).fault(coming)
        return [*([uv] if uv else []), *faults(self.spec, coming)]

    def act(self, outcome: Outcome) -> None:
        """Do it, in an order that loses nothing at an interruption.

        `current` moves when the new environment is complete, and what is old goes after that.
        """
        spec = self.spec
        with contextlib.suppress(OSError):
            os.makedirs(spec.root, mode=0o755, exist_ok=True)
        # Of root this asks whether the file system can be written.
        if not os.access(spec.root, os.W_OK | os.X_OK):
            raise HostError(
                f"{spec.root} cannot be written. See how it is mounted (findmnt --target "
                f"{spec.root}), or name a directory elsewhere (in the role: vllm_runtime_root, with "
                "vllm_service_executable: ROOT/current/bin/vllm)."
            )
        self._remove_leftovers()
        if outcome.builds:
            self._remove([spec.name])
            uv = Uv(self.module, spec, self.lock)
            try:
                uv.install()
                build(uv, spec, self.python)
            except HostError:
                self._remove([spec.name])
                raise
        if outcome.switches and outcome.current:
            self._switch(outcome.current)
        self._remove(outcome.removes)

    def _remove_leftovers(self) -> None:
        root = glob.escape(self.spec.root)
        for path in glob.glob(os.path.join(root, REMOVING + "*")):
            shutil.rmtree(path)
        for path in glob.glob(os.path.join(root, SWITCHING + "*")):
            os.unlink(path)
        remove_leftovers([os.path.join(path, USED) for path in glob.glob(os.path.join(root, "*"))])

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            path = os.path.join(self.spec.root, name)
            if os.path.lexists(path):
                aside = os.path.join(self.spec.root, REMOVING + name)
                os.rename(path, aside)
                shutil.rmtree(aside)

    def _switch(self, name: str) -> None:
        """Point `current` at an environment, in one step."""
        root = self.spec.root
        if not os.path.exists(os.path.join(root, name, COMPLETE)):
            raise HostError(f"{os.path.join(root, name)} is not complete; `current` stays.")
        before = current(root)
        if before and os.path.exists(os.path.join(root, before, COMPLETE)):
            write_atomically(os.path.join(root, before, USED), "")
        write_atomically(os.path.join(root, name, USED), "")
        temporary = os.path.join(root, f"{SWITCHING}{os.getpid()}")
        os.symlink(name, temporary)
        os.rename(temporary, os.path.join(root, CURRENT))
        sync_directory(root)
