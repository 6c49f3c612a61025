# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users that instances have to themselves, and the directories of their state.

The comment of such a user names the instance. An account without it is somebody else's: it is neither
taken for an instance nor changed nor removed.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from pathlib import Path
from typing import Iterable, Mapping, NamedTuple, Sequence

from .._base import disk, process
from .._base.errors import HostError
from .._base.files import instance_of
from .._base.reading import OutOfBounds, read_text
from .._base.text import is_number

_MARK = "inferops.ascend "
_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
_TIMEOUT = 60.0  # seconds; a name service that does not answer makes useradd wait


class User(NamedTuple):
    """The user of `unit` as it should be. directory: of its state, "" for none.

    alone: it is made for the unit. Another one is made by somebody else, and there before a unit starts.
    """

    unit: str
    name: str
    directory: str
    alone: bool


class Unneeded(NamedTuple):
    """An account whose instance `name` is gone or has another user, with the directory of its state."""

    name: str
    entry: pwd.struct_passwd
    directory: str


def mark(unit: str) -> str:
    """The comment of the account that `unit` has to itself."""
    return _MARK + unit


def marked(path: str = "/etc/passwd") -> dict[str, pwd.struct_passwd]:
    """Accounts of this host that instances have to themselves, by the unit of the instance."""
    try:
        lines = read_text(path, "replace").split("\n")
    except (OSError, OutOfBounds) as error:
        raise HostError(f"{path} cannot be read: {error}") from error
    found = {}
    for line in lines:
        fields = line.split(":")
        numbers = fields[2:4]
        if len(fields) == 7 and fields[4].startswith(_MARK) and all(map(is_number, numbers)):
            entry = pwd.struct_passwd((fields[0], fields[1], *map(int, numbers), *fields[4:]))
            found[fields[4][len(_MARK) :]] = entry
    return found


def entry_of(name: str) -> pwd.struct_passwd | None:
    """The account of that name, from wherever the host has its accounts."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def missing_groups(user: str, groups: Sequence[str]) -> list[str]:
    """Those of the groups that an account is not in. Raises HostError for one that the host has not."""
    entry, missing = entry_of(user), []
    for name in groups:
        try:
            group = grp.getgrnam(name)
        except KeyError:
            raise HostError(
                f"There is no group {name} on this host, which {user} is to join. The driver's"
                " installation creates the group of the cards: install the driver, or name existing"
                " groups in vllm_service_groups."
            ) from None
        if entry is None or (entry.pw_gid != group.gr_gid and user not in group.gr_mem):
            missing.append(name)
    return missing


def refusal(user: User) -> str:
    """Why a unit cannot have that account to itself, or "" where it can."""
    entry = entry_of(user.name)
    advice = (
        f"Remove it (userdel {user.name}), give the service another name, or name a user for all"
        " services in vllm_service_user."
    )
    if entry is not None and entry.pw_gecos != mark(user.unit):
        return (
            f"{user.unit} would run as {user.name}, an account that this collection did not create for"
            f" it (its comment is {entry.pw_gecos!r}). {advice}"
        )
    if entry is None and _others_in(user.name):
        return (
            f"{user.unit} would run as {user.name}, and on this host a group of that name has members"
            f" ({', '.join(_others_in(user.name))}). Remove it (groupdel {user.name}), give the"
            " service another name, or name a user for all services in vllm_service_user."
        )
    return ""


def _others_in(group: str) -> list[str]:
    try:
        return list(grp.getgrnam(group).gr_mem)
    except KeyError:
        return []


def create(user: User, groups: Sequence[str]) -> None:
    """Create the account, or add it to the groups. Raises HostError."""
    missing = missing_groups(user.name, groups)
    if entry_of(user.name) is not None:
        _run("usermod", "--append", "--groups", ",".join(missing), user.name)
        return
    shell = next((path for path in _SHELLS if os.path.exists(path)), _SHELLS[-1])
    words = ["--system", "--no-create-home", "--home-dir", user.directory or "/", "--shell", shell]
    words += ["--comment", mark(user.unit)]
    words += ["--groups", ",".join(groups)] if groups else []
    # A group that is left of an earlier account of that name has no members.
    words += ["--gid", user.name] if _exists(user.name) else ["--user-group"]
    _run("useradd", *words, user.name)


def remove(account: Unneeded) -> None:
    """Remove an account with its group and the directory of its state, which goes first.

    So a run that is killed in between leaves the account, and the next one completes it. A directory that
    is another user's by now stays. Raises HostError.
    """
    entry, directory = account.entry, account.directory
    try:
        if os.lstat(directory).st_uid == entry.pw_uid:
            shutil.rmtree(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostError(disk.explain(error, directory)) from error
    _run("userdel", entry.pw_name)
    if _exists(entry.pw_name) and not _others_in(entry.pw_name):
        _run("groupdel", entry.pw_name)


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def _run(program: str, *words: str) -> None:
    found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        raise HostError(
            f"{program} is missing on this host, so no user can be made for a service. Install it (on"
            " most systems it is in shadow-utils or passwd), or name an existing account in"
            " vllm_service_user."
        )
    done = process.run([found, *words], _TIMEOUT, {**os.environ, "LC_ALL": "C"})
    if done.status:
        raise HostError(f"{program} {words[-1]} failed: {(done.errors or done.text).strip()}")


def processes_of(uid: int, root: Path = Path("/proc")) -> list[int]:
    """Processes with that user id, real or effective."""
    found = []
    for name in os.listdir(root):
        if not name.isdigit():
            continue
        try:
            status = read_text(root / name / "status", "replace")
        except (OSError, OutOfBounds):
            continue
        ids = next((line for line in status.split("\n") if line.startswith("Uid:")), "").split()[1:]
        if str(uid) in ids:
            found.append(int(name))
    return found


# -- the directory of a unit's state ---------------------------------------------------------------


def is_private(path: str, owner: int | None) -> bool:
    """Whether a directory is there that its owner alone may enter. owner: None for any."""
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False
    return stat.S_IMODE(now.st_mode) == 0o700 and owner in (None, now.st_uid)


def make_private(path: str, user: str) -> None:
    """Make a directory that `user` alone may enter; what is in it becomes that user's.

    systemd before 235 does not make it, and before 240 does not change its owner. Raises HostError.
    """
    entry = entry_of(user)
    if entry is None:
        raise HostError(f"There is no user {user} on this host, whose directory {path} is to be.")
    ids = entry.pw_uid, entry.pw_gid
    try:
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
        if os.stat(path).st_uid != entry.pw_uid:
            for _at, directories, names, here in os.fwalk(path):
                for name in [*directories, *names]:
                    os.chown(name, *ids, dir_fd=here, follow_symlinks=False)
            os.chown(path, *ids)
        os.chmod(path, 0o700)
    except OSError as error:
        raise HostError(disk.explain(error, path)) from error


class Accounts:
    """The accounts of the instances of one template unit: which are missing, and which are no longer needed.

    Attributes:
        users: as they should be, by instance. missing: those to be created or to join groups, those whose
        directory is missing or open to others, and why each, by instance. refused: likewise what cannot be.
    """

    def __init__(
        self, template: str, users: Mapping[str, User], groups: Sequence[str], directory: str
    ) -> None:
        """directory: pattern of the paths of state directories."""
        self.template, self.users, self.groups = template, users, groups
        self.directory = directory
        self.missing: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        for name, user in users.items():
            try:
                why = refusal(user) if user.alone else ""
                lacks = missing_groups(user.name, groups) if user.alone else []
            except HostError as error:
                why = str(error)
            if why:
                self.refused[name] = why
            elif lacks:
                known = entry_of(user.name) is not None
                self.missing[name] = f"joins {', '.join(lacks)}" if known else "is created"
            elif user.directory and not is_private(user.directory, None):
                self.missing[name] = f"gets {user.directory}"

    def create(self) -> None:
        """Make the accounts and directories that are missing. Raises HostError."""
        for name in self.missing:
            user = self.users[name]
            if user.alone and (
                entry_of(user.name) is None or missing_groups(user.name, self.groups)
            ):
                create(user, self.groups)
            if user.directory and not is_private(user.directory, None):
                make_private(user.directory, user.name)

    def hand_over(self, names: Iterable[str]) -> None:
        """Give directories that had another owner to the users of these instances, which do not run."""
        for name in names:
            user = self.users.get(name)
            if user and user.directory:
                make_private(user.directory, user.name)

    def unneeded(self, names: Iterable[str], others: bool, kept: Iterable[str]) -> list[Unneeded]:
        """Accounts that were made for instances and are needed no more.

        names: of instances whose accounts are managed; with `others` those of all instances of the template that
        are not kept.
        """
        names, kept = set(names), set(kept)
        before, after = self.template.split("@", 1)
        found = []
        for unit, entry in marked().items():
            name = unit[len(before) + 1 : -len(after)]
            if unit != instance_of(self.template, name):
                continue
            user = self.users.get(name)
            if (name in names or (others and name not in kept)) and (
                user is None or user.name != entry.pw_name
            ):
                found.append(Unneeded(name, entry, self.directory.replace("%i", name)))
        return found
