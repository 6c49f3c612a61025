# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures of which users and the makers' code report several lines, and those of the field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._service import causes as host_causes
from ansible_collections.inferops.ascend.plugins.module_utils._service import journal
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

from .reported_lines import CONSEQUENCES, HARMLESS, LINES, WITHOUT_LINES

FAILURES = causes.failures()
KNOWN = {"name": "chat", "unit": "vllm@chat.service", "port": 8000, "holder": None}
DATA = Path(__file__).parents[3] / "data" / "reported"
RECORDS: list[dict[str, Any]] = [
    record for path in sorted(DATA.glob("*.yml")) for record in yaml.safe_load(path.read_text())
]
# What systemd reports besides; the kernel's line is the reason of it.
BY_SYSTEMD = ("killed", "connection-lost", "start-limit", "start-timeout", "crash")


def why(lines: list[str], **given: Any) -> dict[str, Any]:
    found = host_causes.find_cause(lines, FAILURES, KNOWN, **given)
    assert found is not None
    return found


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: f"{each['failure']}: {each['source']}")
def test_reported_lines_are_the_failure_that_they_are(record: dict[str, Any]) -> None:
    lines = record["lines"].splitlines()
    around = [] if record["failure"] in BY_SYSTEMD else CONSEQUENCES
    by_signal = record["failure"] == "killed"
    for given in (lines, [*HARMLESS, *lines, *around]):
        found = why(
            given, result="signal" if by_signal else "exit-code", status=None if by_signal else 1
        )
        assert found["id"] == record["failure"], found["cause"]
        values = record.get("values", {})
        assert {key: found["values"].get(key) for key in values} == values
        assert set(found["lines"]) & {journal.cut(line) for line in lines}
        for text in (found["cause"], found["advice"]):
            assert not re.search(r"\{[a-z_]+\}", text), text


def test_every_failure_has_lines_that_somebody_reported() -> None:
    reported = {name for _line, name, _figures in LINES} | {each["failure"] for each in RECORDS}
    assert reported == {each["id"] for each in FAILURES} - WITHOUT_LINES


def test_at_least_sixty_failures_tell_how_they_were_resolved() -> None:
    files = (causes.vars_file(f"failures/{name}.yml")["failures"] for name in causes.SUBJECTS)
    resolved = [each["id"] for entries in files for each in entries if "resolved" in each]
    assert len(resolved) >= 60


# --- the cases of the field -------------------------------------------------------------------------

# The failure of each case, and what a person reads of it.
FIELD = {
    "case-06-hccp-ej0001": ("hccp-held", r"EJ0001.*has not ended, or another one uses it", r"Stop it.*wait.*start again"),
    "case-08-triton-bishengir-target": ("compiler-card", r"does not know the chip Ascend310P1", r"newer vllm-ascend"),
    "case-10-modelconfig-validation": ("architecture", r"Qwen3NextForCausalLM", r"newer row of the version matrix"),
    "case-10b-modelconfig-transformers": ("transformers-old", r"model type qwen3_5", r"newer row of the version matrix"),
    "case-11b-permission": ("permission", r"may not open /root/\.cache", r"enter every directory"),
    "case-11c-kernel-meta": ("kernel-directory", r"may not write //kernel_meta", r"working\s*directory"),
    "case-14-sharded-state": ("sharded-state", r"model-rank-0-part", r"load-format: sharded_state"),
    "case-14b-option-multiline": ("option-value", r"--attention-config/-ac: Invalid backend", r"args of service chat"),
    "case-16-other-json-missing": ("rank-table", r"hccl_8p_01234567\.json", r"RANK_TABLE_FILE.*finds the ranks by itself"),
    "case-16b-adapter-json-missing": ("adapter-missing", r"/data/loras/sql/adapter_config\.json", r"lora-modules"),
}  # fmt: skip


@pytest.mark.parametrize("case", FIELD)
def test_a_journal_of_the_field_gives_the_right_words(case: str, shared: Path) -> None:
    name, cause, advice = FIELD[case]
    lines = (shared / "field" / f"{case}.txt").read_text(encoding="utf-8").splitlines()
    found = why(lines, result="exit-code", status=1)
    assert found["id"] == name
    assert re.search(cause, found["cause"]) and re.search(advice, found["advice"])


def test_each_undefined_symbol_of_the_field_is_of_nnal(shared: Path) -> None:
    path = shared / "field" / "case-09-undefined-symbol.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        assert why([line])["id"] == "nnal-other"
