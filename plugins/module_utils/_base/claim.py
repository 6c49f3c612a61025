# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The claim of a run that changes a host in several tasks: a file that names the run and when it ends.

No process of the host lives as long as such a run, so no lock of the kernel could. The file is in /run: a
restart of the host frees it. Whether the run still lives is for its controller to tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any, Mapping

from .errors import HostError
from .files import write_atomically
from .lock import exclusive
from .reading import read_json
from .text import one_line

PATH = "/run/inferops-ascend/claim.json"
LIFETIME = 24 * 3600.0  # seconds after the last task that took or kept it
_MOST_BYTES = 1 << 14
_WAIT = 30.0


class ClaimedError(HostError):
    """Another run has the host. claim: what it wrote."""

    def __init__(self, claim: Mapping[str, Any]) -> None:
        super().__init__(message(claim))
        self.claim = dict(claim)


def message(claim: Mapping[str, Any]) -> str:
    """Who has the host, and the way out."""
    who = "process {} of {} on {}, since {}".format(
        *(one_line(str(claim.get(key)), 64) for key in ("pid", "user", "host", "since"))
    )
    return (
        f"An upgrade or rollback is changing this host and others ({who}). No service was changed here. Wait"
        " until it has ended. If it was killed, run it again, which completes it: on the controller where it"
        " ran it is known to have ended; from another one add -e vllm_upgrade_take_over=true."
    )


def check(run: Mapping[str, Any], path: str = PATH) -> None:
    """Raise ClaimedError where another run has the host.

    run: `run`, what identifies this one; `ended`, runs that are known to have ended; `take_over`.
    Empty for a module that nobody told its run, which is not kept out.
    """
    other = None if not run or run.get("take_over") else _another(run, path)
    if other is not None:
        raise ClaimedError(other)


def foresee(run: Mapping[str, Any], path: str = PATH) -> None:
    """The same in check mode, where `foresee` of the run says that a change follows."""
    if run.get("foresee"):
        check(run, path)


def _another(run: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    try:
        found = read_json(path, _MOST_BYTES)
        other = found["run"] not in (run["run"], *run.get("ended", ()))
        return dict(found) if other and time.time() < float(found["until"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def take(run: Mapping[str, Any], path: str = PATH) -> None:
    """Claim the host for a run, or keep it claimed. Raises ClaimedError, as `check`."""
    with exclusive(f"{path}.lock", _WAIT, "claiming this host"):
        check(run, path)
        told = {key: run.get(key) for key in run if key not in ("ended", "take_over", "foresee")}
        write_atomically(path, json.dumps({**told, "until": time.time() + LIFETIME}) + "\n")


def release(run: Mapping[str, Any], path: str = PATH) -> None:
    """Free the host where this run has it."""
    with exclusive(f"{path}.lock", _WAIT, "claiming this host"):
        if _another({"run": ""}, path) and not _another(run, path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
