# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cards of a host: runs npu-smi and joins what it prints with device nodes and units."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from .._base import errors, process
from .ids import (
    Remap,
    apply_mapping,
    apply_physical_ids,
    ids_agree,
    parse_mapping,
    parse_phyid_remap,
)
from .npu_smi import Card, parse_info, parse_tool_version, public_card
from .problems import NpuSmiError, Problem, problem
from .processes import command_of, process_unit
from .versions import driver_directory, versions

# Where the driver's packages put npu-smi; it is often not on the PATH of a non-login shell.
NPU_SMI_DIRECTORIES = ("/usr/local/bin", "/usr/local/sbin")
# Bytes; the table of a host with 16 cards has some 5,000.
_MOST_OUTPUT = 4 << 20
_DAVINCI = re.compile(r"davinci([0-9]{1,9})\Z")


def find_npu_smi(path: str | None = None, search: str | None = None) -> str:
    """The path of npu-smi: `path` if given, else from NPU_SMI_DIRECTORIES and then the search path.

    search: colon-separated directories, default the PATH of this process.
    Raises NpuSmiError that names every place looked at.
    """
    directories = [*NPU_SMI_DIRECTORIES]
    directories += (os.environ.get("PATH", "") if search is None else search).split(os.pathsep)
    places = [path] if path else [f"{each}/npu-smi" for each in dict.fromkeys(directories) if each]
    for place in places:
        if Path(place).is_file() and os.access(place, os.X_OK):
            return place
    raise NpuSmiError([problem("npu_smi_missing", looked=", ".join(places))])


def environment(driver: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for npu-smi: plain English output, and the driver's libraries to be found.

    driver: the directory of the driver, /usr/local/Ascend/driver. A shell that is no login shell has
    no LD_LIBRARY_PATH for it, and npu-smi then does not start.
    """
    env = dict(os.environ if base is None else base)
    env["LC_ALL"] = "C"
    library = driver / "lib64"
    directories = [str(library / name) for name in ("", "common", "driver")]
    have = [entry for entry in env.get("LD_LIBRARY_PATH", "").split(":") if entry]
    have += [entry for entry in directories if entry not in have and Path(entry).is_dir()]
    if have:
        env["LD_LIBRARY_PATH"] = ":".join(have)
    return env


def run(
    command: Sequence[str], timeout: float, env: Mapping[str, str] | None = None
) -> process.Output:
    """Run npu-smi to its end and return what it printed.

    timeout: seconds; then it is killed with its children.
    Raises NpuSmiError if it cannot be started, does not end in time, or prints more than 4 MiB.
    """
    try:
        return process.run(command, timeout, env, most=_MOST_OUTPUT)
    except errors.HostError as error:
        shown = " ".join(command)
        if isinstance(error, process.ProcessTimeout):
            reason = problem("npu_smi_timeout", command=shown, timeout=f"{timeout:g}")
        else:
            reason = problem("npu_smi_failed", command=shown, status="none", output=str(error))
        raise NpuSmiError([reason]) from error


def davinci_nodes(root: Path) -> list[int]:
    """The N of every /dev/davinciN there is, ascending."""
    try:
        names = [path.name for path in (root / "dev").iterdir()]
    except OSError:
        return []
    found = (_DAVINCI.match(name) for name in names)
    return sorted(int(match.group(1)) for match in found if match)


def blank(root: Path) -> dict[str, Any]:
    """What is known of a host of which npu-smi tells nothing: versions, and no card."""
    return {"cards": [], "npu_smi_version": None, "problems": [], **versions(root)}


def read_npu(npu_smi: str, timeout: float, root: Path = Path("/")) -> dict[str, Any]:
    """The facts of this host, as the module npu_info returns them.

    timeout: seconds that one call of npu-smi may take; the calls for physical ids, one a device,
    share it. Raises NpuSmiError if npu-smi cannot be run, hangs, or prints no table of cards.
    """
    facts = blank(root)
    env = environment(driver_directory(root))
    output = run([npu_smi, "info"], timeout, env)
    info = parse_info(output.text, output.errors, output.status, command=npu_smi + " info")
    problems = list(info.problems)
    problems += _read_mapping(npu_smi, timeout, env, info.cards)
    nodes = davinci_nodes(root)
    remaps: list[Remap] = []
    printed = all(card["phy_id_printed"] for card in info.cards)
    if not printed and not ids_agree(info.cards, nodes):
        remaps = _read_remaps(npu_smi, timeout, env, nodes)
    problems += apply_physical_ids(info.cards, remaps, nodes)
    for card in info.cards:
        for each in card["processes"]:
            each["unit"] = process_unit(root, each["pid"], each["container_pid"])
    facts["cards"] = [public_card(card) for card in info.cards]
    facts["npu_smi_version"] = info.npu_smi_version or _tool_version(npu_smi, timeout, env)
    # The table's title names the driver that runs; the file may be out of a container's sight.
    facts["driver_version"] = facts["driver_version"] or info.driver_version
    facts["problems"] = problems
    return facts


def _read_mapping(
    npu_smi: str, timeout: float, env: Mapping[str, str], cards: Sequence[Card]
) -> list[Problem]:
    try:
        printed = run([npu_smi, "info", "-m"], timeout, env)
    except NpuSmiError as error:
        reason = error.problems[0]["message"]
        return [problem("mapping_failed", output=reason), *error.problems]
    try:
        mapping = parse_mapping(printed.text, printed.errors)
    except NpuSmiError as error:
        return error.problems
    return mapping.problems + apply_mapping(cards, mapping)


def _read_remaps(
    npu_smi: str, timeout: float, env: Mapping[str, str], nodes: Sequence[int]
) -> list[Remap]:
    """What `phyid-remap` says of each node; nothing if this npu-smi does not know the call.

    Half an answer is none: it would leave the rest to assumptions that the half contradicts.
    """
    remaps: list[Remap] = []
    end = time.monotonic() + timeout
    for number in nodes:
        left = end - time.monotonic()
        command = [npu_smi, "info", "-t", "phyid-remap", "-p", str(number)]
        try:
            remap = parse_phyid_remap(run(command, max(left, 0.01), env).text)
        except NpuSmiError:
            return remaps
        if remap is not None and remap.phy_id == number:
            remaps.append(remap)
        elif not remaps:
            return []
    return remaps


def _tool_version(npu_smi: str, timeout: float, env: Mapping[str, str]) -> str | None:
    try:
        return parse_tool_version(run([npu_smi, "-v"], timeout, env).text)
    except NpuSmiError:
        return None


def failure(error: NpuSmiError, root: Path = Path("/")) -> dict[str, Any]:
    """What is known where npu-smi could not be asked: all problems, no cards, versions of files."""
    return {
        **blank(root),
        "problems": error.problems,
        "advice": error.problems[0]["advice"],
    }


def npu_facts(npu_smi: str | None, timeout: float, root: Path) -> dict[str, Any]:
    """npu_info's facts, also where npu-smi fails: then `cards` is empty and `problems` say why.

    Each process has `command` besides. One of which /proc knows nothing has ended since, or is in
    another namespace: then npu-smi is asked once more, and what it still lists is there.
    """
    try:
        program = find_npu_smi(npu_smi)
        facts = _with_commands(read_npu(program, timeout, root), root)
    except NpuSmiError as error:
        return failure(error, root)
    if any(
        each["unit"] is None and each["command"] is None
        for card in facts["cards"]
        for each in card["processes"]
    ):
        with contextlib.suppress(NpuSmiError):
            return _with_commands(read_npu(program, timeout, root), root)
    return facts


def _with_commands(facts: dict[str, Any], root: Path) -> dict[str, Any]:
    for card in facts["cards"]:
        for each in card["processes"]:
            each["command"] = command_of(root, each["pid"])
    return facts
