# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a plan: read, compared, and written all at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    OutOfBounds,
    read_text,
)

from .._base.errors import AscendError
from .._base.origin import EXTENSIONS
from .directory import STAGE_PREFIX, Directory


@dataclass(frozen=True)
class Change:
    """A file that is written, or removed where `after` is None.

    adopt: a file beside the host's directory that Ansible would no longer read, moved into it as
    `adopted`.
    """

    host: str
    path: Path
    before: str | None
    after: str | None
    adopt: Path | None = None
    adopted: Path | None = None

    @property
    def is_change(self) -> bool:
        return self.before != self.after or self.adopt is not None


def diffs(changes: Iterable[Change]) -> list[dict[str, str]]:
    """The changes as Ansible shows differences."""
    shown_ones = []
    for change in changes:
        if change.adopt is not None:
            shown_ones.append({"prepared": f"move {change.adopt} to {change.adopted}\n"})
        if change.before != change.after:
            shown_ones.append(
                {
                    "before_header": str(change.path),
                    "after_header": str(change.path),
                    "before": change.before or "",
                    "after": change.after or "",
                }
            )
    return shown_ones


def apply(directory: Directory, changes: Sequence[Change]) -> None:
    """Write, move and remove. Every file is written elsewhere first, then all get their names.

    An interrupted run leaves complete files, old or new, and at most a directory that Ansible passes over
    and that the next run removes.

    Raises AscendError where the system does not allow it; before any file has its name, nothing is changed.
    """
    for left in directory.stale:
        shutil.rmtree(left, ignore_errors=True)
    writes = [each for each in changes if each.after is not None and each.is_change]
    removals = [each for each in changes if each.after is None]
    stage: Path | None = None
    try:
        if writes:
            directory.path.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=STAGE_PREFIX, dir=directory.path))
            mode = 0o666 & ~_umask()
            for number, change in enumerate(writes):
                if change.before != change.after:
                    _stage_file(stage / str(number), change.after or "", change.path, mode)
            for number, change in enumerate(writes):
                if change.adopt is not None and change.adopted is not None:
                    _adopt(stage, change.adopt, change.adopted)
                elif directory.beside.get(change.host) != "directory":
                    change.path.parent.mkdir(exist_ok=True)
                if change.before != change.after:
                    os.replace(stage / str(number), change.path)
        for change in removals:
            change.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else is in it
                change.path.parent.rmdir()
    except OSError as error:
        where = error.filename2 or error.filename or directory.path
        raise AscendError(
            f"{disk.explain(error, os.fspath(where))} What was written before stays. Fix this and run"
            " the plan again; it completes what is missing."
        ) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _stage_file(path: Path, text: str, target: Path, mode: int) -> None:
    owner = None
    try:
        now = os.lstat(target)
        if stat.S_ISREG(now.st_mode):  # a link, in whose place the file comes, is open to all
            mode, owner = stat.S_IMODE(now.st_mode), (now.st_uid, now.st_gid)
    except (FileNotFoundError, NotADirectoryError):
        pass
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(text.encode())
        os.fchmod(descriptor, mode)
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, *owner)


def _adopt(stage: Path, file: Path, target: Path) -> None:
    """Move a file into the host's directory, so that Ansible reads it at any time.

    What is in the stage are copies, for an interrupted run leaves it to be removed.
    """
    directory = target.parent
    if directory.is_dir():
        os.replace(file, target)
        return
    made = stage / f"directory {stage.name}"
    made.mkdir(mode=0o777)
    shutil.copy2(file, made / target.name)
    if file == directory:
        # The directory needs its name. Under this one Ansible reads it too.
        file = directory.with_name(f"{directory.name}{EXTENSIONS[0]}")
        shutil.copy2(directory, file)
        directory.unlink()
    os.rename(made, directory)
    file.unlink()


def write_page(path: Path, text: str, stamp: str, *, check: bool) -> tuple[bool, str]:
    """Write a page unless it has the stamp. Returns (whether it had not, what it was)."""
    try:
        before = read_text(path, "replace")
    except FileNotFoundError:
        before = ""
    except OutOfBounds as error:
        raise AscendError(f"{path} cannot be read: {error}. Move it away.") from error
    except OSError as error:
        raise AscendError(f"{path} cannot be read: {error.strerror}.") from error
    if stamp in before:
        return False, before
    if not check:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=STAGE_PREFIX, dir=path.parent))
            try:
                _stage_file(stage / "page", text, path, 0o666 & ~_umask())
                os.replace(stage / "page", path)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        except OSError as error:
            raise AscendError(f"{disk.explain(error, str(path))} It is as it was.") from error
    return True, before
