# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a run: all are ready before the first one changes, and no moment shows a card twice."""

from __future__ import annotations

import os
from typing import Container, Sequence

from .._base.errors import HostError
from .._base.files import (
    DesiredFile,
    FileChange,
    Staged,
    remove_leftovers,
    stage,
    switch,
    sync_directory,
)
from . import handover
from .plan import Plan


class Writes:
    """The changed files of services, staged. Raises HostError where the disk does not take one."""

    def __init__(self, plan: Plan, kept: Sequence[str], gone: Sequence[str]) -> None:
        self.plan = plan
        # Services of which another one gets a card.
        self.givers = plan.placed.givers()
        remove_leftovers(plan.paths)
        try:
            self.shared = [stage(change, plan.units.label) for change in plan.shared_changes]
            self.empty = {name: self._emptied(name) for name in self.givers}
            self.files = {name: self._staged(name) for name in [*kept, *gone]}
        except HostError as error:
            remove_leftovers(plan.paths)
            raise HostError(
                f"{error} No file was changed, and no service was stopped or started."
            ) from error

    def make(
        self, kept: Sequence[str], unwritten: Container[str], stopped: Sequence[str]
    ) -> list[str]:
        """Change the files of services; return the copies kept of foreign ones.

        unwritten: services whose files stay, as one has the cards of the other. stopped: those that
        were stopped before, for the message where the disk does not take a file.
        """
        emptied = [
            each for name in self.givers if name not in unwritten for each in self.empty[name]
        ]
        copies = self._switch(emptied, stopped)
        for each in emptied:
            sync_directory(os.path.dirname(each.change.desired.path))
        rest = [each for name in kept for each in self.files[name]]
        copies += self._switch(self.shared + rest, stopped)
        # What was ready for those that are not written, their secrets too.
        remove_leftovers(self.plan.paths)
        return copies

    def remove(self, name: str) -> None:
        """Remove the files of a service that is gone."""
        for each in self.files[name]:
            switch(each)

    def _switch(self, files: Sequence[Staged], stopped: Sequence[str]) -> list[str]:
        copies = []
        for number, each in enumerate(files):
            try:
                copy = switch(each)
            except HostError as error:
                remove_leftovers(self.plan.paths)
                paths = [each.change.desired.path for each in files]
                raise HostError(f"{error} {_progress(paths, number, stopped)}") from error
            copies += [copy] if copy else []
        return copies

    def _gives(self, change: FileChange) -> bool:
        """Tell whether a file has cards now that its service may not have any more."""
        return "/systemd/" in change.desired.path and bool(handover.placed(change.before))

    def _emptied(self, name: str) -> list[Staged]:
        unit = self.plan.unit_of(name)
        return [
            stage(
                each._replace(
                    desired=DesiredFile(
                        unit, each.desired.path, handover.without_cards(unit, each.desired.path)
                    )
                ),
                self.plan.units.label,
            )
            for each in self.plan.changes.get(name, ())
            if self._gives(each)
        ]

    def _staged(self, name: str) -> list[Staged]:
        """The changes of a service. What `_emptied` replaces before has its copy then."""
        return [
            stage(
                each._replace(foreign=False) if name in self.empty and self._gives(each) else each,
                self.plan.units.label,
            )
            for each in self.plan.changes[name]
        ]


def _progress(paths: Sequence[str], number: int, stopped: Sequence[str]) -> str:
    """What of the files was written, and what was stopped, when a run ended early."""
    before = (
        f"Written before: {', '.join(paths[:number])}." if number else "No file was written before."
    )
    services = (
        f"Stopped before: {', '.join(stopped)}."
        if stopped
        else "No service was stopped or started."
    )
    return f"{before} Not written: {', '.join(paths[number:])}. {services}"
