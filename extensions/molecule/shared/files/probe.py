# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a host as the kernel and systemd see it, and prints one JSON document. Run as root.

probe.py services       what every vllm@ service is, opens and may open, and where secrets are found
probe.py note FILE      writes down every file, unit file and running service of the host
probe.py compare FILE   lists the files and units that differ from what was written down
"""

from __future__ import annotations

import ctypes
import errno
import glob
import json
import os
import pwd
import re
import stat
import subprocess
import sys
from typing import Any, Callable

# Every secret of the scenario contains it.
SECRET_WORD = b"sesame"
SECRET_NAMES = ("VLLM_API_KEY", "HUB_TOKEN", "INFEROPS_SECRET_DIGEST")
CLONE_NEWNS = 0x00020000
DEVICES = re.compile(r"/dev/(davinci\w+|devmm_svm|hisi_hdc)$")
WATCHED = [
    "/etc",
    "/usr",
    "/opt",
    "/var",
    "/root",
    "/home",
    "/srv",
    "/run/lock",
    "/run/systemd/system",
]
# What changes by itself, or by logging in.
UNWATCHED = re.compile(
    r"^(/var/log|/var/tmp|/var/lib/systemd|/home/deploy/\.ansible|/root/\.ansible)(/|$)|/__pycache__"
)


def output(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout.decode("utf-8", "surrogateescape")


def in_child(work: Callable[[], Any]) -> Any:
    """Return what `work` returns in a child, whose identity and groups it may change."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            text = json.dumps(work()).encode()
            with os.fdopen(write, "wb") as handle:
                handle.write(text)
            status = 0
        except BaseException as problem:
            sys.stderr.write(f"probe: {problem!r}\n")
        os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as handle:
        text = handle.read()
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("probe: a child failed")
    return json.loads(text)


def show(unit: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"DeviceAllow": []}
    for line in output("systemctl", "show", "--all", "--", unit).splitlines():
        key, equals, value = line.partition("=")
        if equals and key == "DeviceAllow":
            properties[key] += [value] if value else []
        elif equals:
            properties[key] = value
    return properties


def cgroup_directories(pid: int) -> list[str]:
    """Return the directories of the control groups by which the kernel judges device accesses."""
    found = []
    with open(f"/proc/{pid}/cgroup") as handle:
        for line in handle:
            number, controllers, path = line.rstrip("\n").split(":", 2)
            if controllers == "devices":
                found.append("/sys/fs/cgroup/devices" + path)
            elif number == "0":
                base = "/sys/fs/cgroup/unified"
                found.append((base if os.path.isdir(base) else "/sys/fs/cgroup") + path)
    return found


def members(pid: int) -> list[int]:
    """Return the processes of the control group that `pid` is in."""
    for directory in cgroup_directories(pid):
        with open(directory + "/cgroup.procs") as handle:
            return sorted(int(line) for line in handle)
    return []


def identity(pid: int) -> dict[str, list[int]]:
    fields = {}
    with open(f"/proc/{pid}/status") as handle:
        for line in handle:
            key, _colon, value = line.partition(":")
            if key in ("Uid", "Gid", "Groups"):
                fields[key] = [int(word) for word in value.split()]
    return fields


def become(who: dict[str, list[int]]) -> None:
    os.setgroups(who["Groups"])
    os.setgid(who["Gid"][0])
    os.setuid(who["Uid"][0])


def try_devices() -> dict[str, str]:
    """Try to open every node of the cards: 'open', or the name of the error."""
    result = {}
    for path in sorted(glob.glob("/dev/*")):
        if not DEVICES.match(path):
            continue
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
            result[os.path.basename(path)] = "open"
        except OSError as problem:
            result[os.path.basename(path)] = errno.errorcode[problem.errno or 0]
    return result


def try_devices_as_member(pid: int) -> dict[str, str]:
    """Try it with the identity, in the control groups and in the mount namespace of `pid`."""
    who = identity(pid)
    for directory in cgroup_directories(pid):
        with open(directory + "/cgroup.procs", "w") as handle:
            handle.write(str(os.getpid()))
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    if libc.setns(descriptor, CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    become(who)
    return try_devices()


def try_devices_outside(pid: int) -> dict[str, str]:
    """Try it with the identity of `pid` alone: what its control group does not forbid."""
    become(identity(pid))
    return try_devices()


def open_nodes(pid: int) -> list[str]:
    found = set()
    for path in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if DEVICES.match(target):
            found.add(os.path.basename(target))
    return sorted(found)


def show_name(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as handle:
        return handle.read().strip()


def environment(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/environ", "rb") as handle:
        entries = handle.read().split(b"\0")
    pairs = (entry.partition(b"=") for entry in entries if b"=" in entry)
    return {
        key.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
        for key, _equals, value in pairs
    }


def service(unit: str) -> dict[str, Any]:
    properties = show(unit)
    pid = int(properties.get("MainPID") or 0)
    result: dict[str, Any] = {"pid": pid, "properties": properties}
    if pid:
        result["environment"] = environment(pid)
        result["groups"] = identity(pid)["Groups"]
        result["processes"] = [
            {
                "pid": each,
                "name": show_name(each),
                "nodes": open_nodes(each),
            }
            for each in members(pid)
        ]
        result["inside"] = in_child(lambda: try_devices_as_member(pid))
        result["outside"] = in_child(lambda: try_devices_outside(pid))
    return result


def files_with(needles: list[bytes], places: list[str]) -> list[str]:
    """Return the readable files below the places that contain one of the needles."""
    found = []
    for place in places:
        for folder, _folders, names in os.walk(place):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if stat.S_ISREG(os.lstat(path).st_mode):
                        with open(path, "rb") as handle:
                            data = handle.read(8 << 20)
                        if any(needle in data for needle in needles):
                            found.append(path)
                except OSError:
                    continue
    return sorted(found)


def secrets(services: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Search where others can look for the secrets of the running services and their digests."""
    values = {SECRET_WORD}
    for each in services.values():
        for name in SECRET_NAMES:
            value = each.get("environment", {}).get(name)
            if value:
                values.add(value.encode("utf-8", "surrogateescape").splitlines()[0])
    needles = sorted(values)
    nobody = pwd.getpwnam("nobody")
    everywhere = ["/etc", "/run", "/var", "/opt", "/usr/local", "/tmp", "/home", "/dev/shm"]

    def as_nobody() -> Any:
        become({"Uid": [nobody.pw_uid], "Gid": [nobody.pw_gid], "Groups": []})
        found = files_with(needles, everywhere)
        for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as handle:
                    data = handle.read()
            except OSError:
                continue
            found += [path] if any(needle in data for needle in needles) else []
        for unit in services:
            text = output("systemctl", "show", "--all", f"vllm@{unit}.service").encode()
            found += [f"systemctl show {unit}"] if any(n in text for n in needles) else []
        return found

    done = subprocess.run(["journalctl", "--output=export"], stdout=subprocess.PIPE, check=False)
    journal = done.stdout
    return {
        "searched": len(needles),
        "readable_by_others": in_child(as_nobody),
        "in_journal": sum(journal.count(needle) for needle in needles),
        "journal_bytes": len(journal),
        "readable_by_root": files_with(needles, ["/etc"]),
    }


def names() -> list[str]:
    """Return every instance of which there is a unit, a file or a process."""
    found = set()
    for line in output(
        "systemctl", "list-units", "--all", "--plain", "--no-legend", "vllm@*"
    ).splitlines():
        found.add(line.split()[0][len("vllm@") : -len(".service")])
    for pattern, cut in (
        ("/etc/systemd/system/vllm@?*.service.d", len(".service.d")),
        ("/etc/systemd/system/*.wants/vllm@?*.service", len(".service")),
    ):
        for path in glob.glob(pattern):
            found.add(os.path.basename(path)[len("vllm@") : -cut])
    for path in glob.glob("/etc/vllm/*"):
        found.add(os.path.basename(path).rpartition(".")[0])
    return sorted(found)


def all_files() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for place in WATCHED:
        for folder, directories, files in os.walk(place):
            directories[:] = [
                d for d in directories if not UNWATCHED.search(os.path.join(folder, d))
            ]
            for name in directories + files:
                path = os.path.join(folder, name)
                if UNWATCHED.search(path):
                    continue
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                size_and_time = (
                    [] if stat.S_ISDIR(status.st_mode) else [status.st_size, status.st_mtime_ns]
                )
                found[path] = [status.st_mode, status.st_uid, status.st_gid, *size_and_time]
    return found


def all_units() -> dict[str, str]:
    """Return the state of each unit file, and the main process of each service that runs."""
    found = {}
    for line in output("systemctl", "list-unit-files", "--no-legend", "--no-pager").splitlines():
        name, state = line.split()[:2]
        found[name] = state
    shown = output("systemctl", "show", "--property=Id,SubState,MainPID", "--type=service", "*")
    for block in shown.split("\n\n"):
        unit = dict(line.partition("=")[::2] for line in block.splitlines())
        # Those of a login come and go with the one that asks.
        if unit.get("SubState") == "running" and not re.match(r"(ssh|user)@", unit["Id"]):
            found["process of " + unit["Id"]] = unit["MainPID"]
    return found


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def main() -> int:
    verb = sys.argv[1]
    result: dict[str, Any] = {}
    if verb == "services":
        result["services"] = {name: service(f"vllm@{name}.service") for name in names()}
        result["secrets"] = secrets(result["services"])
    elif verb == "note":
        with open(sys.argv[2], "w") as handle:
            json.dump({"files": all_files(), "units": all_units()}, handle)
    elif verb == "compare":
        with open(sys.argv[2]) as handle:
            before = json.load(handle)
        files, units = all_files(), all_units()
        result["files"] = len(files)
        result["changed"] = differing(before["files"], files)
        result["units"] = len(units)
        result["changed_units"] = differing(before["units"], units)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
