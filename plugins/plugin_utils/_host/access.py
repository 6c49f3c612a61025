# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user without capabilities may do with a file, by owner, groups, mode and ACL, as in acl(5)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

READ, WRITE, ENTER = 4, 2, 1


@dataclass(frozen=True)
class Reader:
    """The user of a service.

    Attributes:
        uid: None where the account is not there yet.
        gids: of its groups on the host. groups: names of those that it has or will get.
    """

    name: str
    uid: int | None
    gids: frozenset[int]
    groups: frozenset[str]

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any], groups: Iterable[str]) -> Reader:
        """From what host_info returns. groups: names of those that the service is given."""
        known = (facts.get("users") or {}).get(name) or {}
        return cls(
            name,
            known.get("uid"),
            frozenset(known.get("gids") or ()),
            frozenset((*(known.get("groups") or ()), *groups)),
        )

    def may(self, step: Mapping[str, Any], wanted: int) -> bool:
        """Whether the user may read or enter something. step: as host_info describes it, with a mode."""
        mode = int(step["mode"], 8)
        if self.uid is not None and self.uid == step["uid"]:
            return _has(mode >> 6, wanted)
        acl: Sequence[Mapping[str, Any]] = step.get("acl") or ()
        mask = next((each["perms"] for each in acl if each["kind"] == "mask"), 7)
        for each in acl:
            if each["kind"] == "user" and self.uid is not None and each["id"] == self.uid:
                return _has(each["perms"] & mask, wanted)
        granted = self._of_groups(step, mode, acl)
        if granted:
            return any(_has(perms & mask, wanted) for perms in granted)
        return _has(mode, wanted)

    def _of_groups(
        self, step: Mapping[str, Any], mode: int, acl: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """What the entries of the user's groups allow."""
        found = [
            each["perms"] for each in acl if each["kind"] == "group" and each["id"] in self.gids
        ]
        if self._is_in(step):
            owning = [each["perms"] for each in acl if each["kind"] == "owning_group"]
            found += owning or [mode >> 3]
        return found

    def _is_in(self, step: Mapping[str, Any]) -> bool:
        return step["gid"] in self.gids or step["group"] in self.groups

    def class_of(self, step: Mapping[str, Any]) -> str:
        """Whose bits of the mode count for the user: u, g or o."""
        if self.uid is not None and self.uid == step["uid"]:
            return "u"
        return "g" if self._is_in(step) else "o"


def change(
    reader: Reader, step: Mapping[str, Any], wanted: int, paths: Sequence[str], below: bool
) -> str:
    """The command that allows it. below: of everything below the paths."""
    letters = "".join(letter for letter, bit in (("r", READ), ("x", ENTER)) if wanted & bit)
    who = reader.class_of(step)
    mode = f"-R {who}+rX" if below else f"{who}+{letters}"
    return f"chmod {mode} {shlex.join(paths)}"


def _has(perms: int, wanted: int) -> bool:
    return perms & wanted == wanted
