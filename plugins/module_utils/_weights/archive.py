# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Models in archives: on this host, at an address, or sent by the controller."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from typing import Any, Callable

from .._base.errors import HostError
from . import web
from .errors import explain
from .faults import bare_url, describe
from .sources import BLOCK, INCOMPLETE, Job, safe_path, short_hash

_ARCHIVE = ".inferops-ascend.archive"


def archive_at(job: Job) -> tuple[int, str]:
    """An archive's (bytes as it is packed, name of a copy of it here). Raises HostError.

    The name is another one for another state of the archive, as far as its server tells them apart,
    so that nothing is put together of two of them.
    """
    if not job.location:
        return job.size, _ARCHIVE
    if not is_url(job.location):
        try:
            return os.path.getsize(job.location), _ARCHIVE
        except OSError as error:
            raise HostError(f"the archive of {job.model} cannot be read: {error}") from None
    try:
        headers = web.head(job.location)
    except HostError:
        raise
    except Exception as error:
        raise explain(describe(error, job.location), "archive", job.model) from None
    if headers.get("Content-Length") is None:
        raise HostError(
            f"{bare_url(job.location)} does not say how long it is; put the archive on a server"
            " that serves files, or on the host"
        )
    # Without the query: a signed address is another one each day.
    state = (bare_url(job.location), headers.get("ETag"), headers.get("Last-Modified"))
    return int(headers["Content-Length"]), f"{_ARCHIVE}.{short_hash(job.sha256 or repr(state))}"


def download(job: Job, path: str, size: int, seen: Callable[[int], None]) -> None:
    """Download a job's archive to `path`. Raises HostError, OSError."""
    partial = path + INCOMPLETE
    try:
        web.download(job.location, partial, size, seen)
    except HostError:
        raise
    except Exception as error:
        fault = describe(error, job.location)
        got = os.path.getsize(partial) if os.path.exists(partial) else 0
        raise explain(fault, "archive", job.model, "", size, got) from None
    os.rename(partial, path)


def unpack(job: Job, path: str, folder: str, seen: Callable[[int], None]) -> str:
    """Unpack a job's archive, and return the SHA-256 of all its bytes. Raises HostError, OSError.

    path: of the archive. folder: which it makes, below an existing one. seen: is told of each
    number of bytes read.
    """
    with open(path, "rb") as handle:
        counted = _Counted(handle, seen)
        # Its annotations know no stream that is read only.
        open_archive: Any = tarfile.open
        try:
            with open_archive(fileobj=counted, mode="r|*") as archive:
                _members(job, archive, folder)
            while counted.read(BLOCK):
                pass
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise HostError(
                f"the archive {bare_url(job.location)} cannot be unpacked ({error}): is it a tar"
                " (plain, gz, bz2 or xz), and complete?"
            ) from None
    return counted.hasher.hexdigest()


def top_of(folder: str) -> str:
    """Return the directory nearest to the top that has a config.json; `folder` if there is none."""
    best = folder
    depth = 10**6
    for at, _folders, names in os.walk(folder):
        if "config.json" in names and at.count("/") < depth:
            best, depth = at, at.count("/")
    return best


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


def _members(job: Job, archive: Any, folder: str) -> None:
    os.mkdir(folder, 0o755)
    for member in archive:
        name = re.sub(r"^(\./)+", "", member.name).rstrip("/")
        if name in ("", "."):
            continue
        path = os.path.join(folder, safe_path(name))
        if member.isdir():
            os.makedirs(path, mode=0o755, exist_ok=True)
        elif member.isreg():
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with open(path, "xb") as target:
                shutil.copyfileobj(archive.extractfile(member), target, BLOCK)
                target.flush()
                os.fsync(target.fileno())
        elif member.issym() or member.islnk():
            raise HostError(
                f"the archive {bare_url(job.location)} contains a link ({name}), such as a cache of"
                " Hugging Face is made of. Pack it with the files themselves: tar"
                " --dereference --hard-dereference -cf ..."
            )


def is_url(location: str) -> bool:
    """Tell an archive's address from its path."""
    return location.startswith(("http://", "https://"))
