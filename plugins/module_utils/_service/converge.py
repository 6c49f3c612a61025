# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All instances of one template unit on this host: look, decide, act, report."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import time
from typing import Any, Mapping, NoReturn, Protocol

from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.files import (
    FileChange,
    FileWish,
    apply,
    compare,
    instance_of,
    marked_names,
    read_text,
    remove_leftovers,
    set_aside,
)
from ansible_collections.inferops.ascend.plugins.module_utils._base.systemctl import (
    DIGEST,
    PROPERTIES,
    SECRET_DIGEST,
    Decision,
    InstanceWish,
    UnitState,
    decide,
    defer,
    describe,
    overrides,
    parse_environ,
    unit_states,
    unit_variables,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service import cards, status

# What needs no quotes in a unit, and has no specifier.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._,:@+=-]*")


class Module(Protocol):
    """What is used of AnsibleModule."""

    params: dict[str, Any]
    check_mode: bool
    _diff: bool

    def run_command(self, args: list[str]) -> tuple[int, str, str]:
        """Run a command; return status, output and errors."""

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """End the module as failed."""

    def warn(self, warning: str) -> None:
        """Show a warning."""

    def selinux_enabled(self) -> bool:
        """Tell whether files have security contexts."""

    def selinux_default_context(self, path: str) -> list[str]:
        """Return the context that a file at this path should have."""

    def set_context_if_different(self, path: str, context: list[str], changed: bool) -> bool:
        """Give a file its context."""


class Host:
    """The host's commands, as few calls as can be: each takes any number of units."""

    def __init__(self, module: Module) -> None:
        self.module = module

    def run(self, *command: str) -> str:
        code, out, err = self.module.run_command(list(command))
        if code != 0:
            raise HostError(
                "{} failed with status {}: {}".format(" ".join(command), code, (err or out).strip())
            )
        return out

    def systemctl(self, verb: str, *arguments: str) -> str:
        return self.run("systemctl", verb, *arguments)

    def states(self, units: list[str], pattern: str = "") -> dict[str, UnitState]:
        """Return what systemd says of the units, with the environment of their processes.

        Loaded units that match the pattern are added by their own names.
        """
        asked = units + ([pattern] if pattern else [])
        if not asked:
            return {}
        try:
            text = self.systemctl("show", "--property=" + ",".join(PROPERTIES), "--", *asked)
        except HostError as error:
            raise HostError(
                f"systemd does not answer on this host, so no service can be looked after: {error}"
            ) from None
        states: dict[str, UnitState] = {}
        for number, state in enumerate(unit_states(text)):
            unit = units[number] if number < len(units) else state.name
            if unit in states:
                continue
            environ = self.environ(state.pid) if state.running else {}
            states[unit] = state._replace(
                digest=environ.get(DIGEST, ""),
                secret_digest=environ.get(SECRET_DIGEST, ""),
                environ=environ,
            )
        return states

    @staticmethod
    def environ(pid: int) -> dict[str, str]:
        """Return the environment of a process, empty where it is gone.

        A process shows none while it turns into another program, as every service does when its
        shell becomes the server: a short wait tells that from one without our digest.
        """
        for _attempt in range(10):
            try:
                with open(f"/proc/{pid}/environ", "rb") as handle:
                    data = handle.read()
            except (FileNotFoundError, ProcessLookupError):
                return {}
            if data:
                return parse_environ(data)
            time.sleep(0.05)
        return {}

    def journal(self, unit: str) -> list[str]:
        _code, out, _err = self.module.run_command(
            [
                "journalctl",
                "--unit",
                unit,
                "--lines",
                "10",
                "--output",
                "cat",
                "--no-pager",
                "--quiet",
            ]
        )
        return out.splitlines()

    def label(self, temporary: str, final: str) -> None:
        if self.module.selinux_enabled():
            context = self.module.selinux_default_context(final)
            self.module.set_context_if_different(temporary, context, False)


class Account:
    """The system account of the services."""

    def __init__(self, wish: dict[str, Any]) -> None:
        self.wish = wish
        self.missing_groups = [name for name in wish["groups"] if not _group_exists(name)]
        try:
            user = pwd.getpwnam(wish["name"])
        except KeyError:
            self.exists = False
            self.to_join = list(wish["groups"])
        else:
            self.exists = True
            self.to_join = [
                name
                for name in wish["groups"]
                if _group_exists(name)
                and wish["name"] not in grp.getgrnam(name).gr_mem
                and grp.getgrnam(name).gr_gid != user.pw_gid
            ]

    @property
    def changes(self) -> bool:
        return not self.exists or bool(self.to_join)

    def refusal(self) -> str:
        return (
            "The group {} does not exist on this host, and the services run as user {} in it. The "
            "Ascend driver needs that group: install the driver first (its guide creates the group "
            "and user HwHiAiUser before anything else).".format(
                ", ".join(self.missing_groups), self.wish["name"]
            )
        )

    def create(self, host: Host) -> None:
        groups = ",".join(self.to_join)
        if not self.exists:
            command = ["useradd", "--system", "--user-group", "--no-create-home"]
            command += ["--home-dir", self.wish["home"], "--shell", "/usr/sbin/nologin"]
            command += ["--groups", groups] if groups else []
            host.run(*(command + [self.wish["name"]]))
        elif groups:
            host.run("usermod", "--append", "--groups", groups, self.wish["name"])


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


class Converge:
    """One run over one template unit: look, decide, and (outside check mode) act."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.host = Host(module)
        parameters = module.params
        self.unit: str = parameters["unit"]
        self.adopt: bool = parameters["adopt"]
        self.account = Account(parameters["account"]) if parameters["account"] else None
        self.patterns: list[dict[str, Any]] = parameters["instance_files"]
        programs = {name: program_of(path) for name, path in parameters["process_programs"].items()}
        texts: dict[str, str | None] = {
            path: with_programs(text, programs) for path, text in parameters["contents"].items()
        }
        texts.update(parameters["secret_contents"])
        self.shared = [
            FileWish(self.unit, each["dest"], texts.get(each["dest"]), mode_of(each))
            for each in parameters["files"]
        ]
        self.refusals: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.still_up: set[str] = set()
        self.held: list[str] = []
        self.cards: dict[str, list[int]] = {
            each["name"]: each.get("cards") or [] for each in parameters["instances"]
        }
        self.wishes: dict[str, InstanceWish] = {}
        self.files: dict[str, list[FileWish]] = {}
        self.orphans: list[str] = []
        self.foreign: set[str] = set()
        for instance in parameters["instances"]:
            name = instance["name"]
            if name in self.wishes:
                raise HostError(f"instance {name} is listed twice: give each its own name")
            self.files[name] = self._files_of(name, texts)
            written = "".join(
                each.content or "" for each in self.files[name] if "/systemd/" in each.path
            )
            self.wishes[name] = InstanceWish(
                name,
                instance["state"],
                parameters["digests"].get(name, ""),
                parameters["secret_digests"].get(name, ""),
                unit_variables(written, [*parameters["process_variables"], *programs]),
            )
        self.found = {
            name for each in self.patterns for name in marked_names(each["dest"], self.unit)
        }

    def _files_of(self, name: str, texts: dict[str, str | None]) -> list[FileWish]:
        wishes = []
        for each in self.patterns:
            path = each["dest"].replace("%i", name)
            mode = 0o600 if each["secret"] else mode_of(each)
            wishes.append(FileWish(self.name_of(name), path, texts.get(path), mode, each["secret"]))
        return wishes

    def name_of(self, name: str) -> str:
        return instance_of(self.unit, name)

    def look(self) -> None:
        """Compare everything with its wish. Nothing is changed, and all refusals come from here."""
        pattern = instance_of(self.unit, "*")
        self.states = self.host.states([self.name_of(name) for name in self.wishes], pattern)
        self.found |= set(self._bare_orphans())
        if self.module.params["remove_unlisted"]:
            self.orphans = sorted(self.found - set(self.wishes))
            for name in self.orphans:
                self.wishes[name] = InstanceWish(name, "absent")
                self.files[name] = self._files_of(name, {})
            unseen = [self.name_of(name) for name in self.orphans]
            self.states.update(
                self.host.states([unit for unit in unseen if unit not in self.states])
            )
        # Somebody else's unit is not ours to remove, whatever name it has.
        self.foreign = {
            name
            for name, wish in self.wishes.items()
            if wish.state == "absent" and name not in self.found
        }
        self.shared_changes = self._compare("", self.shared)
        self.changes = {name: self._compare(name, files) for name, files in self.files.items()}
        self.decisions: dict[str, Decision] = {}
        for name, wish in self.wishes.items():
            state = self.states[self.name_of(name)]
            if wish.state == "absent" and self._somebody_elses(state, name):
                self.foreign.add(name)
            if wish.state != "absent":
                self._check_unit(state, name)
                self._check_drop_ins(state, name)
            changes = self.shared_changes + self.changes[name]
            began = time.time() - time.monotonic() + state.started
            self.decisions[name] = (
                Decision("none", "there is none that this collection made")
                if name in self.foreign
                else decide(
                    wish,
                    state,
                    bool(self.changes[name]),
                    any(change.was_read_by(began) for change in changes),
                )
            )
        if self.module.params["restart"] == "deferred":
            holds = {
                name: cards.listed(self.states[self.name_of(name)].environ.get(cards.VISIBLE, ""))
                for name in self.wishes
            }
            self.decisions = defer(self.decisions, holds, self.cards)
        if self.account and self.account.missing_groups:
            if not self.module.check_mode:
                self.refusals.append(("", self.account.refusal()))
            else:
                self.module.warn(self.account.refusal())

    def _bare_orphans(self) -> list[str]:
        """Return instances that run with a digest of ours, though their drop-ins are gone.

        Where a drop-in is, its mark says whose the unit is: a copy of ours is somebody else's.
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

    def _refuse(self, name: str, message: str) -> None:
        self.refusals.append((name, message))

    def _somebody_elses(self, state: UnitState, name: str) -> bool:
        """Tell whether a unit of that name is not an instance of the template."""
        if state.name != self.name_of(name):
            return True
        return not state.masked and os.path.basename(state.fragment) not in ("", self.unit)

    def _check_unit(self, state: UnitState, name: str) -> None:
        unit = self.name_of(name)
        if self._somebody_elses(state, name):
            self._refuse(
                name,
                f"{unit} on this host comes from {state.fragment or state.name} and not from the "
                f"template {self.unit}: somebody made a unit of that name. Give the service another "
                "name, or remove that unit.",
            )
        elif state.masked and self.wishes[name].state == "started":
            self._refuse(
                name,
                f"{unit} is masked: somebody has switched it off on this host. Run 'systemctl "
                f"unmask {unit}' there, or set its state to stopped.",
            )

    def _others(self, state: UnitState, name: str) -> list[str]:
        """Return the drop-ins that systemd reads for a unit and that are not ours."""
        ours = {each.path for each in self.files[name] + self.shared}
        return [path for path in state.drop_ins if path not in ours]

    def _check_drop_ins(self, state: UnitState, name: str) -> None:
        """Refuse, or set aside, drop-ins of somebody else's that give a process another place."""
        unit, wanted = self.name_of(name), self.wishes[name].environment
        strays = state.running and any(state.environ.get(key) != wanted[key] for key in wanted)
        ours = max((os.path.basename(each.path) for each in self.files[name]), default="")
        for path in self._others(state, name):
            later = os.path.basename(path) > ours
            why = overrides(read_text(path) or "", wanted, later=later, strays=strays)
            if why and self.adopt and os.path.dirname(path).endswith(f"/{unit}.d"):
                self.changes[name].append(set_aside(unit, path))
            elif why:
                self._refuse(
                    name,
                    f"{path} was not written by this collection and {why} for {unit}, which then "
                    "does not run where the plan has it. Remove it (rm FILE, then systemctl "
                    "daemon-reload), or let it be set aside with adopt: true (in the role: "
                    "vllm_service_adopt), which keeps a copy.",
                )

    def _compare(self, name: str, wishes: list[FileWish]) -> list[FileChange]:
        changes = []
        for wish in wishes:
            try:
                change = compare(wish, self.adopt)
            except HostError as error:
                self._refuse(name, str(error))
                continue
            changes += [change] if change else []
        return changes

    @property
    def reload_needed(self) -> bool:
        changes = self.shared_changes + [each for some in self.changes.values() for each in some]
        return (
            any("/systemd/" in change.wish.path for change in changes)
            or any(decision.enable is not None for decision in self.decisions.values())
            or any(self.states[self.name_of(name)].needs_reload for name in self.wishes)
        )

    @property
    def changed(self) -> bool:
        return (
            bool(self.account and self.account.changes)
            or bool(self.shared_changes)
            or any(self.changes.values())
            or self.reload_needed
            or any(decision.action not in ("none", "wait") for decision in self.decisions.values())
        )

    def act(self) -> list[str]:
        """Bring the host to the wanted state; return the copies kept of foreign files.

        The order loses nothing at an interruption: running services go on until every file is in
        place, an orphan's files go only when it is stopped, and cards are freed before they are
        taken.
        """
        copies = []
        if self.account and self.account.changes:
            self.account.create(self.host)
        remove_leftovers(
            {os.path.dirname(each.path) for some in self.files.values() for each in some}
        )
        gone = [name for name, wish in self.wishes.items() if wish.state == "absent"]
        kept = [name for name in self.wishes if name not in gone]
        for change in self.shared_changes + [each for name in kept for each in self.changes[name]]:
            copy = apply(change, self.host.label)
            copies += [copy] if copy else []
        self._stop([name for name in gone if self._action(name) == "stop"])
        self._enable("disable", False)
        for name in gone:
            if name in self.still_up:
                continue
            for change in self.changes[name]:
                apply(change, self.host.label)
            self._remove_empty_directories(name)
        self._enable("enable", True)
        if self.reload_needed:
            self.host.systemctl("daemon-reload")
        up = [name for name in kept if self._action(name) in ("start", "restart")]
        freed = cards.Freed(
            self.module.params["npu_smi"],
            self.module.params["free_timeout"],
            sorted({card for name in up for card in self.cards.get(name, ())}),
        )
        down = [name for name in kept if self._action(name) in ("stop", "restart")]
        if down:
            freed.before()
        self._stop(down)
        up = [name for name in up if name not in self.still_up]
        if up:
            self.held = freed.wait()
            for text in self.held:
                self.module.warn(text)
            # A start limit that earlier failures used up must not hold back a wanted start.
            self._reset_failed(up)
            # What did not start is reported by failures(), all of it and with its journal.
            self.module.run_command(["systemctl", "start", "--", *map(self.name_of, up)])
        return copies

    def _action(self, name: str) -> str:
        return self.decisions[name].action

    def _stop(self, names: list[str]) -> None:
        """Stop units. One that refuses is noted, and keeps none of the others down."""
        if not names:
            return
        try:
            self.host.systemctl("stop", "--", *map(self.name_of, names))
        except HostError as error:
            self.problems.append(str(error))
            states = self.host.states([self.name_of(name) for name in names])
            self.still_up |= {name for name in names if states[self.name_of(name)].running}
        # A server that had to be killed counts as failed, though it is down as wanted.
        self._reset_failed(names)

    def _reset_failed(self, names: list[str]) -> None:
        self.module.run_command(["systemctl", "reset-failed", "--", *map(self.name_of, names)])

    def _enable(self, verb: str, wanted: bool) -> None:
        names = [name for name, decision in self.decisions.items() if decision.enable is wanted]
        if names:
            try:
                self.host.systemctl(verb, "--no-reload", "--quiet", "--", *map(self.name_of, names))
            except HostError as error:
                self.problems.append(str(error))

    def _remove_empty_directories(self, name: str) -> None:
        """Remove directories that carry the instance's name and are empty now."""
        for each in self.patterns:
            directory = os.path.dirname(each["dest"])
            if "%i" in directory:
                with contextlib.suppress(OSError):
                    os.rmdir(directory.replace("%i", name))

    def failures(self) -> list[str]:
        """Return what to tell of each step that failed and each service that should run and does not."""
        started = [
            self.name_of(name)
            for name, wish in self.wishes.items()
            if wish.state == "started" and self._action(name) in ("start", "restart")
        ]
        self.states.update(self.host.states(started))
        return self.problems + [
            describe(unit, self.states[unit], self.host.journal(unit))
            for unit in started
            if not self.states[unit].running
        ]

    def report(self) -> dict[str, Any]:
        services = []
        for name, wish in self.wishes.items():
            if name in self.orphans:
                continue
            state = self.states[self.name_of(name)]
            decision = self.decisions[name]
            services.append(
                {
                    "name": name,
                    "unit": self.name_of(name),
                    "action": decision.action,
                    "reason": decision.reason,
                    "pid": state.pid,
                    "boot": {None: "none", True: "enable", False: "disable"}[decision.enable],
                    "files": [change.wish.path for change in self.changes[name]],
                    "other_files": [] if name in self.foreign else self._others(state, name),
                }
            )
            if wish.state == "started" and decision.action == "none" and not state.running:
                self.module.warn(
                    f"{self.name_of(name)} keeps failing and systemd restarts it (restart {state.restarts}). See why: journalctl "
                    f"-u {self.name_of(name)}"
                )
        return {
            "services": services,
            "removed": self.orphans,
            "found": sorted(self.found),
            "files": [change.wish.path for change in self.shared_changes],
            "account": bool(self.account and self.account.changes),
            "reloaded": self.reload_needed,
            "waiting": [
                {"name": name, "reason": decision.reason}
                for name, decision in self.decisions.items()
                if decision.action == "wait"
            ],
            "held": self.held,
        }

    def probe(self) -> dict[str, Any]:
        """Return how the services are now, without their journals, if that is asked for."""
        if not self.module.params["probe"]:
            return {}
        asked = [status.Wish(name) for name in self.wishes]
        answer = status.collect(asked, self.unit, status.Ways(journal_lines=0), [], [])
        return {"status": answer["services"]}

    def diff(self) -> list[dict[str, str]]:
        entries = [change.diff() for change in self.shared_changes]
        for name in self.wishes:
            entries += [change.diff() for change in self.changes[name]]
        before, after = "", ""
        for name, decision in self.decisions.items():
            state = self.states[self.name_of(name)]
            if decision.action != "none" or decision.enable is not None:
                unit = self.name_of(name)
                before += "{}: {}, {}\n".format(
                    unit, state.active, "enabled" if state.enabled else "not enabled"
                )
                does = f"{decision.action}, because {decision.reason}"
                boot = {None: "", True: ", enabled", False: ", not enabled"}[decision.enable]
                after += f"{unit}: {does if decision.action != 'none' else state.active}{boot}\n"
        if before != after:
            header = {"before_header": "units", "after_header": "units"}
            entries.append(dict(header, before=before, after=after))
        return entries


def mode_of(entry: dict[str, Any]) -> int:
    """Return the permissions of a file's entry."""
    try:
        return int(entry["mode"], 8)
    except ValueError:
        raise HostError(
            f"mode {entry['mode']!r} of {entry['dest']} is no octal number: write it like '0644'."
        ) from None


def program_of(path: str) -> str:
    """Return where a program's path leads, or the path itself where a unit could not hold that."""
    found = os.path.realpath(path)
    return found if _PLAIN_PATH.fullmatch(found) else path


def with_programs(text: str, programs: Mapping[str, str]) -> str:
    """Return a file's text with the path of each program in place of `@NAME@`."""
    for name, path in programs.items():
        text = text.replace(f"@{name}@", path)
    return text


def run(module: Module) -> dict[str, Any]:
    """Look at the host, act unless in check mode, and return the module's result."""
    converge = Converge(module)
    converge.look()
    result: dict[str, Any] = {"changed": converge.changed, "copies": [], "refused": []}
    if module._diff:
        result["diff"] = converge.diff()
    if converge.refusals:
        result.update(converge.probe(), changed=False)
        result["refused"] = [{"name": name, "message": text} for name, text in converge.refusals]
        messages = dict.fromkeys(text for _name, text in converge.refusals)
        module.fail_json(msg="\n".join(messages), **{**converge.report(), **result})
    if not module.check_mode:
        try:
            result["copies"] = converge.act()
        except (HostError, OSError) as error:
            module.fail_json(
                msg=f"{error} What was done before holds; run again when this is mended.", **result
            )
        failures = converge.failures()
        if failures:
            result.update(converge.report())
            module.fail_json(msg="\n".join(failures), **result)
    result.update(converge.report(), **converge.probe())
    return result
