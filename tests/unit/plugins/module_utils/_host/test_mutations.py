# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outputs that no driver prints: nothing is made up, and nothing but NpuSmiError is raised."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import ids, npu_smi, problems
from hypothesis import given, settings
from hypothesis import strategies as st

from .tables_of_hosts import mutated


def has(text: str, card: dict[str, Any]) -> bool:
    """Whether some line has the card's NPU id and name, and a line below it its chip and memory."""
    lines = text.replace("\r", "\n").split("\n")
    for number, line in enumerate(lines):
        if not {str(card["npu_id"]), *card["name"].split()} <= set(line.replace("|", " ").split()):
            continue
        for below in lines[number + 1 :]:
            tokens = set(below.replace("|", " ").replace("/", " ").split())
            wanted = {card["chip_id"], card["memory_total_mb"], card["memory_used_mb"]} - {None}
            if {str(value) for value in wanted} <= tokens:
                return True
    return False


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_no_mutation_makes_up_a_card(text: str) -> None:
    try:
        info = npu_smi.parse_info(text)
    except problems.NpuSmiError as error:
        assert error.problems
        return
    for card in info.cards:
        # Control characters are taken out before a name is read.
        if not any(
            unicodedata.category(mark) in ("Cc", "Cf") for mark in text if mark not in "\r\n"
        ):
            assert has(text, card), card
        assert card["health"]
        npu_smi.public_card(card)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="|+-=/ \n0123456789NPUChipIDs.")), st.text(max_size=9))
def test_any_text_is_read_or_refused(text: str, errors: str) -> None:
    for parse in (npu_smi.parse_info, ids.parse_mapping):
        with pytest.raises(problems.NpuSmiError):
            parse(text, errors)
    for lenient in (ids.parse_phyid_remap, npu_smi.parse_tool_version):
        lenient(text)
