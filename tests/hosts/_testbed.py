# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real systemd hosts for tests: podman containers with ssh, one network per scenario.

Everything that lasts lives under the cache directory (`INFEROPS_CACHE`). What podman must forget
when the machine restarts (locks, runtime state) lives in a folder of /run.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import io
import ipaddress
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).resolve().parent
SIMULATOR = HERE.parent / "simulator"
REPOSITORY = HERE.parents[1]

PACKAGES = [
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-yaml",
    "python3-venv",
    "sudo",
    "iproute2",
    "procps",
    "iputils-ping",
    "curl",
    "acl",
    "ca-certificates",
    "less",
    "libnuma1",  # the real vLLM for CPU loads it
    "podman",  # services in containers, nested in the host
    "crun",
]
DPKG_EXCLUDES = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
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
# Private addresses that carriers and cloud providers leave alone; one /24 of it per scenario.
POOL = ipaddress.ip_network("10.213.0.0/16")
NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,39}$")


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


RESERVED = {"key", "locks", "storage", "images", "networks", "runtime"}


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


# --- the image ---------------------------------------------------------------------------------


def os_release() -> dict[str, str]:
    pairs = re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.M)
    return dict(pairs)


def apt_sources(codename: str) -> list[Path]:
    """The machine's own sources of Debian itself: what can be reached from here."""
    found = []
    candidates = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for path in candidates:
        if path.suffix in (".list", ".sources") and path.is_file():
            text = re.sub(r"(?m)^\s*#.*$", "", path.read_text())
            if re.search(rf"\b{codename}\b", text) and re.search(r"\bmain\b", text):
                found.append(path)
    if not found:
        fail(f"no apt source of {codename} in /etc/apt: the image is built from Debian packages")
    return found


def recipe_key(codename: str) -> str:
    digest = hashlib.sha256()
    digest.update(repr((codename, os.uname().machine, PACKAGES, DPKG_EXCLUDES)).encode())
    for path in sorted((HERE / "image").iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def image(paths: Paths, podman: Podman) -> str:
    """Name of the image; built on first use (about 30 s), imported when the storage lacks it."""
    codename = os_release().get("VERSION_CODENAME", "")
    key = recipe_key(codename)
    name = f"localhost/inferops-testhost:{key}"
    if podman("image", "exists", name, check=False).returncode == 0:
        return name
    with locked(paths.lock("image.lock"), "the image"):
        if podman("image", "exists", name, check=False).returncode == 0:
            return name
        folder = paths.root / "images"
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / f"rootfs-{key}.tar"
        for left in folder.glob("*.partial.tar"):
            left.unlink()
        if not archive.exists():
            say(
                "building the image of the test hosts from Debian packages (once, half a minute or more)"
            )
            started = time.monotonic()
            partial = folder / f"rootfs-{key}.partial.tar"
            options = apt_options()
            work = fresh_work_folder(folder / "work")
            log = folder / "build.log"
            with log.open("w") as handle:
                done = subprocess.run(
                    [
                        # Its mounts are its own, so that they go when it is killed.
                        *("unshare", "--mount", "--propagation", "private"),
                        "mmdebstrap",
                        "--mode=root",
                        "--variant=minbase",
                        "--include=" + ",".join(PACKAGES),
                        *(f"--dpkgopt=path-exclude={pattern}" for pattern in DPKG_EXCLUDES),
                        *(f"--aptopt={option}" for option in options),
                        f"--customize-hook={HERE / 'image' / 'customize'}",
                        codename,
                        str(partial),
                        *(str(path) for path in apt_sources(codename)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=handle,
                    stderr=subprocess.STDOUT,
                    check=False,
                    env={**os.environ, "TMPDIR": str(work)},
                )
            if done.returncode:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                fail(f"mmdebstrap exit {done.returncode}; all of its output is in {log}\n{tail}")
            shutil.rmtree(work, ignore_errors=True)
            partial.replace(archive)
            say(f"image built in {time.monotonic() - started:.0f} s")
        podman(
            "import",
            "--change",
            'CMD ["/usr/local/lib/testhost/init"]',
            "--change",
            "STOPSIGNAL SIGRTMIN+3",
            "--change",
            "ENV container=podman",
            archive,
            name,
            timeout=600,
        )
        return name


def fresh_work_folder(work: Path) -> Path:
    """An empty folder for mmdebstrap; what an interrupted build left there is removed."""
    if f" {work}/" in Path("/proc/self/mountinfo").read_text():
        fail(f"something is mounted under {work}, left by an interrupted build: unmount it first")
    if work.exists():
        run(["rm", "-rf", "--one-file-system", work])
    work.mkdir(parents=True)
    return work


def apt_options() -> list[str]:
    """What of this machine's apt settings decides whether its sources can be reached."""
    wanted = ("Check-Valid-Until", "Check-Date", "http::Proxy", "https::Proxy")
    lines = run(["apt-config", "dump"]).stdout.splitlines()
    prefixes = tuple(f"Acquire::{name} " for name in wanted)
    return [line.rstrip(";") for line in lines if line.startswith(prefixes)]


# --- scenarios ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Host:
    name: str
    profile: str
    address: str
    container: str

    def to_json(self) -> dict[str, str]:
        return dict(self.__dict__)


def ssh_key(paths: Paths) -> Path:
    with locked(paths.lock("key.lock"), "the ssh key"):
        if not paths.key.exists() or not paths.key.with_suffix(".pub").exists():
            shutil.rmtree(paths.key.parent, ignore_errors=True)
            partial = paths.key.parent.with_name("key.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True, mode=0o700)
            run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testhosts"]
                + ["-f", str(partial / paths.key.name)]
            )
            partial.replace(paths.key.parent)
    return paths.key


def ssh_options(paths: Paths) -> list[str]:
    return [
        *("-o", "StrictHostKeyChecking=no"),
        *("-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "LogLevel=ERROR"),
        *("-o", "IdentitiesOnly=yes"),
        *("-i", str(paths.key)),
    ]


def free_subnet(name: str, podman: Podman) -> ipaddress.IPv4Network:
    """A /24 that nothing here routes to; the same for a scenario each time if it is free."""
    taken = []
    for family in (["ip", "-4", "-j", "route"], ["ip", "-4", "-j", "addr"]):
        for entry in json.loads(run(family).stdout or "[]"):
            targets = [entry["dst"]] if "dst" in entry else []
            targets += [
                f"{a['local']}/{a['prefixlen']}" for a in entry.get("addr_info", []) if "local" in a
            ]
            for target in targets:
                if target != "default":
                    taken.append(ipaddress.ip_network(target, strict=False))
    networks = json.loads(podman("network", "ls", "--format", "json").stdout or "[]")
    for network in networks:
        taken += [ipaddress.ip_network(s["subnet"]) for s in network.get("subnets") or []]
    start = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 256
    subnets = list(POOL.subnets(new_prefix=24))
    for candidate in subnets[start:] + subnets[:start]:
        if not any(candidate.overlaps(other) for other in taken if other.version == 4):
            return candidate
    fail(f"no free network left in {POOL}: remove scenarios with `hosts down --all`")


def labelled(podman: Podman, name: str) -> list[tuple[str, str]]:
    """(id, name) of the scenario's containers, also of half-made ones."""
    out = podman(
        *("ps", "--all", "--no-trunc", "--filter", f"label=inferops.scenario={name}"),
        *("--format", "{{.ID}} {{.Names}}"),
    ).stdout
    rows = [tuple(line.split(None, 1)) for line in out.splitlines() if line.strip()]
    return [(row[0], row[1]) for row in rows]


def kill_leftovers(container: str) -> None:
    """End what still runs in the container's control groups when podman lost sight of it."""
    groups = [
        path
        for base in (Path("/sys/fs/cgroup/devices"), Path("/sys/fs/cgroup"))
        for path in (base / "libpod_parent" / f"libpod-{container}",)
        if path.is_dir()
    ]
    for _attempt in range(20):
        pids = set()
        for group in groups:
            for procs in group.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    pids |= {int(pid) for pid in procs.read_text().split()}
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    # Conmon would start the host again (restart policy) if it saw the end of its child.


def conmon_of(container: str) -> list[int]:
    """Conmon processes of one container."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if words and words[0].endswith(b"conmon") and container.encode() in words:
                    found.append(int(entry.name))
    return found


def remove_container(podman: Podman, container: str) -> None:
    done = podman("rm", "--force", "--time", "0", "--volumes", container, check=False, timeout=60)
    kill_leftovers(container)
    if done.returncode:
        for pid in conmon_of(container):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done = podman("rm", "--force", "--time", "0", container, check=False, timeout=60)
    if podman("container", "exists", container, check=False).returncode == 0:
        fail(f"container {container} cannot be removed: {done.stderr.strip()}")


def remove_scenario(paths: Paths, podman: Podman, name: str) -> bool:
    """Remove all that a scenario left, however it ended; True when there was something."""
    containers = labelled(podman, name)
    # Half-made containers have storage but no entry in podman's database.
    prefix = f"{name}--"
    out = podman("ps", "--all", "--external", "--no-trunc", "--format", "{{.ID}} {{.Names}}").stdout
    known = {identity for identity, _name in containers}
    orphans = []
    for line in out.splitlines():
        identity, _space, label = line.partition(" ")
        if label.startswith(prefix) and identity not in known:
            orphans.append(identity)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: remove_container(podman, row[0]), containers))
    for identity in orphans:
        podman("rm", "--force", identity, check=False)
        podman("rm", "--force", "--storage", identity, check=False)
    network = f"inferops-{name}"
    had_network = podman("network", "exists", network, check=False).returncode == 0
    if had_network:
        podman("network", "rm", "--force", network)
    state = paths.scenario(name)
    had_state = state.exists()
    if had_state:
        shutil.rmtree(state)
    return bool(containers or orphans or had_network or had_state)


def limits() -> list[str]:
    """Ulimits no higher than this machine allows; podman's own defaults may be refused."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    nofile = 1048576 if hard == resource.RLIM_INFINITY else hard
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    nproc = 32768 if hard == resource.RLIM_INFINITY else min(hard, 32768)
    return [f"--ulimit=nofile={nofile}:{nofile}", f"--ulimit=nproc={nproc}:{nproc}"]


def start_host(
    podman: Podman, paths: Paths, scenario: str, host: Host, image_name: str, mounts: list[str]
) -> None:
    podman(
        *("run", "--detach", "--name", host.container, "--hostname", host.name),
        *("--label", f"inferops.scenario={scenario}"),
        *("--network", f"inferops-{scenario}", "--ip", host.address),
        "--systemd=false",
        "--cgroupns=private",
        "--cap-add=all",
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--device-cgroup-rule", "c *:* rwm"),
        *("--tmpfs", "/run:rw,mode=755", "--tmpfs", "/run/lock:rw"),
        *("--tmpfs", "/tmp:rw,mode=1777", "--tmpfs", "/sys/fs/cgroup:rw,mode=755"),
        # A server's processes share it; podman's 64 MB are too few, a real host has gigabytes.
        "--shm-size=4g",
        "--restart=always",
        "--pids-limit=-1",
        *limits(),
        *("--volume", f"{paths.key}.pub:/etc/ssh/testhost_keys:ro"),
        *(word for mount in mounts for word in ("--volume", f"{mount}:ro")),
        image_name,
    )


def diagnose(podman: Podman, container: str) -> str:
    parts = []
    for words in (
        ("exec", container, "systemctl", "--failed", "--no-legend", "--plain"),
        ("exec", container, "systemctl", "list-jobs", "--no-legend"),
        ("logs", "--tail", "15", container),
    ):
        done = podman(*words, check=False, timeout=20)
        parts.append((done.stdout + done.stderr).strip())
    return "\n".join(part for part in parts if part)


def wait_up(podman: Podman, paths: Paths, host: Host, timeout: float = 90) -> None:
    """Until systemd has finished starting and ssh answers."""
    deadline = time.monotonic() + timeout
    state = ""
    while time.monotonic() < deadline:
        left = max(1.0, deadline - time.monotonic())
        done = podman(
            *("exec", host.container, "systemctl", "is-system-running", "--wait"),
            check=False,
            timeout=left,
        )
        state = done.stdout.strip() or done.stderr.strip()
        if state in ("running", "degraded"):
            break
        time.sleep(0.1)
    else:
        fail(
            f"{host.name}: systemd is not up after {timeout:.0f} s (last answer: {state})\n"
            + diagnose(podman, host.container)
        )
    if state == "degraded":
        failed = podman(
            *("exec", host.container, "systemctl", "--failed", "--no-legend", "--plain"),
            check=False,
        )
        say(f"{host.name}: degraded: {failed.stdout.strip()}")
    while True:
        done = run(
            ["ssh", *ssh_options(paths), "-o", "ConnectTimeout=5", "-o", "BatchMode=yes"]
            + [f"deploy@{host.address}", "true"],
            check=False,
            timeout=15,
        )
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            fail(f"{host.name}: no ssh at {host.address} after {timeout:.0f} s: {done.stderr}")
        time.sleep(0.1)


def simulator_archive() -> bytes:
    """What a host needs to become an Ascend host, as a tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(SIMULATOR.iterdir()):
            if path.is_file():
                archive.add(path, arcname=path.name)
        options = REPOSITORY / "vars" / "vllm_options.json"
        if options.exists():
            archive.add(options, arcname="vllm_options.json")
    return buffer.getvalue()


def install_simulator(podman: Podman, host: Host, archive: bytes, vllm: str | None) -> None:
    command = (
        "rm -rf /usr/local/lib/ascend-sim && mkdir -p /usr/local/lib/ascend-sim && "
        "tar -x --no-same-owner -C /usr/local/lib/ascend-sim && "
        f"python3 -B /usr/local/lib/ascend-sim/install {shlex.quote(host.profile)}"
    )
    if vllm:
        command += f" --vllm {shlex.quote(vllm)}"
    podman("exec", "-i", host.container, "sh", "-c", command, data=archive)


def write_inventory(paths: Paths, hosts: list[Host], target: Path) -> None:
    shared = {
        "ansible_user": "deploy",
        "ansible_become": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(paths.key),
        "ansible_ssh_common_args": (
            "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
            "-o IdentitiesOnly=yes"
        ),
    }
    lines = ["---", "# Written by tests/hosts/hosts; rewritten by every `up`.", "all:", "  hosts:"]
    for host in hosts:
        lines += [f"    {host.name}:", f"      ansible_host: {host.address}"]
    lines.append("  vars:")
    lines += [f"    {key}: {json.dumps(value)}" for key, value in shared.items()]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n")


def load(paths: Paths, name: str) -> list[Host]:
    state = paths.scenario(name) / "scenario.json"
    if not state.exists():
        fail(f"no scenario {name!r} is up; `hosts list` shows what is")
    return [Host(**entry) for entry in json.loads(state.read_text())["hosts"]]


def pick(paths: Paths, scenario: str, name: str) -> Host:
    hosts = load(paths, scenario)
    for host in hosts:
        if host.name == name:
            return host
    fail(f"scenario {scenario!r} has no host {name!r}, only {', '.join(h.name for h in hosts)}")


def parse_hosts(words: list[str], profiles: list[str]) -> list[tuple[str, str]]:
    result = []
    for word in words:
        name, _colon, profile = word.partition(":")
        if not NAME.match(name):
            fail(f"--host {word}: {name!r} is no host name (a-z, 0-9 and '-')")
        if profile not in [*profiles, "none"]:
            fail(
                f"--host {word}: unknown profile {profile!r}; there are {', '.join(profiles)}, none"
            )
        if name in [other for other, _profile in result]:
            fail(f"--host {word}: the name {name!r} is given twice")
        result.append((name, profile))
    return result


def scenario_name(name: str) -> str:
    if not NAME.match(name) or name in RESERVED:
        fail(f"{name!r} cannot be a scenario's name: a-z, 0-9 and '-', at most 40, not reserved")
    return name


def up(arguments: argparse.Namespace, paths: Paths) -> None:
    name = scenario_name(arguments.name)
    profiles = sorted(json.loads((SIMULATOR / "profiles.json").read_text())["profiles"])
    wanted = parse_hosts(arguments.host, profiles)
    for mount in arguments.mount:
        source, _colon, target = mount.partition(":")
        if (
            not Path(source).is_absolute()
            or not Path(source).exists()
            or not target.startswith("/")
        ):
            fail(f"--mount {mount}: wants SRC:DST, both absolute, and SRC must exist")
    podman = Podman(paths)
    key = ssh_key(paths)
    image_name = image(paths, podman)
    started = time.monotonic()
    with locked(paths.lock(f"{name}.lock"), f"scenario {name}"):
        if remove_scenario(paths, podman, name):
            say(f"{name}: removed what an earlier run left")
        with locked(paths.lock("network.lock"), "networks"):
            subnet = free_subnet(name, podman)
            gateway = str(subnet.network_address + 1)
            podman(
                *("network", "create", "--internal", "--disable-dns"),
                *("--subnet", str(subnet), "--gateway", gateway, f"inferops-{name}"),
            )
        hosts = [
            Host(host, profile, str(subnet.network_address + 11 + index), f"{name}--{host}")
            for index, (host, profile) in enumerate(wanted)
        ]
        state = paths.scenario(name)
        state.mkdir(parents=True)
        (state / "scenario.json").write_text(
            json.dumps({"subnet": str(subnet), "hosts": [h.to_json() for h in hosts]}, indent=2)
        )
        archive = simulator_archive()

        def bring_up(host: Host) -> None:
            start_host(podman, paths, name, host, image_name, arguments.mount)
            wait_up(podman, paths, host)
            if host.profile != "none":
                install_simulator(podman, host, archive, arguments.vllm)
            say(f"{name}: {host.name} is up at {host.address} ({host.profile})")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bring_up, hosts))
        inventory = Path(arguments.inventory or state / "inventory.yml").absolute()
        write_inventory(paths, hosts, inventory)
    say(f"{name}: {len(hosts)} hosts in {time.monotonic() - started:.1f} s; key {key}")
    print(inventory)


def scenarios(paths: Paths, podman: Podman) -> list[str]:
    """Every scenario that left a trace: a folder, a container or a network."""
    found = {p.parent.name for p in paths.root.glob("*/scenario.json")}
    out = podman(
        *("ps", "--all", "--filter", "label=inferops.scenario"),
        *("--format", '{{index .Labels "inferops.scenario"}}'),
    ).stdout
    found |= set(out.split())
    out = podman("network", "ls", "--format", "{{.Name}}").stdout
    found |= {
        line.removeprefix("inferops-") for line in out.split() if line.startswith("inferops-")
    }
    return sorted(found)


def down(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    if bool(arguments.all) == bool(arguments.name):
        fail("`hosts down` wants one scenario's name, or --all")
    names = scenarios(paths, podman) if arguments.all else [scenario_name(arguments.name)]
    for name in names:
        started = time.monotonic()
        with locked(paths.lock(f"{name}.lock"), f"scenario {name}"):
            removed = remove_scenario(paths, podman, name)
        took = time.monotonic() - started
        say(f"{name}: removed in {took:.1f} s" if removed else f"{name}: nothing to remove")


def reboot(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    host = pick(paths, arguments.name, arguments.host)
    started = time.monotonic()
    before = podman("inspect", "--format", "{{.State.Pid}}", host.container).stdout.strip()
    podman("exec", host.container, "systemctl", "reboot", check=False)
    deadline = time.monotonic() + 120
    while True:
        done = podman("inspect", "--format", "{{.State.Pid}} {{.State.Status}}", host.container)
        pid, _space, status = done.stdout.strip().partition(" ")
        if status == "running" and pid not in ("0", before):
            break
        if time.monotonic() > deadline:
            fail(f"{host.name}: did not come back after `systemctl reboot` (podman: {status})")
        time.sleep(0.1)
    wait_up(podman, paths, host)
    say(f"{host.name}: back after {time.monotonic() - started:.1f} s")


def exec_(arguments: argparse.Namespace, paths: Paths) -> int:
    podman = Podman(paths)
    host = pick(paths, arguments.name, arguments.host)
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not words:
        fail("`hosts exec NAME HOST -- COMMAND...` wants a command")
    interactive = ["-i", "-t"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]
    return subprocess.call(
        [*podman.base, "exec", *interactive, host.container, *words], env=podman.env
    )


def list_(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    for name in scenarios(paths, podman):
        status = dict(
            line.split(" ", 1)
            for line in podman(
                *("ps", "--all", "--filter", f"label=inferops.scenario={name}"),
                *("--format", "{{.Names}} {{.Status}}"),
            ).stdout.splitlines()
        )
        try:
            hosts = load(paths, name)
        except HostsError:
            print(f"{name}\t(left by an interrupted run; `hosts down {name}` removes it)")
            continue
        for host in hosts:
            state = status.get(host.container, "absent")
            print(f"{name}\t{host.name}\t{host.address}\t{host.profile}\t{state}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="hosts", description="Real systemd hosts for tests, as podman containers."
    )
    commands = parser.add_subparsers(dest="verb", required=True)
    commands.add_parser("image", help="build the image if it is absent")
    sub = commands.add_parser("up", help="(re)create the hosts of a scenario")
    sub.add_argument("name")
    sub.add_argument("--host", action="append", required=True, metavar="NAME:PROFILE")
    sub.add_argument("--inventory", metavar="FILE", help="where the Ansible inventory is written")
    sub.add_argument("--mount", action="append", default=[], metavar="SRC:DST", help="read-only")
    sub.add_argument("--vllm", metavar="VERSION", help="version of the stand-in vLLM")
    sub = commands.add_parser("down", help="remove a scenario")
    sub.add_argument("name", nargs="?")
    sub.add_argument("--all", action="store_true")
    sub = commands.add_parser("reboot", help="restart systemd in a host and wait for it")
    sub.add_argument("name")
    sub.add_argument("host")
    sub = commands.add_parser("exec", help="run a command on a host as root")
    sub.add_argument("name")
    sub.add_argument("host")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    commands.add_parser("list", help="what is up")
    arguments = parser.parse_args()
    try:
        check_machine()
        paths = Paths(cache_directory())
        if arguments.verb == "image":
            print(image(paths, Podman(paths)))
        elif arguments.verb == "up":
            up(arguments, paths)
        elif arguments.verb == "down":
            down(arguments, paths)
        elif arguments.verb == "reboot":
            reboot(arguments, paths)
        elif arguments.verb == "exec":
            return exec_(arguments, paths)
        else:
            list_(arguments, paths)
    except HostsError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next `up` or `down` of this scenario clears up")
        return 130
    return 0
