# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What `npu-smi` prints, as data.

Pure functions from text to plain values: nothing here runs a program or reads a file.
The tables are read by their headers, cell by cell, never by fixed widths or by counting rows:
widths, columns and their order differ between drivers.

Source of the formats: github.com/hicann/driver, src/custom/dev_prod/user/npucli/src,
`npu_info_print_ch.c` and `npu_info_print.c` (tables, `info -m`), `npu_chip_info.c`
(`phyid-remap`), `npu_smi.c` (errors).
"""

from __future__ import annotations

import re
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple, Union

Problem = Dict[str, str]
Card = Dict[str, Any]
Number = Union[int, float]
ChipKey = Tuple[int, Optional[int]]

# code -> (message, advice). Braces are filled in by problem().
PROBLEMS: dict[str, tuple[str, str]] = {
    "npu_smi_missing": (
        "npu-smi was not found; looked for {looked}.",
        "Install the Ascend driver (its package brings npu-smi to /usr/local/bin or"
        " /usr/local/sbin), or name the program with the option npu_smi.",
    ),
    "npu_smi_timeout": (
        "`{command}` did not answer within {timeout} s and was killed, with its children.",
        "The driver or a card is stuck. Look at `dmesg -T | grep -iE 'davinci|ascend|hdc'`, and for"
        " processes in state D with `ps -eo pid,stat,cmd | grep ' D'`. Stop what holds the cards,"
        " then reboot the host if it stays. On a host that is only slow, raise the option timeout.",
    ),
    "npu_smi_failed": (
        "`{command}` printed no table of cards (exit status {status}); it said: {output}",
        "Run the command by hand as root on the host. If it fails there too, the driver is not"
        " loaded or not healthy: `lsmod | grep drv_`, `dmesg -T | grep -i ascend`.",
    ),
    "npu_smi_exit": (
        "`{command}` printed a table but ended with exit status {status}: {output}",
        "The cards below were printed all the same. Run the command by hand to see what it could"
        " not read.",
    ),
    "npu_smi_library": (
        "npu-smi does not start, a library of the driver is not found: {output}",
        "Check that /usr/local/Ascend/driver/lib64 with its folders common and driver is there,"
        " and that the service or login has it in LD_LIBRARY_PATH or /etc/ld.so.conf.d;"
        " reinstall the driver if files are missing.",
    ),
    "dcmi_8005": (
        "npu-smi cannot talk to the driver: {output}",
        "-8005: run as root, or put the user into the group HwHiAiUser (usermod -aG HwHiAiUser"
        " USER, then log in again). After an upgrade of the driver or firmware the host must be"
        " rebooted. In a container, /dev/davinci_manager, /dev/devmm_svm, /dev/hisi_hdc and"
        " /usr/local/dcmi must be passed in, and the card must not belong to another container.",
    ),
    "dcmi_8020": (
        "A card is in use by another container: {output}",
        "-8020: a card can be in one container only, unless they are privileged. Find the holder"
        " (`docker ps`, `crictl ps`, `fuser -v /dev/davinci*`) and stop it, or take the card out of"
        " its devices. Run this on the host, not in a container.",
    ),
    "dcmi_9005": (
        "npu-smi could not read the type of the board: {output}",
        "-9005: in a container, pass in /usr/local/dcmi, /etc/ascend_install.info and"
        " /usr/local/Ascend/driver/version.info; npu-smi also says this when only some of the"
        " cards are passed in. On the host, look at `dmesg -T | grep -i ascend` and reboot; if it"
        " stays, reinstall driver and firmware.",
    ),
    "dcmi_error": (
        "npu-smi reported an error of the driver: {output}",
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
        " report it with the whole output.",
    ),
    "truncated": (
        "The output of npu-smi is incomplete: {what}. Only what was read whole is reported.",
        "Run the module again. If it stays, run `npu-smi info` by hand: it may have crashed half"
        " way, which is a matter for the driver.",
    ),
    "elided": (
        "The table is incomplete: line {line} stands for rows that were left out ('...').",
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
        "Run the module again. If it stays, look at `npu-smi info -l`.",
    ),
    "no_process_table": (
        "npu-smi printed no table of processes: the output is incomplete, or this driver prints"
        " none. Who holds the cards is not known, and cards may be missing.",
        "Judge by the memory in use whether a card is free. `npu-smi info -t proc-mem -i ID` may"
        " say more.",
    ),
    "processes_not_shown": (
        "The table of processes is incomplete: it does not speak of NPU {npu_id}.",
        "Whether that card is free is not known from this output. Judge by its memory in use, and"
        " run the module again.",
    ),
    "process_unknown_card": (
        "Process {pid} runs on NPU {npu_id} chip {chip_id}, which the table of cards lacks.",
        "A card was left out or cut off above. Run the module again, and compare with"
        " `npu-smi info` by hand.",
    ),
    "mapping_failed": (
        "`npu-smi info -m` gave no mapping, so logic ids are not known: {output}",
        "Without it nobody knows which card ASCEND_RT_VISIBLE_DEVICES=N means. Run"
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
        "The card is printed but not usable by the runtime, or it changed between two calls. Look"
        " at its health and run the module again.",
    ),
    "mapping_conflict": (
        "The {what} of NPU {npu_id} chip {chip_id} is not certain ({values}), so it is null.",
        "npu-smi contradicts itself, or cards came or went between two calls. Run the module"
        " again; do not place services on this card until it is clear.",
    ),
    "card_not_shown": (
        "`npu-smi info -m` lists NPU {npu_id} chip {chip_id} (logic id {logic_id}), the table of"
        " `npu-smi info` does not.",
        "The card does not answer, or the table was cut off. Look at"
        " `npu-smi info -t health -i {npu_id}` and `dmesg -T | grep -i ascend`.",
    ),
    "phy_id_assumed": (
        "npu-smi does not say the physical id of NPU {npu_id} chip {chip_id}; {phy_id} is assumed,"
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
        "The driver made no device for this card, or it was not passed into the container. Look at"
        " `ls -l /dev/davinci*` and `dmesg -T | grep -i ascend`; a reset or reboot brings it back.",
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


class NpuSmiError(Exception):
    """npu-smi gave no table of cards. `problems` says why, the reason first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("{message} {advice}".format(**self.problems[0]))


class Info(NamedTuple):
    """What `npu-smi info` prints.

    cards: as the module returns them, with `logic_id` and `device` null. Besides, for the
    functions below: `device_logic_id` (the column Device of 310P and 310B tables),
    `phy_id_printed`, and every process's `container_pid`.
    """

    cards: list[Card]
    npu_smi_version: str | None
    driver_version: str | None
    problems: list[Problem]


class Chip(NamedTuple):
    """One computing chip of `npu-smi info -m`; what is not printed is None."""

    npu_id: int
    chip_id: int
    logic_id: int | None
    phy_id: int | None
    name: str


class Mapping(NamedTuple):
    """What `npu-smi info -m` prints, without the rows of management chips (Mcu, 3559)."""

    chips: list[Chip]
    has_logic_id: bool
    problems: list[Problem]


class Remap(NamedTuple):
    """What `npu-smi info -t phyid-remap -p PHY` prints."""

    phy_id: int
    logic_id: int | None
    npu_id: int
    chip_id: int


# ---------------------------------------------------------------------------------------------
# Words and numbers

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_])")
_LINE_END = re.compile(r"\r\n|\r|\n")
_INTEGER = re.compile(r"-?[0-9]{1,15}\Z")
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?\Z")
_ABSENT = frozenset(("NA", "N/A", "-", "--", "NAN", "NONE", "NULL"))
_RATIO_GAP = re.compile(r"\s*/\s*")
_RULE = re.compile(r"[+|][-=+| ]*[-=][-=+| ]*\Z")
_ELLIPSIS = re.compile(r"[.\u2026\s|]*(?:\.\.\.|\u2026)[.\u2026\s|]*\Z")
_BUS_ID = re.compile(r"[0-9A-Za-z._-]*:[0-9A-Za-z:._-]*\Z")
_TITLE = re.compile(r"npu-smi\s+(\S+)(?:\s+Version:\s*(\S+))?")
_TOOL_VERSION = re.compile(r"npu-smi\s+version\s*:?\s*(\S+)", re.IGNORECASE)
_NO_PROCESS = re.compile(
    r"No running process(?:es)? found in NPU\s+([0-9]{1,15})\s*\Z", re.IGNORECASE
)
_RETURN_CODE = re.compile(r"\bret(?:urn code)?\s*(?:is|=|:)\s*\(?(-[0-9]{1,6})\b")

# Header words of more than one word; every other word is a column of its own.
_HEADER_WORD = re.compile(
    r"NPU\s?ID|NPU[ -]?Util\S*|Chip[ -]Phy(?:sical)?[ -]?ID|Chip[ -]Logic[ -]?ID|Chip\s?ID|"
    r"Chip\s?Name|Slot\s?ID|(?:HBM|Memory|DDR|Hugepages?)[ -]Usage\s?\S*|AI\s?Core\s?\S*|"
    r"Power\s?\S*|Temp(?:erature)?\s?\(\S*|Process\s(?:id\sin\scontainer|id|name|memory\S*)|\S+",
    re.IGNORECASE,
)
_COLUMNS = (
    ("chip_name", re.compile(r"chip\s?name")),
    ("npu", re.compile(r"npu(?:\s?id)?\Z")),
    ("aicore", re.compile(r"ai\s?core|npu[ -]?util")),
    ("logic", re.compile(r"chip[ -]logic|logic[ -]?id")),
    ("phy", re.compile(r"(?:chip[ -])?phy(?:sical)?[ -]?id")),
    ("slot", re.compile(r"slot")),
    ("chip", re.compile(r"chip(?:\s?id)?\Z")),
    ("device", re.compile(r"device")),
    ("name", re.compile(r"name\Z")),
    ("health", re.compile(r"health")),
    ("bus", re.compile(r"bus[ -]?id")),
    ("power", re.compile(r"power")),
    ("temp", re.compile(r"temp")),
    ("hugepages", re.compile(r"hugepages?[ -]usage")),
    ("hbm", re.compile(r"hbm[ -]usage")),
    ("memory", re.compile(r"(?:memory|ddr)[ -]usage")),
    ("container_pid", re.compile(r"process\sid\sin\scontainer")),
    ("pid", re.compile(r"process\sid")),
    ("process_name", re.compile(r"process\sname")),
    ("process_memory", re.compile(r"process\smemory")),
)


def lines_of(text: str) -> list[str]:
    """The lines of an output, without colour codes, byte order mark and outer blanks.

    Only CR and LF end a line: str.splitlines() would also break at characters that a process
    name may hold. A leading `>` (a quoted recording) is dropped.
    """
    clean = _ANSI.sub("", text).replace("\ufeff", "")
    return [line.strip().lstrip(">").strip() for line in _LINE_END.split(clean)]


def _integer(token: str | None) -> int | None:
    # int() alone would take digits of other scripts, underscores and very long numbers.
    return int(token) if token is not None and _INTEGER.match(token) else None


def _id(token: str | None) -> int | None:
    value = _integer(token)
    return value if value is not None and value >= 0 else None


def _number(token: str | None) -> Number | None:
    if token is None or not _DECIMAL.match(token):
        return None
    value = float(token)
    return int(value) if value.is_integer() and "." not in token else value


def _is_absent(token: str) -> bool:
    return token.upper() in _ABSENT


def _is_ratio(token: str) -> bool:
    return "/" in token and not _is_absent(token)


def _ratio(token: str | None) -> tuple[int | None, int | None]:
    if token is None or not _is_ratio(token):
        return None, None
    used, total = token.split("/", 1)
    return _id(used), _id(total)


def _version(token: str | None) -> str | None:
    # Vendor documents print x.x.x; that is no version.
    return token if token and any(character in "0123456789" for character in token) else None


def _column(word: str) -> str:
    low = " ".join(word.lower().split())
    for key, pattern in _COLUMNS:
        if pattern.match(low):
            return key
    return "?ratio" if "usage(" in low and "%" not in low else "?" + low


def _header_columns(text: str) -> list[str]:
    return [_column(word) for word in _HEADER_WORD.findall(text)]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line[1:-1].split("|")]


_RATIO_COLUMNS = frozenset(("hugepages", "memory", "hbm", "?ratio"))


def _fits(token: str, column: str) -> bool:
    return _is_absent(token) or _is_ratio(token) == (column in _RATIO_COLUMNS)


def _assign(text: str, columns: Sequence[str]) -> dict[str, str] | None:
    """The values of one cell by column, or None if they cannot be told apart.

    `60156/ 65536` and `0    / 0` are one value each. A column without a value is left out.
    """
    if columns in (["health"], ["bus"], ["name"], ["process_name"]):
        return {columns[0]: " ".join(text.split())} if text else {}
    text = re.sub(r"\bN/A\b", "NA", text)
    tokens = _RATIO_GAP.sub("/", text).split()
    if "name" in columns and len(tokens) > len(columns):
        # A chip's name may have blanks in it ("Ascend 910B3").
        at = list(columns).index("name")
        end = at + 1 + len(tokens) - len(columns)
        tokens[at:end] = [" ".join(tokens[at:end])]
    if "name" in columns:
        return dict(zip(columns, tokens)) if len(tokens) == len(columns) else None
    if len(tokens) == len(columns) and all(map(_fits, tokens, columns)):
        return dict(zip(columns, tokens))
    found: dict[str, str] = {}
    rest = list(tokens)
    for column in columns:
        if rest and _fits(rest[0], column) and len(tokens) < len(columns):
            found[column] = rest.pop(0)
    return None if rest else found


# ---------------------------------------------------------------------------------------------
# npu-smi info


class _Layout:
    """The columns of one header line, cell by cell."""

    def __init__(self, line: str) -> None:
        self.cells = [_header_columns(cell) for cell in _cells(line)]
        self.columns = {column for cell in self.cells for column in cell}

    def read(self, line: str) -> tuple[dict[str, str], bool] | None:
        """The values of a row by column and whether all of them fit; None for another layout."""
        cells = _cells(line)
        if len(cells) != len(self.cells):
            return None
        values: dict[str, str] = {}
        whole = True
        for text, columns in zip(cells, self.cells):
            if not columns:
                if text:
                    return None
                continue
            found = _assign(text, columns)
            if found is None:
                if not {"npu", "chip"}.isdisjoint(columns):
                    return None
                whole = False
            else:
                values.update(found)
        return values, whole


def _is_complete(line: str) -> bool:
    return len(line) > 1 and line[-1] in "|+" and line[0] in "|+"


def _short(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= limit else line[: limit - 3] + "...") or "nothing"


class _InfoParser:
    def __init__(self) -> None:
        self.cards: list[Card] = []
        self.by_key: dict[ChipKey, Card] = {}
        self.problems: list[Problem] = []
        self.npu_smi_version: str | None = None
        self.driver_version: str | None = None
        self.first: _Layout | None = None
        self.second: _Layout | None = None
        # The table of processes, while in it.
        self.process: _Layout | None = None
        # The first of a card's two rows: its NPU id, its values, whether all of them fit.
        self.pending: tuple[int, dict[str, str], bool] | None = None
        self.covered: set[int] = set()
        self.open_process: int | None = None
        self.broken: list[tuple[int, str]] = []

    def add(self, code: str, **values: object) -> None:
        self.problems.append(problem(code, **values))

    def drop_pending(self) -> None:
        if self.pending is not None:
            self.add(
                "truncated",
                what="NPU {} has the first of its two rows only".format(self.pending[1].get("npu")),
            )
            self.pending = None

    def header(self, line: str) -> bool:
        """Whether the line is a header; if so, its columns are kept."""
        if "Usage" not in line and "Process" not in line and "Power" not in line:
            return False
        layout = _Layout(line)
        if {"pid", "process_memory"} <= layout.columns and "npu" in layout.columns:
            self.drop_pending()
            self.process = layout
        elif {"npu", "name", "health"} <= layout.columns:
            self.drop_pending()
            self.first, self.second, self.process = layout, None, None
        elif "bus" in layout.columns and not layout.columns.isdisjoint({"memory", "hbm"}):
            if self.first is None:
                return False
            self.second = layout
        else:
            return False
        return True

    def row(self, number: int, line: str) -> None:
        if self.process is not None:
            self.process_row(self.process, number, line)
        elif self.first is not None and self.second is not None:
            self.card_row(self.first, self.second, number, line)
        elif self.first is not None:
            self.add("unread_row", line=number, text=_short(line))

    def card_row(self, first: _Layout, second: _Layout, number: int, line: str) -> None:
        if self.pending is not None:
            read = second.read(line)
            if read is not None and self.is_chip_row(second, read[0]):
                named, self.pending = self.pending, None
                self.card(named, line, read[0], read[1])
                return
        read = first.read(line)
        npu_id = self.named_npu(read[0]) if read is not None else None
        if read is not None and npu_id is not None:
            self.drop_pending()
            self.pending = (npu_id, read[0], read[1])
            return
        read = second.read(line)
        if read is not None and self.is_chip_row(second, read[0]):
            self.add(
                "truncated",
                what=f"line {number} is the second row of a card whose first is missing",
            )
            return
        self.drop_pending()
        self.add("unread_row", line=number, text=_short(line))

    @staticmethod
    def named_npu(values: dict[str, str]) -> int | None:
        """The NPU id in the first of a card's two rows; None for another row."""
        health = values.get("health", "")
        if not values.get("name") or not health or _BUS_ID.match(health):
            return None
        return _id(values.get("npu"))

    @staticmethod
    def is_chip_row(second: _Layout, values: dict[str, str]) -> bool:
        if "chip" in second.columns and _id(values.get("chip")) is None:
            return False
        bus = values.get("bus", "")
        return bool(_BUS_ID.match(bus)) or _is_absent(bus)

    def card(
        self, named: tuple[int, dict[str, str], bool], line: str, chip: dict[str, str], whole: bool
    ) -> None:
        npu_id, name, name_whole = named
        chip_id = _id(chip.get("chip"))
        if (npu_id, chip_id) in self.by_key:
            self.add("duplicate_card", npu_id=npu_id, chip_id=chip_id)
            return
        used, total = _memory(chip)
        bus = chip.get("bus")
        card: Card = {
            "npu_id": npu_id,
            "chip_id": chip_id,
            "logic_id": None,
            "phy_id": _id(chip.get("phy")),
            "name": name["name"],
            "health": name["health"],
            "bus_id": bus if bus and not _is_absent(bus) else None,
            "memory_total_mb": total,
            "memory_used_mb": used,
            "power_w": _number(name.get("power")),
            "temperature_c": _number(name.get("temp")),
            "aicore_percent": _number(chip.get("aicore")),
            "device": None,
            "processes": [],
            "device_logic_id": _id(chip.get("device")),
            "phy_id_printed": "phy" in chip,
        }
        if not (whole and name_whole):
            self.add("unread_value", npu_id=npu_id, chip_id=chip_id, text=_short(line))
        self.cards.append(card)
        self.by_key[npu_id, chip_id] = card

    def process_row(self, layout: _Layout, number: int, line: str) -> None:
        none = _NO_PROCESS.match(line[1:-1].strip())
        if none:
            self.covered.add(int(none.group(1)))
            return
        values = self.process_values(layout, line)
        pid = _id(values.get("pid")) if values else None
        npu_id = _id(values.get("npu")) if values else None
        memory = values.get("process_memory", "") if values else ""
        if (
            not values
            or not pid
            or npu_id is None
            or not (_id(memory) is not None or _is_absent(memory))
        ):
            self.add("unread_row", line=number, text=_short(line))
            return
        chip_id = _id(values.get("chip"))
        if "chip" in layout.columns and chip_id is None:
            self.add("unread_row", line=number, text=_short(line))
            return
        self.covered.add(npu_id)
        self.open_process = npu_id
        card = self.by_key.get((npu_id, chip_id)) or self.only_chip(npu_id, chip_id)
        if card is None:
            self.add("process_unknown_card", pid=pid, npu_id=npu_id, chip_id=chip_id)
            return
        card["processes"].append(
            {
                "pid": pid,
                "name": values.get("process_name", ""),
                "memory_mb": _id(memory),
                "unit": None,
                "container_pid": _id(values.get("container_pid")),
            }
        )

    @staticmethod
    def process_values(layout: _Layout, line: str) -> dict[str, str] | None:
        read = layout.read(line)
        cells = _cells(line)
        extra = len(cells) - len(layout.cells)
        if read is None and extra > 0 and ["process_name"] in layout.cells:
            # A process may have a bar in its name.
            at = layout.cells.index(["process_name"])
            name = "|".join(cells[at : at + extra + 1])
            merged = cells[:at] + [""] + cells[at + extra + 1 :]
            read = layout.read("|" + "|".join(merged) + "|")
            if read is not None:
                read[0]["process_name"] = name
        return read[0] if read is not None and read[1] else None

    def only_chip(self, npu_id: int, chip_id: int | None) -> Card | None:
        # The 950 prints no chip in one table or in both.
        cards = [card for card in self.cards if card["npu_id"] == npu_id]
        if len(cards) == 1 and (chip_id is None or cards[0]["chip_id"] is None):
            return cards[0]
        return None

    def feed(self, text: str) -> None:
        last = ""
        last_number = 0
        for number, line in enumerate(lines_of(text), 1):
            if not line:
                continue
            if line[0] not in "|+":
                if _ELLIPSIS.match(line):
                    self.add("elided", line=number)
                    self.pending = None
                    self.open_process = None
                continue
            last, last_number = line, number
            if _RULE.match(line):
                self.drop_pending()
                self.open_process = None
                continue
            if not _is_complete(line):
                self.broken.append((number, line))
                continue
            title = _TITLE.match(line[1:-1].strip())
            if title:
                self.npu_smi_version = self.npu_smi_version or _version(title.group(1))
                self.driver_version = self.driver_version or _version(title.group(2))
                continue
            if _ELLIPSIS.match(line):
                self.add("elided", line=number)
                self.pending = None
                continue
            if not self.header(line):
                self.row(number, line)
        self.finish(last, last_number)

    def finish(self, last: str, last_number: int) -> None:
        if self.first is None:
            return
        self.drop_pending()
        for number, line in self.broken:
            if number != last_number:
                self.add("unread_row", line=number, text=_short(line))
        codes = {entry["code"] for entry in self.problems}
        if last and not _is_complete(last):
            self.add("truncated", what=f"line {last_number} ends in the middle")
        elif self.second is None:
            self.add("truncated", what="it ends in the header of the table")
        elif self.open_process is not None:
            self.add(
                "truncated",
                what=f"the rows of processes on NPU {self.open_process} are not closed by a rule",
            )
        elif self.process is not None and "elided" not in codes:
            for npu_id in sorted({card["npu_id"] for card in self.cards} - self.covered):
                self.add("processes_not_shown", npu_id=npu_id)
        if self.process is None:
            self.add("no_process_table")
        if not self.cards:
            self.add("no_cards")


def _memory(chip: dict[str, str]) -> tuple[int | None, int | None]:
    """(used, total) in MB: of the HBM where the chip has it, else of the device memory.

    Chips with HBM print `0 / 0` for the other memory, chips without it have no such column.
    """
    hbm, memory = _ratio(chip.get("hbm")), _ratio(chip.get("memory"))
    if hbm[1]:
        return hbm
    if memory[1] or "hbm" not in chip:
        return memory
    return hbm


def errors_in(text: str) -> list[Problem]:
    """Problems that npu-smi reports in words, on standard output or standard error."""
    found: list[Problem] = []
    codes: set[str] = set()

    def add(code: str, **values: object) -> None:
        if code not in codes:
            codes.add(code)
            found.append(problem(code, **values))

    known = {"-8005": "dcmi_8005", "-8020": "dcmi_8020", "-9005": "dcmi_9005"}
    for line in lines_of(text):
        if line[:1] in ("|", "+"):
            continue
        returned = _RETURN_CODE.search(line)
        low = line.lower()
        if returned:
            add(known.get(returned.group(1), "dcmi_error"), output=_short(line))
        elif "driver package may not be completely installed" in low:
            add("driver_incomplete")
        elif "there is no npu card" in low:
            add("no_cards")
        elif "error while loading shared libraries" in low or "cannot open shared object" in low:
            add("npu_smi_library", output=_short(line))
    return found


def parse_info(text: str, errors: str = "", status: int = 0, command: str = "npu-smi info") -> Info:
    """The cards and processes in the output of `npu-smi info`.

    errors: what came on standard error; status: the exit status.
    Raises NpuSmiError, and nothing else, if there is no table of cards at all.
    What is there is returned with problems if rows are missing, cut off or not understood:
    a card is reported only if both of its rows are whole.
    """
    parser = _InfoParser()
    parser.feed(text)
    said = errors_in(text + "\n" + errors)
    if parser.first is None:
        if not said:
            output = _short(text + "\n" + errors)
            code = "npu_smi_failed" if status else "unknown_layout"
            said = [problem(code, output=output, command=command, status=status)]
        elif said[0]["code"] == "driver_incomplete":
            # Its warning alone does not explain why there is no table.
            said.append(problem("unknown_layout", output=_short(text + "\n" + errors)))
        raise NpuSmiError(said)
    if status:
        what = _short(errors)
        said.append(problem("npu_smi_exit", command=command, status=status, output=what))
    return Info(parser.cards, parser.npu_smi_version, parser.driver_version, said + parser.problems)


# ---------------------------------------------------------------------------------------------
# npu-smi info -m, npu-smi info -t phyid-remap, npu-smi -v


def parse_mapping(text: str, errors: str = "") -> Mapping:
    """The ids of every computing chip, from the output of `npu-smi info -m`.

    Raises NpuSmiError if there is no mapping in it.
    """
    columns: list[str] = []
    chips: list[Chip] = []
    problems: list[Problem] = []
    for line in lines_of(text):
        line = line.strip("|").strip()
        if not line or _RULE.match(line):
            continue
        words = _header_columns(line)
        if "npu" in words and "chip" in words:
            columns = words if words[-1] == "chip_name" else []
            continue
        if not columns:
            continue
        tokens = line.split(None, len(columns) - 1)
        values = dict(zip(columns, tokens))
        npu_id, chip_id = _id(values.get("npu")), _id(values.get("chip"))
        if npu_id is None:
            if _ELLIPSIS.match(line):
                problems.append(problem("mapping_truncated", text="..."))
            continue
        whole = chip_id is not None and len(tokens) == len(columns)
        for key in ("logic", "phy"):
            token = values.get(key)
            whole = whole and (token is None or _id(token) is not None or _is_absent(token))
        if not whole or chip_id is None:
            problems.append(problem("mapping_truncated", text=_short(line)))
            continue
        logic_id, phy_id = _id(values.get("logic")), _id(values.get("phy"))
        name = values["chip_name"].strip()
        if name.lower() == "mcu" or (name == "3559" and logic_id is None):
            continue
        chips.append(Chip(npu_id, chip_id, logic_id, phy_id, name))
    if not columns:
        said = errors_in(text + "\n" + errors)
        output = _short(text + "\n" + errors)
        raise NpuSmiError([problem("mapping_failed", output=output), *said])
    if "logic" not in columns:
        problems.append(problem("logic_id_not_printed"))
    return Mapping(chips, "logic" in columns, problems)


_REMAP_FIELD = re.compile(
    r"(Chip Phy(?:sical|-ID| ID)?(?: ID)?|Chip Logic ID|NPU ID|Chip ID)\s*:\s*([0-9]{1,15})\Z",
    re.IGNORECASE,
)


def parse_phyid_remap(text: str) -> Remap | None:
    """The ids of one physical chip, from `npu-smi info -t phyid-remap -p PHY`; None without."""
    found: dict[str, int] = {}
    for line in lines_of(text):
        field = _REMAP_FIELD.match(line)
        if field:
            key = _column(" ".join(field.group(1).split()))
            if key in found:
                return None
            found[key] = int(field.group(2))
    if not {"phy", "npu", "chip"} <= set(found):
        return None
    return Remap(found["phy"], found.get("logic"), found["npu"], found["chip"])


def parse_tool_version(text: str) -> str | None:
    """The version in the output of `npu-smi -v`, such as `23.0.rc2`; None if there is none."""
    for line in lines_of(text):
        found = _TOOL_VERSION.search(line)
        if found:
            return _version(found.group(1))
    return None


# ---------------------------------------------------------------------------------------------
# Ids


def _values(**ids: int | None) -> str:
    return ", ".join(
        "{} {}".format(key.replace("_", " "), value) for key, value in sorted(ids.items())
    )


def apply_mapping(cards: Sequence[Card], mapping: Mapping) -> list[Problem]:
    """Write logic and physical ids of `info -m` into the cards; the problems met on the way.

    Cards and rows meet by NPU id and chip id, or by NPU id alone where the table prints no chip
    (950). What two sources say differently is null: a wrong id is somebody else's card.
    """
    problems: list[Problem] = []
    rows: dict[ChipKey, list[Chip]] = {}
    for chip in mapping.chips:
        rows.setdefault((chip.npu_id, chip.chip_id), []).append(chip)
        rows.setdefault((chip.npu_id, None), []).append(chip)
    seen: set[ChipKey] = set()
    for card in cards:
        found = rows.get((card["npu_id"], card["chip_id"]), [])
        where = {"npu_id": card["npu_id"], "chip_id": card["chip_id"]}
        if len(set(found)) != 1:
            if found:
                seen.update((chip.npu_id, chip.chip_id) for chip in found)
                values = f"{len(found)} rows of info -m"
                problems.append(
                    problem("mapping_conflict", what="logic id", values=values, **where)
                )
            elif mapping.has_logic_id:
                problems.append(problem("mapping_missing", **where))
            continue
        chip = found[0]
        seen.add((chip.npu_id, chip.chip_id))
        card["chip_id"] = chip.chip_id
        where["chip_id"] = chip.chip_id
        if chip.logic_id is None:
            if mapping.has_logic_id:
                problems.append(problem("mapping_missing", **where))
        elif card["device_logic_id"] not in (None, chip.logic_id):
            values = _values(info_m=chip.logic_id, table=card["device_logic_id"])
            problems.append(problem("mapping_conflict", what="logic id", values=values, **where))
        else:
            card["logic_id"] = chip.logic_id
        if chip.phy_id is not None:
            card["phy_id_printed"] = True
            if card["phy_id"] not in (None, chip.phy_id):
                values = _values(info_m=chip.phy_id, table=card["phy_id"])
                problems.append(
                    problem("mapping_conflict", what="physical id", values=values, **where)
                )
                card["phy_id"] = None
            else:
                card["phy_id"] = chip.phy_id
    for chip in mapping.chips:
        if (chip.npu_id, chip.chip_id) not in seen:
            problems.append(
                problem(
                    "card_not_shown",
                    npu_id=chip.npu_id,
                    chip_id=chip.chip_id,
                    logic_id=chip.logic_id,
                )
            )
    problems += _null_shared(cards, "logic_id", "logic id")
    problems += _null_shared(cards, "phy_id", "physical id")
    return problems


def _null_shared(cards: Sequence[Card], key: str, what: str) -> list[Problem]:
    """Make an id null on all cards that share it: it can be true of one of them only."""
    problems: list[Problem] = []
    owners: dict[int, list[Card]] = {}
    for card in cards:
        if card[key] is not None:
            owners.setdefault(card[key], []).append(card)
    for value, same in sorted(owners.items()):
        if len(same) < 2:
            continue
        for card in same:
            card[key] = None
            problems.append(
                problem(
                    "mapping_conflict",
                    what=what,
                    npu_id=card["npu_id"],
                    chip_id=card["chip_id"],
                    values=f"{len(same)} cards have {value}",
                )
            )
    return problems


def apply_physical_ids(
    cards: Sequence[Card], remaps: Sequence[Remap], nodes: Sequence[int]
) -> list[Problem]:
    """Write `phy_id` where `info` and `info -m` print none, and `device`; the problems met.

    cards: after apply_mapping(). nodes: the N of every /dev/davinciN there is.

    The physical id is the N of /dev/davinciN. Sources, the first that speaks counts:

    1. The column Phy-ID of `info` or `info -m` (A3, 950).
    2. `npu-smi info -t phyid-remap -p N`: it maps the N of an existing /dev/davinciN to NPU id,
       chip id and logic id (show_ascend_chip_phyid_remap_info() in npu_chip_info.c; set_phy_id()
       in npu_common.c tests /dev/davinciN with that very N).
    3. Neither says it. On servers of one chip a card the NPU id is the slot of the board
       (dcmi_init_for_server.c), and containers that hold cards 0, 3, 4, 7 show NPU ids 0, 3, 4, 7
       over logic ids 0 to 3, so it goes with the device; on cards such as the 300I Duo the NPU id
       comes from the bus, and the logic id goes with the device. Where NPU id and logic id are
       equal for all cards, that is the physical id. Where they differ, the one of which every
       value has a device is assumed and reported as `phy_id_assumed`; if that is true of both
       or none, or logic ids are not known, the id is null and reported as `phy_id_unknown`.

    `device` is null where the node does not exist. An Ascend 950 numbers its nodes by NPU id
    (set_phy_id(), NPU_SMI_V2); where that is not the physical id, `device` stays null.
    """
    problems: list[Problem] = []
    remapped = {(remap.npu_id, remap.chip_id): remap for remap in remaps}
    for card in cards:
        remap = remapped.get((card["npu_id"], card["chip_id"]))
        if card["phy_id_printed"] or remap is None:
            continue
        if None not in (card["logic_id"], remap.logic_id) and card["logic_id"] != remap.logic_id:
            problems.append(
                problem(
                    "mapping_conflict",
                    what="physical id",
                    npu_id=card["npu_id"],
                    chip_id=card["chip_id"],
                    values=_values(info_m=card["logic_id"], phyid_remap=remap.logic_id),
                )
            )
            continue
        card["phy_id"] = remap.phy_id
    problems += _null_shared(cards, "phy_id", "physical id")
    silent = not remaps and not any(card["phy_id_printed"] for card in cards)
    problems += _assume_physical_ids(cards, nodes) if silent else _unknown(cards)
    there = set(nodes)
    for card in cards:
        phy_id = card["phy_id"]
        if phy_id is None:
            continue
        if phy_id in there:
            if "950" not in card["name"] or phy_id == card["npu_id"]:
                card["device"] = f"/dev/davinci{phy_id}"
        elif there:
            problems.append(
                problem(
                    "device_missing",
                    npu_id=card["npu_id"],
                    chip_id=card["chip_id"],
                    phy_id=phy_id,
                )
            )
    return problems


def _unknown(cards: Sequence[Card]) -> list[Problem]:
    return [
        problem("phy_id_unknown", npu_id=card["npu_id"], chip_id=card["chip_id"])
        for card in cards
        if card["phy_id"] is None
    ]


def _assume_physical_ids(cards: Sequence[Card], nodes: Sequence[int]) -> list[Problem]:
    there = set(nodes)
    npu_ids = [card["npu_id"] for card in cards]
    logic_ids = [card["logic_id"] for card in cards]
    if None in logic_ids:
        return _unknown(cards)
    if npu_ids == logic_ids and (not there or there.intersection(npu_ids)):
        for card in cards:
            card["phy_id"] = card["npu_id"]
        return []
    by_npu = len(set(npu_ids)) == len(npu_ids) and set(npu_ids) <= there
    by_logic = set(logic_ids) <= there
    if by_npu == by_logic:
        return _unknown(cards)
    key, rule = ("npu_id", "NPU id") if by_npu else ("logic_id", "logic id")
    problems = []
    for card in cards:
        card["phy_id"] = card[key]
        problems.append(
            problem(
                "phy_id_assumed",
                npu_id=card["npu_id"],
                chip_id=card["chip_id"],
                phy_id=card["phy_id"],
                rule=rule,
            )
        )
    return problems


_CARD_KEYS = (
    "npu_id",
    "chip_id",
    "logic_id",
    "phy_id",
    "name",
    "health",
    "bus_id",
    "memory_total_mb",
    "memory_used_mb",
    "power_w",
    "temperature_c",
    "aicore_percent",
    "device",
)


def public_card(card: Card) -> Card:
    """A card with the keys that the module documents, and no other."""
    shown: Card = {key: card[key] for key in _CARD_KEYS}
    shown["processes"] = [
        {key: process[key] for key in ("pid", "name", "memory_mb", "unit")}
        for process in card["processes"]
    ]
    return shown
