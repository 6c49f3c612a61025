# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kernel settings of a host: set them, now and at boot, and put back what was found.

What was found is written to a record before anything is changed, so that a run which is broken off
can be undone as well. Paths are below `root`, `/` but for tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

RECORD = "var/lib/inferops-ascend/tuning.json"
SYSCTL_FILE = "etc/sysctl.d/90-inferops-ascend.conf"
TMPFILES_FILE = "etc/tmpfiles.d/inferops-ascend.conf"
HEADER = "# Managed by Ansible: inferops.ascend.host_tuning. Local changes are overwritten.\n"

# Linux 5.13 moved the scheduler's tunables to debugfs (commit 8a99b6833c88, "sched: Move
# SCHED_DEBUG sysctl to debugfs").
MOVED = {"kernel.sched_migration_cost_ns": "sys/kernel/debug/sched/migration_cost_ns"}
_GOVERNORS = "sys/devices/system/cpu/cpufreq"
_NAME = re.compile(r"[a-z0-9_]+(?:[./][A-Za-z0-9_*:-]+)+\Z")

Runner = Callable[[List[str]], str]
Record = Dict[str, Dict[str, Any]]


class TuningError(Exception):
    """The wish or the record cannot be read; the message names it and the way out."""


class Outcome(NamedTuple):
    """What a run did, or would do.

    changes: {name, before, after} of what differs. failed: {name, message} of what the kernel
    did not take. notes: what was passed over, and why.
    """

    changes: list[dict[str, str]]
    failed: list[dict[str, str]]
    notes: list[str]


def run(command: list[str]) -> str:
    """What a program prints, without blanks around it; raises OSError if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError("{} took longer than 60 s".format(" ".join(command))) from error
    # systemctl is-active and is-enabled print their answer and end with a status of their own.
    if done.returncode and not command[1].startswith("is-"):
        raise OSError(done.stderr.decode("utf-8", "replace").strip())
    return done.stdout.decode("utf-8", "replace").strip()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _write_file(path: Path, text: str, mode: int, folder_mode: int = 0o755) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, mode=folder_mode)
    handle, name = tempfile.mkstemp(dir=str(path.parent), prefix=".inferops-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
        os.rename(name, str(path))
    except BaseException:
        os.unlink(name)
        raise


class Tuning:
    """The settings of one host.

    check: only say what would be done. runner: runs systemctl.
    """

    def __init__(self, root: Path = Path("/"), check: bool = False, runner: Runner = run) -> None:
        self.root = root
        self.check = check
        self.runner = runner
        self.changes: list[dict[str, str]] = []
        self.failed: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.record: Record = {}
        text = _read(root / RECORD)
        if text is not None:
            try:
                self.record = json.loads(text)["found"]
            except (ValueError, KeyError, TypeError) as error:
                raise TuningError(
                    f"/{RECORD} cannot be read: {error}. It holds what the settings were before;"
                    " restore it from a backup, or remove it to take today's values for those."
                ) from error

    def outcome(self) -> Outcome:
        return Outcome(self.changes, self.failed, self.notes)

    # -- wishes -----------------------------------------------------------------------------

    def apply(self, sysctl: Mapping[str, str], governor: str, stop_irqbalance: bool) -> Outcome:
        """Set everything that is wished, and put back what was set before and is wished no more.

        sysctl: {name: value}. governor: of cpufreq, empty to leave it. Raises TuningError for a
        name that is no sysctl.
        """
        wanted = self._wanted(sysctl, governor)
        dropped = [name for name in self.record if name not in wanted and name != "irqbalance"]
        if not stop_irqbalance and "irqbalance" in self.record:
            dropped.append("irqbalance")
        for name, (path, value) in wanted.items():
            if name not in self.record:
                found = _read(self.root / path)
                self.record[name] = {"path": path, "found": found, "set": value}
            self.record[name]["set"] = value
        if stop_irqbalance:
            self._record_irqbalance()
        self._save()
        for name in dropped:
            self._put_back(name)
        self._persist(sysctl, wanted)
        for name, (path, value) in wanted.items():
            self._set(name, path, value)
        if "irqbalance" in self.record:
            self._stop_irqbalance()
        self._save()  # without what was put back
        return self.outcome()

    def restore(self) -> Outcome:
        """Put back what was found, remove the files, and forget the record where all of it worked."""
        for name in list(self.record):
            self._put_back(name)
        self._replace(SYSCTL_FILE, None)
        self._replace(TMPFILES_FILE, None)
        self._save()
        return self.outcome()

    # -- one setting ------------------------------------------------------------------------

    def _wanted(self, sysctl: Mapping[str, str], governor: str) -> dict[str, tuple[str, str]]:
        """{name: (path, value)} of what this kernel has."""
        wanted: dict[str, tuple[str, str]] = {}
        for name, value in sysctl.items():
            if not _NAME.match(name) or ".." in name:
                raise TuningError(f"{name!r} is no name of a sysctl, such as vm.swappiness.")
            paths = ["proc/sys/" + name.replace(".", "/"), MOVED.get(name)]
            path = next((each for each in paths if each and (self.root / each).exists()), None)
            if path is None:
                self.notes.append(f"{name}: this kernel does not have it")
            else:
                wanted[name] = (path, str(value))
        if not governor:
            return wanted
        policies = sorted((self.root / _GOVERNORS).glob("policy*/scaling_governor"))
        if not policies:
            self.notes.append("governor: this host has no cpufreq (a virtual machine, or firmware)")
        for policy in policies:
            name = f"governor {policy.parent.name}"
            offered = _read(policy.parent / "scaling_available_governors")
            if offered is not None and governor not in offered.split():
                self.notes.append(f"{name}: it has {offered}, not {governor}")
            else:
                wanted[name] = (str(policy.relative_to(self.root)), governor)
        return wanted

    def _set(self, name: str, path: str, value: str) -> None:
        before = _read(self.root / path)
        if before is not None and before.split() == value.split():
            return
        self.changes.append({"name": name, "before": str(before), "after": value})
        if self.check:
            return
        try:
            # Unbuffered: the kernel's answer is that of write().
            with open(str(self.root / path), "wb", buffering=0) as file:
                file.write(value.encode() + b"\n")
        except OSError as error:
            self.changes.pop()
            self.failed.append(
                {
                    "name": name,
                    "message": f"{name} stays {before}, /{path} does not take {value}:"
                    f" {error.strerror}. In a container /proc/sys and /sys are read-only: set it on"
                    " the machine that carries it.",
                }
            )

    def _put_back(self, name: str) -> None:
        entry = self.record[name]
        if name == "irqbalance":
            self._restore_irqbalance(entry)
            return
        now = _read(self.root / entry["path"])
        if entry["found"] is None or now is None:
            self.notes.append(f"{name}: it cannot be read any more, so it is left as it is")
        elif now.split() not in (entry["set"].split(), entry["found"].split()):
            self.notes.append(
                f"{name}: it is {now}, which was not set from here, so it is left as it is"
                f" (found before: {entry['found']})"
            )
        else:
            failures = len(self.failed)
            self._set(name, entry["path"], entry["found"])
            if len(self.failed) > failures:
                return
        del self.record[name]

    # -- irqbalance -------------------------------------------------------------------------

    def _systemctl(self, *words: str) -> str:
        return self.runner(["systemctl", *words, "irqbalance.service"])

    def _record_irqbalance(self) -> None:
        enabled = self._systemctl("is-enabled")
        if enabled not in ("enabled", "disabled", "static", "masked"):
            self.notes.append("irqbalance: it is not installed")
        elif "irqbalance" not in self.record:
            active = self._systemctl("is-active")
            self.record["irqbalance"] = {"enabled": enabled, "active": active}

    def _stop_irqbalance(self) -> None:
        active, enabled = self._systemctl("is-active"), self._systemctl("is-enabled")
        if active == "active" or enabled == "enabled":
            self._irqbalance(f"{enabled}, {active}", "disabled, inactive", "disable", "--now")

    def _restore_irqbalance(self, entry: Mapping[str, str]) -> None:
        failures = len(self.failed)
        before = "{}, {}".format(self._systemctl("is-enabled"), self._systemctl("is-active"))
        after = "{enabled}, {active}".format(**entry)
        if before != after:
            if entry["enabled"] == "enabled":
                self._irqbalance(before, after, "enable")
            if entry["active"] == "active":
                self._irqbalance(before, after, "start")
        if len(self.failed) == failures:
            del self.record["irqbalance"]

    def _irqbalance(self, before: str, after: str, *words: str) -> None:
        change = {"name": "irqbalance", "before": before, "after": after}
        try:
            if not self.check:
                self._systemctl(*words)
        except OSError as error:
            self.failed.append({"name": "irqbalance", "message": f"irqbalance: {error}"})
        else:
            if change not in self.changes:
                self.changes.append(change)

    # -- files ------------------------------------------------------------------------------

    def _persist(self, sysctl: Mapping[str, str], wanted: Mapping[str, tuple[str, str]]) -> None:
        lines, others = [], []
        for name, (path, value) in wanted.items():
            if name in sysctl and path.startswith("proc/sys/"):
                lines.append(f"{name} = {value}\n")
            else:
                others.append(f"w /{path} - - - - {value}\n")
        self._replace(SYSCTL_FILE, HEADER + "".join(lines) if lines else None)
        self._replace(TMPFILES_FILE, HEADER + "".join(others) if others else None)

    def _replace(self, name: str, text: str | None) -> None:
        path = self.root / name
        before = _read(path)
        if before == (None if text is None else text.strip()):
            return
        if before is not None and not before.startswith(HEADER.strip()):
            raise TuningError(
                f"/{name} was made by hand. Move it away, for this name is the collection's."
            )
        self.changes.append(
            {
                "name": "/" + name,
                "before": "absent" if before is None else "other content",
                "after": "absent" if text is None else "written",
            }
        )
        if self.check:
            return
        if text is None:
            path.unlink()
        else:
            _write_file(path, text, 0o644)

    def _save(self) -> None:
        if self.check:
            return
        path = self.root / RECORD
        if not self.record:
            if path.exists():
                path.unlink()
            return
        text = json.dumps({"found": self.record}, indent=1, sort_keys=True) + "\n"
        if _read(path) != text.strip():
            _write_file(path, text, 0o600, 0o700)
