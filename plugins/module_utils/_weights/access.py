# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may read a model's directory, and who may write to it."""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple


class Account(NamedTuple):
    """The user that a service runs as. `uid` None: there is none of that name yet."""

    name: str
    uid: int | None
    gids: list[int]


def unreadable(folder: str, files: Any, account: Account) -> str | None:
    """Tell the first thing that the account cannot read or enter, and the command that fixes it.

    By permission bits; access lists are not looked at, which may only give more.
    """
    paths = [os.path.join(folder, name) for name in sorted(files)]
    # Where links lead to as well: a cache of Hugging Face keeps the files themselves elsewhere.
    real = [os.path.realpath(path) for path in paths if os.path.exists(path)]
    for step in _steps([os.path.realpath(folder)] + [os.path.dirname(path) for path in real]):
        if not _allowed(os.stat(step), account, 1):
            return f"{account.name} cannot enter {step}: run 'chmod o+x {step}' on the host"
    for path in real:
        if not _allowed(os.stat(path), account, 4):
            where = folder if path.startswith(os.path.realpath(folder) + "/") else path
            return f"{account.name} cannot read {path}: run 'chmod -R o+rX {where}' on the host"
    return None


def _steps(folders: list[str]) -> list[str]:
    """Return directories and all that are above them, each once, from the top down."""
    found = set()
    for at in folders:
        while at not in found:
            found.add(at)
            at = os.path.dirname(at)
    return sorted(found, key=lambda step: (step.count("/"), step))


def writable(folder: str, files: Any) -> str | None:
    """Name the first of the directory and its files that everybody may write."""
    for path in [folder] + [os.path.join(folder, name) for name in sorted(files)]:
        if os.path.exists(path) and os.stat(path).st_mode & stat.S_IWOTH:
            return path
    return None


def _allowed(status: os.stat_result, account: Account, bit: int) -> bool:
    if account.uid == 0:
        return True
    if account.uid is not None and status.st_uid == account.uid:
        return bool(status.st_mode & (bit << 6))
    if status.st_gid in account.gids:
        return bool(status.st_mode & (bit << 3))
    return bool(status.st_mode & bit)
