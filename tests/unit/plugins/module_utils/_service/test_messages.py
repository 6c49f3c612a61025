# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lines of a journal are one message, and which tell most."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service.messages import (
    ending,
    split,
    telling,
    transcribe,
)

WORKER = "(Worker_TP0 pid=301) ERROR 08-19 09:13:40 [multiproc_executor.py:888] "
SERVER = "(APIServer pid=1) "


def told(*lines: str, ended: bool = True) -> tuple[str, list[str]] | None:
    most = telling(transcribe(lines), ended)
    return (most.text, list(most.lines)) if most else None


@pytest.mark.parametrize(
    ("line", "process", "level", "text"),
    [
        (WORKER + "  x", "(Worker_TP0 pid=301)", "ERROR", "  x"),
        ("(VllmWorker rank=0 pid=2101) ERROR 04-24 16:14:56 [x.py:5] y", "(VllmWorker rank=0 pid=2101)", "ERROR", "y"),
        ("(RayWorkerWrapper pid=7, ip=10.0.0.2) INFO 04-24 16:14:56 [x.py:5] y", "(RayWorkerWrapper pid=7, ip=10.0.0.2)", "INFO", "y"),
        ("(EngineCore_1 pid=3) (VllmWorker rank=0 pid=4) ERROR 07-01 08:38:50 [x.py:492] y", "(EngineCore_1 pid=3) (VllmWorker rank=0 pid=4)", "ERROR", "y"),
        ("ERROR 02-11 11:32:58 engine.py:389] y", "", "ERROR", "y"),
        ("[rank1]:         Solution: z", "[rank1]:", "", "        Solution: z"),
        ("  Value error, w", "", "", "  Value error, w"),
        ("INFO: 1.2.3.4 - GET", "", "", "INFO: 1.2.3.4 - GET"),
    ],
)  # fmt: skip
def test_a_line_is_told_from_what_stands_before_its_text(
    line: str, process: str, level: str, text: str
) -> None:
    assert split(line)[:3] == (process, level, text)


def test_lines_of_a_process_follow_each_other_though_another_writes_between() -> None:
    journal = transcribe([WORKER + "one", SERVER + "other", "", WORKER, WORKER + "two"])
    assert journal.text == "one\ntwo\nother"
    start = journal.text.index("two")
    assert [line.raw for line in journal.covered(start, start + 3)] == [WORKER + "two"]
    assert len(journal.covered(0, start + 1)) == 2


def test_an_exception_without_a_text_has_its_reason_on_the_lines_after_it() -> None:
    lines = [
        WORKER + "triton.compiler.errors.MLIRCompilationError: ",
        WORKER + "///------------[ERROR][Triton][BEG]------",
        SERVER + "RuntimeError: Engine core initialization failed. See root cause above.",
        WORKER + "bishengir-compile: Cannot find option named 'x'!",
        WORKER + "[INFO]: The cache is in /root",
    ]
    assert told(*lines) == (
        "triton.compiler.errors.MLIRCompilationError: bishengir-compile: Cannot find option named 'x'!",
        [lines[0], lines[3]],
    )


def test_an_exception_of_its_name_alone_shows_the_code_that_raised_it() -> None:
    lines = ['  File "x.py", line 5, in f', "    assert heads % ranks == 0", "AssertionError"]
    assert told(*lines) == ("AssertionError assert heads % ranks == 0", lines[:0:-1])


def test_the_first_exception_is_shown_with_the_last_and_without_consequences() -> None:
    lines = [
        WORKER + "KeyError: 'x'",
        WORKER + "ValueError: because of that",
        SERVER + "RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    assert told(*lines) == ("KeyError: 'x'", lines[:2])
    assert told(lines[2]) is None


def test_a_warning_that_quotes_an_error_is_none() -> None:
    assert (
        told("(Worker pid=1) WARNING 08-19 09:13:40 [x.py:8] OSError: too many", ended=True) is None
    )
    quoted = "/opt/x/executor.py:152: UserWarning: Failed to get the IP address, using 0.0.0.0"
    assert told(quoted, ended=True) is None


def test_what_was_printed_before_it_served_did_not_end_it() -> None:
    served = "(APIServer pid=3) INFO:     Application startup complete."
    assert told("cannot find a faster kernel", served) is None
    late = "cannot open /dev/x"
    assert told("cannot find a faster kernel", served, late) == (late, [late])


def test_without_an_exception_the_last_lines_with_the_words_of_an_error_are_shown() -> None:
    lines = [
        "started",
        "cannot open /dev/x",
        "dlopen failed",
        "bye",
        "vllm@a.service: Failed with result 'x'.",
    ]
    assert told(*lines) == ("dlopen failed", lines[1:3])
    assert told(*lines, ended=False) is None
    assert told("started", "bye") is None
    assert ending(transcribe(lines), 2) == lines[2:4]
