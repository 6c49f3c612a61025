# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Downloads models from their sources: beside their directory first, verified, then into place."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from typing import Any

from .._base import disk
from .._base.errors import HostError
from .archive import archive_at, download, is_url, top_of, unpack
from .check import bytes_of, existing, matches, same, source_of
from .completeness import OWN, inspect
from .faults import bare_url
from .hubs import Clients
from .jobs import Job, Progress
from .marker import MARKER, is_remembered, read_marker, remembered, write_marker, wrong_digest
from .sources import HUBS, Listing, Remote, Transfer, partial_of, size_of, walk
from .switch import LOCK, PART, part_alone, remove_left, switch

UNPACKED = ".inferops-ascend.unpacked"


class Fetch:
    """The way of one model to its directory. Changes the working directory while it runs."""

    def __init__(
        self, job: Job, progress: Progress, clients: Clients, connections: int = 4
    ) -> None:
        self.job = job
        self.directory = job.directory
        self.progress = progress
        self.clients = clients
        self.connections = connections

    def run(self) -> None:
        """Download, and switch into place when complete, or verify what is there. Raises HostError.

        A run that was broken off is continued. The directory is not there until it is complete; one
        that is replaced stays until then.
        """
        try:
            if self._is_right():
                return
            os.makedirs(os.path.dirname(self.directory), mode=0o755, exist_ok=True)
            with part_alone(self.job, self.progress) as lock:
                # Somebody else, on a shared disk perhaps another host, may have downloaded it meanwhile.
                found, marker, why, changed = existing(self.job)
                if found.exists and not marker:
                    raise HostError(
                        f"{self.directory} was made by hand meanwhile and is not overwritten"
                    )
                if marker and not why and not changed:
                    shutil.rmtree(self.directory + PART)
                    return
                self._fill(marker, lock)
                switch(self.directory)
        except (OSError, HostError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError):
                raise
            raise _disk_error(cause, self.job.model, self.directory) from None

    def _report(self, phase: str, total: int = 0) -> None:
        self.progress.update(self.job, phase=phase, done=0, total=total)

    def _count(self, count: int) -> None:
        self.progress.add(self.job, count)

    # -- what is there -----------------------------------------------------------------------------

    def _is_right(self) -> bool:
        """Verify what is there, as far as that is to be done; False if it has to be fetched."""
        found, marker, why, changed = existing(self.job)
        if found.exists and not marker:
            if why:
                raise HostError(f"{self.directory} was made by hand and is not overwritten")
            self._compare_with_hub()
            return True
        if not marker or why:
            return False
        broken = self._verify(marker, changed) if changed else []
        if broken and self.job.source == "local":
            raise HostError(
                f"{self.directory} is damaged: {', '.join(broken)} no longer has the checksum it was"
                " downloaded with. Remove them, and let it be fetched with vllm_weights_source"
            )
        if not broken:
            remove_left(self.directory)
        return not broken

    def _verify(self, marker: dict[str, Any], changed: list[str]) -> list[str]:
        """Hash files whose time changed; remember the right ones, return the others."""
        self._report("verifying", bytes_of(self.directory, changed))
        broken = []
        for path in changed:
            full = os.path.join(self.directory, path)
            digest = str(marker["files"][path]["digest"])
            if wrong_digest(full, digest, self._count):
                broken.append(path)
                # Not to be taken over as it is into the directory that replaces this one.
                marker["files"][path] = {"size": -1, "mtime_ns": 0, "digest": digest}
            else:
                marker["files"][path] = remembered(full, digest)
        write_marker(os.path.join(self.directory, MARKER), marker)
        return broken

    def _compare_with_hub(self) -> None:
        """Hash a directory that was made by hand against the hub's checksums, and record it elsewhere."""
        job = self.job
        if not job.verify or job.source not in HUBS:
            return
        paths = {
            os.path.join(self.directory, remote.path): remote
            for remote in source_of(job, self.clients).listing().files
        }
        here = {path: remote for path, remote in paths.items() if os.path.isfile(path)}
        self._report("verifying", sum(remote.size for remote in here.values()))
        entries: dict[str, Any] = {}
        wrong = []
        for path, remote in here.items():
            if os.path.getsize(path) != remote.size or wrong_digest(
                path, remote.digest, self._count
            ):
                wrong.append(remote.path)
            entries[remote.path] = remembered(path, remote.digest)
        if wrong:
            raise HostError(
                f"{self.directory} was made by hand, and {len(wrong)} of its files are not as {job.id}"
                f" has them on {job.source}: {', '.join(wrong[:5])}. They are damaged or of another"
                " revision (name it in `weights: {revision: ...}`), or changed on purpose (then set"
                " `weights: local` for it)"
            )
        os.makedirs(os.path.dirname(job.memory), mode=0o755, exist_ok=True)
        write_marker(job.memory, {"directory": self.directory, "files": entries})

    # -- what is to come ---------------------------------------------------------------------------

    def _fill(self, marker: dict[str, Any] | None, lock: int) -> None:
        """Make the working directory, a `.part` directory, a complete model."""
        job = self.job
        commit = ""
        if job.source == "archive":
            entries = self._from_archive()
        else:
            self._report("listing")
            source = source_of(job, self.clients)
            listing = source.listing()
            commit = listing.commit
            self._report("fetching", sum(each.size for each in listing.files))
            _remove_others(listing.files)
            entries = self._from_source(source, listing, marker, lock)
        self.progress.update(job, phase="checking")
        found = inspect(".")
        if found.faults:
            where = job.id or bare_url(job.location)
            raise HostError(
                f"{job.model} came from {job.source} ({where}) as it is there, but that is not a complete"
                f" model: {'; '.join(found.faults)}. Take another revision or source"
            )
        for at, _directories, names in os.walk("."):
            os.chmod(at, 0o755)
            for name in names:
                os.chmod(os.path.join(at, name), 0o644)
        origin = {key: getattr(job, key) for key in ("source", "id", "revision", "sha256")}
        location = bare_url(job.location)
        write_marker(MARKER, {**origin, "location": location, "commit": commit, "files": entries})

    def _from_source(
        self, source: Any, listing: Listing, marker: dict[str, Any] | None, lock: int
    ) -> dict[str, Any]:
        """Have the files come from the source, and verify them; return the marker's entries."""
        known = (read_marker(".") or {"files": {}})["files"]
        kept = (marker or {"files": {}})["files"]
        entries: dict[str, Any] = {}
        todo: list[Remote] = []
        wrong: list[tuple[Remote, str]] = []
        mutex = threading.Lock()

        def add(remote: Remote) -> None:
            with mutex:
                entry = remembered(remote.path, remote.digest)
                entries[remote.path] = dict(entry, stamp=remote.stamp)
                # So that a killed run does not hash again what was found right.
                write_marker(MARKER, {"source": self.job.source, "files": {**known, **entries}})

        def finished(remote: Remote) -> None:
            if not source.in_place:
                partial = partial_of(remote)
                digest = wrong_digest(partial, remote.digest)
                if digest:
                    # What was there from before may be another state's beginning.
                    os.unlink(partial)
                    wrong.append((remote, digest))
                    return
                os.chmod(partial, 0o644)
                os.rename(partial, remote.path)
            add(remote)

        def watch() -> None:
            here = [
                min(each.size, max(size_of(each.path), size_of(partial_of(each))))
                for each in listing.files
            ]
            self.progress.update(self.job, done=sum(here))

        # Small files first: what is wrong with them shows before the long ones have come.
        for remote in sorted(listing.files, key=lambda each: each.size):
            entry = known.get(remote.path)
            _make_parent(remote.path)
            if source.in_place:
                todo.append(remote)
            elif is_remembered(remote.path, entry) and matches(entry, remote):
                entries[remote.path] = entry
            elif same(self.directory, remote, kept.get(remote.path)):
                _take_over(os.path.join(self.directory, remote.path), remote.path)
                add(remote)
            else:
                todo.append(remote)
        for _attempt in range(2):
            watch()
            wrong.clear()
            if todo:
                source.fetch(Transfer(todo, finished, watch, self.connections, lock))
            watch()
            todo = [remote for remote, _digest in wrong]
        if wrong:
            remote, digest = wrong[0]
            raise HostError(
                f"{remote.path} of {self.job.id or self.job.location} came with the checksum"
                f" {digest[:16]}..., where its listing has {remote.digest.partition(':')[2][:16]}...,"
                " two times. Something between alters it (a proxy, a mirror), or its listing is wrong:"
                " take another source"
            )
        return entries

    def _from_archive(self) -> dict[str, Any]:
        job, path = self.job, self.job.location
        shutil.rmtree(UNPACKED, ignore_errors=True)
        if is_url(job.location):
            size, path = archive_at(job)
            self._report("fetching", size)
            _remove_others([Remote(path, size, "")])
            if size_of(path) != size:
                download(job, path, size, self._count)
        self._report("unpacking", os.path.getsize(path))
        digest = unpack(job, path, UNPACKED, self._count)
        if job.sha256 and digest != job.sha256:
            if path != job.location:
                os.unlink(path)
            raise HostError(
                f"the archive {bare_url(job.location)} has the SHA-256 {digest[:16]}..., where"
                f" {job.sha256[:16]}... is asked for: it is damaged, or another one"
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


def _remove_others(files: list[Remote]) -> None:
    """Remove from the working directory what an earlier run fetched and this one does not need."""
    wanted = {LOCK, MARKER, *(each.path for each in files), *map(partial_of, files)}
    for path in walk("."):
        if path not in wanted and not path.startswith(UNPACKED + "/"):
            os.unlink(path)


def _take_over(path: str, to: str) -> None:
    if os.path.lexists(to):
        os.unlink(to)
    try:
        os.link(path, to)
    except OSError:
        # A file system without hard links.
        shutil.copy2(path, to)


def _make_parent(path: str) -> None:
    os.makedirs(os.path.dirname(path) or ".", mode=0o755, exist_ok=True)


def _disk_error(error: OSError, model: str, directory: str) -> HostError:
    """What an error of the disk means while a model is written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HostError(
            f"{model}: {disk.explain(error, f'{directory}.part')} Or set vllm_service_weights_dir to a larger"
            f" disk; what was downloaded is kept there, {directory} is as it was, and the next run"
            " continues"
        )
    if error.errno == errno.EROFS:
        return HostError(
            f"{model}: {error.filename or directory} is on a disk that this host may only read."
            f" {disk.explain(error, directory)} Or download it on the host that may write there, or"
            " set vllm_service_weights_dir to another disk"
        )
    return HostError(
        f"{model} could not be written: {disk.explain(error)} {directory} is as it was"
    )
