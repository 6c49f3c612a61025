# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Downloads models from their sources: beside their directory first, verified, then into place."""

from __future__ import annotations

import os
import shutil
import threading
from typing import Any

from .._base.errors import HostError
from .archive import archive_at, download, is_url, top_of, unpack
from .check import against_marker, bytes_of, matches, other_request, same, source_of
from .completeness import OWN, inspect
from .errors import disk_error
from .faults import bare_url
from .hubs import Clients
from .marker import MARKER, digest_of, is_remembered, read_marker, remembered, write_marker
from .progress import Progress
from .sources import HUBS, Job, Listing, Remote, partial_of, size_of, walk
from .switch import LOCK, PART, hold, remove_left, switch

UNPACKED = ".inferops-ascend.unpacked"


def bring(job: Job, progress: Progress, clients: Clients, connections: int = 4) -> None:
    """Download one model, and switch it into place when it is complete, or verify what is there. Raises HostError.

    A run that was broken off is continued. The directory is not there until it is complete; one that
    is replaced stays until then. Changes the working directory while it runs.
    """
    folder = job.folder
    try:
        if _is_right(job, progress, clients):
            return
        os.makedirs(os.path.dirname(folder), mode=0o755, exist_ok=True)
        with hold(job, progress) as lock:
            # Somebody else, on a shared disk perhaps another host, may have downloaded it meanwhile.
            marker = read_marker(folder)
            found = inspect(folder)
            if found.exists and not marker:
                raise HostError(f"{folder} was made by hand meanwhile and is not overwritten")
            whole = marker and not found.faults and not other_request(job, marker)
            if marker and whole and not any(against_marker(folder, marker)):
                shutil.rmtree(folder + PART)
                return
            _fill(job, marker, progress, connections, clients, lock)
            switch(folder)
    except OSError as error:
        raise disk_error(error, job.model, folder) from None


def _is_right(job: Job, progress: Progress, clients: Clients) -> bool:
    """Verify what is there, as far as that is to be done; False if it has to be fetched."""
    folder = job.folder
    marker = read_marker(folder)
    found = inspect(folder)
    if found.exists and not marker:
        if found.faults:
            raise HostError(f"{folder} was made by hand and is not overwritten")
        _hold_against_hub(job, progress, clients)
        return True
    if not marker or found.faults or other_request(job, marker):
        return False
    stale, changed = against_marker(folder, marker)
    if stale:
        return False
    broken = _verify(job, marker, changed, progress) if changed else []
    if broken and job.source == "local":
        raise HostError(
            f"{folder} is damaged: {', '.join(broken)} no longer has the checksum it was"
            " downloaded with. Remove them, and let it be fetched with vllm_weights_source"
        )
    if not broken:
        remove_left(folder)
    return not broken


def _fill(
    job: Job,
    marker: dict[str, Any] | None,
    progress: Progress,
    connections: int,
    clients: Clients,
    lock: int,
) -> None:
    """Make the working directory, a `.part` directory, a complete model."""
    commit = ""
    if job.source == "archive":
        entries = _from_archive(job, progress)
    else:
        progress.say(job.folder, phase="listing")
        source = source_of(job, clients)
        listing = source.listing()
        commit = listing.commit
        progress.say(
            job.folder, phase="fetching", done=0, total=sum(each.size for each in listing.files)
        )
        _remove_others(listing.files)
        entries = _from_source(job, source, listing, marker, progress, connections, lock)
    progress.say(job.folder, phase="checking")
    found = inspect(".")
    if found.faults:
        where = job.id or bare_url(job.location)
        raise HostError(
            f"{job.model} came from {job.source} ({where}) as it is there, but that is not a complete"
            f" model: {'; '.join(found.faults)}. Take another revision or source"
        )
    for at, _folders, names in os.walk("."):
        os.chmod(at, 0o755)
        for name in names:
            os.chmod(os.path.join(at, name), 0o644)
    write_marker(
        MARKER,
        {
            "source": job.source,
            "id": job.id,
            "revision": job.revision,
            "commit": commit,
            "location": bare_url(job.location),
            "sha256": job.sha256,
            "files": entries,
        },
    )


def _from_source(
    job: Job,
    source: Any,
    listing: Listing,
    marker: dict[str, Any] | None,
    progress: Progress,
    connections: int,
    lock: int,
) -> dict[str, Any]:
    """Have the files come from the source, and verify them; return the marker's entries."""
    known = (read_marker(".") or {"files": {}})["files"]
    kept = (marker or {"files": {}})["files"]
    entries: dict[str, Any] = {}
    todo: list[Remote] = []
    mutex = threading.Lock()

    def add(remote: Remote, entry: dict[str, Any]) -> None:
        with mutex:
            entries[remote.path] = entry
            # So that a killed run does not hash again what was found right.
            write_marker(MARKER, {"source": job.source, "files": dict(known, **entries)})

    # Small files first: what is wrong with them shows before the long ones have come.
    for remote in sorted(listing.files, key=lambda each: each.size):
        entry = known.get(remote.path)
        _make_folders(remote.path)
        if source.in_place:
            todo.append(remote)
        elif is_remembered(remote.path, entry) and matches(entry, remote):
            entries[remote.path] = entry
        elif same(job.folder, remote, kept.get(remote.path)):
            _take_over(os.path.join(job.folder, remote.path), remote.path)
            add(remote, dict(remembered(remote.path, remote.digest), stamp=remote.stamp))
        else:
            todo.append(remote)

    def watch() -> None:
        here = [max(size_of(each.path), size_of(partial_of(each))) for each in listing.files]
        sizes = [each.size for each in listing.files]
        progress.say(job.folder, done=sum(min(pair) for pair in zip(here, sizes)))

    wrong: list[tuple[Remote, str]] = []

    def came(remote: Remote) -> None:
        if not source.in_place:
            kind, ignored, wanted = remote.digest.partition(":")
            got = digest_of(partial_of(remote), kind) if kind else None
            if got not in (None, wanted):
                # What was there from before may be another state's beginning.
                os.unlink(partial_of(remote))
                wrong.append((remote, str(got)))
                return
            os.chmod(partial_of(remote), 0o644)
            os.rename(partial_of(remote), remote.path)
        add(remote, dict(remembered(remote.path, remote.digest), stamp=remote.stamp))

    for _attempt in range(2):
        watch()
        wrong.clear()
        if todo:
            source.fetch(todo, came, watch, connections, lock)
        watch()
        todo = [remote for remote, ignored in wrong]
    if wrong:
        remote, got = wrong[0]
        raise HostError(
            f"{remote.path} of {job.id or job.location} came with the checksum {got[:16]}...,"
            f" where its listing says {remote.digest.partition(':')[2][:16]}..., two times. Something"
            " between alters it (a proxy, a mirror), or its listing is wrong: take another source"
        )
    return entries


def _from_archive(job: Job, progress: Progress) -> dict[str, Any]:
    path = job.location
    shutil.rmtree(UNPACKED, ignore_errors=True)
    if is_url(job.location):
        size, path = archive_at(job)
        progress.say(job.folder, phase="fetching", done=0, total=size)
        _remove_others([Remote(path, size, "")])
        if size_of(path) != size:
            download(job, path, size, lambda count: progress.add(job.folder, count))
    progress.say(job.folder, phase="unpacking", done=0, total=os.path.getsize(path))
    digest = unpack(job, path, UNPACKED, lambda count: progress.add(job.folder, count))
    if job.sha256 and digest != job.sha256:
        if path != job.location:
            os.unlink(path)
        raise HostError(
            f"the archive {bare_url(job.location)} has the SHA-256"
            f" {digest[:16]}..., where {job.sha256[:16]}... is asked for: it is damaged, or another"
            " one"
        )
    top = top_of(UNPACKED)
    _remove_others([])
    for name in os.listdir(top):
        os.rename(os.path.join(top, name), name)
    shutil.rmtree(UNPACKED)
    return {
        each: remembered(each, "")
        for each in walk(".")
        if not os.path.basename(each).startswith(OWN)
    }


def _verify(job: Job, marker: dict[str, Any], changed: list[str], progress: Progress) -> list[str]:
    """Hash files whose time changed; remember the right ones, return the others."""
    progress.say(job.folder, phase="verifying", done=0, total=bytes_of(job.folder, changed))
    broken = []
    for path in changed:
        full = os.path.join(job.folder, path)
        digest = str(marker["files"][path]["digest"])
        kind, ignored, wanted = digest.partition(":")
        got = digest_of(full, kind, lambda count: progress.add(job.folder, count))
        if got in (None, wanted):
            marker["files"][path] = remembered(full, digest)
        else:
            broken.append(path)
            # Not to be taken over as it is into the directory that replaces this one.
            marker["files"][path] = {"size": -1, "mtime_ns": 0, "digest": digest}
    write_marker(os.path.join(job.folder, MARKER), marker)
    return broken


def _hold_against_hub(job: Job, progress: Progress, clients: Clients) -> None:
    """Hash a directory that was made by hand against the hub's checksums, and remember it elsewhere."""
    if not job.verify or job.source not in HUBS:
        return
    listing = source_of(job, clients).listing()
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
            got = digest_of(full, kind, lambda count: progress.add(job.folder, count))
            if got not in (None, wanted):
                wrong.append(remote.path)
        entries[remote.path] = remembered(full, remote.digest)
    if wrong:
        raise HostError(
            f"{job.folder} was made by hand, and {len(wrong)} of its files are not as {job.id} has"
            f" them on {job.source}: {', '.join(wrong[:5])}. They are damaged or of another"
            " revision (name it in `weights: {revision: ...}`), or changed on purpose (then set"
            " `weights: local` for it)"
        )
    os.makedirs(os.path.dirname(job.memory), mode=0o755, exist_ok=True)
    write_marker(job.memory, {"folder": job.folder, "files": entries})


def _remove_others(files: list[Remote]) -> None:
    """Remove from the working directory what an earlier run fetched and this one does not want."""
    wanted = {each.path for each in files} | {partial_of(each) for each in files}
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
