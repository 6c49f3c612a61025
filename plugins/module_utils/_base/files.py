# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that a run writes on a host: told apart from those made by hand, written completely or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import tempfile
import time
from typing import Callable, Iterable, NamedTuple

from . import disk, reading
from .errors import HostError

_SHOWN_LINES = 200  # of a file that comes or goes, in a diff
# In a unit: what tells which cards a service was placed on, and changes nothing for its process.
_UNCOUNTED = "Environment=INFEROPS_CARDS="
MARK = "# Managed by Ansible: inferops.ascend.systemd_instances"
# Before the name of the file that it is to become, which 8 characters of `mkstemp` follow.
TEMPORARY = ".inferops-ascend-"
_CHANCE = "?" * 8
# Of a unit, or of a configuration with secrets as long as the kernel takes them.
_MOST_BYTES = 16 << 20


def mark(unit: str) -> str:
    """Return the first line of every file that belongs to `unit`, a template or one instance."""
    return f"{MARK} {unit}. Local changes are overwritten.\n"


def is_marked(content: str, unit: str) -> bool:
    """Tell whether a file with this content was written for `unit`.

    The mark names the instance, so that a copy which somebody made for another unit is not ours.
    """
    return content.startswith(f"{MARK} {unit}. ")


def effective(path: str, text: str) -> str:
    """Return what of a file's text decides how a process runs.

    Without our mark; of units without comments, and without the cards' addresses, which a driver may
    tell later.
    """
    if text.startswith(MARK):
        text = text.partition("\n")[2]
    if "/systemd/" not in path:
        return text
    # Not splitlines(): only \n ends a line for systemd.
    lines = [
        line
        for line in text.split("\n")
        if line.strip() and line[0] not in "#;" and not line.startswith(_UNCOUNTED)
    ]
    return "\n".join(lines)


class DesiredFile(NamedTuple):
    """One file of `unit` as it should be. `content` None: the file should not be there."""

    unit: str
    path: str
    content: str | None
    mode: int = 0o644
    secret: bool = False


class FileChange(NamedTuple):
    """One difference between a file and what is desired. `before` None: there is no such file now.

    `foreign`: the file that is there is somebody else's, and `adopt` lets it be replaced.
    `touched`: when the file or its attributes last changed (its ctime), in seconds of the host's clock.
    """

    desired: DesiredFile
    before: str | None
    mode_before: int | None
    foreign: bool = False
    touched: float = 0.0

    def was_read_by(self, started: float) -> bool:
        """Tell whether a process that started then has read something else than is wanted.

        Somebody who edits a file and starts the service by hand leaves the digest as it was, so
        it does not tell. A change after the start was not read.
        """
        return (
            self.before is not None
            and self.touched <= started
            and effective(self.desired.path, self.before)
            != effective(self.desired.path, self.desired.content or "")
        )

    def diff(self) -> dict[str, str]:
        """Return the difference as Ansible shows it; of a secret only that it differs."""
        before, after = self.before, self.desired.content
        if self.desired.secret:
            before = None if before is None else "(secret content, not shown)\n"
            after = None if after is None else "(new secret content, not shown)\n"
        elif self.foreign:
            # Nobody knows what is in it: a unit made by hand may contain a key.
            before = "(somebody else's file, not shown)\n"
        elif before is None or after is None:
            before, after = _short(before), _short(after)
        lines = {
            "before": before or "",
            "after": after or "",
            "before_header": self.desired.path,
            "after_header": self.desired.path,
        }
        if before is None:
            lines["before_header"] += " (absent)"
        elif after is None:
            lines["after_header"] += " (removed)"
        elif self.mode_before != self.desired.mode:
            lines["before_header"] += f" mode {self.mode_before or 0:04o}"
            lines["after_header"] += f" mode {self.desired.mode:04o}"
        return lines


def _short(text: str | None) -> str | None:
    """A file that comes or goes; a program is not read in a diff."""
    count = (text or "").count("\n")
    return text if count <= _SHOWN_LINES else f"({count} lines, not shown)\n"


def read_text(path: str) -> str | None:
    """Return a file's text, bytes that are not UTF-8 escaped, or None where there is no file.

    Raises HostError for what is no file or is larger than any that is written here.
    """
    try:
        return reading.read_text(path, "backslashreplace", _MOST_BYTES)
    except FileNotFoundError:
        return None
    except reading.OutOfBounds as error:
        raise HostError(f"{path} cannot be read: {error}. Move it away.") from None


def compare(desired: DesiredFile, adopt: bool) -> FileChange | None:
    """Return what must change for one file, or None.

    Raises HostError where somebody else's file is in the way and `adopt` is off.
    """
    try:
        status = os.lstat(desired.path)
    except (FileNotFoundError, NotADirectoryError):
        if desired.content is None:
            return None
        _check_directory(desired)
        return FileChange(desired, None, None)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
        raise HostError(
            f"{desired.path} is in the way: it is neither a file nor a link. Move it away."
        )
    before = read_text(desired.path)
    foreign = stat.S_ISLNK(status.st_mode) or not is_marked(before or "", desired.unit)
    if foreign and desired.content is None:
        return None
    if foreign and not adopt:
        raise HostError(
            f"{desired.path} was not written by this collection (its first line is not '{MARK} {desired.unit}.'), so it is "
            "not overwritten. Move it away, or let it be replaced with adopt: true (in the role: "
            "vllm_service_adopt), which keeps a copy beside it."
        )
    if desired.content is not None:
        _check_directory(desired)
    mode = stat.S_IMODE(status.st_mode)
    owned = status.st_uid == os.geteuid() and not stat.S_ISLNK(status.st_mode)
    if desired.content == before and mode == desired.mode and owned:
        return None
    return FileChange(desired, before, mode, foreign, status.st_ctime)


def set_aside(unit: str, path: str) -> FileChange:
    """Return the change that takes somebody else's file away and keeps a copy beside it."""
    status = os.lstat(path)
    return FileChange(
        DesiredFile(unit, path, None),
        read_text(path),
        stat.S_IMODE(status.st_mode),
        True,
        status.st_ctime,
    )


def _check_directory(desired: DesiredFile) -> None:
    """Raise HostError where the file's directory is none, or the service could not enter it."""
    directory = os.path.dirname(desired.path)
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        raise HostError(
            f"{directory} is not a directory, and {desired.path} is to go below it. Move it away."
        )
    if desired.mode & 0o004 and not os.stat(directory).st_mode & 0o001:
        raise HostError(
            f"{directory} can be entered by its owner alone, so the service could not read "
            f"{desired.path}. Run 'chmod o+x {directory}' on the host."
        )


class Staged(NamedTuple):
    """A change that is ready to be made: its new content is in the file `temporary`, "" for a removal."""

    change: FileChange
    temporary: str


def stage(change: FileChange, label: Callable[[str, str], None]) -> Staged:
    """Write what a change needs beside its file, which stays as it is.

    `label(temporary, final)` gives the temporary file the security context of the final one.
    Raises HostError where the disk does not take it.
    """
    path, content = change.desired.path, change.desired.content
    try:
        _check_mutable(path)
        if content is None:
            return Staged(change, "")
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        return Staged(change, _write_temporary(path, content, change.desired.mode, label))
    except OSError as error:
        words = disk.explain(error, path, _size(content or ""))
        raise HostError(f"{words} It is as it was.") from error


def switch(staged: Staged) -> str | None:
    """Make a change by one rename or unlink; return the path of the copy kept of a foreign file, or None.

    Raises HostError where the disk does not take it; the file is then as it was.
    """
    path = staged.change.desired.path
    copy = None
    try:
        if staged.change.foreign:
            copy = "{}.{}~".format(path, time.strftime("%Y%m%d-%H%M%S"))
            os.link(path, copy, follow_symlinks=False)
        if staged.temporary:
            os.rename(staged.temporary, path)
        else:
            os.unlink(path)
    except OSError as error:
        raise HostError(f"{disk.explain(error, path)} It is as it was.") from error
    return copy


def write_atomically(
    path: str,
    content: str,
    mode: int = 0o644,
    label: Callable[[str, str], None] | None = None,
) -> None:
    """Replace a file so that readers see all of the old or all of the new content.

    `label(temporary, final)` gives the temporary file the security context of the final one.
    Raises HostError where the disk does not take it; the file is then as it was.
    """
    try:
        temporary = _write_temporary(path, content, mode, label)
        try:
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise HostError(
            f"{disk.explain(error, path, _size(content))} {path} is as it was."
        ) from error


def _check_mutable(path: str) -> None:
    """Raises OSError for a file that may not be replaced, as one with the attribute `immutable`."""
    if os.path.isfile(path) and not os.path.islink(path):
        os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC))


def _size(content: str) -> int:
    return len(content.encode("utf-8", "replace"))


def _write_temporary(
    path: str, content: str, mode: int, label: Callable[[str, str], None] | None
) -> str:
    """Write a temporary file that is to become `path`, all of it to the disk; return where it is."""
    directory, name = os.path.split(path)
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=f"{TEMPORARY}{name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as handle:
            handle.write(content)
            handle.flush()
            os.fchmod(handle.fileno(), mode)
            os.fsync(handle.fileno())
        if label:
            label(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def sync_directory(path: str) -> None:
    """Have the names in a directory written to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(patterns: Iterable[str]) -> None:
    """Remove what a run left that was killed while it wrote. Call it under the lock of these files.

    patterns: paths of the files that runs write, with `%i` for the name of an instance. What was to
    become one of them goes, and so do directories that have the name of an instance and are empty. Of
    other files in these directories other runs may be writing the next state.
    """
    for pattern in set(patterns):
        directory, name = os.path.split(pattern)
        below, name = ("*".join(map(glob.escape, each.split("%i"))) for each in (directory, name))
        # The second form is that of 0.2.0, which nothing writes any more.
        for left in (f"{TEMPORARY}{name}.{_CHANCE}", TEMPORARY + _CHANCE):
            for path in glob.glob(os.path.join(below, left)):
                # A disk that takes no change stays as it is; what is written there next tells why.
                with contextlib.suppress(OSError):
                    os.unlink(path)
        for path in glob.glob(below) if "%i" in directory else ():
            with contextlib.suppress(OSError):
                os.rmdir(path)


def marked_names(pattern: str, unit: str) -> list[str]:
    """Return the names of instances of the template `unit` of which a file of ours exists.

    `pattern` is the file's path with `%i` for the name.
    """
    before, after = pattern.split("%i", 1)
    names = []
    for path in glob.glob(glob.escape(before) + "*" + glob.escape(after)):
        name = path[len(before) : len(path) - len(after)]
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        if is_marked(read_text(path) or "", instance_of(unit, name)):
            names.append(name)
    return sorted(names)


def instance_of(unit: str, name: str) -> str:
    """Return the unit name of one instance of a template such as `vllm@.service`."""
    return unit.replace("@", f"@{name}", 1)
