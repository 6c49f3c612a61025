# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where models come from: a hub, a folder of this host, rsync, an archive.

What one of them lists and how its bytes are read. What becomes of them on the disk is in
`_weights_fetch`, which imports this module and is not imported by it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import urllib.error
from typing import Any, Callable, Iterator, NamedTuple

from ansible_collections.inferops.ascend.plugins.module_utils._weights import hubs
from ansible_collections.inferops.ascend.plugins.module_utils._weights import look as _weights
from ansible_collections.inferops.ascend.plugins.module_utils._weights.hubs import (
    Listing,
    Remote,
    Web,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.look import WeightsError

HUBS = ("huggingface", "modelscope")
_ARCHIVE = ".inferops-ascend.archive"
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


def source_of(job: Job, web: Web | None = None) -> Any:
    """Return the object that lists and reads a job's source."""
    if job.source in HUBS:
        return Hub(job, web)
    return {"nfs": Folder, "rsync": Rsync}[job.source](job)


# -- hubs ------------------------------------------------------------------------------------------


class Hub:
    """A model on Hugging Face or ModelScope."""

    def __init__(self, job: Job, web: Web | None = None) -> None:
        self.job = job
        self.web = web or Web(secrets_of(job))

    def listing(self) -> Listing:
        """Raises WeightsError."""
        job = self.job
        endpoint = job.endpoint or hubs.ENDPOINTS[job.source]
        list_files = hubs.huggingface if job.source == "huggingface" else hubs.modelscope
        found = list_files(self.web, endpoint, job.id, job.revision)
        files = hubs.selected(found.files, job.skip)
        if not files:
            raise WeightsError(f"{job.id} has no files that the engine reads")
        return Listing(files, found.commit)

    def blocks(self, remote: Remote, offset: int) -> Iterator[tuple[int, bytes]]:
        """Raises WeightsError."""
        try:
            yield from self.web.blocks(remote.url, offset, remote.size)
        except urllib.error.HTTPError as error:
            raise hubs.refused(
                error, self.job.source, self.job.id or self.job.model, self.job.revision, remote.url
            ) from None

    def read(self, remote: Remote) -> bytes:
        """Return a small file whole. Raises WeightsError."""
        return b"".join(block for ignored, block in self.blocks(remote, 0))


def secrets_of(job: Job) -> dict[str, str]:
    """Return the headers that show a job's token to its hub; none without a token."""
    if not job.token:
        return {}
    secrets = {"Authorization": f"Bearer {job.token}"}
    if job.source == "modelscope":
        # Its older addresses know the cookie only; its own client sends both.
        secrets["Cookie"] = f"m_session_id={job.token}"
    return secrets


# -- folders and rsync -----------------------------------------------------------------------------


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
            files.append(Remote(hubs.safe_path(path), status.st_size, digest, full, stamp))
        return Listing(hubs.selected(files, self.job.skip), "")

    def blocks(self, remote: Remote, offset: int) -> Iterator[tuple[int, bytes]]:
        """Raises OSError."""
        with open(remote.url, "rb", buffering=0) as handle:
            handle.seek(offset)
            while offset < remote.size:
                block = handle.read(min(8 * hubs.BLOCK, remote.size - offset))
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
                files.append(Remote(hubs.safe_path(match.group(2)), size, "", ""))
        chosen = hubs.selected(files, self.job.skip)
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


# -- archives --------------------------------------------------------------------------------------


def archive_at(job: Job, web: Web | None = None) -> tuple[int, str]:
    """An archive's (bytes as it is packed, name of a copy of it here). Raises WeightsError.

    The name is another one for another state of the archive, as far as its server tells them apart,
    so that nothing is put together of two of them.
    """
    if not job.location:
        return job.size, _ARCHIVE
    if not is_url(job.location):
        try:
            return os.path.getsize(job.location), _ARCHIVE
        except OSError as error:
            raise WeightsError(f"the archive of {job.model} cannot be read: {error}") from None
    try:
        with (web or Web()).patient(job.location) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        raise hubs.refused(error, "archive", job.model) from None
    if headers.get("Content-Length") is None:
        raise WeightsError(
            f"{hubs.shown(job.location)} does not say how long it is; put the archive on a server"
            " that serves files, or on the host"
        )
    # Without the query: a signed address is another one each day.
    state = (hubs.shown(job.location), headers.get("ETag"), headers.get("Last-Modified"))
    return int(headers["Content-Length"]), f"{_ARCHIVE}.{short_hash(job.sha256 or repr(state))}"


def unpack(job: Job, path: str, folder: str, seen: Callable[[int], None]) -> str:
    """Unpack a job's archive, and return the SHA-256 of all its bytes. Raises WeightsError, OSError.

    path: of the archive. folder: which it makes, below an existing one. seen: is told of each
    number of bytes read.
    """
    with open(path, "rb") as handle:
        counted = _Counted(handle, seen)
        try:
            with tarfile.open(fileobj=counted, mode="r|*") as archive:  # type: ignore[call-overload]
                _members(job, archive, folder)
            while counted.read(hubs.BLOCK):
                pass
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise WeightsError(
                f"the archive {hubs.shown(job.location)} cannot be unpacked ({error}): is it a tar"
                " (plain, gz, bz2 or xz), and whole?"
            ) from None
    return counted.hasher.hexdigest()


def top_of(folder: str) -> str:
    """Return the folder nearest to the top that has a config.json; `folder` if there is none."""
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
        path = os.path.join(folder, hubs.safe_path(name))
        if member.isdir():
            os.makedirs(path, mode=0o755, exist_ok=True)
        elif member.isreg():
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with open(path, "xb") as target:
                shutil.copyfileobj(archive.extractfile(member), target, hubs.BLOCK)
                target.flush()
                os.fsync(target.fileno())
        elif member.issym() or member.islnk():
            raise WeightsError(
                f"the archive {hubs.shown(job.location)} holds a link ({name}), such as a cache of"
                " Hugging Face is made of. Pack it with the files themselves: tar"
                " --dereference --hard-dereference -cf ..."
            )


def is_url(location: str) -> bool:
    """Tell an archive's address from its path."""
    return location.startswith(("http://", "https://"))


def short_hash(text: str) -> str:
    """Return 12 hexadecimal digits that tell texts apart, fit for the name of a file."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
