# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kernel settings of a host: set them, now and at boot, and put back what was found.

What was found, and every value that may have been set since, is written to a record before anything
is changed, so that a run which is broken off can be undone as well. A value leaves the record when
the kernel has refused it, or when a later one was taken and stands in the files for the next boot.
Paths are below `root`, `/` but for tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple

RECORD = "var/lib/inferops-ascend/tuning.json"
SYSCTL_FILE = "etc/sysctl.d/90-inferops-ascend.conf"
TMPFILES_FILE = "etc/tmpfiles.d/inferops-ascend.conf"
HEADER = "# Managed by Ansible: inferops.ascend.host_tuning. Local changes are overwritten.\n"

# Linux 5.13 moved the scheduler's tunables to debugfs (commit 8a99b6833c88, "sched: Move
# SCHED_DEBUG sysctl to debugfs").
MOVED = {"kernel.sched_migration_cost_ns": "sys/kernel/debug/sched/migration_cost_ns"}
_GOVERNORS = "sys/devices/system/cpu/cpufreq"
_KERNEL = ("proc/sys/", "sys/")
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


def write_value(path: Path, value: str) -> None:
    """Give a file of the kernel a value; raises OSError where it is refused."""
    # Unbuffered: the kernel's answer is that of write().
    with open(str(path), "wb", buffering=0) as file:
        file.write(value.encode() + b"\n")


def _write_file(path: Path, text: str, mode: int, folder_mode: int = 0o755) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, mode=folder_mode)
    handle, name = tempfile.mkstemp(dir=str(path.parent), prefix=".inferops-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())  # the record must outlive a loss of power
        os.rename(name, str(path))
    except BaseException:
        os.unlink(name)
        raise


def _same(one: str | None, other: str | None) -> bool:
    """Whether two values are one to the kernel, which separates several by tabs."""
    return one is not None and other is not None and one.split() == other.split()


def _among(value: str, known: Iterable[str | None]) -> bool:
    return any(_same(value, each) for each in known)


def _entry(name: str, entry: Any) -> dict[str, Any]:
    """One entry of the record, checked; raises ValueError that says what is wrong with it."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is {entry!r}, not a mapping")
    if name == "irqbalance":
        for key in ("enabled", "active"):
            if not isinstance(entry.get(key), str):
                raise ValueError(f"{name} has no text {key!r}")
        return {"enabled": entry["enabled"], "active": entry["active"]}
    path, values = entry.get("path"), entry.get("set")
    # It is written to as root.
    if not isinstance(path, str) or not path.startswith(_KERNEL) or ".." in path.split("/"):
        raise ValueError(f"{name} has the path {path!r}, which is not below /proc/sys or /sys")
    if "found" not in entry or not isinstance(entry["found"], (str, type(None))):
        raise ValueError(f"{name} does not tell what was found")
    values = [values] if isinstance(values, str) else values
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise ValueError(f"{name} does not tell what was set")
    return {"path": path, "found": entry["found"], "set": values}


def load_record(root: Path) -> Record:
    """The record of a host, empty where there is none.

    {name: {path, found: value or None, set: [value]}}, and {"irqbalance": {enabled, active}}.
    Raises TuningError where it cannot be read, or is not of that shape.
    """
    try:
        data = json.loads((root / RECORD).read_text(encoding="utf-8"))
        if not isinstance(data, dict) or not isinstance(data.get("found"), dict):
            raise ValueError("it has no mapping 'found'")
        return {name: _entry(name, entry) for name, entry in data["found"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TuningError(
            f"/{RECORD} cannot be read: {error}. It holds what the settings were before; nothing was"
            " changed. Restore it from a backup, or remove it: then today's values count as found."
        ) from error


class Tuning:
    """The settings of one host.

    check: only say what would be done. runner: runs systemctl. Raises TuningError for a record
    that cannot be read.
    """

    def __init__(self, root: Path = Path("/"), check: bool = False, runner: Runner = run) -> None:
        self.root = root
        self.check = check
        self.runner = runner
        self.changes: list[dict[str, str]] = []
        self.failed: list[dict[str, str]] = []
        self.notes: list[str] = []
        self.record: Record = load_record(root)

    def outcome(self) -> Outcome:
        return Outcome(self.changes, self.failed, self.notes)

    # -- wishes -----------------------------------------------------------------------------

    def apply(self, sysctl: Mapping[str, str], governor: str, stop_irqbalance: bool) -> Outcome:
        """Set everything that is wished, and put back what was set before and is wished no more.

        sysctl: {name: value}. governor: of cpufreq, empty to leave it. Raises TuningError, before
        anything is changed, for a name that is no sysctl and for a file made by hand.
        """
        wanted = self._wanted(sysctl, governor)
        for name in (SYSCTL_FILE, TMPFILES_FILE):
            if self._foreign(name):
                raise TuningError(
                    f"/{name} was made by hand. Move it away, for this name is the collection's."
                )
        dropped = [name for name in self.record if name not in wanted and name != "irqbalance"]
        if not stop_irqbalance and "irqbalance" in self.record:
            dropped.append("irqbalance")
        known = {name: self._intend(name, path, value) for name, (path, value) in wanted.items()}
        if stop_irqbalance:
            self._record_irqbalance()
        self._save()
        for name in dropped:
            self._put_back(name)
        stands: dict[str, tuple[str, str]] = {}
        taken: dict[str, list[str]] = {}
        for name, (path, value) in wanted.items():
            before = _read(self.root / path)
            accepted = self._set(name, path, value)
            now = _read(self.root / path)
            if accepted:
                stands[name] = (path, value)
                taken[name] = [value]
                if now is not None and not _among(now, (value, before)):
                    taken[name].append(now)  # as the kernel writes it, 16 for 0x10
            else:
                taken[name] = known[name]
                if now is not None and _among(now, taken[name]):
                    stands[name] = (path, now)
        if "irqbalance" in self.record:
            self._stop_irqbalance()
        self._persist(sysctl, stands)
        # Not before: until then the next boot may bring an older value back.
        for name, values in taken.items():
            self.record[name]["set"] = values
        self._save()
        return self.outcome()

    def restore(self) -> Outcome:
        """Put back what was found, remove the files, and forget the record where all of it worked."""
        for name in list(self.record):
            self._put_back(name)
        for name in (SYSCTL_FILE, TMPFILES_FILE):
            if self._foreign(name):
                self.notes.append(f"/{name}: it was made by hand, so it is left as it is")
            else:
                self._replace(name, None)
        if not self.record and (self.root / RECORD).exists():
            self.changes.append({"name": "/" + RECORD, "before": "present", "after": "absent"})
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

    def _intend(self, name: str, path: str, value: str) -> list[str]:
        """Note in the record that a value is about to be set, beside those that may still stand.

        Returns those that were there already.
        """
        now = _read(self.root / path)
        entry = self.record.get(name)
        if entry is None or not entry["set"]:  # nothing was set yet: what is there now is found
            entry = self.record[name] = {"path": path, "found": now, "set": []}
        elif now is not None and not _among(now, [*entry["set"], entry["found"], value]):
            self.notes.append(
                f"{name}: it was {now}, which was not set from here; it is declared to be {value}"
                f" (found at first: {entry['found']})"
            )
        entry["path"] = path  # another one after an upgrade of the kernel
        known = list(entry["set"])
        if not _among(value, known):
            entry["set"] = [*known, value]
        return known

    def _set(self, name: str, path: str, value: str) -> bool:
        """Whether the kernel has the value now (in check mode: whether it would be tried)."""
        before = _read(self.root / path)
        if _same(before, value):
            return True
        self.changes.append({"name": name, "before": str(before), "after": value})
        if self.check:
            return True
        try:
            write_value(self.root / path, value)
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
            return False
        return True

    def _put_back(self, name: str) -> None:
        entry = self.record[name]
        if name == "irqbalance":
            self._restore_irqbalance(entry)
            return
        now = _read(self.root / entry["path"])
        if not entry["set"]:
            pass  # the kernel never took a value from here
        elif entry["found"] is None or now is None:
            self.notes.append(f"{name}: it cannot be read any more, so it is left as it is")
        elif not _among(now, [*entry["set"], entry["found"]]):
            self.notes.append(
                f"{name}: it is {now}, which was not set from here, so it is left as it is"
                f" (found before: {entry['found']})"
            )
        elif not self._set(name, entry["path"], entry["found"]):
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
        enabled = self._systemctl("is-enabled")
        before = "{}, {}".format(enabled, self._systemctl("is-active"))
        after = "{enabled}, {active}".format(**entry)
        if enabled not in ("disabled", entry["enabled"]):
            self.notes.append(
                f"irqbalance: it is {before}, which was not set from here, so it is left as it is"
                f" (found before: {after})"
            )
        elif before != after:
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

    def _persist(self, sysctl: Mapping[str, str], stands: Mapping[str, tuple[str, str]]) -> None:
        """Write for the next boot what the kernel has taken: {name: (path, value)}."""
        lines, others = [], []
        for name, (path, value) in stands.items():
            if name in sysctl and path.startswith("proc/sys/"):
                lines.append(f"{name} = {value}\n")
            else:
                others.append(f"w /{path} - - - - {value}\n")
        self._replace(SYSCTL_FILE, HEADER + "".join(lines) if lines else None)
        self._replace(TMPFILES_FILE, HEADER + "".join(others) if others else None)

    def _foreign(self, name: str) -> bool:
        text = _read(self.root / name)
        return text is not None and not text.startswith(HEADER.strip())

    def _replace(self, name: str, text: str | None) -> None:
        path = self.root / name
        before = _read(path)
        if before == (None if text is None else text.strip()):
            return
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
