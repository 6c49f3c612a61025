# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The known failures: each is found by the words that users report, and none by others' words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._service import causes as host_causes
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

from .reported_lines import CONSEQUENCES, HARMLESS, LINES

DATA = causes.failures()
KNOWN = {"name": "chat", "unit": "vllm@chat.service", "port": 8000, "holder": None}


def why(*lines: str, **given: Any) -> dict[str, Any] | None:
    return host_causes.find_cause(list(lines), DATA, KNOWN, **given)


def test_the_data_fits_its_schema(repository: Path) -> None:
    subjects = [f"failures/{name}" for name in causes.SUBJECTS]
    found = (repository / "vars" / "failures").glob("*.yml")
    assert sorted(subjects) == sorted(f"failures/{path.stem}" for path in found)
    for name in (*subjects, "start_phases"):
        kind = name.split("/", maxsplit=1)[0]
        schema = json.loads((repository / f"vars/schemas/{kind}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        data = yaml.safe_load((repository / f"vars/{name}.yml").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(data)
    phases = data["phases"]
    assert {source for each in phases for source in each["sources"]} == set(data["source_registry"])
    names = [each["id"] for each in DATA]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("line", "name", "figures"), LINES, ids=[line[:40] for line, *_unused in LINES]
)
def test_a_reported_line_is_the_failure_that_it_is(
    line: str, name: str, figures: dict[str, str]
) -> None:
    prefixed = "(EngineCore_DP0 pid=9) ERROR 11-23 17:44:00 [core.py:700] " + line
    for said in (line, prefixed) if not line.startswith("/bin/bash") else (line,):
        found = why(said)
        assert found is not None
        assert found["id"] == name
        assert {key: found["values"].get(key) for key in figures} == figures
        assert found["lines"] == [said]


@pytest.mark.parametrize(("line", "name"), [(line, name) for line, name, _figures in LINES])
def test_a_cause_wins_over_its_consequences(line: str, name: str) -> None:
    if name in ("engine-dead", "engine-killed"):
        return  # they are such themselves
    found = why(*HARMLESS, CONSEQUENCES[1], line, *CONSEQUENCES, result="exit-code", status=1)
    assert found is not None and found["id"] == name


def test_consequences_without_a_cause_say_that_there_is_none() -> None:
    found = why(*HARMLESS, *CONSEQUENCES, result="exit-code", status=1)
    assert found is not None and found["id"] == "engine-dead"


def test_no_text_is_left_with_a_place_to_fill_in() -> None:
    for line, _name, _figures in LINES:
        found = why(line)
        assert found is not None
        for text in (found["cause"], found["advice"]):
            assert not re.search(r"\{[a-z_]+\}", text), text
    for failure in DATA:  # nor where systemd alone speaks
        for key, known in (
            ("result", failure.get("results", ())),
            ("status", failure.get("statuses", ())),
        ):
            for value in known:
                found = why(**{key: value})
                assert found is not None and not re.search(r"\{[a-z_]+\}", found["cause"])


@pytest.mark.parametrize("line", HARMLESS, ids=lambda value: value[:40])
def test_a_line_of_a_healthy_start_is_no_cause(line: str) -> None:
    assert why(line) is None


def test_the_estimated_length_stands_in_the_advice() -> None:
    found = why(next(line for line, name, _f in LINES if name == "kv-cache"))
    assert found is not None
    assert "Set max_model_len: 32768 or less on service chat" in found["advice"]
    assert (
        found["cause"] == "max_model_len 40960 needs a KV cache of 5.62 GiB, and 4.50 GiB are left."
    )
    assert found["retry"] is False


def test_an_estimate_of_nothing_is_no_advice() -> None:
    found = why(
        "the model's max seq len (40960): the estimated maximum model length is 0.",
        "ValueError: To serve at least one request with the model's max seq len (40960)",
    )
    assert found is not None and "Set a smaller max_model_len" in found["advice"]


def test_who_holds_the_port_is_named() -> None:
    line = "OSError: [Errno 98] Address already in use"
    known = {**KNOWN, "holder": "nginx (PID 4, unit nginx.service)"}
    found = host_causes.find_cause([line], DATA, known)
    assert found is not None
    assert found["cause"] == "Port 8000 is taken by nginx (PID 4, unit nginx.service)."
    without = why(line)
    assert without is not None and without["cause"] == "Port 8000 is taken by somebody else."


def test_every_text_of_the_facts_is_recognised(shared: Path) -> None:
    """Each bullet of the collected reports is a cause, and by more than the general entries."""
    text = (shared / "facts" / "failures.md").read_text(encoding="utf-8")
    bullets = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(bullets) > 12
    for bullet in bullets:
        words = re.findall(r"`([^`]+)`", bullet)
        if "cannot open shared object file" in bullet:
            libraries = re.findall(r"lib\w+\.so", bullet)
            words = [f"ImportError: {name}: cannot open shared object file" for name in libraries]
        for word in words:
            if word.startswith(":"):
                continue  # the end of the text before it, with other figures
            # The facts write N, M, x and y for figures.
            found = why(re.sub(r"(?<=\()[NMxy](?=[ )])|(?<=is )M(?=\.)", "4096", word))
            assert found is not None, word
            assert found["id"] not in ("unrecognised", "engine-dead", "ended", "library"), word
