# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a preflight wants to know of a host beside its cards. Nothing here changes anything.

Paths are below `root`, `/` but for tests. What cannot be read is None or missing, never guessed.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any, Iterable, Sequence

from ansible_collections.inferops.ascend.plugins.module_utils._base import files as _files
from ansible_collections.inferops.ascend.plugins.module_utils._host import ascend_host, tuning

# What systemd_instances writes into a unit of ours, and the digest's process then carries.
MARK = "INFEROPS_DIGEST"
_KEPT = (MARK, "ASCEND_RT_VISIBLE_DEVICES", "HCCL_IF_BASE_PORT")

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp, include/net/tcp_states.h of Linux
_SOCKET = re.compile(r"socket:\[([0-9]+)\]\Z")
_COMMAND_LIMIT = 80
_PYTHON_SWITCHES = frozenset(("-m", "-B", "-E", "-I", "-O", "-P", "-s", "-S", "-u"))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _pids(root: Path) -> list[int]:
    try:
        names = [path.name for path in (root / "proc").iterdir()]
    except OSError:
        return []
    return sorted(int(name) for name in names if name.isdigit())


# ---------------------------------------------------------------------------------------------
# Processes


def command_of(root: Path, pid: int) -> str | None:
    """The start of a process's command line, up to its first option; None if it cannot be seen.

    What follows options may be a secret. Python's `-m MODULE` and its switches are kept, for the
    program's name follows them.
    """
    try:
        raw = (root / "proc" / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    words = [word.decode("utf-8", "replace") for word in raw.split(b"\0") if word]
    kept: list[str] = []
    python = bool(words) and words[0].rpartition("/")[2].startswith("python")
    for number, word in enumerate(words):
        if python and number and word in _PYTHON_SWITCHES:
            kept.append(word)
            continue
        if word.startswith("-") or (number > 0 and "=" in word):
            break
        python = python and not number
        kept.append(word)
    text = " ".join(" ".join(kept).split())
    return (text[: _COMMAND_LIMIT - 3] + "..." if len(text) > _COMMAND_LIMIT else text) or None


def _marks(root: Path, pid: int) -> dict[str, str]:
    """The few variables of a process's environment that tell whose it is."""
    try:
        raw = (root / "proc" / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for entry in raw.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and name.decode("ascii", "replace") in _KEPT:
            found[name.decode("ascii")] = value.decode("ascii", "replace")
    return found


def _written_marks(root: Path, unit: str) -> dict[str, str]:
    """The same from the unit's drop-in: a process may have written over its environment."""
    text = _read(root / "etc/systemd/system" / (unit + ".d") / "placement.conf") or ""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, value = (line.split("=", 1) + [""])[:2]
        key, equals, content = value.strip().strip('"').partition("=")
        if name.strip() == "Environment" and equals and key in _KEPT:
            found[key] = content
    return found


def _numbers(text: str | None) -> list[int]:
    return [int(part) for part in (text or "").split(",") if part.strip().isdigit()]


def our_services(root: Path, template: str) -> list[dict[str, Any]]:
    """Running units of a template that this collection made.

    template: such as `vllm@.service`. A unit is ours if a process of it, or its drop-in, has the
    mark. Returns {unit, pids, cards (logic ids), hccl_base_port} of each, by name of the unit.
    """
    before, after = template.split("@", 1)
    units: dict[str, list[int]] = {}
    for pid in _pids(root):
        unit = ascend_host.unit_of(root, pid)
        if unit and unit.startswith(before + "@") and unit.endswith(after):
            units.setdefault(unit, []).append(pid)
    services = []
    for unit in sorted(units):
        marks = next((m for m in (_marks(root, pid) for pid in units[unit]) if MARK in m), {})
        marks = marks or _written_marks(root, unit)
        if MARK not in marks:
            continue
        base = _numbers(marks.get("HCCL_IF_BASE_PORT"))
        services.append(
            {
                "unit": unit,
                "pids": units[unit],
                "cards": _numbers(marks.get("ASCEND_RT_VISIBLE_DEVICES")),
                "hccl_base_port": base[0] if base else None,
            }
        )
    return services


def standing(root: Path, template: str) -> list[dict[str, Any]]:
    """Where the services stand that this collection wrote, running or not, by name.

    Returns {name, cards (logic ids), port}; `port` is None where the configuration is not there.
    """
    before, after = template.split("@", 1)
    found = []
    for folder in sorted((root / "etc/systemd/system").glob(f"{before}@*{after}.d")):
        unit = folder.name[: -len(".d")]
        name = unit[len(before) + 1 : len(unit) - len(after)]
        if not _files.is_marked(_read(folder / "placement.conf") or "", unit):
            continue
        config = _read(root / "etc" / before / f"{name}.yaml") or ""
        port = re.search(r"^port: ([0-9]+)$", config, re.MULTILINE)
        cards = _numbers(_written_marks(root, unit).get("ASCEND_RT_VISIBLE_DEVICES"))
        found.append({"name": name, "cards": cards, "port": int(port.group(1)) if port else None})
    return found


# ---------------------------------------------------------------------------------------------
# Ports


def listening(root: Path) -> list[dict[str, Any]]:
    """TCP ports somebody listens on, ascending: {port, pid, command, unit}; unknown is None.

    Who listens is seen as root only. A port of several sockets (IPv4 and IPv6) is one entry.
    """
    inodes: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        for line in (_read(root / "proc/net" / table) or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                inodes[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    holders = _holders(root, set(inodes))
    ports: dict[int, int | None] = {}
    for inode, port in inodes.items():
        ports[port] = ports.get(port) or holders.get(inode)
    return [
        {
            "port": port,
            "pid": pid,
            "command": command_of(root, pid) if pid else None,
            "unit": ascend_host.unit_of(root, pid) if pid else None,
        }
        for port, pid in sorted(ports.items())
    ]


def _holders(root: Path, inodes: set[str]) -> dict[str, int]:
    """The first process of each socket."""
    found: dict[str, int] = {}
    for pid in _pids(root):
        if len(found) == len(inodes):
            break
        folder = root / "proc" / str(pid) / "fd"
        try:
            names = os.listdir(str(folder))
        except OSError:
            continue
        for name in names:
            try:
                match = _SOCKET.match(os.readlink(str(folder / name)))
            except OSError:
                continue
            if match and match.group(1) in inodes:
                found.setdefault(match.group(1), pid)
    return found


# ---------------------------------------------------------------------------------------------
# Files and accounts


def _state(root: Path, path: str) -> dict[str, Any]:
    """What is at a path: {exists, executable, mode, owner, group}; links are followed."""
    try:
        info = _below(root, path).stat()
    except OSError:
        return {"exists": False, "executable": False, "mode": None, "uid": None, "gid": None}
    return {
        "exists": True,
        "executable": stat.S_ISREG(info.st_mode) and bool(info.st_mode & 0o111),
        "mode": f"{stat.S_IMODE(info.st_mode):04o}",
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def paths(root: Path, wanted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """{path: {exists, executable, mode, uid, gid}}."""
    return {path: _state(root, path) for path in wanted}


def disk(root: Path, path: str) -> dict[str, Any]:
    """Free bytes for `path`, measured at its nearest parent that exists: {path, at, free_bytes}."""
    folder = path
    while not _below(root, folder).is_dir() and folder not in ("", "/"):
        folder = folder.rstrip("/").rpartition("/")[0] or "/"
    try:
        info = os.statvfs(str(_below(root, folder)))
    except OSError:
        return {"path": path, "at": folder, "free_bytes": None}
    return {"path": path, "at": folder, "free_bytes": info.f_bavail * info.f_frsize}


def has_weights(root: Path, folder: str) -> bool:
    """Whether a folder has a model's configuration and a file of weights."""
    try:
        names = os.listdir(str(_below(root, folder)))
    except OSError:
        return False
    weights = any(name.endswith((".safetensors", ".bin", ".gguf", ".pt")) for name in names)
    return weights and any(name.endswith(".json") for name in names)


def groups(root: Path) -> dict[str, dict[str, Any]]:
    """Groups of /etc/group: {name: {gid, members}}."""
    found: dict[str, dict[str, Any]] = {}
    for line in (_read(root / "etc/group") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 4 and fields[2].isdigit():
            members = [name for name in fields[3].split(",") if name]
            found[fields[0]] = {"gid": int(fields[2]), "members": members}
    return found


def account(root: Path, name: str) -> dict[str, Any]:
    """A local user: {name, exists, groups (names, the primary one first)}."""
    known = groups(root)
    for line in (_read(root / "etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[0] == name:
            primary = [group for group, entry in known.items() if str(entry["gid"]) == fields[3]]
            others = [group for group, entry in known.items() if name in entry["members"]]
            member = primary + [group for group in others if group not in primary]
            return {"name": name, "exists": True, "groups": member}
    return {"name": name, "exists": False, "groups": []}


def driver(root: Path) -> dict[str, Any]:
    """The driver's own records: {version_info, version_info_exists, install_status}.

    install_status: Driver_Install_Status of /etc/ascend_install.info, `complete` where all is well.
    """
    info = ascend_host.driver_folder(root) / "version.info"
    text = _read(root / "etc/ascend_install.info")
    found = re.search(r"^\s*Driver_Install_Status\s*=\s*(\S+)", text or "", re.MULTILINE)
    return {
        "version_info": "/" + str(info.relative_to(root)),
        "version_info_exists": info.is_file(),
        "install_info_exists": text is not None,
        "install_status": found.group(1) if found else None,
    }


def engine(root: Path, executable: str) -> dict[str, str | None]:
    """Versions in the virtual environment of `executable`: {vllm, vllm_ascend, torch_npu, python}.

    From the names of its *.dist-info folders and its pyvenv.cfg; nothing is imported.
    """
    found: dict[str, str | None] = dict.fromkeys(("vllm", "vllm_ascend", "torch_npu", "python"))
    top = _below(root, executable).parent.parent
    for folder in sorted(top.glob("lib*/python3*/site-packages/*.dist-info")):
        name, version = (folder.name[: -len(".dist-info")].split("-", 1) + [""])[:2]
        key = name.lower().replace("-", "_")
        if key in found:
            found[key] = version
    match = re.search(r"^version(?:_info)?\s*=\s*(\S+)", _read(top / "pyvenv.cfg") or "", re.M)
    found["python"] = match.group(1) if match else None
    return found


def system(root: Path) -> dict[str, Any]:
    """The operating system: {id, version_id, name, machine, kernel}."""
    fields: dict[str, str] = {}
    for line in (_read(root / "etc/os-release") or "").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            fields[key] = value.strip().strip("\"'")
    uname = os.uname()
    return {
        "id": fields.get("ID"),
        "version_id": fields.get("VERSION_ID"),
        "name": fields.get("PRETTY_NAME"),
        "machine": uname.machine,
        "kernel": uname.release,
    }


# ---------------------------------------------------------------------------------------------
# All together


def ephemeral_ports(root: Path) -> list[int] | None:
    """net.ipv4.ip_local_port_range, [first, last]; None where it cannot be read."""
    text = _read(root / "proc/sys/net/ipv4/ip_local_port_range") or ""
    ends = [int(part) for part in text.split() if part.isdigit()]
    return ends if len(ends) == 2 else None


def npu(npu_smi: str | None, timeout: float, root: Path) -> dict[str, Any]:
    """npu_info's facts, also where npu-smi fails: then `cards` is empty and `problems` say why.

    Each process has `command` besides. One of which /proc knows nothing has ended since, or is in
    another namespace: then npu-smi is asked once more, and what it still lists is there.
    """
    try:
        program = ascend_host.find_npu_smi(npu_smi)
        facts = _with_commands(ascend_host.collect(program, timeout, root), root)
    except ascend_host.HostError as error:
        return ascend_host.failure(error, root)[1]
    if any(
        process["unit"] is None and process["command"] is None
        for card in facts["cards"]
        for process in card["processes"]
    ):
        try:
            return _with_commands(ascend_host.collect(program, timeout, root), root)
        except ascend_host.HostError:
            return facts
    return facts


def _with_commands(facts: dict[str, Any], root: Path) -> dict[str, Any]:
    for card in facts["cards"]:
        for process in card["processes"]:
            process["command"] = command_of(root, process["pid"])
    return facts


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
    root: Path = Path("/"),
) -> dict[str, Any]:
    """Everything a preflight judges, in one reading.

    files: paths to look at. models: folders of weights. executable: the engine's program.
    Keys: npu, driver, devices, groups, user, files, cann, ports, ephemeral_ports, disk, models,
    services, engine, system, tuned. Raises nothing: what is missing is said in the facts.
    """
    nodes = ascend_host.davinci_nodes(root)
    known = groups(root)
    devices = paths(root, [f"/dev/davinci{number}" for number in nodes])
    names = {entry["gid"]: name for name, entry in known.items()}
    for device in devices.values():
        device["group"] = names.get(device["gid"])
    return {
        "npu": npu(npu_smi, timeout, root),
        "driver": driver(root),
        "devices": devices,
        "groups": sorted(known),
        "user": account(root, user),
        "files": paths(root, [*files, executable]),
        "cann": {path: ascend_host.cann_beside(root, path) for path in files},
        "ports": listening(root),
        "ephemeral_ports": ephemeral_ports(root),
        "disk": disk(root, weights_dir),
        "models": {folder: has_weights(root, folder) for folder in models},
        "services": our_services(root, template),
        "standing": standing(root, template),
        "engine": engine(root, executable),
        "system": system(root),
        "tuned": (root / tuning.RECORD).exists(),
    }
