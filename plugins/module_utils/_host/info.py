# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a preflight needs to know of a host, in one reading. Nothing here changes anything.

Paths are below `root`, `/` but for tests. What cannot be read is None or missing, never guessed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Sequence

from .._base.text import is_number
from .addresses import addresses
from .configurations import configuration
from .device_share import device_share
from .files import below, field, read
from .npu import davinci_nodes, npu_facts
from .paths import Names, path_facts
from .processes import ephemeral_ports, listening
from .services import existing_services, running_services
from .versions import cann_beside, driver, engine

# What the role ascend_host writes to tune a host, and what versions before 0.3 wrote.
TUNING = (
    "/etc/sysctl.d/90-inferops-ascend.conf",
    "/etc/tmpfiles.d/inferops-ascend.conf",
    "/etc/systemd/system/irqbalance.service.d/90-inferops-ascend.conf",
    "/var/lib/inferops-ascend/tuning.json",
)


def path_state(root: Path, path: str) -> dict[str, Any]:
    """What is at a path: {exists, executable, mode, uid, gid}; links are followed."""
    try:
        info = below(root, path).stat()
    except OSError:
        return {"exists": False, "executable": False, "mode": None, "uid": None, "gid": None}
    return {
        "exists": True,
        "executable": stat.S_ISREG(info.st_mode) and bool(info.st_mode & 0o111),
        "mode": f"{stat.S_IMODE(info.st_mode):04o}",
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def disk(root: Path, path: str) -> dict[str, Any]:
    """Free bytes for `path`, measured at its nearest parent that exists: {path, at, free_bytes}."""
    directory = path
    while not below(root, directory).is_dir() and directory not in ("", "/"):
        directory = directory.rstrip("/").rpartition("/")[0] or "/"
    try:
        info = os.statvfs(str(below(root, directory)))
        free: int | None = info.f_bavail * info.f_frsize
    except OSError:
        free = None
    return {"path": path, "at": directory, "free_bytes": free}


def has_weights(root: Path, directory: str) -> bool:
    """Whether a directory has a model's configuration and a file of weights."""
    try:
        names = os.listdir(str(below(root, directory)))
    except OSError:
        return False
    weights = any(name.endswith((".safetensors", ".bin", ".gguf", ".pt")) for name in names)
    return weights and any(name.endswith(".json") for name in names)


def groups(root: Path) -> dict[str, dict[str, Any]]:
    """Groups of /etc/group: {name: {gid, members}}."""
    found: dict[str, dict[str, Any]] = {}
    for line in (read(root / "etc/group") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 4 and is_number(fields[2]):
            members = [name for name in fields[3].split(",") if name]
            found[fields[0]] = {"gid": int(fields[2]), "members": members}
    return found


def users(root: Path) -> dict[str, dict[str, int]]:
    """Users of /etc/passwd: {name: {uid, gid}}."""
    found: dict[str, dict[str, int]] = {}
    for line in (read(root / "etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and is_number(fields[2]) and is_number(fields[3]):
            found.setdefault(fields[0], {"uid": int(fields[2]), "gid": int(fields[3])})
    return found


def account(root: Path, name: str) -> dict[str, Any]:
    """A local user: {name, exists, uid, groups (names), gids}, the primary group first."""
    user = users(root).get(name)
    if user is None:
        return {"name": name, "exists": False, "uid": None, "groups": [], "gids": []}
    known = groups(root)
    member = [group for group, entry in known.items() if entry["gid"] == user["gid"]]
    member += [
        group for group, entry in known.items() if name in entry["members"] and group not in member
    ]
    gids = dict.fromkeys([user["gid"], *(known[group]["gid"] for group in member)])
    return {
        "name": name,
        "exists": True,
        "uid": user["uid"],
        "groups": member,
        "gids": list(gids),
    }


def system(root: Path) -> dict[str, Any]:
    """The operating system: {id, version_id, name, machine, kernel}."""
    release = read(root / "etc/os-release")
    uname = os.uname()
    return {
        "id": field(release, "ID"),
        "version_id": field(release, "VERSION_ID"),
        "name": field(release, "PRETTY_NAME"),
        "machine": uname.machine,
        "kernel": uname.release,
    }


def is_tuned(root: Path) -> bool:
    """Whether a file of the tuning is there."""
    return any(below(root, path).exists() for path in TUNING)


def collect(
    npu_smi: str | None,
    timeout: float,
    *,
    user: str,
    template: str,
    files: Sequence[str],
    executable: str,
    weights_dir: str,
    models: Sequence[str],
    configurations: Sequence[str] = (),
    paths: Sequence[str] = (),
    accounts: Sequence[str] = (),
    shared_cards: Sequence[int] = (),
    root: Path = Path("/"),
) -> dict[str, Any]:
    """Everything that a preflight compares, in one reading.

    files: paths to read. models: directories of weights. configurations: those of them whose
    config.json is read. paths: whose owners, modes and ACLs are read, with those of all that is on the
    way. accounts: users to read besides. shared_cards: logic ids of cards whose setting for that is
    read. executable: the engine's program.
    Keys: npu, device_share, driver, devices, groups, user, users, files, cann, ports, ephemeral_ports, addresses, disk,
    models, configurations, paths, services, engine, system, tuned. Raises nothing: what is missing is named in the facts.
    """
    known = groups(root)
    names = {entry["gid"]: name for name, entry in known.items()}
    owners = Names({entry["uid"]: name for name, entry in users(root).items()}, names)
    nodes = [f"/dev/davinci{number}" for number in davinci_nodes(root)]
    devices = {path: path_state(root, path) for path in nodes}
    for device in devices.values():
        device["group"] = names.get(device["gid"])
    npu = npu_facts(npu_smi, timeout, root)
    return {
        "npu": npu,
        "device_share": device_share(npu_smi, timeout, npu["cards"], shared_cards, root),
        "driver": driver(root),
        "devices": devices,
        "groups": sorted(known),
        "user": account(root, user),
        "users": {name: account(root, name) for name in accounts},
        "files": {path: path_state(root, path) for path in (*files, executable)},
        "cann": {path: cann_beside(root, path) for path in files},
        "ports": listening(root),
        "ephemeral_ports": ephemeral_ports(root),
        "addresses": addresses(root),
        "disk": disk(root, weights_dir),
        "models": {directory: has_weights(root, directory) for directory in models},
        "configurations": {each: configuration(root, each) for each in configurations},
        "paths": {each: path_facts(root, each, owners) for each in paths},
        "services": running_services(root, template),
        "standing": existing_services(root, template),
        "engine": engine(root, executable),
        "system": system(root),
        "tuned": is_tuned(root),
    }
