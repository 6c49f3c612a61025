# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the instances of one template unit are, what they should be, and what has to be done."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Iterable, Mapping

from .._base.errors import HostError
from .._base.files import (
    DesiredFile,
    FileChange,
    compare,
    instance_of,
    marked_names,
    read_text,
    set_aside,
)
from .._base.systemctl import UnitState, overrides, unit_variables
from .._host.bus import with_addresses
from .._host.services import group_of
from . import cards, handover
from .accounts import Accounts, Unneeded, User, processes_of
from .decide import Decision, DesiredInstance, after_leader, decide, defer
from .units import Module, Units

# What needs no quotes in a unit, and has no specifier.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._,:@+=-]*")


class Plan:
    """The instances of one template unit as they are, as they should be, and what that takes."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.units = Units(module)
        parameters = module.params
        self.unit: str = parameters["unit"]
        self.adopt: bool = parameters["adopt"]
        self.patterns: list[dict[str, Any]] = parameters["instance_files"]
        programs = {name: program_of(path) for name, path in parameters["process_programs"].items()}
        texts: dict[str, str | None] = {
            path: with_addresses(with_programs(text, programs))
            for path, text in parameters["contents"].items()
        }
        texts.update(parameters["secret_contents"])
        self.shared = [
            DesiredFile(self.unit, each["dest"], texts.get(each["dest"]), mode_of(each))
            for each in parameters["files"]
        ]
        self.rejections: list[tuple[str, str]] = []
        self.cards: dict[str, list[int]] = {
            each["name"]: each.get("cards") or [] for each in parameters["instances"]
        }
        self.desired: dict[str, DesiredInstance] = {}
        self.files: dict[str, list[DesiredFile]] = {}
        self.orphans: list[str] = []
        self.foreign: set[str] = set()
        # {rank, hosts} of services over several hosts, by name
        self.groups: dict[str, dict[str, Any]] = {}
        # Members that are left as they are until their leader has stopped.
        self.left: list[str] = []
        for instance in parameters["instances"]:
            name = instance["name"]
            if name in self.desired:
                raise HostError(f"instance {name} is listed twice: give each its own name")
            self.files[name] = self._files_of(name, texts)
            written = "".join(
                each.content or "" for each in self.files[name] if "/systemd/" in each.path
            )
            self.desired[name] = DesiredInstance(
                name,
                instance["state"],
                parameters["digests"].get(name, ""),
                parameters["secret_digests"].get(name, ""),
                unit_variables(written, [*parameters["process_variables"], *programs]),
            )
        self.accounts = Accounts(self.unit, self._users(), parameters["groups"], self._directory)
        self.unneeded: list[Unneeded] = []
        self.found = {
            name for each in self.patterns for name in marked_names(each["dest"], self.unit)
        }

    @property
    def _directory(self) -> str:
        return str(self.module.params["state_directory"] or "")

    def _users(self) -> dict[str, User]:
        alone = self.module.params["make_users"]
        return {
            each["name"]: User(
                self.unit_of(each["name"]),
                each["user"],
                self._directory.replace("%i", each["name"]),
                alone,
            )
            for each in self.module.params["instances"]
            if each["user"] and each["state"] != "absent"
        }

    def _files_of(self, name: str, texts: dict[str, str | None]) -> list[DesiredFile]:
        files = []
        for each in self.patterns:
            path = each["dest"].replace("%i", name)
            mode = 0o600 if each["secret"] else mode_of(each)
            files.append(
                DesiredFile(self.unit_of(name), path, texts.get(path), mode, each["secret"])
            )
        return files

    @property
    def paths(self) -> list[str]:
        """Where this module writes files, with `%i` for the name of an instance."""
        return [each["dest"] for each in [*self.module.params["files"], *self.patterns]]

    def unit_of(self, name: str) -> str:
        return instance_of(self.unit, name)

    def inspect(self) -> None:
        """Compare everything with what is desired. Nothing is changed; all rejections are made here."""
        pattern = instance_of(self.unit, "*")
        self.states = self.units.states([self.unit_of(name) for name in self.desired], pattern)
        self.found |= set(self._bare_orphans())
        if self.module.params["remove_unlisted"]:
            kept = set(self.module.params["keep"])
            self.orphans = sorted(self.found - set(self.desired) - kept)
            for name in self.orphans:
                self.desired[name] = DesiredInstance(name, "absent")
                self.files[name] = self._files_of(name, {})
            unseen = [self.unit_of(name) for name in self.orphans]
            self.states.update(
                self.units.states([unit for unit in unseen if unit not in self.states])
            )
        # Somebody else's unit is not ours to remove, whatever name it has.
        self.foreign = {
            name
            for name, desired in self.desired.items()
            if desired.state == "absent" and name not in self.found
        }
        self.shared_changes = self._compare("", self.shared)
        self.changes = {name: self._compare(name, files) for name, files in self.files.items()}
        self.decisions: dict[str, Decision] = {}
        for name, desired in self.desired.items():
            state = self.states[self.unit_of(name)]
            if desired.state == "absent" and self._somebody_elses(state, name):
                self.foreign.add(name)
            if desired.state != "absent":
                self._check_unit(state, name)
                self._check_drop_ins(state, name)
            changes = self.shared_changes + self.changes[name]
            began = time.time() - time.monotonic() + state.started
            self.decisions[name] = (
                Decision("none", "there is none that this collection made")
                if name in self.foreign
                else decide(
                    desired,
                    state,
                    bool(self.changes[name]),
                    any(change.was_read_by(began) for change in changes),
                )
            )
        for name, why in self.accounts.refused.items():
            self._reject(name, why)
        self._find_groups()
        self._put_off()
        self.unneeded = [each for each in self.unneeded_accounts() if self._is_idle(each)]

    def unneeded_accounts(self) -> list[Unneeded]:
        """Accounts that are needed no more when everything is done."""
        parameters = self.module.params
        kept = [*parameters["keep"], *self.left]
        names = [name for name in self.desired if name not in self.left]
        return self.accounts.unneeded(names, parameters["remove_unlisted"], kept)

    def _is_idle(self, account: Unneeded) -> bool:
        """Whether nothing runs as that user once everything is done."""
        decision = self.decisions.get(account.name)
        ends = decision is not None and decision.action in ("stop", "restart")
        return ends or not processes_of(account.entry.pw_uid)

    def _put_off(self) -> None:
        """Postpone what has to wait for another run, or for the leader on another host."""
        parameters = self.module.params
        for name in parameters["left"]:
            decision = self.decisions.get(name)
            if decision and decision.action == "none" and self.desired[name].state == "started":
                reason = "its leader was stopped first"
                self.decisions[name] = decision._replace(action="restart", reason=reason)
        self.placed = self._placements()
        in_use = self.placed.in_use
        if parameters["restart"] == "deferred":
            self.decisions = defer(self.decisions, in_use, self.cards)
        if parameters["leave_members"]:
            members = [
                name for name in self.groups if name in self.desired and self.groups[name]["rank"]
            ]
            before = self.decisions
            self.decisions = after_leader(before, members, in_use, self.cards)
            self.left = [
                name for name in members if self.decisions[name].action != before[name].action
            ]
        self._leave_blocked()

    def _placements(self) -> handover.Placements:
        """Which cards the services have in the files of the host, in those that are to be, and in use."""
        before: dict[str, frozenset[int]] = {}
        after: dict[str, frozenset[int]] = {}
        in_use: dict[str, frozenset[int]] = {}
        shared, to_share = set(), set()
        for name in self.found | set(self.desired):
            state = self.states.get(self.unit_of(name))
            environ = state.environ if state else {}
            in_use[name] = frozenset(cards.visible(environ) or ())
            changed = {each.desired.path: each.before for each in self.changes.get(name, ())}
            files = self.files.get(name)
            for file in files or self._files_of(name, {}):
                if "/systemd/" not in file.path:
                    continue
                has = changed.get(file.path, file.content if files else read_text(file.path))
                before[name] = before.get(name, frozenset()) | handover.placed(has)
                if handover.shares(has) and (not in_use[name] or handover.SHARE in environ):
                    shared.add(name)
                if files:
                    after[name] = after.get(name, frozenset()) | handover.placed(file.content)
                    to_share |= {name} if handover.shares(file.content) else set()
        return handover.Placements(before, after, in_use, frozenset(shared), frozenset(to_share))

    def _leave_blocked(self) -> None:
        """Leave the files of services as they are whose cards another one still has after this run."""
        unlisted = [name for name in self.found if name not in self.desired]
        waits = [name for name, decision in self.decisions.items() if decision.action == "wait"]
        blocked = self.placed.blocked([*self.left, *unlisted], [*waits, *unlisted])
        for name, other in blocked.items():
            decision = self.decisions[name]
            if decision.action in ("start", "restart"):
                reason = f"its cards are free when {other} has others"
                decision = decision._replace(action="wait", reason=reason)
            if decision.action == "wait":
                # Nothing is there yet that could be started at boot.
                self.decisions[name] = decision._replace(enable=None)
        for name in [*self.left, *blocked]:
            self.changes[name] = []
            self.placed.after.pop(name, None)

    def _find_groups(self) -> None:
        """Read which instances are services over several hosts, as their files are now."""
        prefix = self.unit.split("@", 1)[0]
        for name in sorted(self.found):
            group = group_of(Path("/"), prefix, name)
            if group:
                hosts = [str(member["host"]) for member in group["members"]]
                self.groups[name] = {"rank": group["rank"], "hosts": hosts}

    def _bare_orphans(self) -> list[str]:
        """Return instances that run with a digest of ours, though their drop-ins are gone.

        Where there is a drop-in, its mark tells whose the unit is: a copy of ours is not ours.
        """
        before, after = self.unit.split("@", 1)
        names = []
        for unit, state in self.states.items():
            name = unit[len(before) + 1 : len(unit) - len(after)]
            drop_ins = [each.path for each in self._files_of(name, {}) if "/systemd/" in each.path]
            if (
                state.digest
                and not self._somebody_elses(state, name)
                and not any(os.path.lexists(path) for path in drop_ins)
            ):
                names.append(name)
        return names

    def _reject(self, name: str, message: str) -> None:
        self.rejections.append((name, message))

    def _somebody_elses(self, state: UnitState, name: str) -> bool:
        """Tell whether a unit of that name is not an instance of the template."""
        if state.name != self.unit_of(name):
            return True
        return not state.masked and os.path.basename(state.fragment) not in ("", self.unit)

    def _check_unit(self, state: UnitState, name: str) -> None:
        unit = self.unit_of(name)
        if self._somebody_elses(state, name):
            self._reject(
                name,
                f"{unit} on this host comes from {state.fragment or state.name} and not from the "
                f"template {self.unit}: somebody made a unit of that name. Give the service another "
                "name, or remove that unit.",
            )
        elif state.masked and self.desired[name].state == "started":
            self._reject(
                name,
                f"{unit} is masked: somebody has switched it off on this host. Run 'systemctl "
                f"unmask {unit}' there, or set its state to stopped.",
            )

    def others(self, state: UnitState, name: str) -> list[str]:
        """Return the drop-ins that systemd reads for a unit and that are not ours."""
        ours = {each.path for each in self.files[name] + self.shared}
        return [path for path in state.drop_ins if path not in ours]

    def _check_drop_ins(self, state: UnitState, name: str) -> None:
        """Reject, or set aside, drop-ins that somebody else wrote and that change where a process runs."""
        unit, wanted = self.unit_of(name), self.desired[name].environment
        strays = state.running and any(state.environ.get(key) != wanted[key] for key in wanted)
        ours = max((os.path.basename(each.path) for each in self.files[name]), default="")
        for path in self.others(state, name):
            later = os.path.basename(path) > ours
            why = overrides(read_text(path) or "", wanted, later=later, strays=strays)
            if why and self.adopt and os.path.dirname(path).endswith(f"/{unit}.d"):
                self.changes[name].append(set_aside(unit, path))
            elif why:
                self._reject(
                    name,
                    f"{path} was not written by this collection and {why} for {unit}, which then "
                    "does not run where the plan has it. Remove it (rm FILE, then systemctl "
                    "daemon-reload), or let it be set aside with adopt: true (in the role: "
                    "vllm_service_adopt), which keeps a copy.",
                )

    def _compare(self, name: str, files: list[DesiredFile]) -> list[FileChange]:
        changes = []
        for file in files:
            try:
                change = compare(file, self.adopt)
            except HostError as error:
                self._reject(name, str(error))
                continue
            changes += [change] if change else []
        return changes

    @property
    def reload_needed(self) -> bool:
        changes = self.shared_changes + [each for some in self.changes.values() for each in some]
        return (
            any("/systemd/" in change.desired.path for change in changes)
            or any(decision.enable is not None for decision in self.decisions.values())
            or any(self.states[self.unit_of(name)].needs_reload for name in self.desired)
        )

    @property
    def changed(self) -> bool:
        return (
            bool(self.shared_changes or self.accounts.missing or self.unneeded)
            or any(self.changes.values())
            or self.reload_needed
            or any(decision.action not in ("none", "wait") for decision in self.decisions.values())
        )

    def with_action(self, actions: str, names: Iterable[str]) -> list[str]:
        """Those of the instances to which one of the actions is done."""
        return [name for name in names if self.decisions[name].action in actions.split()]


def mode_of(entry: dict[str, Any]) -> int:
    """Return the permissions of a file's entry."""
    try:
        return int(entry["mode"], 8)
    except ValueError:
        raise HostError(
            f"mode {entry['mode']!r} of {entry['dest']} is not an octal number: write it like '0644'."
        ) from None


def program_of(path: str) -> str:
    """Return where a program's path leads, or the path itself where a unit could not contain that."""
    found = os.path.realpath(path)
    return found if _PLAIN_PATH.fullmatch(found) else path


def with_programs(text: str, programs: Mapping[str, str]) -> str:
    """Return a file's text with the path of each program in place of `@NAME@`."""
    for name, path in programs.items():
        text = text.replace(f"@{name}@", path)
    return text
