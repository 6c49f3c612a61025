# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings models from their sources: beside their folder first, resumed, verified, then whole into place."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import tarfile
import threading
import time
import urllib.error
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, Callable, Iterator, NamedTuple

from ansible_collections.inferops.ascend.plugins.module_utils import _hubs, _weights
from ansible_collections.inferops.ascend.plugins.module_utils._hubs import Listing, Remote, Web
from ansible_collections.inferops.ascend.plugins.module_utils._weights import (
    MARKER,
    WeightsError,
    gigabytes,
)

PART = ".part"
LOCK = ".inferops-ascend.lock"
INCOMPLETE = ".inferops-incomplete"
ARCHIVE = ".inferops-ascend.archive"
UNPACKED = ".inferops-ascend.unpacked"
# What a run leaves free on the disk: logs and the markers need some.
SPARE = 1 << 30
# A folder that was replaced, until it is removed: beside it, hidden, with a process' number behind.
_OLD = ".inferops-old-"
HUBS = ("huggingface", "modelscope")
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"


class Job(NamedTuple):
    """One folder to bring.

    Attributes:
        folder: where the model is to be, absolute.
        model: its name in messages.
        source: local, huggingface, modelscope, rsync, nfs or archive.
        id: on the hub. revision: empty for the hub's own default. endpoint: the hub's address.
        location: what rsync reads, the folder of nfs, or the archive's path or address.
        sha256: of the archive; empty if not known.
        skip: patterns of files to leave out, beside those that the engine never reads.
        verify: whether a folder that was made by hand is held against the hub's checksums.
        memory: where it is remembered that such a folder was verified.
        token: of the hub. size: bytes of an archive that is still on the controller.
    """

    folder: str
    model: str
    source: str = "local"
    id: str = ""
    revision: str = ""
    endpoint: str = ""
    location: str = ""
    sha256: str = ""
    skip: tuple[str, ...] = ()
    verify: bool = False
    memory: str = ""
    token: str = ""
    size: int = 0


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


# -- sources ---------------------------------------------------------------------------------------


class Hub:
    """A model on Hugging Face or ModelScope."""

    def __init__(self, job: Job, web: Web | None = None) -> None:
        self.job = job
        self.web = web or Web(_secrets(job))

    def listing(self) -> Listing:
        """Raises WeightsError."""
        job = self.job
        endpoint = job.endpoint or _hubs.ENDPOINTS[job.source]
        list_files = _hubs.huggingface if job.source == "huggingface" else _hubs.modelscope
        found = list_files(self.web, endpoint, job.id, job.revision)
        files = _hubs.selected(found.files, job.skip)
        if not files:
            raise WeightsError(f"{job.id} has no files that the engine reads")
        return Listing(files, found.commit)

    def blocks(self, remote: Remote, offset: int) -> Iterator[tuple[int, bytes]]:
        """Raises WeightsError."""
        try:
            yield from self.web.blocks(remote.url, offset, remote.size)
        except urllib.error.HTTPError as error:
            raise _hubs.refused(
                error, self.job.source, self.job.id or self.job.model, self.job.revision, remote.url
            ) from None

    def read(self, remote: Remote) -> bytes:
        """Return a small file whole. Raises WeightsError."""
        return b"".join(block for ignored, block in self.blocks(remote, 0))


class Folder:
    """A folder of this host, such as one of a mounted share."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def listing(self) -> Listing:
        """Raises WeightsError where the folder is not a whole model itself."""
        where = self.job.location
        look = _weights.inspect(where)
        if not look.exists:
            raise WeightsError(
                f"{where}, which {self.job.model} is to be copied from, is not there or empty on"
                " this host. Is the share mounted?"
            )
        if look.faults:
            raise WeightsError(
                f"{where}, which {self.job.model} is to be copied from, is not whole: "
                + "; ".join(look.faults)
            )
        known = (_weights.read_marker(where) or {"files": {}})["files"]
        files = []
        for path in walk(where):
            full = os.path.join(where, path)
            entry = known.get(path)
            digest = str(entry.get("digest", "")) if _weights.is_remembered(full, entry) else ""
            status = os.stat(full)
            stamp = "" if digest else str(status.st_mtime_ns)
            files.append(Remote(_hubs.safe_path(path), status.st_size, digest, full, stamp))
        return Listing(_hubs.selected(files, self.job.skip), "")

    def blocks(self, remote: Remote, offset: int) -> Iterator[tuple[int, bytes]]:
        """Raises OSError."""
        with open(remote.url, "rb", buffering=0) as handle:
            handle.seek(offset)
            while offset < remote.size:
                block = handle.read(min(8 * _hubs.BLOCK, remote.size - offset))
                if not block:
                    raise WeightsError(f"{remote.url} became shorter while it was copied")
                yield offset, block
                offset += len(block)

    def read(self, remote: Remote) -> bytes:
        """Return a small file whole. Raises OSError."""
        return b"".join(block for ignored, block in self.blocks(remote, 0))


class Rsync:
    """A folder that the program rsync of this host reads."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.program = shutil.which("rsync") or "/usr/bin/rsync"

    def listing(self) -> Listing:
        """Raises WeightsError."""
        text = self._run(["-rL", "--list-only", "--no-human-readable", self._source()])
        files = []
        for line in text.splitlines():
            match = re.match(r"^-\S+\s+([\d,.]+) \S+ \S+ (.+)$", line)
            if match:
                size = int(re.sub(r"\D", "", match.group(1)))
                files.append(Remote(_hubs.safe_path(match.group(2)), size, "", ""))
        chosen = _hubs.selected(files, self.job.skip)
        if not chosen:
            raise WeightsError(f"{self.job.location} has no files of a model")
        return Listing(chosen, "")

    def read(self, remote: Remote) -> bytes:
        """Return a small file whole. Raises WeightsError."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="inferops-ascend-") as folder:
            self._run(["-L", self._source() + remote.path, folder + "/"])
            with open(os.path.join(folder, os.path.basename(remote.path)), "rb") as handle:
                return handle.read()

    def bring(self, files: list[Remote], watch: Callable[[], None], lock: int) -> None:
        """Copy files into the working directory; `watch` is called each second. Raises WeightsError.

        lock: the descriptor that says that somebody writes here. The program shares it: it lives on
        where this process is killed, and nobody else is to write meanwhile.
        """
        options = ["-tL", "--inplace", "--from0", "--files-from=-", "--chmod=D0755,F0644", "-p"]
        names = "\0".join(each.path for each in files)
        self._run(options + [self._source(), "./"], names, watch, (lock,))

    def _source(self) -> str:
        return self.job.location.rstrip("/") + "/"

    def _run(
        self,
        options: list[str],
        given: str = "",
        watch: Callable[[], None] | None = None,
        shared: tuple[int, ...] = (),
    ) -> str:
        command = [self.program, "--no-motd", "--timeout=120", "-e", _SSH] + options
        env = dict(os.environ, LC_ALL="C")
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=env,
                pass_fds=shared,
            )
        except FileNotFoundError:
            raise WeightsError(
                f"{self.job.model} is to come by rsync, which is not installed on this host:"
                " install the package rsync"
            ) from None
        data: bytes | None = given.encode("utf-8", "surrogateescape")
        while True:
            try:
                out, err = process.communicate(data, timeout=1)
                break
            except subprocess.TimeoutExpired:
                data = None
                if watch:
                    watch()
        if process.returncode != 0:
            lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
            raise WeightsError(
                f"{self.job.model}: rsync from {self.job.location} ended with"
                f" {process.returncode}: {'; '.join(lines[-3:]) or 'no word'}. Try it on the host:"
                f" rsync --list-only -e '{_SSH}' {self._source()}"
            )
        return out.decode("utf-8", "surrogateescape")


def walk(folder: str) -> list[str]:
    """Return the files below a folder, links followed to files only, by relative path."""
    found = []
    for at, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(at, name)
            if os.path.isfile(full):
                found.append(os.path.relpath(full, folder))
    return found


def _secrets(job: Job) -> dict[str, str]:
    if not job.token:
        return {}
    secrets = {"Authorization": f"Bearer {job.token}"}
    if job.source == "modelscope":
        # Its older addresses know the cookie only; its own client sends both.
        secrets["Cookie"] = f"m_session_id={job.token}"
    return secrets


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
    now = _hubs.shown(job.location)
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
        remote = _is_url(job.location)
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


def source_of(job: Job, web: Web | None = None) -> Any:
    """Return the object that lists and reads a job's source."""
    if job.source in HUBS:
        return Hub(job, web)
    return {"nfs": Folder, "rsync": Rsync}[job.source](job)


def archive_at(job: Job, web: Web | None = None) -> tuple[int, str]:
    """An archive's (bytes as it is packed, name of a copy of it here). Raises WeightsError.

    The name is another one for another state of the archive, as far as its server tells them apart,
    so that nothing is put together of two of them.
    """
    if not job.location:
        return job.size, ARCHIVE
    if not _is_url(job.location):
        try:
            return os.path.getsize(job.location), ARCHIVE
        except OSError as error:
            raise WeightsError(f"the archive of {job.model} cannot be read: {error}") from None
    try:
        with (web or Web()).patient(job.location) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        raise _hubs.refused(error, "archive", job.model) from None
    if headers.get("Content-Length") is None:
        raise WeightsError(
            f"{_hubs.shown(job.location)} does not say how long it is; put the archive on a server"
            " that serves files, or on the host"
        )
    # Without the query: a signed address is another one each day.
    state = (_hubs.shown(job.location), headers.get("ETag"), headers.get("Last-Modified"))
    return int(headers["Content-Length"]), f"{ARCHIVE}.{_short(job.sha256 or repr(state))}"


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
        where = job.id or _hubs.shown(job.location)
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
            "location": _hubs.shown(job.location),
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
            block = handle.read(_hubs.BLOCK)
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


class _Counted:
    """Reads an archive once, and counts and hashes it on the way."""

    def __init__(self, handle: Any, seen: Callable[[int], None]) -> None:
        self.handle = handle
        self.seen = seen
        self.hasher = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block: bytes = self.handle.read(size)
        self.hasher.update(block)
        self.seen(len(block))
        return block


def _from_archive(job: Job, progress: Progress, web: Web | None) -> dict[str, Any]:
    path = job.location
    shutil.rmtree(UNPACKED, ignore_errors=True)
    if _is_url(job.location):
        size, path = archive_at(job, web)
        progress.say(job.folder, phase="fetching", done=0, total=size)
        remote = Remote(path, size, f"sha256:{job.sha256}" if job.sha256 else "", job.location)
        _remove_others([remote])
        if _size(path) != size:
            try:
                _read_file(job, Hub(job, web or Web()), remote, progress, threading.Event())
            except urllib.error.HTTPError as error:
                raise _hubs.refused(error, "archive", job.model) from None
    progress.say(job.folder, phase="unpacking", done=0, total=os.path.getsize(path))
    with open(path, "rb") as handle:
        counted = _Counted(handle, lambda count: progress.add(job.folder, count))
        try:
            with tarfile.open(fileobj=counted, mode="r|*") as archive:  # type: ignore[call-overload]
                _unpack(archive, job)
            while counted.read(_hubs.BLOCK):
                pass
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise WeightsError(
                f"the archive {_hubs.shown(job.location)} cannot be unpacked ({error}): is it a tar"
                " (plain, gz, bz2 or xz), and whole?"
            ) from None
    if job.sha256 and counted.hasher.hexdigest() != job.sha256:
        if path != job.location:
            os.unlink(path)
        raise WeightsError(
            f"the archive {_hubs.shown(job.location)} has the SHA-256"
            f" {counted.hasher.hexdigest()[:16]}..., where {job.sha256[:16]}... is asked for: it is"
            " damaged, or another one"
        )
    top = _top_of(UNPACKED)
    _remove_others([])
    for name in os.listdir(top):
        os.rename(os.path.join(top, name), name)
    shutil.rmtree(UNPACKED)
    return {
        each: _weights.remembered(each, "")
        for each in walk(".")
        if not os.path.basename(each).startswith(_weights.OWN)
    }


def _unpack(archive: Any, job: Job) -> None:
    os.mkdir(UNPACKED, 0o755)
    for member in archive:
        name = re.sub(r"^(\./)+", "", member.name).rstrip("/")
        if name in ("", "."):
            continue
        path = os.path.join(UNPACKED, _hubs.safe_path(name))
        if member.isdir():
            os.makedirs(path, mode=0o755, exist_ok=True)
        elif member.isreg():
            _make_folders(path)
            with open(path, "xb") as target:
                shutil.copyfileobj(archive.extractfile(member), target, _hubs.BLOCK)
                target.flush()
                os.fsync(target.fileno())
        elif member.issym() or member.islnk():
            raise WeightsError(
                f"the archive {_hubs.shown(job.location)} holds a link ({name}), such as a cache of"
                " Hugging Face is made of. Pack it with the files themselves: tar"
                " --dereference --hard-dereference -cf ..."
            )


def _top_of(folder: str) -> str:
    """Return the folder nearest to the top that has a config.json; `folder` if there is none."""
    best = folder
    depth = 10**6
    for at, _folders, names in os.walk(folder):
        if "config.json" in names and at.count("/") < depth:
            best, depth = at, at.count("/")
    return best


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
    return remote.path + (f".{_short(remote.stamp)}" if remote.stamp else "") + INCOMPLETE


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


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


def _is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
