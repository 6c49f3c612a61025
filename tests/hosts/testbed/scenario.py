# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios: one network with hosts each, started and removed together."""

from __future__ import annotations

import contextlib
import hashlib
import io
import ipaddress
import json
import os
import resource
import shlex
import shutil
import signal
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .machine import HostsError, Paths, Podman, fail, locked, run, say

TESTS = Path(__file__).resolve().parents[2]
SIMULATOR = TESTS / "simulator"
REPOSITORY = TESTS.parent


# Private addresses that carriers and cloud providers leave alone; one /24 of it per scenario.
POOL = ipaddress.ip_network("10.213.0.0/16")


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
    raise HostsError(f"no free network left in {POOL}: remove scenarios with `hosts down --all`")


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
    raise HostsError(
        f"scenario {scenario!r} has no host {name!r}, only {', '.join(h.name for h in hosts)}"
    )
