# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Models in archives: on this host, on a web server, or sent by the controller."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import ssl
import tarfile
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import Any, Callable, Iterator

from .._base import disk
from .._base.errors import HostError
from .._base.reading import OutOfBounds, open_regular
from .completeness import gigabytes
from .faults import WrongSize, bare_url, explain, patient
from .jobs import Job
from .sources import BLOCK, INCOMPLETE, SPARE, error_of, safe_path, short_hash, size_of

TIMEOUT = 60
_ARCHIVE = ".inferops-ascend.archive"
# Files of the largest models are some hundreds.
_MOST_MEMBERS = 100_000
# Bytes of a name or of extended attributes (pax), and the members that are such.
_MOST_DESCRIPTION = 1 << 20
_DESCRIPTIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def archive_at(job: Job) -> tuple[int, str]:
    """An archive's (bytes as it is packed, name of a copy of it here). Raises HostError.

    The name is another one for another state of the archive, as far as its server tells them apart,
    so that parts of two of them are never joined.
    """
    if not job.location:
        return job.size, _ARCHIVE
    if not is_url(job.location):
        try:
            return os.path.getsize(job.location), _ARCHIVE
        except OSError as error:
            raise HostError(f"the archive of {job.model} cannot be read: {error}") from None
    with _explained(job), patient(lambda: _open(job.location), job.location) as answer:
        headers = answer.headers
    if headers.get("Content-Length") is None:
        raise HostError(
            f"{bare_url(job.location)} gives no Content-Length; move the archive to a server"
            " that serves files, or on the host"
        )
    # Without the query: a signed address is another one each day.
    state = (bare_url(job.location), headers.get("ETag"), headers.get("Last-Modified"))
    return int(headers["Content-Length"]), f"{_ARCHIVE}.{short_hash(job.sha256 or repr(state))}"


def download(job: Job, path: str, size: int, seen: Callable[[int], None]) -> None:
    """Download a job's archive to `path`, after what is there of it. Raises HostError, OSError.

    seen: is called with each number of bytes.
    """
    partial = path + INCOMPLETE

    def work() -> None:
        with open(partial, "ab", buffering=0) as handle:
            at = handle.tell()
            with _open(job.location, at) as answer:
                given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
                if at and (not given or int(given.group(1)) != at):
                    # The server does not support ranges and sends the file from its beginning.
                    handle.truncate(0)
                    seen(-at)
                for block in iter(lambda: answer.read1(BLOCK), b""):
                    handle.write(block)
                    seen(len(block))
            if handle.tell() < size:
                raise ConnectionError("the server ends its answer too early")
            os.fsync(handle.fileno())
        if size_of(partial) != size:
            raise WrongSize

    if size_of(partial) > size:
        os.truncate(partial, 0)
    seen(size_of(partial))
    if size_of(partial) < size:
        with _explained(job, partial, size):
            patient(work, job.location, lambda: size_of(partial))
    os.rename(partial, path)


def unpack(job: Job, path: str, directory: str, seen: Callable[[int], None]) -> str:
    """Unpack a job's archive, and return the SHA-256 of all its bytes. Raises HostError, OSError.

    path: of the archive. directory: which it makes, below an existing one. seen: is called with each
    number of bytes read.
    """
    try:
        opened = open_regular(path)
    except OutOfBounds as error:
        raise HostError(f"the archive of {job.model}, {path}, cannot be read: {error}") from None
    with opened as handle:
        counted = _Counted(handle, seen)
        # Its annotations know no stream that is read only.
        open_archive: Any = tarfile.open
        try:
            with open_archive(fileobj=counted, mode="r|*", tarinfo=_Member) as archive:
                _members(job, archive, directory)
            while counted.read(BLOCK):
                pass
        # tarfile raises TypeError where the header of gzip ends too early.
        except (tarfile.TarError, EOFError, ValueError, TypeError) as error:
            raise HostError(
                f"the archive {bare_url(job.location)} cannot be unpacked ({error}): is it a tar"
                " (plain, gz, bz2 or xz), and complete?"
            ) from None
    return counted.hasher.hexdigest()


def top_of(directory: str) -> str:
    """The directory nearest to the top that has a config.json; `directory` if there is none."""
    found = [at for at, _directories, names in os.walk(directory) if "config.json" in names]
    return min(found, key=lambda at: at.count("/"), default=directory)


def is_url(location: str) -> bool:
    """Whether an archive is at an address, and not at a path."""
    return location.startswith(("http://", "https://"))


class _Member(tarfile.TarInfo):
    """A member whose header is of a usual length: what describes a member is read into memory."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Any:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _DESCRIPTIONS and member.size > _MOST_DESCRIPTION:
            raise HostError(
                f"a header of the archive has {gigabytes(member.size)}, which no archive of a model has"
            )
        return member


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


def _members(job: Job, archive: Any, directory: str) -> None:
    os.mkdir(directory, 0o755)
    total = 0
    for number, member in enumerate(archive):
        if number >= _MOST_MEMBERS:
            raise HostError(
                f"the archive {bare_url(job.location)} has more than {_MOST_MEMBERS} members, which no"
                " model has"
            )
        name = re.sub(r"^(\./)+", "", member.name).rstrip("/")
        if name in ("", "."):
            continue
        path = os.path.join(directory, safe_path(name))
        if member.isdir():
            os.makedirs(path, mode=0o755, exist_ok=True)
        elif member.isreg():
            total += member.size
            _check_room(job, name, member.size, total, directory)
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


def _check_room(job: Job, name: str, size: int, total: int, directory: str) -> None:
    """Raises HostError where a member has no room; its packed size, which was checked, does not tell."""
    info = os.statvfs(directory)
    free = info.f_bavail * info.f_frsize
    spare = min(SPARE, info.f_blocks * info.f_frsize // 20)
    if size + spare > free:
        raise HostError(
            f"{name} of the archive {bare_url(job.location)} has {gigabytes(size)} unpacked, and"
            f" {gigabytes(free)} are free on {disk.mount_of(directory) or directory}, of which"
            f" {gigabytes(spare)} stay free. {gigabytes(total - size)} of it are unpacked, and it was not"
            f" unpacked further; {job.directory} is as it was. Make room, or set vllm_service_weights_dir to a larger disk"
        )


# -- the web server --------------------------------------------------------------------------------


@contextmanager
def _explained(job: Job, partial: str = "", size: int = 0) -> Iterator[None]:
    """Turn errors of urllib and http.client into messages."""
    try:
        yield
    except HostError:
        raise
    except Exception as error:
        got = size_of(partial)
        fault = explain(error, job.location, "archive", job.model, size=size, got=got)
        raise error_of(fault) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows 308 too (Python before 3.11 does not), and never from https to http."""

    def http_error_308(self, *given: Any) -> Any:
        return self.http_error_302(*given)

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        after = urllib.parse.urlsplit(newurl)
        if req.full_url.startswith("https:") and after.scheme != "https":
            raise HostError(
                f"{bare_url(req.full_url)} redirects to {after.scheme}://{after.netloc}, without"
                " encryption; that is not followed"
            )
        return super().redirect_request(req, fp, 302 if code == 308 else code, msg, headers, newurl)


def _open(url: str, start: int = 0) -> Any:
    parts = urllib.parse.urlsplit(url)
    user, _at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(
        urllib.parse.urlunsplit(parts._replace(netloc=host)),
        # A packed answer would have neither the length nor the ranges of the file.
        headers={"Accept-Encoding": "identity", "User-Agent": "inferops-ascend"},
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
    if user:
        pair = base64.b64encode(urllib.parse.unquote(user).encode("utf-8"))
        # For this server alone, not for one that it redirects to.
        request.add_unredirected_header("Authorization", f"Basic {pair.decode('ascii')}")
    opener = urllib.request.OpenerDirector()
    # Named one by one: no file: or ftp: address is opened, whoever gives it.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=TIMEOUT)
