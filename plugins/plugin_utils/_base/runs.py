# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which run of ansible-playbook this is, and whether another one still runs."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

_KEYS = ("machine", "boot", "namespace", "pid", "began")


def this_run() -> dict[str, Any]:
    """The run to which an action plugin belongs: its process, and where and for whom it runs.

    {run: what identifies it, machine, boot, namespace, pid, began, host, user, since}. Equal for all
    tasks of a run. A worker that runs an action is a child of ansible-playbook.
    """
    pid = os.getppid()
    found: dict[str, Any] = {**_here(), "pid": pid, "began": _began(pid)}
    found["run"] = " ".join(str(found[key]) for key in _KEYS)
    found["host"] = socket.gethostname()
    try:
        found["user"] = getpass.getuser()
    except (KeyError, OSError):
        found["user"] = str(os.geteuid())
    found["since"] = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return found


def has_ended(run: Mapping[str, Any]) -> bool:
    """Whether a run of `this_run` has certainly ended, as far as this controller can tell.

    That of another machine, or of a container that this one does not see, has not; nor has a process of
    another user that /proc does not show (its mount option hidepid).
    """
    here = _here()
    if not here["boot"] or run.get("machine") != here["machine"]:
        return False
    if run.get("boot") != here["boot"]:
        return True  # this machine was restarted
    if run.get("namespace") != here["namespace"]:
        return False
    pid = run.get("pid")
    return isinstance(pid, int) and pid > 0 and _has_gone(pid, run.get("began"))


def unclaimed(
    execute: Callable[[dict[str, Any]], dict[str, Any]],
    take_over: object,
    *,
    foresee: bool = False,
) -> dict[str, Any]:
    """The result of a module that a host claimed by another run rejects.

    execute: runs the module with its option `run`. It runs a second time where that other run has ended.
    foresee: rejected in check mode too, because a change follows.
    """
    run = {**this_run(), "take_over": boolean(take_over or False), "foresee": foresee}
    result = execute(run)
    other = result.get("claimed")
    if isinstance(other, Mapping) and has_ended(other):
        result = execute({**run, "ended": [other["run"]]})
    return result


def _here() -> dict[str, str]:
    machine = f"{_first_line('/etc/machine-id')} {socket.gethostname()}"
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    boot = _first_line("/proc/sys/kernel/random/boot_id")
    return {"machine": machine, "boot": boot, "namespace": namespace}


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()[:64]
    except OSError:
        return ""


def _has_gone(pid: int, began: object) -> bool:
    now = _began(pid)
    if now:
        return now != began
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except (ProcessLookupError, OverflowError):
        return True
    return True  # it has ended, and its parent has not asked for its status


def _began(pid: int) -> str:
    """When a process began, in ticks since the boot; empty where there is none, or no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *fields = text.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]
