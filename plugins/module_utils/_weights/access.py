# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who may read a model's directory, and who may write to it."""

from __future__ import annotations

import os
import stat
from pathlib import PurePath
from typing import Any, NamedTuple


class Account(NamedTuple):
    """The user that a service runs as. `uid` None: there is none of that name yet."""

    name: str
    uid: int | None
    gids: list[int]


def unreadable(directory: str, files: Any, account: Account) -> str:
    """The first thing that the account cannot read or enter, and the command that fixes it.

    By permission bits; access lists are not read, which may only give more.
    """
    paths = [os.path.join(directory, name) for name in sorted(files)]
    # Where links lead to as well: a cache of Hugging Face keeps the files themselves elsewhere.
    real = [os.path.realpath(path) for path in paths if os.path.exists(path)]
    above = {str(each) for path in real for each in PurePath(path).parents}
    above |= {str(each) for each in PurePath(os.path.realpath(directory), "-").parents}
    for step in sorted(above, key=lambda each: (each.count("/"), each)):
        if not _allowed(os.stat(step), account, 1):
            return f"{account.name} cannot enter {step}: run 'chmod o+x {step}' on the host"
    for path in real:
        if not _allowed(os.stat(path), account, 4):
            where = directory if path.startswith(os.path.realpath(directory) + "/") else path
            return f"{account.name} cannot read {path}: run 'chmod -R o+rX {where}' on the host"
    return ""


def world_writable(directory: str, files: Any) -> str:
    """The first of the directory and its files that everybody may write; empty for none."""
    for path in [directory, *(os.path.join(directory, name) for name in sorted(files))]:
        if os.path.exists(path) and os.stat(path).st_mode & stat.S_IWOTH:
            return path
    return ""


def _allowed(status: os.stat_result, account: Account, bit: int) -> bool:
    if account.uid == 0:
        return True
    if account.uid is not None and status.st_uid == account.uid:
        return bool(status.st_mode & (bit << 6))
    if status.st_gid in account.gids:
        return bool(status.st_mode & (bit << 3))
    return bool(status.st_mode & bit)
