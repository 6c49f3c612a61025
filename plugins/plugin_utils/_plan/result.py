# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run of the plan comes to: changes of files, the plan, notes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from .._base.errors import AscendError
from .._base.origin import EXTENSIONS
from .._base.words import counted, listed
from .._model.options import missing_list
from .directory import Directory
from .files import Change, apply, write_page
from .fleet import Unplaced
from .hosts import Hardware
from .inventory import Inventory, Problem, some
from .services import Service

_NOTES_MAX = 20


@dataclass(frozen=True)
class PlanSettings:
    """The options of the action ``plan``; see there."""

    output: str = ""
    repack: bool = False
    adopt: bool = False
    check: bool = False
    extensions: tuple[str, ...] = EXTENSIONS


class PlanRejected(AscendError):
    """Nothing can be written. found: all that is wrong. problems: the same as lines."""

    def __init__(
        self, found: Sequence[Problem], unplaced: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.found = list(found)
        self.problems = [each.line for each in self.found]
        super().__init__("\n".join(self.problems))
        self.unplaced = list(unplaced)


@dataclass
class Run:
    """What a run comes to.

    changes: by directory. plan: what the views read. notes: for the report. warnings: what may well
    be a mistake.
    """

    settings: PlanSettings
    directories: dict[Path, Directory]
    ask: list[str] = field(default_factory=list)
    changes: dict[Path, list[Change]] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def all_changes(self) -> list[Change]:
        return [change for base in sorted(self.changes) for change in self.changes[base]]

    @property
    def changed_hosts(self) -> list[str]:
        return sorted({change.host for change in self.all_changes})

    def apply(self) -> None:
        """Write the plan, and tidy up after runs that were killed.

        Raises AscendError where the system does not allow it.
        """
        tidied = () if self.settings.output else self.directories
        for base in sorted({*tidied, *self.changes}):
            apply(self.directories[base], self.changes.get(base, ()))

    def files(self) -> list[str]:
        """What becomes of the files, a line for each directory."""
        lines = []
        for base, changes in sorted(self.changes.items()):
            parts = []
            for verb, past, gone in (("write", "wrote", False), ("remove", "removed", True)):
                hosts = sorted(
                    each.host
                    for each in changes
                    if each.before != each.after and (each.after is None) is gone
                )
                if hosts:
                    done = verb if self.settings.check else past
                    parts.append(f"{done} {counted(len(hosts), 'file')} ({some(hosts, 10)})")
            if parts:
                text = f"{'would ' if self.settings.check else ''}{' and '.join(parts)}"
                lines.append(f"{text[0].upper()}{text[1:]} in {self.directories[base].path}.")
        return lines or ["No file changes."]


def unplaced_problems(unplaced: Iterable[Unplaced]) -> list[Problem]:
    """A problem for each service without room, replicas with the same reason in one."""
    found = []
    for reason, group in groupby(unplaced, key=lambda each: each.reason):
        same = list(group)
        numbers = listed([each.replica for each in same])
        also = f" So it is with {len(same)} replicas ({numbers})." if len(same) > 1 else ""
        found.append(Problem(f"{reason}{also}", service=same[0].service))
    return found


def unplaced_groups(unplaced: Iterable[Unplaced]) -> list[dict[str, Any]]:
    """Services without room; replicas for which the same holds in one."""
    folded: dict[Unplaced, list[int]] = {}
    for each in unplaced:
        folded.setdefault(replace(each, replica=0), []).append(each.replica)
    groups = [{**asdict(each), "replicas": listed(folded[each])} for each in folded]
    return [{key: group[key] for key in group if key != "replica"} for group in groups]


def short(lines: Sequence[str], limit: int = _NOTES_MAX) -> list[str]:
    """Lines, cut where they are many."""
    if len(lines) <= limit:
        return list(lines)
    return [*lines[: limit - 1], f"... and {len(lines) - limit + 1} more"]


def notes(
    inventory: Inventory,
    services: Mapping[str, Service],
    found: Mapping[str, Hardware],
    seen: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[str]:
    """Profiles that were guessed, hosts that are too small for a service, warnings of specs, and
    versions of the engine whose options are not listed."""
    texts = []
    guessed: dict[str, list[str]] = {}
    for name in sorted(seen):
        profile = found[name].options.profile if name in found else None
        declared = inventory.variables(name).get("ascend_host_profile")
        if profile and not declared:
            guessed.setdefault(profile, []).append(name)
    for profile, names in guessed.items():
        texts.append(
            f"{some(names)}: no ascend_host_profile is declared. By its cards it is"
            f" {profile}; declare that, and it need not be asked, and can be deployed."
        )
    for version in sorted({hardware.engine_version for hardware in found.values()}):
        missing = missing_list(version)
        if missing:
            texts.append(f"{missing}.")
    messages: dict[str, dict[str, None]] = {}
    for name, service in services.items():
        found_texts = [
            f"not for hosts of {kind}: {text}" for kind, text in sorted(service.refused.items())
        ]
        for kind in sorted(service.specs):
            found_texts += service.specs[kind]["warnings"]
        for text in found_texts:
            messages.setdefault(text, {})[name] = None
    return texts + [f"{', '.join(names)}: {text}" for text, names in messages.items()]


def page(path: str, text: str, plan: Mapping[str, Any], *, check: bool) -> tuple[bool, str]:
    """Write a page of the plan where it says another plan. Returns (whether it does, what it was).

    A stamp at the end tells which plan a page shows: what a page says of changes is about the run
    that made them, and the next run, which changes nothing, leaves it.

    Raises AscendError where it cannot be written.
    """
    state = {key: value for key, value in plan.items() if key != "changes"}
    text_of_it = json.dumps(state, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text_of_it.encode()).hexdigest()[:32]
    stamp = f"<!-- inferops.ascend.plan {digest} -->\n"
    file = Path(os.path.abspath(os.path.expanduser(path)))
    return write_page(file, text.rstrip("\n") + "\n" + stamp, stamp, check=check)
