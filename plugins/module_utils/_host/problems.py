# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Problems of reading a host, as data: a code, what was seen, and what to do."""

from __future__ import annotations

import re
from typing import Dict, Sequence

from .._base import errors
from .tables import lines_of, shorten

Problem = Dict[str, str]
# code -> (message, advice). Braces are filled in by problem().
PROBLEMS: dict[str, tuple[str, str]] = {
    "npu_smi_missing": (
        "npu-smi was not found; searched for {looked}.",
        "Install the Ascend driver (its package installs npu-smi in /usr/local/bin or"
        " /usr/local/sbin), or set ascend_host_npu_smi to its path.",
    ),
    "npu_smi_timeout": (
        "`{command}` did not answer within {timeout} s and was killed, with its children.",
        "The driver or a card is stuck. Check `dmesg -T | grep -iE 'davinci|ascend|hdc'`, and for"
        " processes in state D with `ps -eo pid,stat,cmd | grep ' D'`. Stop what uses the cards,"
        " then reboot the host if that does not help. On a host that is only slow, raise the option timeout.",
    ),
    "npu_smi_failed": (
        "`{command}` printed no table of cards (exit status {status}); its output: {output}",
        "Run the command by hand as root on the host. If it fails there too, the driver is not"
        " loaded or not healthy: `lsmod | grep drv_`, `dmesg -T | grep -i ascend`.",
    ),
    "npu_smi_exit": (
        "`{command}` printed a table but ended with exit status {status}: {output}",
        "The cards below were printed all the same. Run the command by hand to see what it could"
        " not read.",
    ),
    "npu_smi_library": (
        "npu-smi does not start, a library of the driver is not found ({output}).",
        "Check that /usr/local/Ascend/driver/lib64 with its directories common and driver is there,"
        " and that the service or login has it in LD_LIBRARY_PATH or /etc/ld.so.conf.d;"
        " reinstall the driver if files are missing.",
    ),
    "dcmi_8005": (
        "npu-smi cannot talk to the driver ({output}).",
        "-8005: run as root, or add the user to the group HwHiAiUser (usermod -aG HwHiAiUser"
        " USER, then log in again). After an upgrade of the driver or firmware the host must be"
        " rebooted. In a container, /dev/davinci_manager, /dev/devmm_svm, /dev/hisi_hdc and"
        " /usr/local/dcmi must be passed in, and the card must not belong to another container.",
    ),
    "dcmi_8020": (
        "A card is in use by another container ({output}).",
        "-8020: a card can be in one container only, unless they are privileged. Find the process that uses it"
        " (`docker ps`, `crictl ps`, `fuser -v /dev/davinci*`) and stop it, or take the card out of"
        " its devices. Run this on the host, not in a container.",
    ),
    "dcmi_9005": (
        "npu-smi could not read the type of the board ({output}).",
        "-9005: in a container, pass in /usr/local/dcmi, /etc/ascend_install.info and"
        " /usr/local/Ascend/driver/version.info; npu-smi also reports this when only some of the"
        " cards are passed in. On the host, check `dmesg -T | grep -i ascend` and reboot; if it"
        " stays, reinstall driver and firmware.",
    ),
    "dcmi_error": (
        "npu-smi reported an error of the driver ({output}).",
        "Look the number up in the return codes of the DCMI API of this driver, and at"
        " `dmesg -T | grep -i ascend`.",
    ),
    "driver_incomplete": (
        "npu-smi warns that the driver package is not completely installed.",
        "/etc/ascend_install.info lacks Driver_Install_Status=complete: an installation was broken"
        " off. Install the driver again with --full and reboot.",
    ),
    "no_cards": (
        "npu-smi shows no card on this host.",
        "Check that the cards are on the bus (`lspci | grep -i 19e5` or 'accelerators'), that the"
        " driver is loaded (`lsmod | grep drv_`), and that /dev/davinci0 and its like are there.",
    ),
    "unknown_layout": (
        "The output of npu-smi has no table of cards that this collection can read: {output}",
        "Run `npu-smi info` by hand. If it prints a table, this driver prints it in a new way:"
        " report it with its complete output.",
    ),
    "truncated": (
        "The output of npu-smi is incomplete: {what}. Only what was read completely is reported.",
        "Run the module again. If it stays, run `npu-smi info` by hand: it may have crashed half"
        " way, which is a matter for the driver.",
    ),
    "elided": (
        "The table is incomplete: line {line} replaces rows that were left out ('...').",
        "This is an edited recording, not the output of a host. Cards are missing from it.",
    ),
    "unread_row": (
        "Line {line} of npu-smi's output was not understood and left out: {text}",
        "A card or process may be missing from this report. Compare with `npu-smi info` by hand.",
    ),
    "unread_value": (
        "The values of NPU {npu_id} chip {chip_id} do not fit their columns, some are null: {text}",
        "Compare with `npu-smi info` by hand; report the output if the driver is a new one.",
    ),
    "duplicate_card": (
        "NPU {npu_id} chip {chip_id} is printed more than once; the first row counts.",
        "Run the module again. If it stays, check `npu-smi info -l`.",
    ),
    "no_process_table": (
        "npu-smi printed no table of processes: the output is incomplete, or this driver prints"
        " none. Which processes use the cards is not known, and cards may be missing.",
        "Tell by the memory in use whether a card is free. `npu-smi info -t proc-mem -i ID` may"
        " show more.",
    ),
    "processes_not_shown": (
        "The table of processes is incomplete: it does not mention NPU {npu_id}.",
        "Whether that card is free is not known from this output. Tell by its memory in use, and"
        " run the module again.",
    ),
    "process_unknown_card": (
        "Process {pid} runs on NPU {npu_id} chip {chip_id}, which the table of cards lacks.",
        "A card was left out or cut off above. Run the module again, and compare with"
        " `npu-smi info` by hand.",
    ),
    "mapping_failed": (
        "`npu-smi info -m` gave no mapping, so logic ids are not known: {output}",
        "Without it it is not known which card ASCEND_RT_VISIBLE_DEVICES=N means. Run"
        " `npu-smi info -m` by hand as root.",
    ),
    "logic_id_not_printed": (
        "`npu-smi info -m` of this driver prints no Chip Logic ID, so logic ids are null.",
        "This is how npu-smi of the Ascend 950 is. Cards cannot be chosen by logic id here.",
    ),
    "mapping_truncated": (
        "A row of `npu-smi info -m` is incomplete and was left out: {text}",
        "The ids of a card may be null. Run the module again.",
    ),
    "mapping_missing": (
        "`npu-smi info -m` has no logic id for NPU {npu_id} chip {chip_id}, so it is null.",
        "The card is printed but not usable by the runtime, or it changed between two calls. Check"
        " its health and run the module again.",
    ),
    "mapping_conflict": (
        "The {what} of NPU {npu_id} chip {chip_id} is not certain ({values}), so it is null.",
        "npu-smi contradicts itself, or cards came or went between two calls. Run the module"
        " again; do not place services on this card until it is clear.",
    ),
    "card_not_shown": (
        "`npu-smi info -m` lists NPU {npu_id} chip {chip_id} (logic id {logic_id}), the table of"
        " `npu-smi info` does not.",
        "The card does not answer, or the table was cut off. Check"
        " `npu-smi info -t health -i {npu_id}` and `dmesg -T | grep -i ascend`.",
    ),
    "phy_id_assumed": (
        "npu-smi does not print the physical id of NPU {npu_id} chip {chip_id}; {phy_id} is assumed,"
        " as the {rule} that has a /dev/davinci{phy_id}.",
        "Check with `npu-smi info -t phyid-remap -p {phy_id}`, before a service gets that device.",
    ),
    "phy_id_unknown": (
        "The physical id of NPU {npu_id} chip {chip_id} is not known, so device is null.",
        "Try `npu-smi info -t phyid-remap -p N` for every /dev/davinciN. Without it a service"
        " cannot be given this card alone.",
    ),
    "device_missing": (
        "/dev/davinci{phy_id} of NPU {npu_id} chip {chip_id} does not exist.",
        "The driver created no device for this card, or it was not passed into the container. Check"
        " `ls -l /dev/davinci*` and `dmesg -T | grep -i ascend`; a reset or reboot restores it.",
    ),
}


def problem(code: str, **values: object) -> Problem:
    """One problem as {code, message, advice}, worded by PROBLEMS. KeyError for an unknown code."""
    message, advice = PROBLEMS[code]
    return {
        "code": code,
        "message": message.format(**values),
        "advice": advice.format(**values),
    }


class NpuSmiError(errors.HostError):
    """npu-smi gave no table of cards. `problems` contains why, the reason first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("{message} {advice}".format(**self.problems[0]))


_RETURN_CODE = re.compile(r"\bret(?:urn code)?\s*(?:is|=|:)\s*\(?(-[0-9]{1,6})\b")


def errors_in(text: str) -> list[Problem]:
    """Problems that npu-smi reports in words, on standard output or standard error."""
    found: dict[str, Problem] = {}
    known = {"-8005": "dcmi_8005", "-8020": "dcmi_8020", "-9005": "dcmi_9005"}
    for line in lines_of(text):
        if line[:1] in ("|", "+"):
            continue
        returned = _RETURN_CODE.search(line)
        low = line.lower()
        if returned:
            code = known.get(returned.group(1), "dcmi_error")
        elif "driver package may not be completely installed" in low:
            code = "driver_incomplete"
        elif "there is no npu card" in low:
            code = "no_cards"
        elif "error while loading shared libraries" in low or "cannot open shared object" in low:
            code = "npu_smi_library"
        else:
            continue
        found.setdefault(code, problem(code, output=shorten(line)))
    return list(found.values())
