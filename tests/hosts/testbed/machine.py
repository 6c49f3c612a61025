# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that the hosts run on: its tools, the cache, and a podman apart from its own."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

COMMANDS = {
    "podman": "podman",
    "runc": "runc",
    "conmon": "conmon",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
}


class HostsError(Exception):
    """What went wrong, with the way out."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    raise HostsError(text)


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    data: bytes | None = None,
    timeout: float | None = 120,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command, capturing its output; HostsError with the output when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=data,
            stdin=None if data is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=env,
            check=False,
        )
    except FileNotFoundError:
        fail(f"{words[0]}: command not found; `tests/tools/dev hosts` installs what is needed")
    except subprocess.TimeoutExpired:
        if check:
            fail(f"no end after {timeout:.0f} s: {shlex.join(words)}")
        return subprocess.CompletedProcess(words, 124, "", f"timed out after {timeout} s")
    result = subprocess.CompletedProcess(
        words,
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )
    if check and result.returncode:
        output = (result.stderr + result.stdout).strip()
        fail(f"exit {result.returncode} of: {shlex.join(words)}\n{output}")
    return result


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock; say so when somebody else has it. Not inherited by children."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that works on {what} ({path})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def check_machine() -> None:
    """Refuse early, and plainly, where the hosts cannot work."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = sorted({package for name, package in COMMANDS.items() if not shutil.which(name)})
    if not any(
        Path(folder, "netavark").exists()
        for folder in ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/libexec/podman")
    ):
        missing.append("netavark")
    if missing:
        fail(
            f"these Debian packages are missing: {' '.join(missing)}; `tests/tools/dev hosts` "
            "installs them"
        )
    if os.geteuid() != 0:
        fail(
            "test hosts need root: they mount control groups, make device nodes and networks. "
            "Run this as root, for example with `sudo -E`"
        )
    needed = {
        "CAP_NET_ADMIN": 12,
        "CAP_SYS_ADMIN": 21,
        "CAP_MKNOD": 27,
        "CAP_SYS_CHROOT": 18,
        "CAP_DAC_OVERRIDE": 1,
        "CAP_KILL": 5,
    }
    status = Path("/proc/self/status").read_text()
    held = int(re.findall(r"^CapEff:\s*([0-9a-f]+)", status, re.M)[0], 16)
    absent = [name for name, bit in needed.items() if not held >> bit & 1]
    if absent:
        fail(
            f"root lacks {', '.join(absent)} here (an unprivileged container?). Test hosts need "
            "them: use a virtual machine, or start the outer container with --privileged"
        )
    if not Path("/sys/fs/cgroup").is_mount():
        fail("/sys/fs/cgroup is not mounted: systemd in the hosts needs control groups")


@dataclass(frozen=True)
class Paths:
    """Where everything lives."""

    cache: Path

    @property
    def root(self) -> Path:
        return self.cache / "hosts"

    @property
    def runtime(self) -> Path:
        """Podman's runtime state: in /run, since its path may have no more than 50 letters.

        Podman refuses a storage with another path than its first, so that path is kept.
        """
        record = self.root / "runtime"
        if not record.exists():
            tag = hashlib.sha256(str(self.cache).encode()).hexdigest()[:8]
            write_if_changed(record, f"/run/testhosts/{tag}\n")
        return Path(record.read_text().strip())

    @property
    def key(self) -> Path:
        return self.root / "key" / "id_ed25519"

    def lock(self, name: str) -> Path:
        return self.root / "locks" / name

    def scenario(self, name: str) -> Path:
        return self.root / name


def cache_directory() -> Path:
    chosen = os.environ.get("INFEROPS_CACHE")
    if chosen:
        return Path(chosen).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "inferops-ascend").resolve()


def write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        partial.write_text(text)
        partial.replace(path)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()


def fresh_after_restart(paths: Paths) -> Path:
    """The runtime folder, emptied when this machine was restarted since (/run may be a disk)."""
    with locked(paths.lock("runtime.lock"), "podman's runtime folder"):
        runtime = paths.runtime
        stamp = runtime / "boot-id"
        if not stamp.exists() or stamp.read_text() != boot_id():
            if runtime.exists():
                run(["rm", "-rf", "--one-file-system", runtime])
            runtime.mkdir(parents=True)
            write_if_changed(stamp, boot_id())
    return runtime


class Podman:
    """Podman with a storage and settings of its own, apart from the machine's."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.conf = paths.root / "containers.conf"
        for folder in ("storage", "networks", "locks"):
            (paths.root / folder).mkdir(parents=True, exist_ok=True)
        runtime = fresh_after_restart(paths)
        text = "\n".join(
            [
                "[engine]",
                'runtime = "runc"',
                'cgroup_manager = "cgroupfs"',
                'events_logger = "file"',
                f'events_logfile_path = "{runtime}/events.log"',
                f'tmp_dir = "{runtime}/libpod"',
                f'static_dir = "{paths.root}/storage/libpod"',
                f'volume_path = "{paths.root}/storage/volumes"',
                'lock_type = "file"',
                "[network]",
                'network_backend = "netavark"',
                f'network_config_dir = "{paths.root}/networks"',
                "[containers]",
                'log_driver = "k8s-file"',
                "",
            ]
        )
        storage = (
            f'[storage]\ndriver = "overlay"\nrunroot = "{runtime}/run"\n'
            f'graphroot = "{paths.root}/storage"\n'
        )
        write_if_changed(self.conf, text)
        write_if_changed(paths.root / "storage.conf", storage)
        self.env = {
            **os.environ,
            "CONTAINERS_CONF": str(self.conf),
            "CONTAINERS_STORAGE_CONF": str(paths.root / "storage.conf"),
        }
        self.base = [
            "podman",
            "--root",
            str(paths.root / "storage"),
            "--runroot",
            str(runtime / "run"),
            "--storage-driver",
            "overlay",
        ]

    def __call__(
        self,
        *words: str | Path,
        check: bool = True,
        data: bytes | None = None,
        timeout: float | None = 120,
    ) -> subprocess.CompletedProcess[str]:
        return run([*self.base, *words], check=check, data=data, timeout=timeout, env=self.env)
