# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a start failed, of failures that the test makes up."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._service.causes import find_cause


def failure(name: str, *lines: str, **fields: Any) -> dict[str, Any]:
    given = {"id": name, "lines": list(lines), "cause": [name], "advice": ["do"], "retry": True}
    return {**given, **fields}


def why(lines: list[str], *failures: dict[str, Any], **given: Any) -> dict[str, Any] | None:
    values = given.pop("values", {})
    return find_cause(lines, failures, values, **given)


def test_the_order_of_the_list_decides_and_not_that_of_the_lines() -> None:
    root, consequence = failure("root", "out of memory"), failure("late", "timed out")
    found = why(["timed out", "out of memory", "timed out"], root, consequence)
    assert found is not None
    assert (found["id"], found["lines"]) == ("root", ["out of memory"])


def test_figures_of_the_lines_stand_in_the_advice() -> None:
    known = failure(
        "kv",
        r"len \((?P<tokens_wanted>[\d,]+)\)",
        r"length is (?P<tokens_fit>[\d,]+)",
        advice=["{name}: set {tokens_fit}", "{name}: set less"],
        cause=["{tokens_wanted} needs {needed}", "{tokens_wanted} is too much"],
    )
    given = {"values": {"name": "chat"}}
    found = why(["max len (40,960)", "length is 32,768"], known, **given)
    assert found is not None
    assert found["advice"] == "chat: set 32768"
    assert found["cause"] == "40960 is too much"
    assert found["values"] == {"tokens_wanted": "40960", "tokens_fit": "32768"}
    without = why(["max len (40,960)"], known, **given)
    assert without is not None and without["advice"] == "chat: set less"


def test_a_figure_is_data_and_no_text_to_fill_in() -> None:
    known = failure("x", r"error: (?P<error>.+)", cause=["{error}"])
    found = why(["error: {name} {error}"], known, values={"name": "chat"})
    assert found is not None and found["cause"] == "{name} {error}"


def test_systemd_speaks_where_no_line_does() -> None:
    by_line, by_result = failure("line", "nothing says this"), failure("oom", results=["oom-kill"])
    by_status = failure("status", statuses=[78])
    assert why(["x"], by_line, by_result, by_status) is None
    oom = why(["x"], by_line, by_result, result="oom-kill")
    assert oom is not None and oom["id"] == "oom"
    found = why(["x"], by_status, status=78)
    assert found is not None and found["id"] == "status"


def test_secrets_are_in_no_evidence_and_no_figure() -> None:
    known = failure("x", r"error: (?P<error>.+)", cause=["{error}"])
    found = why(["error: key s3cret"], known, redact=lambda text: text.replace("s3cret", "***"))
    assert "s3cret" not in json.dumps(found)
    assert found is not None and found["cause"] == "key ***"


UNKNOWN = {"id": "unknown", "telling": True, "cause": ["{error}"], "advice": ["read"]}


def test_a_pattern_reaches_over_lines_of_one_process_and_shows_them_all() -> None:
    known = failure("x", r"header\n\s*(?P<error>.+)\n(?P<more>.+)", cause=["{error}: {more}"])
    lines = ["(A pid=1) header", "(B pid=2) between", "(A pid=1)   one", "(A pid=1)  two  words "]
    found = why(lines, known)
    assert found is not None and found["cause"] == "one: two words"
    assert found["lines"] == [lines[0], lines[2], lines[3]]


def test_a_line_that_is_known_counts_before_systemd_and_systemd_before_one_that_is_not() -> None:
    by_status, by_line = failure("status", "no such line", statuses=[2]), failure("line", "late")
    given = {"status": 2, "result": "exit-code"}
    found = why(["late"], by_status, by_line, UNKNOWN, **given)
    assert found is not None and found["id"] == "line"
    found = why(["x", "KeyError: 'y'"], by_status, by_line, UNKNOWN, **given)
    assert found is not None
    assert (found["id"], found["lines"]) == ("status", ["KeyError: 'y'"])
    found = why(["x", "KeyError: 'y'"], by_line, UNKNOWN, result="exit-code", status=1)
    assert found is not None
    assert (found["cause"], found["lines"]) == ("KeyError: 'y'", ["KeyError: 'y'"])


def test_what_nobody_recognises_shows_the_last_lines_and_not_none() -> None:
    ended = failure("ended", results=["exit-code"])
    del ended["lines"]
    lines = ["one", "two", "vllm@a.service: Main process exited, code=exited, status=1/FAILURE"]
    found = why(lines, UNKNOWN, ended, result="exit-code", status=1)
    assert found is not None
    assert (found["id"], found["lines"]) == ("ended", ["one", "two"])


def test_of_a_process_that_was_killed_an_exception_is_the_reason_but_no_word_of_an_error() -> None:
    killed = failure("killed", results=["signal"])
    del killed["lines"]
    found = why(["KeyError: 'y'"], UNKNOWN, killed, result="signal")
    assert found is not None and found["id"] == "unknown"
    found = why(["a retry failed, going on"], UNKNOWN, killed, result="signal")
    assert found is not None and found["id"] == "killed"


def test_of_several_processes_the_first_that_tells_it_counts() -> None:
    known = failure("x", r"error (?P<number>\d)", cause=["{number}"])
    lines = ["Starting", "(A pid=1) error 1", "error 2", "(A pid=1) error 3"]
    found = why(lines, known)
    assert found is not None and (found["cause"], found["lines"]) == ("1", [lines[1]])
