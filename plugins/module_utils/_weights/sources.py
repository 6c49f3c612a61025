# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where models come from: a directory of this host, or rsync. The hubs are in `hubs`, archives in `archive`."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, Callable, NamedTuple

from .._base.errors import HostError
from .completeness import OWN, inspect
from .marker import is_remembered, read_marker

HUBS = ("huggingface", "modelscope")
INCOMPLETE = ".inferops-incomplete"
BLOCK = 8 << 20
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"

# What vLLM does not read: other frameworks' weights, the original form of the same weights, pictures.
SKIPPED = (
    ".git*",
    "original/*",
    "metal/*",
    "onnx/*",
    "openvino/*",
    "coreml/*",
    "*.onnx",
    "*.onnx_data",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.tflite",
    "*.gguf",
    "*.pdf",
    "*.png",
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.mp4",
)
# PyTorch's own files hold the same weights a second time where there are safetensors; so do Mistral's.
_SECOND = ("pytorch_model*.bin", "pytorch_model*.bin.index.json", "*.pth")
_CONSOLIDATED = ("consolidated*.safetensors", "consolidated*.safetensors.index.json")


class Job(NamedTuple):
    """One directory to download.

    Attributes:
        folder: where the model is to be, absolute.
        model: its name in messages.
        source: local, huggingface, modelscope, rsync, nfs or archive.
        id: on the hub. revision: empty for the hub's own default. endpoint: the hub's address.
        location: what rsync reads, the directory of nfs, or the archive's path or address.
        sha256: of the archive; empty if not known.
        skip: patterns of files to leave out, beside those that the engine never reads.
        verify: whether a directory that was made by hand is compared with the hub's checksums.
        memory: where it is remembered that such a directory was verified.
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


class Remote(NamedTuple):
    """One file of a source. `digest` is `sha256:HEX`, `git:HEX` or empty; `size` in bytes.

    stamp: tells states of the file from each other where there is no digest; empty if nothing does.
    """

    path: str
    size: int
    digest: str
    stamp: str = ""


class Listing(NamedTuple):
    """What a source has.

    Attributes:
        files: those that the engine reads.
        commit: the state that was listed, where the source names it.
        config: config.json, where it was asked for and is there.
    """

    files: list[Remote]
    commit: str
    config: bytes | None = None


def selected(files: list[Remote], skip: tuple[str, ...] = ()) -> list[Remote]:
    """Return the files that the engine reads, without second copies of the same weights.

    `skip`: patterns of paths, as fnmatch has them, beside those of SKIPPED.
    """
    top = [each.path for each in files if "/" not in each.path]
    patterns = list(SKIPPED) + list(skip)
    tensors = [path for path in top if path.endswith(".safetensors")]
    if tensors:
        patterns += _SECOND
    if any(path.startswith("model") for path in tensors):
        patterns += _CONSOLIDATED
    return [
        each
        for each in files
        if not any(fnmatch.fnmatchcase(each.path, pattern) for pattern in patterns)
        and not each.path.rpartition("/")[2].startswith(OWN)
    ]


def safe_path(path: Any) -> str:
    """Return a path of a listing or archive that stays below its directory. Raises HostError."""
    parts = path.split("/") if isinstance(path, str) else [""]
    if (
        any(part in ("", ".", "..") for part in parts)
        or any(ord(char) < 32 or char in "\\\x7f" for char in path)
        or any(len(part.encode("utf-8", "surrogatepass")) > 200 for part in parts)
    ):
        raise HostError(
            f"the source has a file of the name {path!r}, which is not one that belongs below a"
            " directory. Nothing of it was written; tell its publisher"
        )
    return str(path)


def remote_of(path: Any, size: Any, digest: str, stamp: str = "") -> Remote:
    """A file of a hub's listing. Raises HostError for a name or size that cannot be."""
    path = safe_path(path)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise HostError(f"the listing gives {path} the size {size!r}, which is not a valid size")
    kind, ignored, value = digest.partition(":")
    length = {"sha256": 64, "git": 40}.get(kind, 0)
    if digest and (len(value) != length or not re.match(r"^[0-9a-f]+$", value)):
        # Another kind of hash cannot be checked here; size and header still are.
        digest = ""
    return Remote(path, size, digest, stamp="" if digest else stamp)


def partial_of(remote: Remote) -> str:
    """The name of a file that is not complete yet; another one for another state of it."""
    return remote.path + (f".{short_hash(remote.stamp)}" if remote.stamp else "") + INCOMPLETE


def short_hash(text: str) -> str:
    """Return 12 hexadecimal digits that tell texts apart, fit for the name of a file."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


# -- directories and rsync -------------------------------------------------------------------------


class Folder:
    """A directory of this host, such as one of a mounted share."""

    in_place = False

    def __init__(self, job: Job) -> None:
        self.job = job

    def listing(self, config: bool = False) -> Listing:
        """Raises HostError where the directory is not a complete model itself."""
        where = self.job.location
        look = inspect(where)
        if not look.exists:
            raise HostError(
                f"{where}, which {self.job.model} is to be copied from, is not there or empty on"
                " this host. Is the share mounted?"
            )
        if look.faults:
            raise HostError(
                f"{where}, which {self.job.model} is to be copied from, is not complete: "
                + "; ".join(look.faults)
            )
        known = (read_marker(where) or {"files": {}})["files"]
        files = []
        for path in walk(where):
            full = os.path.join(where, path)
            entry = known.get(path)
            digest = str(entry.get("digest", "")) if is_remembered(full, entry) else ""
            status = os.stat(full)
            stamp = "" if digest else str(status.st_mtime_ns)
            files.append(Remote(safe_path(path), status.st_size, digest, stamp))
        content = None
        if config:
            with open(os.path.join(where, "config.json"), "rb") as handle:
                content = handle.read()
        return Listing(selected(files, self.job.skip), "", content)

    def fetch(
        self,
        files: list[Remote],
        came: Callable[[Remote], None],
        watch: Callable[[], None],
        connections: int,
        lock: int,
    ) -> None:
        """Copy to the partial names. Raises HostError, OSError."""
        stop = threading.Event()

        def one(remote: Remote) -> None:
            self._copy(remote, stop)
            came(remote)

        with ThreadPoolExecutor(max_workers=max(1, connections)) as pool:
            futures = [pool.submit(one, each) for each in files]
            left = set(futures)
            while left and not stop.is_set():
                ended, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
                watch()
                if any(each.exception() for each in ended):
                    stop.set()
        for future in sorted(futures, key=lambda each: isinstance(each.exception(), HostError)):
            future.result()

    def _copy(self, remote: Remote, stop: threading.Event) -> None:
        path = os.path.join(self.job.location, remote.path)
        with open(path, "rb", buffering=0) as source, open(partial_of(remote), "ab") as target:
            if target.tell() > remote.size:
                target.truncate(0)
            source.seek(target.tell())
            while target.tell() < remote.size:
                if stop.is_set():
                    raise HostError("another file of the model failed")
                block = source.read(min(BLOCK, remote.size - target.tell()))
                if not block:
                    raise HostError(f"{path} became shorter while it was copied")
                target.write(block)
            target.flush()
            os.fsync(target.fileno())


class Rsync:
    """A directory that the program rsync of this host reads."""

    # It continues files under their own names, and decides itself which it has.
    in_place = True

    def __init__(self, job: Job) -> None:
        self.job = job
        self.program = shutil.which("rsync") or "/usr/bin/rsync"

    def listing(self, config: bool = False) -> Listing:
        """Raises HostError."""
        text = self._run(["-rL", "--list-only", "--no-human-readable", self._source()])
        files = []
        for line in text.splitlines():
            match = re.match(r"^-\S+\s+([\d,.]+) \S+ \S+ (.+)$", line)
            if match:
                size = int(re.sub(r"\D", "", match.group(1)))
                files.append(Remote(safe_path(match.group(2)), size, ""))
        chosen = selected(files, self.job.skip)
        if not chosen:
            raise HostError(f"{self.job.location} has no files of a model")
        content = None
        if config and any(each.path == "config.json" for each in chosen):
            with tempfile.TemporaryDirectory(prefix="inferops-ascend-") as directory:
                self._run(["-L", self._source() + "config.json", directory + "/"])
                with open(os.path.join(directory, "config.json"), "rb") as handle:
                    content = handle.read()
        return Listing(chosen, "", content)

    def fetch(
        self,
        files: list[Remote],
        came: Callable[[Remote], None],
        watch: Callable[[], None],
        connections: int,
        lock: int,
    ) -> None:
        """Copy into the working directory. Raises HostError.

        lock: the descriptor that says that somebody writes here. The program shares it: it lives on
        where this process is killed, and nobody else is to write meanwhile.
        """
        options = ["-tL", "--inplace", "--from0", "--files-from=-", "--chmod=D0755,F0644", "-p"]
        names = "\0".join(each.path for each in files)
        self._run(options + [self._source(), "./"], names, watch, (lock,))
        for each in files:
            size = size_of(each.path)
            if size != each.size:
                raise HostError(
                    f"{each.path} has {size} of {each.size} bytes after rsync; run it again"
                )
            came(each)

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
            raise HostError(
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
            raise HostError(
                f"{self.job.model}: rsync from {self.job.location} ended with"
                f" {process.returncode}: {'; '.join(lines[-3:]) or 'no word'}. Try it on the host:"
                f" rsync --list-only -e '{_SSH}' {self._source()}"
            )
        return out.decode("utf-8", "surrogateescape")


def walk(folder: str) -> list[str]:
    """Return the files below a directory, links followed to files only, by relative path."""
    found = []
    for at, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(at, name)
            if os.path.isfile(full):
                found.append(os.path.relpath(full, folder))
    return found


def size_of(path: str) -> int:
    """The bytes of a file; 0 where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
