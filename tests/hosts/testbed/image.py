# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of the hosts, built from Debian packages."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from .machine import Paths, Podman, fail, locked, run, say

HOSTS = Path(__file__).resolve().parents[1]


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
    "haproxy",  # gateways
    "keepalived",
    "nftables",
    "openssl",
]
DPKG_EXCLUDES = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


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
    for path in sorted((HOSTS / "image").iterdir()):
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
                        f"--customize-hook={HOSTS / 'image' / 'customize'}",
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
