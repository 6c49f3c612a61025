# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parser of npu-smi's output: every recording, every cut of it, and what no driver prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import npu_smi, problems

from .tables_of_hosts import TABLE, TABLES, codes, facts, text_of

# file -> (npu-smi, driver, [(NPU, chip, phy, health, used MB, total MB, processes)], problems)
RECORDINGS: dict[str, tuple[Any, Any, list[Any], list[str]]] = {
    "910B3-25.5.2-1.txt": ("25.5.2", "25.5.2", [(0, 0, None, "OK", 3465, 65536, 0)], []),
    "910B4-26.0.rc1-1.txt": ("26.0.rc1", "26.0.rc1", [(0, 0, None, "OK", 2871, 32768, 0)], []),
    "910B4-24.1.rc3-noncontig-1.txt": (
        "24.1.rc3",
        "24.1.rc3",
        [
            (0, 0, None, "OK", 2843, 32768, 0),
            (3, 0, None, "OK", 2842, 32768, 0),
            (4, 0, None, "OK", 2833, 32768, 0),
            (7, 0, None, "OK", 2833, 32768, 0),
        ],
        [],
    ),
    "910A-redacted-23.0.5-warning-1.txt": (
        "23.0.5",
        "23.0.5",
        [(0, 0, None, "Warning", 0, 32768, 0), (7, 0, None, "OK", 0, 32768, 0)],
        ["elided", "elided"],
    ),
    "910B1-23.0.rc2-1.txt": (
        "23.0.rc2",
        "23.0.rc2",
        [
            (0, 0, None, "OK", 4175, 65536, 0),
            (1, 0, None, "OK", 4175, 65536, 0),
            (7, 0, None, "OK", 4174, 65536, 0),
        ],
        ["elided", "no_process_table"],
    ),
    "910B2C-23.0.2.1-procs-1.txt": (
        "23.0.2.1",
        "23.0.2.1",
        [(0, 0, None, "OK", 20701, 65536, 1), (1, 0, None, "OK", 20687, 65536, 0)],
        ["processes_not_shown"],
    ),
    "A3-25.2.0-procs-1.txt": (
        "25.2.0",
        "25.2.0",
        [
            (0, 0, 0, "OK", 3133, 65536, 0),
            (0, 1, 1, "OK", 2876, 65536, 0),
            (1, 0, 2, "OK", 3116, 65536, 0),
            (1, 1, 3, "OK", 10568, 65536, 1),
        ],
        [],
    ),
    "310P3-25.5.1-hami-host-1.txt": (
        "25.5.1",
        "25.5.1",
        [(4, 0, None, "OK", 1848, 21525, 0), (5, 0, None, "OK", 1849, 21525, 0)],
        ["no_process_table"],
    ),
    "310P3-25.5.1-hami-pod-1.txt": (
        "25.5.1",
        "25.5.1",
        [(32768, 0, None, "OK", 0, 8192, 0)],
        ["no_process_table"],
    ),
    "310B4-23.0.0-alarm-1.txt": (
        "23.0.0",
        "23.0.0",
        [(0, 0, None, "Alarm", 3628, 15609, 0)],
        ["no_process_table"],
    ),
    "950-doc-basic-1.txt": (None, None, [(0, None, None, "OK", 4439, 86016, 0)], []),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_recording(shared: Path, name: str) -> None:
    text = (shared / "samples/npu-smi" / name).read_text(encoding="utf-8")
    version, driver, cards, expected = RECORDINGS[name]
    info = npu_smi.parse_info(text)
    assert (info.npu_smi_version, info.driver_version) == (version, driver)
    keys = ("npu_id", "chip_id", "phy_id", "health", "memory_used_mb", "memory_total_mb")
    assert [facts(card, *keys) + (len(card["processes"]),) for card in info.cards] == cards
    assert codes(info.problems) == expected


def test_full_host_with_a_process_on_every_card(shared: Path) -> None:
    name = "910A-redacted-23.0.rc3-procs-1.txt"
    info = npu_smi.parse_info((shared / "samples/npu-smi" / name).read_text(encoding="utf-8"))
    assert (info.npu_smi_version, info.driver_version) == ("23.0.rc3", "23.0.rc2.3")
    assert info.problems == []
    assert [card["npu_id"] for card in info.cards] == list(range(8))
    assert facts(info.cards[0], "memory_used_mb", "memory_total_mb") == (30710, 32768)
    pids = [[process["pid"] for process in card["processes"]] for card in info.cards]
    assert pids[0] == [139667]
    assert pids[7] == [139090]


def test_every_prefix_of_every_recording(shared: Path) -> None:
    """What is read of a cut output is in the whole one, equal, and a cut is told."""
    for path in sorted((shared / "samples/npu-smi").glob("*.txt")):
        check_prefixes(path.read_text(encoding="utf-8"))


def check_prefixes(text: str) -> None:
    try:
        whole = npu_smi.parse_info(text)
    except problems.NpuSmiError:
        for end in range(len(text)):
            with pytest.raises(problems.NpuSmiError):
                npu_smi.parse_info(text[:end])
        return
    processes = {(card["npu_id"], card["chip_id"]): card.pop("processes") for card in whole.cards}
    for end in range(len(text)):
        try:
            info = npu_smi.parse_info(text[:end])
        except problems.NpuSmiError:
            assert end < text.index("Bus-Id")
            continue
        found = {(card["npu_id"], card["chip_id"]): card.pop("processes") for card in info.cards}
        assert info.cards == whole.cards[: len(info.cards)]
        for key, rows in found.items():
            assert rows == processes[key][: len(rows)]
        if len(info.cards) < len(whole.cards) or found != processes:
            assert info.problems


@pytest.mark.parametrize("name", TABLES)
def test_whole_outputs_have_no_problem(name: str) -> None:
    assert npu_smi.parse_info(text_of(name)).problems == []


@pytest.mark.parametrize("name", TABLES)
def test_every_prefix(name: str) -> None:
    check_prefixes(text_of(name))


def test_two_chips_of_a_board_and_a_process_on_both() -> None:
    info = npu_smi.parse_info(text_of("310p3-duo-info.txt"))
    keys = ("npu_id", "chip_id", "health", "memory_total_mb", "power_w", "temperature_c")
    assert [facts(card, *keys) for card in info.cards] == [
        (2, 0, "OK", 44280, None, 52),
        (2, 1, "OK", 43693, None, 49),
        (32896, 0, "Alarm", 44280, None, -5),
        (32896, 1, "OK", 43693, None, 30),
    ]
    held = [[(row["pid"], row["memory_mb"]) for row in c["processes"]] for c in info.cards]
    assert held == [[(326429, 33842), (326430, 108)], [(326430, 34086)], [], []]
    assert info.cards[0]["processes"][0]["name"] == ""


def test_process_table_with_pids_in_containers() -> None:
    info = npu_smi.parse_info(text_of("a2-26.1.0-info.txt"))
    assert info.cards[0]["processes"] == [
        {"pid": 485946, "name": "VLLMWorker_TP", "memory_mb": 56805, "unit": None}
        | {"container_pid": 212},
        {"pid": 485947, "name": "a|b", "memory_mb": None, "unit": None, "container_pid": None},
    ]
    assert facts(info.cards[0], "memory_used_mb", "memory_total_mb") == (60156, 65536)
    assert info.cards[1]["health"] == "Critical"


def test_950_without_a_bus_id() -> None:
    info = npu_smi.parse_info(text_of("950dt-25.6.rc1-info.txt"))
    keys = ("npu_id", "chip_id", "bus_id", "aicore_percent", "power_w", "memory_total_mb")
    assert [facts(card, *keys) for card in info.cards] == [
        (0, None, None, 5, 380.7, 86016),
        (6, None, None, 5, 380.7, 86016),
    ]
    assert [len(card["processes"]) for card in info.cards] == [1, 0]


def test_310p4() -> None:
    (card,) = npu_smi.parse_info(text_of("310p4-info.txt")).cards
    assert facts(card, "npu_id", "name", "memory_total_mb") == (24, "310P4", 21527)


def one_card(text: str) -> dict[str, Any]:
    info = npu_smi.parse_info(text)
    (card,) = info.cards
    return card


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace("\n", "\r\n"),
        "\ufeff" + TABLE,
        TABLE.replace("OK ", "\x1b[32mOK\x1b[0m "),
        TABLE.replace("     ", "\t"),
        "> " + TABLE.replace("\n", "\n> ").rstrip("> "),
        "Warning: unofficial\nDrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n" + TABLE,
        TABLE.replace("+===+\n| 5", "[INFO] slow card\n+===+\n[INFO] x\n| 5"),
        TABLE.replace("+===+", "+----|====-+"),
        TABLE.replace("+---+", "+" + "-" * 200 + "+"),
        TABLE.replace("91.3  36 ", "91.3  36  "),
        TABLE.replace("60156/ 65536", "60156 /65536"),
        TABLE.replace("60156/ 65536", "60156/65536"),
    ],
)
def test_harmless_differences(text: str) -> None:
    expected = one_card(TABLE)
    assert one_card(text) == expected
    assert facts(expected, "npu_id", "power_w", "temperature_c", "aicore_percent") == (
        5,
        91.3,
        36,
        7,
    )
    assert facts(expected, "memory_used_mb", "memory_total_mb") == (60156, 65536)


def test_columns_are_found_by_their_names() -> None:
    swapped = (
        TABLE.replace("Power(W)  Temp(C)", "Temp(C)  Power(W)")
        .replace("91.3  36", "36  91.3")
        .replace("Memory-Usage(MB)  HBM-Usage(MB)", "HBM-Usage(MB)  Memory-Usage(MB)")
        .replace("0 / 0  60156/ 65536", "60156/ 65536  0 / 0")
    )
    assert one_card(swapped) == one_card(TABLE)
    cells = (
        TABLE.replace("| NPU   Name      | Health  |", "| Health  | NPU   Name      |")
        .replace("| 5     910B3     | OK      |", "| OK      | 5     910B3     |")
        .replace("| Chip            | Bus-Id  |", "| Bus-Id  | Chip            |")
        .replace("| 0               | 0000:C1:00.0 |", "| 0000:C1:00.0 | 0               |")
    )
    assert one_card(cells) == one_card(TABLE)
    more = TABLE.replace("Temp(C)", "Temp(C)  Fan(%)").replace("91.3  36", "91.3  36  40")
    assert one_card(more) == one_card(TABLE)
    fewer = TABLE.replace("  Hugepages-Usage(page)", "").replace("36   0 / 0 ", "36 ")
    assert one_card(fewer) == one_card(TABLE)


@pytest.mark.parametrize("absent", ["NA", "N/A", "-"])
def test_absent_values_are_null(absent: str) -> None:
    text = TABLE.replace("91.3  36", f"{absent}  {absent}").replace("| 7 ", f"| {absent} ")
    card = one_card(text.replace("60156/ 65536", absent).replace("0000:C1:00.0", absent))
    keys = ("power_w", "temperature_c", "aicore_percent", "bus_id")
    assert facts(card, *keys) == (None, None, None, None)
    assert facts(card, "memory_used_mb", "memory_total_mb") == (None, None)
    assert one_card(TABLE.replace("60156/", f"{absent} /"))["memory_used_mb"] is None


def test_name_with_a_blank_and_unknown_health() -> None:
    card = one_card(TABLE.replace("910B3", "Ascend 910B4-1").replace("| OK ", "| UNKNOWN "))
    assert facts(card, "name", "health") == ("Ascend 910B4-1", "UNKNOWN")


def test_values_that_fit_no_column_are_null_with_a_problem() -> None:
    info = npu_smi.parse_info(TABLE.replace("60156/ 65536", "60156/ 65536 12 13"))
    assert info.cards[0]["memory_total_mb"] is None
    assert codes(info.problems) == ["unread_value"]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("| 0               | 0000:C1:00.0 | 7  0 / 0  60156/ 65536 |\n", "", "truncated"),
        ("| 5     910B3     | OK      | 91.3  36   0 / 0 |\n", "", "truncated"),
        ("91.3  36   0 / 0 |", "91.3  3", "truncated"),
        ("| 0               | 0000:C1", "...\n| 0               | 0000:C1", "elided"),
        ("| 5     910B3     | OK      |", "| 5     910B3     |", "unread_row"),
    ],
)
def test_half_a_card_is_no_card(old: str, new: str, code: str) -> None:
    assert old in TABLE
    info = npu_smi.parse_info(TABLE.replace(old, new))
    assert info.cards == []
    assert code in codes(info.problems)
    assert "no_cards" in codes(info.problems)


def test_halves_of_two_cards_are_no_card() -> None:
    chip = TABLE[TABLE.index("| 0    ") : TABLE.index("+===+\n| NPU     Chip")]
    info = npu_smi.parse_info(TABLE.replace(chip, "+===+\n" + chip))
    assert info.cards == []
    assert codes(info.problems) == ["truncated", "truncated", "no_cards"]


def test_memory_is_hbm_where_there_is_hbm() -> None:
    both = TABLE.replace("0 / 0  60156/", "4565 / 15137  60156/")
    assert facts(one_card(both), "memory_used_mb", "memory_total_mb") == (60156, 65536)
    other = TABLE.replace("0 / 0  60156/ 65536", "4565 / 15137  0 / 0")
    assert facts(one_card(other), "memory_used_mb", "memory_total_mb") == (4565, 15137)


@pytest.mark.parametrize("digits", ["\u0665", "\u00b2", "1_0", "9" * 5000])
def test_only_plain_numbers_are_ids(digits: str) -> None:
    info = npu_smi.parse_info(TABLE.replace("| 5     910B3", f"| {digits}     910B3"))
    assert info.cards == []
    assert "unread_row" in codes(info.problems)


def test_the_same_card_twice_is_one_card() -> None:
    info = npu_smi.parse_info(TABLE + TABLE)
    assert len(info.cards) == 1
    assert codes(info.problems) == ["duplicate_card"]


def test_process_of_a_card_that_is_not_shown() -> None:
    info = npu_smi.parse_info(
        TABLE.replace("| No running", "| 6   0 | 77 | python | 12 |\n+===+\n| No running")
    )
    assert codes(info.problems) == ["process_unknown_card"]
    assert "77" in info.problems[0]["message"]


def test_open_list_of_processes_is_incomplete() -> None:
    start = TABLE[: TABLE.index("| No running")]
    info = npu_smi.parse_info(start + "| 5   0 | 77 | python | 12 |\n")
    assert len(info.cards[0]["processes"]) == 1
    assert codes(info.problems) == ["truncated"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("dcmi module initialize failed. ret is -8005", "dcmi_8005", "HwHiAiUser"),
        (
            "dcmi model initialized failed, because the device is used. ret is -8020",
            "dcmi_8020",
            "another container",
        ),
        ("npu get board type failed. ret is -9005", "dcmi_9005", "/etc/ascend_install.info"),
        ("dcmi module initialize failed. ret is -8012", "dcmi_error", "-8012"),
        ("There is no NPU card on this server.", "no_cards", "lspci"),
        (
            "npu-smi: error while loading shared libraries: libdrvdsmi_host.so: cannot open",
            "npu_smi_library",
            "lib64",
        ),
        ("what is this", "unknown_layout", "what is this"),
        ("", "unknown_layout", "nothing"),
        (
            "[WARNING]The driver package may not be completely installed, which may cause",
            "driver_incomplete",
            "Driver_Install_Status=complete",
        ),
    ],
)
def test_an_error_instead_of_a_table(text: str, code: str, words: str) -> None:
    for arguments in ((text,), ("", text)):
        with pytest.raises(problems.NpuSmiError) as caught:
            npu_smi.parse_info(*arguments)
        assert caught.value.problems[0]["code"] == code
        assert words in str(caught.value)


@pytest.mark.parametrize("number", ["8005", "8020"])
def test_recorded_errors(shared: Path, number: str) -> None:
    text = (shared / f"samples/npu-smi/error-{number}-1.txt").read_text(encoding="utf-8")
    with pytest.raises(problems.NpuSmiError) as caught:
        npu_smi.parse_info(text, status=187)
    assert codes(caught.value.problems) == ["dcmi_" + number]


def test_incomplete_driver_behind_a_whole_table(shared: Path) -> None:
    warning = (shared / "samples/npu-smi/error-driver-incomplete-1.txt").read_text("utf-8")
    info = npu_smi.parse_info(TABLE + warning)
    assert len(info.cards) == 1
    assert codes(info.problems) == ["driver_incomplete"]


def test_exit_status_is_told_with_the_table() -> None:
    info = npu_smi.parse_info(TABLE, "card 3 lost", 1)
    assert codes(info.problems) == ["npu_smi_exit"]
    assert "card 3 lost" in info.problems[0]["message"]


def test_every_problem_has_a_message_and_advice() -> None:
    for code, (message, advice) in problems.PROBLEMS.items():
        assert message.endswith((".", "}")), code
        assert advice.endswith("."), code


def test_tool_version() -> None:
    assert npu_smi.parse_tool_version("npu-smi version: 23.0.rc2\n") == "23.0.rc2"
    assert npu_smi.parse_tool_version("Command or option is not found.") is None


def test_public_card_has_the_documented_keys_only() -> None:
    (card,) = [npu_smi.public_card(card) for card in npu_smi.parse_info(TABLE).cards]
    assert "device_logic_id" not in card
    assert "phy_id_printed" not in card
