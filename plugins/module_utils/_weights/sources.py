# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where models come from: a directory of this host, or rsync. The hubs are in `hubs`, archives in `archive`."""

from __future__ import annotations

import fnmatch
import hashlib
import math
import os
import re
import tempfile
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any, Callable, NamedTuple

from .._base import process
from .._base.errors import HostError
from .._base.reading import open_regular, read_bytes
from .._base.text import printable
from .completeness import OWN, inspect
from .faults import Fault
from .jobs import Job
from .marker import is_remembered, read_marker

HUBS = ("huggingface", "modelscope")
INCOMPLETE = ".inferops-incomplete"
BLOCK = 8 << 20
# What a run leaves free on the disk: logs and the markers need some.
SPARE = 1 << 30
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"

# What vLLM does not read: other frameworks' weights, the original form of the same weights, pictures.
SKIPPED = [
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
]
# PyTorch's own files have the same weights a second time where there are safetensors; so do Mistral's.
_SECOND = ["pytorch_model*.bin", "pytorch_model*.bin.index.json", "*.pth"]
_CONSOLIDATED = ["consolidated*.safetensors", "consolidated*.safetensors.index.json"]


class Remote(NamedTuple):
    """One file of a source. `digest` is `sha256:HEX`, `git:HEX` or empty; `size` in bytes.

    stamp: tells states of the file from each other where there is no digest; empty if nothing does.
    """

    path: str
    size: int
    digest: str
    stamp: str = ""


class Listing(NamedTuple):
    """What a source has: the files that the engine reads.

    commit: the state that was listed, where the source names it. config: config.json, where it was
    asked for and is there.
    """

    files: list[Remote]
    commit: str
    config: bytes | None = None


class Transfer(NamedTuple):
    """What a source is to download into the working directory.

    Attributes:
        finished: is called with each file that is complete under its partial name.
        watch: is called at least once a second meanwhile.
        connections: how many files come at once.
        lock: the descriptor that tells others that somebody writes here. A program that is started
            shares it, for it may outlive this process.
    """

    files: list[Remote]
    finished: Callable[[Remote], None]
    watch: Callable[[], None]
    connections: int
    lock: int


def selected(files: list[Remote], skip: tuple[str, ...] = ()) -> list[Remote]:
    """The files that the engine reads, without second copies of the same weights.

    `skip`: patterns of paths, as fnmatch has them, beside those of SKIPPED.
    """
    tensors = [e.path for e in files if "/" not in e.path and e.path.endswith(".safetensors")]
    patterns = [*SKIPPED, *skip, *(_SECOND if tensors else [])]
    if any(path.startswith("model") for path in tensors):
        patterns += _CONSOLIDATED
    return [
        each
        for each in files
        if not any(fnmatch.fnmatchcase(each.path, pattern) for pattern in patterns)
        and not each.path.rpartition("/")[2].startswith(OWN)
    ]


def safe_path(path: Any) -> str:
    """A path of a listing or archive that stays below its directory. Raises HostError."""
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
    # Another kind of hash cannot be checked here; size and header still are.
    if not re.match(r"(sha256:[0-9a-f]{64}|git:[0-9a-f]{40})$", digest):
        digest = ""
    return Remote(path, size, digest, stamp="" if digest else stamp)


def partial_of(remote: Remote) -> str:
    """The name of a file that is not complete yet; another one for another state of it."""
    return remote.path + (f".{short_hash(remote.stamp)}" if remote.stamp else "") + INCOMPLETE


def short_hash(text: str) -> str:
    """12 hexadecimal digits that tell texts apart, fit for the name of a file."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def error_of(fault: Fault) -> Exception:
    """The exception of a fault."""
    return (
        OSError(fault.errno, "", fault.file or None)
        if fault.errno
        else HostError(printable(fault.text))
    )


# -- directories and rsync -------------------------------------------------------------------------


class Directory:
    """A directory of this host, such as one of a mounted share."""

    in_place = False

    def __init__(self, job: Job) -> None:
        self.job = job

    def listing(self, config: bool = False) -> Listing:
        """Raises HostError where the directory is not a complete model itself."""
        where = self.job.location
        found = inspect(where)
        if not found.exists or found.faults:
            raise HostError(
                f"{where}, which {self.job.model} is to be copied from, is not "
                + (
                    "complete: " + "; ".join(found.faults)
                    if found.exists
                    else "there or empty on this host. Is the share mounted?"
                )
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
        content = read_bytes(os.path.join(where, "config.json")) if config else None
        return Listing(selected(files, self.job.skip), "", content)

    def fetch(self, transfer: Transfer) -> None:
        """Copy to the partial names. Raises HostError, OSError."""
        stop = threading.Event()

        def one(remote: Remote) -> None:
            self._copy(remote, stop)
            transfer.finished(remote)

        with ThreadPoolExecutor(max_workers=max(1, transfer.connections)) as pool:
            futures = [pool.submit(one, each) for each in transfer.files]
            left = set(futures)
            while left and not stop.is_set():
                ended, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
                transfer.watch()
                if any(each.exception() for each in ended):
                    stop.set()
        for future in sorted(futures, key=lambda each: isinstance(each.exception(), HostError)):
            future.result()

    def _copy(self, remote: Remote, stop: threading.Event) -> None:
        path = os.path.join(self.job.location, remote.path)
        with open_regular(path) as source, open(partial_of(remote), "ab") as target:
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
        self.source = job.location.rstrip("/") + "/"

    def listing(self, config: bool = False) -> Listing:
        """Raises HostError."""
        text = self._run(["-rL", "--list-only", "--no-human-readable", self.source])
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
                self._run(["-L", self.source + "config.json", directory + "/"])
                content = read_bytes(os.path.join(directory, "config.json"))
        return Listing(chosen, "", content)

    def fetch(self, transfer: Transfer) -> None:
        """Copy into the working directory. Raises HostError."""
        options = ["-tL", "--inplace", "--from0", "--chmod=D0755,F0644", "-p"]
        with tempfile.NamedTemporaryFile(dir=".", prefix=OWN) as names:
            names.write(b"\0".join(os.fsencode(each.path) for each in transfer.files))
            names.flush()
            options += [f"--files-from={names.name}", self.source, "./"]
            self._run(options, lambda _data: transfer.watch(), (transfer.lock,))
        for each in transfer.files:
            size = size_of(each.path)
            if size != each.size:
                raise HostError(
                    f"{each.path} has {size} of {each.size} bytes after rsync; run it again"
                )
            transfer.finished(each)

    def _run(
        self,
        options: list[str],
        received: Callable[[bytes], None] | None = None,
        shared: tuple[int, ...] = (),
    ) -> str:
        program = process.find("rsync") or "/usr/bin/rsync"
        if not os.path.exists(program):
            raise HostError(
                f"{self.job.model} is to come by rsync, which is not installed on this host:"
                " install the package rsync"
            )
        command = [program, "--no-motd", "--timeout=120", "-e", _SSH, *options]
        env = dict(os.environ, LC_ALL="C")
        done = process.run(command, math.inf, env, received=received, shared=shared)
        if done.status != 0:
            lines = [line for line in done.errors.splitlines() if line.strip()]
            raise HostError(
                f"{self.job.model}: rsync from {self.job.location} ended with"
                f" {done.status}: {'; '.join(lines[-3:]) or 'no message'}. Try it on the host:"
                f" rsync --list-only -e '{_SSH}' {self.source}"
            )
        return os.fsdecode(done.stdout)


def walk(directory: str) -> list[str]:
    """The files below a directory, links followed to files only, by relative path."""
    found = []
    for at, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            full = os.path.join(at, name)
            if os.path.isfile(full):
                found.append(os.path.relpath(full, directory))
    return found


def size_of(path: str) -> int:
    """The bytes of a file; 0 where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
