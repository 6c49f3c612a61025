# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a model's directory is as it should be, and what is missing of it. Changes nothing."""

from __future__ import annotations

import os
import stat
from pathlib import PurePath
from typing import Any, NamedTuple

from .._base.disk import mounts
from .._base.errors import HostError
from .._base.reading import parse_json
from .archive import archive_at, is_url
from .completeness import Contents, gigabytes, inspect, read_json
from .faults import bare_url
from .hubs import Clients, Hub
from .jobs import Job
from .marker import is_remembered, read_marker
from .sources import HUBS, INCOMPLETE, SPARE, Directory, Remote, Rsync, partial_of, size_of
from .switch import PART, left_behind


class Account(NamedTuple):
    """The user that a service runs as. `uid` None: there is none of that name yet."""

    name: str
    uid: int | None
    gids: list[int]


class Record(NamedTuple):
    """What was found about one job.

    Attributes:
        state: `complete`, `verify` (hash what has changed), `fetch` or `refused`.
        problem: why it is refused, a full sentence with the way out.
        why: why it is fetched although something is there.
        total, missing: bytes of all, and of what is still to come; of a complete one
            total is what is there. Of a packed archive the bytes as packed.
        needed: bytes that the disk must have free for it.
        config, max_seq_length, quant_description: as in `Contents`, of the source if it is
            to be fetched.
        world_writable: a file or directory that everybody may write.
        ours: whether a run downloaded the directory.
        note: what a person should know although nothing is done about it, a full sentence.
    """

    directory: str
    state: str
    problem: str = ""
    why: str = ""
    total: int = 0
    missing: int = 0
    needed: int = 0
    files: int = 0
    commit: str = ""
    config: Any = None
    max_seq_length: Any = None
    quant_description: bool = False
    world_writable: str = ""
    ours: bool = False
    note: str = ""


class Existing(NamedTuple):
    """What is there of a job.

    Attributes:
        marker: of a directory that a run downloaded, else None.
        why: why it cannot stay as it is; empty where it can.
        changed: files to hash because their time changed.
    """

    found: Contents
    marker: dict[str, Any] | None
    why: str
    changed: list[str]


def existing(job: Job) -> Existing:
    """Compare a directory with its marker and with what is asked for. Raises OSError."""
    found = inspect(job.directory)
    marker = read_marker(job.directory)
    faults = found.faults
    changed: list[str] = []
    if marker and not faults:
        faults, changed = _against_marker(job.directory, marker)
    why = "; ".join(faults)
    return Existing(found, marker, why or (_other_request(job, marker) if marker else ""), changed)


def check(job: Job, account: Account, clients: Clients) -> Record:
    """Find whether a job has anything to do, and ask its source only if it has. Changes nothing."""
    try:
        return _check(job, account, clients)
    except HostError as error:
        text = str(error)
        return Record(
            job.directory, "refused", text if text.endswith((".", "!", "?")) else f"{text}."
        )
    except OSError as error:
        return Record(job.directory, "refused", f"{job.directory} cannot be read: {error}.")


def _check(job: Job, account: Account, clients: Clients) -> Record:
    directory = job.directory
    if os.path.islink(directory) and not os.path.exists(directory):
        raise HostError(f"{directory} is a link to {os.readlink(directory)}, which is not there")
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise HostError(f"{directory} exists and is not a directory. Move it away")
    found, marker, why, changed = existing(job)
    if not why:
        return _complete(job, account, found, marker, changed)
    if job.source == "local" and not found.exists:
        raise HostError(
            f"{job.model} is not on this host: {why}. Copy it there, give the service the"
            " `path` where it is, or let it be fetched with vllm_weights_source"
            " (modelscope, huggingface, rsync, nfs or archive)"
        )
    if job.source == "local":
        raise HostError(
            f"{directory} is not a complete {job.model}: {why}. Complete it, or move it away and let it"
            " be fetched with vllm_weights_source"
        )
    if found.exists and not marker:
        raise HostError(
            f"{directory} was made by hand and is not a complete {job.model}: {why}. It is not"
            " overwritten. Complete it, or move it away (it will be fetched from"
            f" {job.source} then)"
        )
    _check_place(directory)
    return _to_fetch(job, why if found.exists else "", marker, clients)


def _complete(
    job: Job, account: Account, found: Contents, marker: dict[str, Any] | None, changed: list[str]
) -> Record:
    directory = job.directory
    closed = unreadable(directory, found.files, account)
    if closed:
        raise HostError(closed)
    verify = changed or _differs_from_memory(job, marker, found)
    return Record(
        directory,
        "verify" if verify or (marker and left_behind(directory)) else "complete",
        total=sum(found.files.values()),
        missing=bytes_of(directory, changed),
        files=len(found.files),
        commit=str((marker or {}).get("commit") or ""),
        config=found.config,
        max_seq_length=found.max_seq_length,
        quant_description=found.quant_description,
        world_writable=world_writable(directory, found.files),
        ours=bool(marker),
        note=_other_place(job, marker),
    )


def _check_place(directory: str) -> None:
    """Raise HostError where no directory could be renamed to, before hours of fetching for it."""
    real = os.path.realpath(directory)
    if os.path.islink(directory):
        raise HostError(
            f"{directory} is a link to {real}, and a fetch would make a directory in its"
            f" place. Give the service the path {real}, or remove the link"
        )
    mounted = os.path.ismount(directory)
    # A part of the same disk that is mounted a second time is seen here only (proc_pid_mountinfo(5)).
    mounted |= any(each.point == real for each in mounts())
    if mounted:
        raise HostError(
            f"a disk is mounted at {directory} itself, so no other directory can take its place. Give the"
            f" service a path below it, such as {directory}/{os.path.basename(directory)}, or mount the"
            " disk one directory further up"
        )


def _other_place(job: Job, marker: dict[str, Any] | None) -> str:
    """State that weights came from elsewhere than is asked for now; whether they differ is not known."""
    before = str((marker or {}).get("location") or "")
    now = bare_url(job.location)
    if (marker or {}).get("source") != job.source or job.sha256 or not before or not now:
        return ""
    if before.rstrip("/") == now.rstrip("/"):
        return ""
    return (
        f"{job.directory} came from {before}, and {now} is asked for now. It is kept: to have it from"
        f" there, move it away ('mv {job.directory} {job.directory}.before') and run this again."
    )


def _against_marker(directory: str, marker: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Compare a directory of ours with its marker: (faults, files to hash because their time changed)."""
    faults, changed = [], []
    for path, entry in sorted(marker["files"].items()):
        full = os.path.join(directory, path)
        try:
            size = os.path.getsize(full)
        except OSError:
            faults.append(f"{path} is missing")
            continue
        if size != entry.get("size"):
            faults.append(f"{path} has {size} bytes, not {entry.get('size')} as it was downloaded")
        elif entry.get("digest") and not is_remembered(full, entry):
            changed.append(path)
    return faults, changed


def _other_request(job: Job, marker: dict[str, Any]) -> str:
    """State what was downloaded where now something else is asked for; empty if it is the same."""
    before = marker.get("source")
    if job.source == "archive" and before == "archive":
        if job.sha256 and marker.get("sha256") not in (job.sha256, ""):
            return f"it came from an archive with the SHA-256 {str(marker.get('sha256'))[:12]}..."
    elif job.source in HUBS and before in HUBS:
        if str(marker.get("id")).lower() != job.id.lower() and before == job.source:
            return f"it is {marker.get('id')}"
        if job.revision and job.revision not in (marker.get("revision"), marker.get("commit")):
            return f"it is revision {marker.get('revision') or 'of the default branch'}"
    return ""


def _differs_from_memory(job: Job, marker: dict[str, Any] | None, found: Contents) -> bool:
    """Whether a directory that was made by hand is to be compared with the hub's checksums."""
    if marker or not job.verify or job.source not in HUBS:
        return False
    try:
        known = read_json(job.memory)["files"]
    except (OSError, HostError, KeyError, TypeError):
        return True
    return not all(
        is_remembered(os.path.join(job.directory, path), known.get(path))
        for path in found.files
        if path in known
    )


def _to_fetch(job: Job, why: str, marker: dict[str, Any] | None, clients: Clients) -> Record:
    part = job.directory + PART
    record = Record(job.directory, "fetch", why=why, ours=bool(marker))
    if job.source == "archive":
        size, name = archive_at(job)
        here = bytes_of(part, [name, name + INCOMPLETE])
        # For a while it is there packed and unpacked.
        needed = 2 * size - here if is_url(job.location) else size
        return record._replace(total=size, missing=size - here, needed=needed)
    source = source_of(job, clients)
    listing = source.listing(config=True)
    kept = (marker or {"files": {}})["files"]
    total, here = 0, 0
    for remote in listing.files:
        total += remote.size
        if size_of(os.path.join(part, remote.path)) == remote.size or same(
            job.directory, remote, kept.get(remote.path)
        ):
            here += remote.size
        else:
            partial = remote.path if source.in_place else partial_of(remote)
            here += min(remote.size, size_of(os.path.join(part, partial)))
    try:
        config: Any = parse_json((listing.config or b"null").decode("utf-8"))
    except ValueError as error:
        raise HostError(
            f"config.json of {job.id or job.location} is not JSON ({error}); nothing was downloaded"
        ) from None
    return record._replace(
        total=total,
        missing=total - here,
        needed=total - here,
        files=len(listing.files),
        commit=listing.commit,
        config=config if isinstance(config, dict) else None,
        quant_description=any(
            remote.path.startswith("quant_model_description") for remote in listing.files
        ),
    )


def room(records: list[Record]) -> str:
    """State on which disk there is not room for all that is to be fetched; empty if there is."""
    disks: dict[int, list[Any]] = {}
    for record in records:
        if record.state == "fetch":
            at = os.path.dirname(record.directory)
            while not os.path.isdir(at):
                at = os.path.dirname(at)
            disks.setdefault(os.stat(at).st_dev, [at]).append(record)
    for at, *wanted in disks.values():
        info = os.statvfs(at)
        free = info.f_bavail * info.f_frsize
        needed = sum(record.needed for record in wanted)
        if needed and needed + SPARE > free:
            listed = ", ".join(
                f"{record.directory} {gigabytes(record.needed)}" for record in wanted
            )
            return (
                f"{gigabytes(needed)} are needed at {os.path.dirname(wanted[0].directory)} ({listed})"
                f" and {gigabytes(SPARE)} to spare; {gigabytes(free)} are free there. Make room, or"
                " set vllm_service_weights_dir to a larger disk."
            )
    return ""


def source_of(job: Job, clients: Clients) -> Any:
    """The object that lists and reads a job's source."""
    if job.source in HUBS:
        return Hub(job, clients)
    return {"nfs": Directory, "rsync": Rsync}[job.source](job)


def same(directory: str, remote: Remote, entry: Any) -> bool:
    """Whether a directory of ours already has a file of this very content."""
    return (
        bool(remote.digest or remote.stamp)
        and matches(entry, remote)
        and is_remembered(os.path.join(directory, remote.path), entry)
    )


def matches(entry: Any, remote: Remote) -> bool:
    """Whether a marker's entry is of this state of a file."""
    keys = ("size", "digest", "stamp")
    return isinstance(entry, dict) and all(
        entry.get(key, "") == getattr(remote, key) for key in keys
    )


def bytes_of(directory: str, paths: list[str]) -> int:
    return sum(size_of(os.path.join(directory, path)) for path in paths)


# -- who may read and write it ---------------------------------------------------------------------


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
