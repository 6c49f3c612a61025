# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an Ascend host says of itself: npu-smi, version files, device nodes, units of processes.

Paths are below `root`, `/` but for tests.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.inferops.ascend.plugins.module_utils._host import npu_smi as _npu_smi

# Where the driver's packages put npu-smi; it is often not on the PATH of a non-login shell.
NPU_SMI_FOLDERS = ("/usr/local/bin", "/usr/local/sbin")

# Seconds to wait for a killed process: one in uninterruptible sleep does not die of SIGKILL.
_GRACE = 2.0

_DAVINCI = re.compile(r"davinci([0-9]{1,9})\Z")
_UNIT = re.compile(r".\.(?:service|scope)\Z", re.DOTALL)
# The control group of a container, of systemd's making or the engine's own, ends with its id.
_CONTAINER = re.compile(r"[/-][0-9a-f]{64}(?:\.scope)?(?:/|$)", re.MULTILINE)
# The configuration of a service, as mounted into its container, and nothing after the name.
_MOUNTED = re.compile(
    r"^(?:\S+ ){4}/etc/vllm/([a-zA-Z0-9][a-zA-Z0-9._-]{0,62})\.yaml ", re.MULTILINE
)


class HostError(Exception):
    """The host could not be asked at all. `problems` says why, the reason first."""

    def __init__(self, problems: Sequence[_npu_smi.Problem]) -> None:
        self.problems = list(problems)
        super().__init__("{message} {advice}".format(**self.problems[0]))


class Output(NamedTuple):
    """What a program printed, and its exit status."""

    stdout: str
    stderr: str
    status: int


# ---------------------------------------------------------------------------------------------
# Programs


def find_npu_smi(path: str | None = None, search: str | None = None) -> str:
    """The path of npu-smi: `path` if given, else from NPU_SMI_FOLDERS and then the search path.

    search: colon-separated folders, default the PATH of this process.
    Raises HostError that names every place looked at.
    """
    if path:
        candidates = [path]
    else:
        folders = list(NPU_SMI_FOLDERS)
        for folder in (os.environ.get("PATH", "") if search is None else search).split(os.pathsep):
            if folder and folder not in folders:
                folders.append(folder)
        candidates = [folder + "/npu-smi" for folder in folders]
    for candidate in candidates:
        if Path(candidate).is_file() and os.access(candidate, os.X_OK):
            return candidate
    looked = path if path else ", ".join(candidates)
    raise HostError([_npu_smi.problem("npu_smi_missing", looked=looked)])


def environment(driver: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for npu-smi: plain English output, and the driver's libraries to be found.

    driver: the folder of the driver, /usr/local/Ascend/driver. A shell that is no login shell has
    no LD_LIBRARY_PATH for it, and npu-smi then does not start.
    """
    env = dict(os.environ if base is None else base)
    env["LC_ALL"] = "C"
    library = driver / "lib64"
    folders = [str(library / name) for name in ("", "common", "driver")]
    have = [entry for entry in env.get("LD_LIBRARY_PATH", "").split(":") if entry]
    have += [entry for entry in folders if entry not in have and Path(entry).is_dir()]
    if have:
        env["LD_LIBRARY_PATH"] = ":".join(have)
    return env


def run(command: Sequence[str], timeout: float, env: Mapping[str, str] | None = None) -> Output:
    """Run a program to its end and return what it printed.

    timeout: seconds; then the program and its children, which share its session, are killed.
    Raises HostError if it cannot be started or does not end in time. Bytes that are no UTF-8
    are replaced.
    """
    shown = " ".join(command)
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(
            [_npu_smi.problem("npu_smi_failed", command=shown, status="none", output=str(error))]
        ) from error
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _kill_session(process)
        limit = f"{timeout:g}"
        raise HostError(
            [_npu_smi.problem("npu_smi_timeout", command=shown, timeout=limit)]
        ) from error
    return Output(
        out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), process.returncode
    )


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        process.kill()
    try:
        process.communicate(timeout=_GRACE)
    except subprocess.TimeoutExpired:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


# ---------------------------------------------------------------------------------------------
# Files


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None


def _field(text: str | None, key: str) -> str | None:
    """The value of a line `key=value`, the key without regard to case; None if there is none."""
    for line in (text or "").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip().lower() == key.lower() and value.strip():
            return value.strip().strip("\"'")
    return None


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def install_path(root: Path, package: str) -> str:
    """Where the package Driver or Firmware is installed, from /etc/ascend_install.info.

    Without the file or the field it is /usr/local/Ascend, the packages' default.
    """
    text = _read(root / "etc/ascend_install.info")
    return _field(text, package + "_Install_Path_Param") or "/usr/local/Ascend"


def driver_folder(root: Path) -> Path:
    """The folder of the driver, /usr/local/Ascend/driver unless it is installed elsewhere."""
    return _below(root, install_path(root, "Driver")) / "driver"


def driver_version(root: Path) -> str | None:
    """`Version=` of the driver's version.info, such as `24.1.rc3`."""
    return _field(_read(driver_folder(root) / "version.info"), "Version")


def firmware_version(root: Path) -> str | None:
    """`Version=` of the firmware's version.info, such as `7.5.0.1.129`."""
    folder = _below(root, install_path(root, "Firmware")) / "firmware"
    return _field(_read(folder / "version.info"), "Version")


def cann_version(root: Path, environ: Mapping[str, str] | None = None) -> str | None:
    """The version of the CANN toolkit, such as `8.5.0` or `8.3.RC2`.

    environ: where ASCEND_HOME_PATH or ASCEND_TOOLKIT_HOME name the toolkit, default this process'.
    Read is the first of these that is there, below the variables' folder, then
    /usr/local/Ascend/cann (8.5 and later), /usr/local/Ascend/ascend-toolkit/latest (before):
    ARCH-linux/ascend_toolkit_install.info (`version=`), version.cfg
    (`toolkit_running_version=[INTERNAL:VERSION]`). Last comes the runtime-only package nnae.

    Source: CANN installation guides 8.0 and 8.5, "File Paths"
    (hiascend.com/document/detail/en/canncommercial/800/softwareinst/instg/instg_0044.html and
    .../850/...).
    """
    env = os.environ if environ is None else environ
    homes = [env.get(name, "") for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME")]
    homes += ["/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit/latest"]
    for home in homes:
        version = _toolkit_version(root, home) if home else None
        if version:
            return version
    nnae = _below(root, "/usr/local/Ascend/nnae/latest/ascend_nnae_install.info")
    return _field(_read(nnae), "version")


def _toolkit_version(root: Path, home: str) -> str | None:
    folder = _below(root, home)
    for info in sorted(folder.glob("*-linux/ascend_toolkit_install.info")):
        version = _field(_read(info), "version")
        if version:
            return version
    running = _field(_read(folder / "version.cfg"), "toolkit_running_version")
    found = re.match(r"\[[^:\]]*:([^:\]]+)\]", running or "")
    return found.group(1) if found else None


def cann_beside(root: Path, script: str) -> str | None:
    """The version of the CANN toolkit that a set_env.sh belongs to; None where that is not told.

    The script lies in the toolkit (/usr/local/Ascend/cann, 8.5 and later) or beside its folder
    `latest` (/usr/local/Ascend/ascend-toolkit). That of NNAL has no toolkit beside it.
    """
    folder = script.rpartition("/")[0]
    return _toolkit_version(root, folder + "/latest") or _toolkit_version(root, folder)


def davinci_nodes(root: Path) -> list[int]:
    """The N of every /dev/davinciN there is, ascending."""
    try:
        names = [path.name for path in (root / "dev").iterdir()]
    except OSError:
        return []
    found = (_DAVINCI.match(name) for name in names)
    return sorted(int(match.group(1)) for match in found if match)


# ---------------------------------------------------------------------------------------------
# Units of processes


def unit_in_cgroup(text: str) -> str | None:
    """The innermost *.service or *.scope in the text of a /proc/PID/cgroup, or None.

    Looked at are the line of cgroup v2 (`0::/...`) and the hierarchy `name=systemd` of v1, never
    those of controllers: container engines nest these as they like.
    """
    paths: list[str] = []
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        if parts[1] == "name=systemd" or (parts[0] == "0" and not parts[1]):
            paths.append(parts[2])
    for path in paths:
        for component in reversed(path.split("/")):
            # systemd writes a leading `_` before names that a controller's file could have.
            name = component[1:] if component.startswith("_") else component
            if _UNIT.search(name):
                return name
    return None


def unit_of(root: Path, pid: int) -> str | None:
    """The systemd unit that owns a process; None if there is none or the pid is not visible.

    Containers of docker stand beneath docker's control groups and not beneath the unit that started
    them. Such a process belongs to the service whose configuration is mounted where it is: unlike
    its environment, that can neither be written over by a title nor be set by the process itself.
    """
    text = _read(root / "proc" / str(pid) / "cgroup")
    if not text:
        return None
    unit = unit_in_cgroup(text)
    if (unit is None or unit.endswith(".scope")) and _CONTAINER.search(text):
        mounted = _MOUNTED.search(_read(root / "proc" / str(pid) / "mountinfo") or "")
        if mounted:
            return f"vllm@{mounted.group(1)}.service"
    return unit


def _is_seen_as(root: Path, pid: int, inner: int) -> bool:
    """Whether /proc/`pid` is a process that its own container knows as `inner`."""
    for line in (_read(root / "proc" / str(pid) / "status") or "").splitlines():
        if line.startswith("NSpid:"):
            return line.split()[-1:] == [str(inner)]
    return False


def process_unit(root: Path, pid: int, container_pid: int | None) -> str | None:
    """The unit of a process of npu-smi's table; None if it is not visible from here.

    container_pid: the column `Process id in container` of newer drivers. With it, a process of
    ours that only happens to have the host's number is not taken for the one that is meant.
    """
    if container_pid is None:
        return unit_of(root, pid)
    for candidate in (pid, container_pid):
        if _is_seen_as(root, candidate, container_pid):
            return unit_of(root, candidate)
    return None


# ---------------------------------------------------------------------------------------------
# All together


def versions(root: Path) -> dict[str, str | None]:
    """driver_version, firmware_version and cann_version; what has no file is None."""
    return {
        "driver_version": driver_version(root),
        "firmware_version": firmware_version(root),
        "cann_version": cann_version(root),
    }


def blank(root: Path) -> dict[str, Any]:
    """What is known of a host of which npu-smi tells nothing: versions, and no card."""
    facts: dict[str, Any] = {"cards": [], "npu_smi_version": None, "problems": []}
    facts.update(versions(root))
    return facts


def collect(npu_smi: str, timeout: float, root: Path = Path("/")) -> dict[str, Any]:
    """The facts of this host, as the module npu_info returns them.

    timeout: seconds that one call of npu-smi may take; the calls for physical ids, one a device,
    share it. Raises HostError if npu-smi cannot be run, hangs, or prints no table of cards.
    """
    facts = blank(root)
    env = environment(driver_folder(root))
    said = run([npu_smi, "info"], timeout, env)
    try:
        info = _npu_smi.parse_info(said.stdout, said.stderr, said.status, command=npu_smi + " info")
    except _npu_smi.NpuSmiError as error:
        raise HostError(error.problems) from error
    problems = list(info.problems)
    problems += _read_mapping(npu_smi, timeout, env, info.cards)
    nodes = davinci_nodes(root)
    remaps: list[_npu_smi.Remap] = []
    if any(not card["phy_id_printed"] for card in info.cards):
        remaps = _read_remaps(npu_smi, timeout, env, nodes)
    problems += _npu_smi.apply_physical_ids(info.cards, remaps, nodes)
    for card in info.cards:
        for process in card["processes"]:
            process["unit"] = process_unit(root, process["pid"], process["container_pid"])
    facts["cards"] = [_npu_smi.public_card(card) for card in info.cards]
    facts["npu_smi_version"] = info.npu_smi_version or _tool_version(npu_smi, timeout, env)
    # The table's title names the driver that runs; the file may be out of a container's sight.
    facts["driver_version"] = facts["driver_version"] or info.driver_version
    facts["problems"] = problems
    return facts


def _read_mapping(
    npu_smi: str, timeout: float, env: Mapping[str, str], cards: Sequence[_npu_smi.Card]
) -> list[_npu_smi.Problem]:
    try:
        said = run([npu_smi, "info", "-m"], timeout, env)
        mapping = _npu_smi.parse_mapping(said.stdout, said.stderr)
    except _npu_smi.NpuSmiError as error:
        return error.problems
    except HostError as error:
        reason = error.problems[0]["message"]
        return [_npu_smi.problem("mapping_failed", output=reason), *error.problems]
    return mapping.problems + _npu_smi.apply_mapping(cards, mapping)


def _read_remaps(
    npu_smi: str, timeout: float, env: Mapping[str, str], nodes: Sequence[int]
) -> list[_npu_smi.Remap]:
    """What `phyid-remap` says of each node; nothing if this npu-smi does not know the call.

    Half an answer is none: it would leave the rest to assumptions that the half contradicts.
    """
    remaps: list[_npu_smi.Remap] = []
    end = time.monotonic() + timeout
    for number in nodes:
        left = end - time.monotonic()
        command = [npu_smi, "info", "-t", "phyid-remap", "-p", str(number)]
        try:
            remap = _npu_smi.parse_phyid_remap(run(command, max(left, 0.01), env).stdout)
        except HostError:
            return remaps
        if remap is not None and remap.phy_id == number:
            remaps.append(remap)
        elif not remaps:
            return []
    return remaps


def _tool_version(npu_smi: str, timeout: float, env: Mapping[str, str]) -> str | None:
    try:
        return _npu_smi.parse_tool_version(run([npu_smi, "-v"], timeout, env).stdout)
    except HostError:
        return None


def failure(error: HostError, root: Path = Path("/")) -> tuple[str, dict[str, Any]]:
    """The message and the result of a module that could not ask npu-smi.

    The message is the first problem with its advice; the result has all of them, no cards, and
    the versions that files tell.
    """
    result = blank(root)
    result["problems"] = error.problems
    result["advice"] = error.problems[0]["advice"]
    return str(error), result
