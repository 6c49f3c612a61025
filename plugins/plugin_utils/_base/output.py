# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that a run writes on the controller, for people and for programs."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base import disk

from .errors import AscendError


def write_json(path: str, data: Mapping[str, Any]) -> None:
    """Write a report for programs. path: of the user, may begin with `~`. Raises AscendError."""
    text = json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False)
    write_text(_absolute(path), f"{text}\n")


def check_writable(path: str) -> None:
    """Find before a run what would stop `write_text` after it. path: as of `write_json`.

    Nothing is written and no directory is made. Raises AscendError: a directory is there, or one
    above cannot be written to.
    """
    file = _absolute(path)
    try:
        _reject_directory(file)
        if file.exists() and not file.is_file():
            return
        above = Path(os.path.realpath(file)).parent
        while not (above.exists() or above.is_symlink()):
            above = above.parent
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise _unwritten(error, file) from error


def write_text(path: Path, text: str) -> None:
    """Replace a file of the controller at once, with the mode that it had, else 0644.

    A link is followed. What is there and is no regular file, such as a pipe or /dev/stdout, is
    written to. Raises AscendError; a regular file then is as it was.
    """
    data = text.encode(errors="backslashreplace")
    try:
        _reject_directory(path)
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            path.write_bytes(data)
        else:
            _replace(Path(os.path.realpath(path)), data, mode)
    except OSError as error:
        raise _unwritten(error, path, len(data)) from error


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _reject_directory(path: Path) -> None:
    if path.is_dir():
        raise AscendError(f"{path} is a directory. Name a file in it, such as {path}/report.json.")


def _unwritten(error: OSError, path: Path, needed: int = 0) -> AscendError:
    return AscendError(
        f"{disk.explain(error, str(path), needed)} It is as it was. Name another file, or make its"
        " directory writable."
    )


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _replace(path: Path, data: bytes, mode: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".inferops-ascend-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            os.fchmod(handle.fileno(), 0o644 if mode is None else stat.S_IMODE(mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
