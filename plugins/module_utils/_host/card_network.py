# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The network of the cards, which is apart from that of the host: what hccn_tool prints of it.

Devices are named by physical id. Nothing here changes a card.

Source of the formats: Huawei's guides of hccn_tool (Ascend fault diagnosis, environment check) and
vllm-ascend's docs/source/installation.md.
"""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from .._base import errors, process
from .npu import environment, find_npu_smi
from .problems import NpuSmiError
from .versions import driver_directory

# Each fact of a device: the words of its query, and where the answer is.
_QUERIES = {
    "link": ("-link", re.compile(r"^link status:[ \t]*(\S+)", re.MULTILINE)),
    "net_health": ("-net_health", re.compile(r"^net health status:[ \t]*(.*\S)", re.MULTILINE)),
    "address": ("-ip", re.compile(r"^ipaddr:[ \t]*(\S+)", re.MULTILINE)),
    "tls": ("-tls", re.compile(r"tls switch\[(\d+)\]")),
    "vnic": ("-vnic", re.compile(r"^vnic ipaddr:[ \t]*(\S+)", re.MULTILINE)),
}
_SUPER_POD = re.compile(r"Super Pod ID\s*:\s*(\S+)")
_PACKETS = re.compile(r"(\d+) packets transmitted, (\d+) received")
_HCCS_ANSWER = "ping success"
# What an answer has where there is nothing to tell, which is no fault of the tool.
_NOTHING = re.compile(r"no ip was preset|not support", re.IGNORECASE)
PING_KINDS = ("ping", "hccs_ping")  # over RoCE; within a super-pod
ONE_CALL = 10.0  # seconds that one call may take


class Tool(NamedTuple):
    """hccn_tool, and npu-smi where it is known, with until when they may be asked."""

    path: str
    npu_smi: str | None
    env: Mapping[str, str]
    end: float

    def ask(self, command: Sequence[str]) -> str:
        """What a command prints. Raises HostError where it does not end in time."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise errors.HostError("there was no time left for it")
        output = process.run(command, min(ONE_CALL, left), self.env)
        return output.text + output.errors


def find_tool(root: Path, search: str | None = None) -> tuple[str | None, str]:
    """(path of hccn_tool or None, the places searched)."""
    directories = [str(driver_directory(root) / "tools")]
    directories += (os.environ.get("PATH", "") if search is None else search).split(os.pathsep)
    places = [f"{each}/hccn_tool" for each in dict.fromkeys(directories) if each]
    found = (each for each in places if Path(each).is_file() and os.access(each, os.X_OK))
    return next(found, None), ", ".join(places)


def tool_of(root: Path, npu_smi: str | None, seconds: float) -> tuple[Tool | None, str]:
    """(the tool or None, the places searched). seconds: for all calls together."""
    path, searched = find_tool(root)
    if path is None:
        return None, searched
    try:
        found: str | None = find_npu_smi(npu_smi)
    except NpuSmiError:
        found = None
    end = time.monotonic() + seconds
    return Tool(path, found, environment(driver_directory(root)), end), searched


def read_network(tool: Tool, devices: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By device: link, net_health, address, tls, vnic, super_pod (None: not told), and problem.

    devices: [{device, npu_id, chip_id}]. problem: why the tool could not be asked, or empty.
    """
    return _for_all(devices, lambda each: _device(tool, each), "device")


def ping(tool: Tool, pings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The pings with `sent` and `received` packets, and `problem` where one has no result.

    pings: [{device, kind (of PING_KINDS), address}]. Those of one device follow each other.
    """
    by_device: dict[int, list[Mapping[str, Any]]] = {}
    for each in pings:
        by_device.setdefault(int(each["device"]), []).append(each)
    rows = [{"device": device, "pings": asked} for device, asked in by_device.items()]
    found = _for_all(rows, lambda row: [_ping(tool, each) for each in row["pings"]], "device")
    return [each for answers in found.values() for each in answers]


def _for_all(
    rows: Sequence[Mapping[str, Any]], ask: Callable[[Mapping[str, Any]], Any], key: str
) -> dict[str, Any]:
    with ThreadPoolExecutor(max_workers=max(1, len(rows))) as pool:
        answers = list(pool.map(ask, rows))
    return {str(row[key]): answer for row, answer in zip(rows, answers)}


def _device(tool: Tool, device: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys((*_QUERIES, "super_pod"))
    found["problem"] = ""
    try:
        for name, (words, pattern) in _QUERIES.items():
            text = tool.ask([tool.path, "-i", str(device["device"]), words, "-g"])
            match = pattern.search(text)
            found[name] = match.group(1) if match else None
            if match is None and name != "vnic" and not _NOTHING.search(text):
                shown = " ".join(text.split())[:200] or "nothing"
                found["problem"] = f"hccn_tool -i {device['device']} {words} -g prints: {shown}"
        if found["vnic"] and tool.npu_smi and device.get("npu_id") is not None:
            chip = device.get("chip_id") or 0
            command = [tool.npu_smi, "info", "-t", "spod-info", "-i", str(device["npu_id"])]
            match = _SUPER_POD.search(tool.ask([*command, "-c", str(chip)]))
            found["super_pod"] = match.group(1) if match else None
    except errors.HostError as error:
        found["problem"] = str(error)
    return found


def _ping(tool: Tool, asked: Mapping[str, Any]) -> dict[str, Any]:
    command = [tool.path, "-i", str(asked["device"]), f"-{asked['kind']}", "-g"]
    try:
        text = tool.ask([*command, "address", str(asked["address"])])
    except errors.HostError as error:
        return {**asked, "sent": 0, "received": 0, "problem": str(error)}
    packets = _PACKETS.search(text)
    if packets:
        sent, received = int(packets.group(1)), int(packets.group(2))
        return {**asked, "sent": sent, "received": received, "problem": ""}
    if _HCCS_ANSWER in text:
        return {**asked, "sent": 1, "received": 1, "problem": ""}
    shown = " ".join(text.split())[:200] or "nothing"
    return {**asked, "sent": 0, "received": 0, "problem": f"hccn_tool prints: {shown}"}
