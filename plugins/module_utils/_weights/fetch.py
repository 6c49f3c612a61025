# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings models from their sources: beside their folder first, resumed, verified, then whole into place."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import stat
import threading
import time
import urllib.error
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, Iterator, NamedTuple

from ansible_collections.inferops.ascend.plugins.module_utils._weights import hubs
from ansible_collections.inferops.ascend.plugins.module_utils._weights import look as _weights
from ansible_collections.inferops.ascend.plugins.module_utils._weights.hubs import (
    Listing,
    Remote,
    Web,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.look import (
    MARKER,
    WeightsError,
    gigabytes,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.sources import (
    HUBS,
    Hub,
    Job,
    Rsync,
    archive_at,
    is_url,
    short_hash,
    source_of,
    top_of,
    unpack,
    walk,
)

PART = ".part"
LOCK = ".inferops-ascend.lock"
INCOMPLETE = ".inferops-incomplete"
UNPACKED = ".inferops-ascend.unpacked"
# What a run leaves free on the disk: logs and the markers need some.
SPARE = 1 << 30
# A folder that was replaced, until it is removed: beside it, hidden, with a process' number behind.
_OLD = ".inferops-old-"


class Record(NamedTuple):
    """What was found about one job.

    Attributes:
        state: `complete`, `verify` (hash what has changed), `fetch` or `refused`.
        problem: why it is refused, a full sentence with the way out.
        why: why it is fetched although something is there.
        total, missing: bytes of the whole, and of what is still to come; of a complete one
            total is what is there. Of a packed archive the bytes as packed.
        needed: bytes that the disk must have free for it.
        config, max_seq_length, quant_description: as in `_weights.Look`, of the source if it is
            to be fetched.
        loose: a file or folder that everybody may write. ours: whether a run brought the folder.
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


# -- progress --------------------------------------------------------------------------------------


class Progress:
    """How far each job is; written by the threads that work, read by the one that reports."""

    def __init__(self, jobs: list[Job]) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, dict[str, Any]] = {
            job.folder: {"model": job.model, "phase": "waiting", "done": 0, "total": 0, "error": ""}
            for job in jobs
        }

    def say(self, folder: str, **values: Any) -> None:
        """Set phase, done, total or error of a job."""
        with self._lock:
            self._jobs[folder].update(values)

    def add(self, folder: str, count: int) -> None:
        """Count bytes; fewer than none where they have to come again."""
        with self._lock:
            self._jobs[folder]["done"] += count

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return a copy of all: {folder: {model, phase, done, total, error}}, bytes."""
        with self._lock:
            return {folder: dict(each) for folder, each in self._jobs.items()}


# -- looking ---------------------------------------------------------------------------------------


def look(job: Job, account: _weights.Account, web: Web | None = None) -> Record:
    """Find whether a job has anything to do, and ask its source only if it has. Changes nothing."""
    try:
        return _look(job, account, web)
    except WeightsError as error:
        return Record(job.folder, "refused", _sentence(str(error)))
    except OSError as error:
        return Record(job.folder, "refused", f"{job.folder} cannot be looked at: {error}.")


def _look(job: Job, account: _weights.Account, web: Web | None) -> Record:
    folder = job.folder
    if os.path.islink(folder) and not os.path.exists(folder):
        raise WeightsError(f"{folder} is a link to {os.readlink(folder)}, which is not there")
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise WeightsError(f"{folder} is in the way: it is no folder. Move it away")
    found = _weights.inspect(folder)
    marker = _weights.read_marker(folder)
    faults = list(found.faults)
    changed: list[str] = []
    if marker and not faults:
        stale, changed = _against(folder, marker)
        faults += stale
    why = "; ".join(faults) if found.exists else ""
    if marker and not faults:
        why = _other_wish(job, marker)
    if found.exists and not faults and not why:
        closed = _weights.unreadable(folder, found.files, account)
        if closed:
            raise WeightsError(closed)
        verify = (
            bool(changed)
            or _to_hold_against_hub(job, marker, found)
            or bool(marker and _left_behind(folder))
        )
        return Record(
            folder,
            "verify" if verify else "complete",
            total=sum(found.files.values()),
            missing=_bytes_of(folder, changed) if changed else 0,
            files=len(found.files),
            commit=str((marker or {}).get("commit") or ""),
            config=found.config,
            max_seq_length=found.max_seq_length,
            quant_description=found.quant_description,
            loose=_weights.writable(folder, found.files) or "",
            ours=bool(marker),
            note=_other_place(job, marker),
        )
    if job.source == "local":
        if not found.exists:
            raise WeightsError(
                f"{job.model} is not on this host: {faults[0]}. Put it there, give the service the"
                " `path` where it is, or let it be fetched with vllm_weights_source"
                " (modelscope, huggingface, rsync, nfs or archive)"
            )
        raise WeightsError(
            f"{folder} is not a whole {job.model}: {why}. Complete it, or move it away and let it"
            " be fetched with vllm_weights_source"
        )
    if found.exists and not marker:
        raise WeightsError(
            f"{folder} was made by hand and is not a whole {job.model}: {why}. It is not"
            " overwritten. Complete it, or move it away (it will be fetched from"
            f" {job.source} then)"
        )
    _check_place(folder)
    return _to_fetch(job, why, marker, web)


def _check_place(folder: str) -> None:
    """Raise WeightsError where no folder could be renamed to, before hours of fetching for it."""
    if os.path.islink(folder):
        raise WeightsError(
            f"{folder} is a link to {os.path.realpath(folder)}, and a fetch would put a folder in its"
            f" place. Give the service the path {os.path.realpath(folder)}, or remove the link"
        )
    if _is_mounted(folder):
        raise WeightsError(
            f"a disk is mounted at {folder} itself, so no other folder can take its place. Give the"
            f" service a path below it, such as {folder}/{os.path.basename(folder)}, or mount the"
            " disk one folder further up"
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
    """Say that weights came from elsewhere than is asked for now; whether they differ is not known."""
    before = str((marker or {}).get("location") or "")
    now = hubs.shown(job.location)
    if (marker or {}).get("source") != job.source or job.sha256 or not before or not now:
        return ""
    if before.rstrip("/") == now.rstrip("/"):
        return ""
    return (
        f"{job.folder} came from {before}, and {now} is asked for now. It is kept: to have it from"
        f" there, move it away ('mv {job.folder} {job.folder}.before') and run this again."
    )


def _against(folder: str, marker: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Hold a folder of ours against its marker: (faults, files to hash because their time changed)."""
    faults, changed = [], []
    for path, entry in sorted(marker["files"].items()):
        full = os.path.join(folder, path)
        try:
            size = os.path.getsize(full)
        except OSError:
            faults.append(f"{path} is missing")
            continue
        if size != entry.get("size"):
            faults.append(f"{path} has {size} bytes, not {entry.get('size')} as it was brought")
        elif entry.get("digest") and not _weights.is_remembered(full, entry):
            changed.append(path)
    return faults, changed


def _other_wish(job: Job, marker: dict[str, Any]) -> str:
    """Say what was brought where now something else is asked for; empty if it is the same."""
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


def _to_hold_against_hub(job: Job, marker: dict[str, Any] | None, found: _weights.Look) -> bool:
    if marker or not job.verify or job.source not in HUBS:
        return False
    try:
        known = _weights.read_json(job.memory)["files"]
    except (OSError, WeightsError, KeyError, TypeError):
        return True
    return not all(
        _weights.is_remembered(os.path.join(job.folder, path), known.get(path))
        for path in found.files
        if path in known
    )


def _to_fetch(job: Job, why: str, marker: dict[str, Any] | None, web: Web | None) -> Record:
    part = job.folder + PART
    if job.source == "archive":
        size, name = archive_at(job, web)
        here = _size(os.path.join(part, name)) + _size(os.path.join(part, name + INCOMPLETE))
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
    source = source_of(job, web)
    listing = source.listing()
    kept = (marker or {"files": {}})["files"]
    total, here = 0, 0
    config: Any = None
    for remote in listing.files:
        total += remote.size
        if _size(os.path.join(part, remote.path)) == remote.size or _same(
            job.folder, remote, kept.get(remote.path)
        ):
            here += remote.size
        else:
            partial = max(
                _size(os.path.join(part, _partial(remote))),
                _size(os.path.join(part, remote.path)) if job.source == "rsync" else 0,
            )
            here += min(remote.size, partial)
        if remote.path == "config.json" and remote.size < 10_000_000:
            try:
                config = json.loads(source.read(remote).decode("utf-8"))
            except ValueError:
                raise WeightsError(
                    f"config.json of {job.id or job.location} is not JSON; nothing was fetched"
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
    """Say on which disk there is not room for all that is to be fetched; empty if there is."""
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


# -- fetching --------------------------------------------------------------------------------------


def bring(job: Job, progress: Progress, connections: int = 4, web: Web | None = None) -> None:
    """Bring one model whole into place, or verify what is there. Raises WeightsError.

    A run that was broken off is gone on with. The folder is not there until it is whole; one that
    is replaced stays until then. Changes the working directory while it runs.
    """
    folder = job.folder
    try:
        if _is_right(job, progress, web):
            return
        os.makedirs(os.path.dirname(folder), mode=0o755, exist_ok=True)
        with _hold(job, progress) as lock:
            # Somebody else, on a shared disk perhaps another host, may have brought it meanwhile.
            marker = _weights.read_marker(folder)
            found = _weights.inspect(folder)
            if found.exists and not marker:
                raise WeightsError(f"{folder} was made by hand meanwhile and is not overwritten")
            whole = marker and not found.faults and not _other_wish(job, marker)
            if marker and whole and not any(_against(folder, marker)):
                shutil.rmtree(folder + PART)
                return
            _fill(job, marker, progress, connections, web, lock)
            _switch(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(
                f"{job.model}: the disk of {folder}{PART} is full. Make room, or set"
                " vllm_service_weights_dir to a larger disk; what has come is kept, and the next"
                " run goes on"
            ) from None
        if error.errno == errno.EROFS:
            raise WeightsError(
                f"{job.model}: {error.filename or folder} is on a disk that this host may only read."
                " Fetch it on the host that may write there, or set vllm_service_weights_dir to"
                " another disk"
            ) from None
        raise WeightsError(f"{job.model} could not be written: {error}") from None


def _is_right(job: Job, progress: Progress, web: Web | None) -> bool:
    """Verify what is there, as far as that is to be done; False if it has to be fetched."""
    folder = job.folder
    marker = _weights.read_marker(folder)
    found = _weights.inspect(folder)
    if found.exists and not marker:
        if found.faults:
            raise WeightsError(f"{folder} was made by hand and is not overwritten")
        _hold_against_hub(job, progress, web)
        return True
    if not marker or found.faults or _other_wish(job, marker):
        return False
    stale, changed = _against(folder, marker)
    if stale:
        return False
    broken = _verify(job, marker, changed, progress) if changed else []
    if broken and job.source == "local":
        raise WeightsError(
            f"{folder} is damaged: {', '.join(broken)} no longer has the checksum it was"
            " brought with. Remove them, and let it be fetched with vllm_weights_source"
        )
    if not broken:
        _remove_left(folder)
    return not broken


def _fill(
    job: Job,
    marker: dict[str, Any] | None,
    progress: Progress,
    connections: int,
    web: Web | None,
    lock: int,
) -> None:
    """Make the working directory, a `.part` folder, a whole model."""
    commit = ""
    if job.source == "archive":
        entries = _from_archive(job, progress, web)
    else:
        progress.say(job.folder, phase="listing")
        source = source_of(job, web)
        listing = source.listing()
        commit = listing.commit
        progress.say(
            job.folder, phase="fetching", done=0, total=sum(each.size for each in listing.files)
        )
        _remove_others(listing.files)
        if job.source == "rsync":
            entries = _by_rsync(job, source, listing.files, progress, lock)
        else:
            entries = _by_files(job, source, listing, marker, progress, connections)
    progress.say(job.folder, phase="checking")
    found = _weights.inspect(".")
    if found.faults:
        where = job.id or hubs.shown(job.location)
        raise WeightsError(
            f"{job.model} came from {job.source} ({where}) as it is there, but that is not a whole"
            f" model: {'; '.join(found.faults)}. Take another revision or source"
        )
    for at, _folders, names in os.walk("."):
        os.chmod(at, 0o755)
        for name in names:
            os.chmod(os.path.join(at, name), 0o644)
    _weights.write_marker(
        MARKER,
        {
            "source": job.source,
            "id": job.id,
            "revision": job.revision,
            "commit": commit,
            "location": hubs.shown(job.location),
            "sha256": job.sha256,
            "files": entries,
        },
    )


def _by_files(
    job: Job,
    source: Any,
    listing: Listing,
    marker: dict[str, Any] | None,
    progress: Progress,
    connections: int,
) -> dict[str, Any]:
    """Read each file from the source, some at a time; return the marker's entries."""
    journal = _weights.read_marker(".") or {"files": {}}
    known = journal["files"]
    kept = (marker or {"files": {}})["files"]
    entries: dict[str, Any] = {}
    lock = threading.Lock()
    stop = threading.Event()

    def one(remote: Remote) -> None:
        if stop.is_set():
            return
        entry = known.get(remote.path)
        if not (_weights.is_remembered(remote.path, entry) and _matches(entry, remote)):
            if _same(job.folder, remote, kept.get(remote.path)):
                _take_over(os.path.join(job.folder, remote.path), remote.path)
                progress.add(job.folder, remote.size)
            else:
                _read_file(job, source, remote, progress, stop)
            entry = dict(_weights.remembered(remote.path, remote.digest), stamp=remote.stamp)
        else:
            progress.add(job.folder, remote.size)
        with lock:
            entries[remote.path] = entry
            # So that a killed run does not hash again what was found right.
            _weights.write_marker(MARKER, {"source": job.source, "files": dict(known, **entries)})

    with ThreadPoolExecutor(max_workers=max(1, connections)) as pool:
        # Small files first: what is wrong with them shows before the long ones have come.
        futures = [pool.submit(one, each) for each in sorted(listing.files, key=lambda f: f.size)]
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = [each for each in futures if each.done() and each.exception()]
        if failed:
            stop.set()
    for future in failed or futures:
        future.result()
    return entries


def _read_file(
    job: Job, source: Any, remote: Remote, progress: Progress, stop: threading.Event
) -> None:
    """Read one file to its name in the working directory, from where it was broken off."""
    kind, ignored, wanted = remote.digest.partition(":")
    partial = _partial(remote)
    _make_folders(remote.path)
    for last in (False, True):
        got = _read_once(job, source, remote, partial, kind, progress, stop)
        if got is None or got == wanted:
            os.chmod(partial, 0o644)
            os.rename(partial, remote.path)
            return
        # What was there from before may be another state's beginning: once more, from the start.
        os.unlink(partial)
        progress.add(job.folder, -remote.size)
        if last:
            raise WeightsError(
                f"{remote.path} of {job.id or job.location} came with the checksum {got[:16]}...,"
                f" where its listing says {wanted[:16]}..., two times. Something between alters it"
                " (a proxy, a mirror), or its listing is wrong: take another source"
            )


def _read_once(
    job: Job,
    source: Any,
    remote: Remote,
    partial: str,
    kind: str,
    progress: Progress,
    stop: threading.Event,
) -> str | None:
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as handle:
        hasher = _weights.new_hash(kind, remote.size) if kind else None
        at = 0
        if os.fstat(descriptor).st_size > remote.size:
            handle.truncate(0)
        while True:
            block = handle.read(hubs.BLOCK)
            if not block:
                break
            at += len(block)
            progress.add(job.folder, len(block))
            if hasher:
                hasher.update(block)
        for position, block in source.blocks(remote, at):
            if stop.is_set():
                raise WeightsError("another file of the model failed")
            if position != at:
                # The server does not do ranges and sent the file from its beginning.
                progress.add(job.folder, position - at)
                at = position
                handle.seek(at)
                handle.truncate(at)
                hasher = _weights.new_hash(kind, remote.size) if kind else None
            _write_all(handle, block)
            at += len(block)
            progress.add(job.folder, len(block))
            if hasher:
                hasher.update(block)
        os.fsync(descriptor)
    return str(hasher.hexdigest()) if hasher else None


def _write_all(handle: Any, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[handle.write(view) :]


def _by_rsync(
    job: Job, source: Rsync, files: list[Remote], progress: Progress, lock: int
) -> dict[str, Any]:
    for each in files:
        _make_folders(each.path)

    def watch() -> None:
        progress.say(job.folder, done=sum(min(each.size, _size(each.path)) for each in files))

    watch()
    source.bring(files, watch, lock)
    watch()
    for each in files:
        if _size(each.path) != each.size:
            raise WeightsError(
                f"{each.path} has {_size(each.path)} of {each.size} bytes after rsync; run it again"
            )
    return {each.path: _weights.remembered(each.path, "") for each in files}


def _from_archive(job: Job, progress: Progress, web: Web | None) -> dict[str, Any]:
    path = job.location
    shutil.rmtree(UNPACKED, ignore_errors=True)
    if is_url(job.location):
        size, path = archive_at(job, web)
        progress.say(job.folder, phase="fetching", done=0, total=size)
        remote = Remote(path, size, f"sha256:{job.sha256}" if job.sha256 else "", job.location)
        _remove_others([remote])
        if _size(path) != size:
            try:
                _read_file(job, Hub(job, web or Web()), remote, progress, threading.Event())
            except urllib.error.HTTPError as error:
                raise hubs.refused(error, "archive", job.model) from None
    progress.say(job.folder, phase="unpacking", done=0, total=os.path.getsize(path))
    digest = unpack(job, path, UNPACKED, lambda count: progress.add(job.folder, count))
    if job.sha256 and digest != job.sha256:
        if path != job.location:
            os.unlink(path)
        raise WeightsError(
            f"the archive {hubs.shown(job.location)} has the SHA-256"
            f" {digest[:16]}..., where {job.sha256[:16]}... is asked for: it is damaged, or another"
            " one"
        )
    top = top_of(UNPACKED)
    _remove_others([])
    for name in os.listdir(top):
        os.rename(os.path.join(top, name), name)
    shutil.rmtree(UNPACKED)
    return {
        each: _weights.remembered(each, "")
        for each in walk(".")
        if not os.path.basename(each).startswith(_weights.OWN)
    }


def _verify(job: Job, marker: dict[str, Any], changed: list[str], progress: Progress) -> list[str]:
    """Hash files whose time changed; remember the right ones, return the others."""
    progress.say(job.folder, phase="verifying", done=0, total=_bytes_of(job.folder, changed))
    broken = []
    for path in changed:
        full = os.path.join(job.folder, path)
        digest = str(marker["files"][path]["digest"])
        kind, ignored, wanted = digest.partition(":")
        got = _weights.digest_of(full, kind, lambda count: progress.add(job.folder, count))
        if got in (None, wanted):
            marker["files"][path] = _weights.remembered(full, digest)
        else:
            broken.append(path)
            # Not to be taken over as it is into the folder that replaces this one.
            marker["files"][path] = {"size": -1, "mtime_ns": 0, "digest": digest}
    _weights.write_marker(os.path.join(job.folder, MARKER), marker)
    return broken


def _hold_against_hub(job: Job, progress: Progress, web: Web | None) -> None:
    """Hash a folder that was made by hand against the hub's checksums, and remember it elsewhere."""
    if not job.verify or job.source not in HUBS:
        return
    listing = source_of(job, web).listing()
    here = [each for each in listing.files if os.path.isfile(os.path.join(job.folder, each.path))]
    progress.say(job.folder, phase="verifying", done=0, total=sum(each.size for each in here))
    entries: dict[str, Any] = {}
    wrong = []
    for remote in here:
        full = os.path.join(job.folder, remote.path)
        kind, ignored, wanted = remote.digest.partition(":")
        if os.path.getsize(full) != remote.size:
            wrong.append(remote.path)
        elif kind:
            got = _weights.digest_of(full, kind, lambda count: progress.add(job.folder, count))
            if got not in (None, wanted):
                wrong.append(remote.path)
        entries[remote.path] = _weights.remembered(full, remote.digest)
    if wrong:
        raise WeightsError(
            f"{job.folder} was made by hand, and {len(wrong)} of its files are not as {job.id} has"
            f" them on {job.source}: {', '.join(wrong[:5])}. They are damaged or of another"
            " revision (name it in `weights: {revision: ...}`), or changed on purpose (then set"
            " `weights: local` for it)"
        )
    os.makedirs(os.path.dirname(job.memory), mode=0o755, exist_ok=True)
    _weights.write_marker(job.memory, {"folder": job.folder, "files": entries})


# -- folders and locks -----------------------------------------------------------------------------


@contextmanager
def _hold(job: Job, progress: Progress) -> Iterator[int]:
    """Be in the `.part` folder of a job, as the only one, also among hosts that share the disk.

    Gives the descriptor of the lock.
    """
    part = job.folder + PART
    before = os.getcwd()
    while True:
        _make_part(part)
        try:
            os.chdir(part)
            # Not made here: the folder may have been switched into place just now.
            descriptor = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            os.chdir(before)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(descriptor, os.path.join(part, LOCK)):
                break
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            progress.say(
                job.folder,
                phase=f"waiting for {holder or 'another process'}",
                done=sum(_size(path) for path in walk(".")),
            )
        os.close(descriptor)
        os.chdir(before)
        time.sleep(0.5)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield descriptor
    finally:
        os.chdir(before)
        os.close(descriptor)


def _make_part(part: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(part, 0o755)
    status = os.lstat(part)
    if not stat.S_ISDIR(status.st_mode):
        raise WeightsError(f"{part} is in the way: it is no folder. Move it away")
    names = os.listdir(part)
    if names and LOCK not in names:
        raise WeightsError(
            f"{part} is in the way: this collection did not make it, and would fetch into it. Move"
            " it away"
        )
    # Whoever may write to the parent could have put it there, with links in it. A share may give
    # root another number, so ask which one it gives.
    probe = os.path.join(part, f".inferops-ascend.{os.getpid()}")
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        me = os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        os.unlink(probe)
    if me != status.st_uid:
        raise WeightsError(f"{part} belongs to another user. Remove it, and run again")
    if not names:
        lock = os.path.join(part, LOCK)
        os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))


def _switch(folder: str) -> None:
    """Put the `.part` folder, which is the working directory, into its place."""
    part = folder + PART
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if os.path.isdir(folder) and os.listdir(folder):
        if not _weights.read_marker(folder):
            raise WeightsError(f"{folder} was made by hand meanwhile and is not overwritten")
        os.rename(folder, f"{_old(folder)}{os.getpid()}")
    os.rename(part, folder)
    # Only now: whoever dies between the two leaves a `.part` that is known as ours.
    _remove_left(folder)


def _old(folder: str) -> str:
    return os.path.join(os.path.dirname(folder), f".{os.path.basename(folder)}{_OLD}")


def _left_behind(folder: str) -> list[str]:
    """What a run that died while it switched left beside and in a folder."""
    stem = os.path.basename(_old(folder))
    above = os.path.dirname(folder)
    if not os.access(above, os.R_OK | os.W_OK):
        return []
    left = [os.path.join(above, name) for name in os.listdir(above) if name.startswith(stem)]
    lock = os.path.join(folder, LOCK)
    return left + ([lock] if os.path.exists(lock) else [])


def _remove_left(folder: str) -> None:
    for path in _left_behind(folder):
        if os.path.isdir(path) and not os.path.islink(path):
            # Another process may be at it too.
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)


def _remove_others(files: list[Remote]) -> None:
    """Remove from the working directory what an earlier run fetched and this one does not want."""
    wanted = {each.path for each in files} | {_partial(each) for each in files}
    wanted |= {LOCK, MARKER}
    for path in walk("."):
        if path not in wanted and not path.startswith(UNPACKED + "/"):
            os.unlink(path)


def _take_over(path: str, to: str) -> None:
    _make_folders(to)
    if os.path.lexists(to):
        os.unlink(to)
    try:
        os.link(path, to)
    except OSError:
        # A file system without hard links.
        shutil.copy2(path, to)


def _make_folders(path: str) -> None:
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, mode=0o755, exist_ok=True)


def _same(folder: str, remote: Remote, entry: Any) -> bool:
    """Tell whether a folder of ours already has a file of this very content."""
    return (
        bool(remote.digest or remote.stamp)
        and _matches(entry, remote)
        and _weights.is_remembered(os.path.join(folder, remote.path), entry)
    )


def _matches(entry: Any, remote: Remote) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("size") == remote.size
        and entry.get("digest") == remote.digest
        and entry.get("stamp", "") == remote.stamp
    )


def _partial(remote: Remote) -> str:
    """The name of a file that has not come whole; another one for another state of it."""
    return remote.path + (f".{short_hash(remote.stamp)}" if remote.stamp else "") + INCOMPLETE


def _bytes_of(folder: str, paths: list[str]) -> int:
    return sum(_size(os.path.join(folder, path)) for path in paths)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _is_same_file(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
