# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that a host sends makes a terminal act, or shows a text as another."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base import process
from ansible_collections.inferops.ascend.plugins.module_utils._base.systemctl import parse_show
from ansible_collections.inferops.ascend.plugins.module_utils._base.text import one_line, printable
from ansible_collections.inferops.ascend.plugins.module_utils._host import npu_smi, tables
from ansible_collections.inferops.ascend.plugins.module_utils._service.journal import clean
from hypothesis import given, settings
from hypothesis import strategies as st

NASTY = st.text(
    st.sampled_from(
        "\x1b\x9b\x9d\x90\x07\x08\x00\r\n\t[]PX^_;?0123456789hlmABcJKQ\\\x7f\u202e\u2066 a"
    )
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\x1bcb", "ab"),  # reset of the terminal
        ("a\x07b", "a b"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;aGk=\x1b\\text", "text"),  # writes the clipboard
        ("\x1bP+q544e\x1b\\text", "text"),
        ("\x9b2Jtext", "text"),
        ("\x1b(0text", "text"),
        ("a\u202eb\u2066c", "a b c"),
        ("a\x08\x08b", "a  b"),
        ("tab\tand\nline 昇腾", "tab\tand\nline 昇腾"),
    ],
)
def test_sequences_are_left_out(text: str, left: str) -> None:
    assert printable(text) == left


@settings(max_examples=500, deadline=None, print_blob=True)
@given(NASTY | st.text())
def test_nothing_is_left_that_a_terminal_acts_on(text: str) -> None:
    for shown in (printable(text), one_line(text), clean(text), tables.shorten(text)):
        acts = [char for char in shown if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
        assert set(acts) <= set("\t\n"), repr(shown)
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", shown)


def test_it_takes_time_in_proportion_to_the_text() -> None:
    begin = time.monotonic()
    for piece in ("\x1b]", "\x1b[", "\x9d;", "\x1b[0", "\x1bP \x1b"):
        printable(piece * 500_000)
    assert time.monotonic() - begin < 20


def test_every_door_uses_it() -> None:
    done = process.run(["printf", r"out\033c\007\rline"], 5)
    assert done.text == "out \nline"
    assert process.run(["sh", "-c", r"printf 'e\033c\007' >&2"], 5).errors == "e "
    assert parse_show("Id=a.service\nStatusText=\x1bcwaits\x07\n")[0]["StatusText"] == "waits "
    row = "+---+\n| NPU \x1bc bad\x07 |\n+---+"
    with pytest.raises(npu_smi.NpuSmiError) as caught:
        npu_smi.parse_info(row, "\x1b]0;x\x07told")
    assert "\x1b" not in str(caught.value) and "\x07" not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["+" + "-" * 200_000 + "x", "." * 200_000 + "x", " " * 200_000 + "1"]
)
def test_a_line_of_any_length_is_read_in_time(line: str) -> None:
    begin = time.monotonic()
    tables.is_rule(line)
    tables.is_elided(line)
    layout = tables.Layout("| NPU Name | Health | Power(W) Temp(C) Hugepages-Usage(page) |")
    layout.read(f"| 0 910B3 | OK | {line} |")
    with pytest.raises(npu_smi.NpuSmiError):
        npu_smi.parse_info("\n".join([line, f"| {line} |"] * 10))
    assert time.monotonic() - begin < 10


def test_rulers_and_ellipses() -> None:
    assert tables.is_rule("+====+-----+") and tables.is_rule("|----|")
    assert not tables.is_rule("+ + +") and not tables.is_rule("| 0 |") and not tables.is_rule("")
    assert tables.is_elided("| ... |") and tables.is_elided("…") and not tables.is_elided("| .. |")
