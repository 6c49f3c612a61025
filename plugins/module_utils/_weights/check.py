# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a model's directory is as it should be, and what is missing of it. Changes nothing."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any, NamedTuple

from .._base.errors import HostError
from .access import Account, unreadable, writable
from .archive import archive_at, is_url
from .completeness import Contents, gigabytes, inspect, read_json
from .faults import bare_url
from .hubs import Clients, Hub
from .marker import is_remembered, read_marker
from .sources import HUBS, INCOMPLETE, Folder, Job, Remote, Rsync, partial_of, size_of
from .switch import PART, left_behind

# What a run leaves free on the disk: logs and the markers need some.
SPARE = 1 << 30


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
        loose: a file or directory that everybody may write. ours: whether a run downloaded the directory.
        note: what a person should know although nothing is done about it, a full sentence.
    """

    folder: str
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
    loose: str = ""
    ours: bool = False
    note: str = ""


def look(job: Job, account: Account, clients: Clients) -> Record:
    """Find whether a job has anything to do, and ask its source only if it has. Changes nothing."""
    try:
        return _look(job, account, clients)
    except HostError as error:
        return Record(job.folder, "refused", _sentence(str(error)))
    except OSError as error:
        return Record(job.folder, "refused", f"{job.folder} cannot be read: {error}.")


def _look(job: Job, account: Account, clients: Clients) -> Record:
    folder = job.folder
    if os.path.islink(folder) and not os.path.exists(folder):
        raise HostError(f"{folder} is a link to {os.readlink(folder)}, which is not there")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise HostError(f"{folder} exists and is not a directory. Move it away")
    found = inspect(folder)
    marker = read_marker(folder)
    faults = list(found.faults)
    changed: list[str] = []
    if marker and not faults:
        stale, changed = against_marker(folder, marker)
        faults += stale
    why = "; ".join(faults) if found.exists else ""
    if marker and not faults:
        why = other_request(job, marker)
    if found.exists and not faults and not why:
        closed = unreadable(folder, found.files, account)
        if closed:
            raise HostError(closed)
        verify = (
            bool(changed)
            or _to_hold_against_hub(job, marker, found)
            or bool(marker and left_behind(folder))
        )
        return Record(
            folder,
            "verify" if verify else "complete",
            total=sum(found.files.values()),
            missing=bytes_of(folder, changed) if changed else 0,
            files=len(found.files),
            commit=str((marker or {}).get("commit") or ""),
            config=found.config,
            max_seq_length=found.max_seq_length,
            quant_description=found.quant_description,
            loose=writable(folder, found.files) or "",
            ours=bool(marker),
            note=_other_place(job, marker),
        )
    if job.source == "local":
        if not found.exists:
            raise HostError(
                f"{job.model} is not on this host: {faults[0]}. Put it there, give the service the"
                " `path` where it is, or let it be fetched with vllm_weights_source"
                " (modelscope, huggingface, rsync, nfs or archive)"
            )
        raise HostError(
            f"{folder} is not a complete {job.model}: {why}. Complete it, or move it away and let it"
            " be fetched with vllm_weights_source"
        )
    if found.exists and not marker:
        raise HostError(
            f"{folder} was made by hand and is not a complete {job.model}: {why}. It is not"
            " overwritten. Complete it, or move it away (it will be fetched from"
            f" {job.source} then)"
        )
    _check_place(folder)
    return _to_fetch(job, why, marker, clients)


def _check_place(folder: str) -> None:
    """Raise HostError where no directory could be renamed to, before hours of fetching for it."""
    if os.path.islink(folder):
        raise HostError(
            f"{folder} is a link to {os.path.realpath(folder)}, and a fetch would make a directory in its"
            f" place. Give the service the path {os.path.realpath(folder)}, or remove the link"
        )
    if _is_mounted(folder):
        raise HostError(
            f"a disk is mounted at {folder} itself, so no other directory can take its place. Give the"
            f" service a path below it, such as {folder}/{os.path.basename(folder)}, or mount the"
            " disk one directory further up"
        )


def _is_mounted(folder: str) -> bool:
    if os.path.ismount(folder):
        return True
    # A part of the same disk that is mounted a second time is seen here only (proc_pid_mountinfo(5)).
    with suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8") as handle:
        real = os.path.realpath(folder).replace(" ", "\\040")
        return any(line.split()[4:5] == [real] for line in handle)
    return False


def _other_place(job: Job, marker: dict[str, Any] | None) -> str:
    """State that weights came from elsewhere than is asked for now; whether they differ is not known."""
    before = str((marker or {}).get("location") or "")
    now = bare_url(job.location)
    if (marker or {}).get("source") != job.source or job.sha256 or not before or not now:
        return ""
    if before.rstrip("/") == now.rstrip("/"):
        return ""
    return (
        f"{job.folder} came from {before}, and {now} is asked for now. It is kept: to have it from"
        f" there, move it away ('mv {job.folder} {job.folder}.before') and run this again."
    )


def against_marker(folder: str, marker: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Compare a directory of ours with its marker: (faults, files to hash because their time changed)."""
    faults, changed = [], []
    for path, entry in sorted(marker["files"].items()):
        full = os.path.join(folder, path)
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


def other_request(job: Job, marker: dict[str, Any]) -> str:
    """State what was downloaded where now something else is asked for; empty if it is the same."""
    if job.source == "local":
        return ""
    if job.source == "archive" and marker.get("source") == "archive":
        if job.sha256 and marker.get("sha256") not in (job.sha256, ""):
            return f"it came from an archive with the SHA-256 {str(marker.get('sha256'))[:12]}..."
        return ""
    if job.source not in HUBS or marker.get("source") not in HUBS:
        return ""
    if str(marker.get("id")).lower() != job.id.lower() and marker.get("source") == job.source:
        return f"it is {marker.get('id')}"
    if job.revision and job.revision not in (marker.get("revision"), marker.get("commit")):
        return f"it is revision {marker.get('revision') or 'of the default branch'}"
    return ""


def _to_hold_against_hub(job: Job, marker: dict[str, Any] | None, found: Contents) -> bool:
    if marker or not job.verify or job.source not in HUBS:
        return False
    try:
        known = read_json(job.memory)["files"]
    except (OSError, HostError, KeyError, TypeError):
        return True
    return not all(
        is_remembered(os.path.join(job.folder, path), known.get(path))
        for path in found.files
        if path in known
    )


def _to_fetch(job: Job, why: str, marker: dict[str, Any] | None, clients: Clients) -> Record:
    part = job.folder + PART
    if job.source == "archive":
        size, name = archive_at(job)
        here = size_of(os.path.join(part, name)) + size_of(os.path.join(part, name + INCOMPLETE))
        remote = is_url(job.location)
        return Record(
            job.folder,
            "fetch",
            why=why,
            total=size,
            missing=size - here,
            # Packed and unpacked stand beside each other for a while.
            needed=(2 * size - here) if remote else size,
            ours=bool(marker),
        )
    source = source_of(job, clients)
    listing = source.listing(config=True)
    kept = (marker or {"files": {}})["files"]
    total, here = 0, 0
    for remote in listing.files:
        total += remote.size
        if size_of(os.path.join(part, remote.path)) == remote.size or same(
            job.folder, remote, kept.get(remote.path)
        ):
            here += remote.size
        else:
            partial = remote.path if source.in_place else partial_of(remote)
            here += min(remote.size, size_of(os.path.join(part, partial)))
    try:
        config: Any = json.loads((listing.config or b"null").decode("utf-8"))
    except ValueError:
        raise HostError(
            f"config.json of {job.id or job.location} is not JSON; nothing was downloaded"
        ) from None
    paths = [remote.path for remote in listing.files]
    return Record(
        job.folder,
        "fetch",
        why=why,
        total=total,
        missing=total - here,
        needed=total - here,
        files=len(listing.files),
        commit=listing.commit,
        config=config if isinstance(config, dict) else None,
        quant_description=any(path.startswith("quant_model_description") for path in paths),
        ours=bool(marker),
    )


def room(records: list[Record]) -> str:
    """State on which disk there is not room for all that is to be fetched; empty if there is."""
    disks: dict[int, list[Any]] = {}
    for record in records:
        if record.state == "fetch":
            at = os.path.dirname(record.folder)
            while not os.path.isdir(at):
                at = os.path.dirname(at)
            disks.setdefault(os.stat(at).st_dev, [at]).append(record)
    for at, *wanted in disks.values():
        info = os.statvfs(at)
        free = info.f_bavail * info.f_frsize
        needed = sum(record.needed for record in wanted)
        if needed and needed + SPARE > free:
            listed = ", ".join(f"{record.folder} {gigabytes(record.needed)}" for record in wanted)
            return (
                f"{gigabytes(needed)} are needed at {os.path.dirname(wanted[0].folder)} ({listed})"
                f" and {gigabytes(SPARE)} to spare; {gigabytes(free)} are free there. Make room, or"
                " set vllm_service_weights_dir to a larger disk."
            )
    return ""


def source_of(job: Job, clients: Clients) -> Any:
    """Return the object that lists and reads a job's source."""
    if job.source in HUBS:
        return Hub(job, clients)
    return {"nfs": Folder, "rsync": Rsync}[job.source](job)


def same(folder: str, remote: Remote, entry: Any) -> bool:
    """Tell whether a directory of ours already has a file of this very content."""
    return (
        bool(remote.digest or remote.stamp)
        and matches(entry, remote)
        and is_remembered(os.path.join(folder, remote.path), entry)
    )


def matches(entry: Any, remote: Remote) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("size") == remote.size
        and entry.get("digest") == remote.digest
        and entry.get("stamp", "") == remote.stamp
    )


def bytes_of(folder: str, paths: list[str]) -> int:
    return sum(size_of(os.path.join(folder, path)) for path in paths)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
