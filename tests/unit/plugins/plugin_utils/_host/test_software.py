# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of driver, access, CANN, engine and versions."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.versions import (
    rows,
)

from .facts import SCRIPTS, checked, codes, errors, facts, only


def test_one_row_of_versions_is_one_unit() -> None:
    host = facts()
    host["cann"] = {SCRIPTS[0]: "8.3.RC2"}
    found = checked(host)
    assert codes(found) == [("error", "versions")]
    assert errors(found)[0].message == (
        f"CANN 8.3.RC2 is installed at {SCRIPTS[0]}; vLLM 0.18.0 goes with CANN 8.5.1 (driver 25.5.2). CANN 8.3.RC2"
        " goes with vLLM 0.11.0."
    )
    host = facts(
        engine={
            "vllm": "0.17.0",
            "vllm_ascend": "0.18.0",
            "torch_npu": "2.8.0",
            "python": "3.12.4",
        }
    )
    assert [each.subject for each in errors(checked(host))] == ["vLLM", "torch_npu", "Python"]
    good = {
        "vllm": "0.18.0+empty",
        "vllm_ascend": "0.18.0",
        "torch_npu": "2.9.0.post1",
        "python": "3.11.9",
    }
    assert checked(facts(engine=good)).findings == []


def test_every_row_of_the_matrix_can_be_judged() -> None:
    for row in rows():
        host = facts()
        host["npu"]["cann_version"] = row.cann
        version = row.vllm_ascend
        assert checked(host, engine_version=version, executable=None, scripts=[]).findings == []


def test_a_candidate_is_held_against_its_own_row() -> None:
    installed = {
        "vllm": "0.13.0+empty",
        "vllm_ascend": "0.13.0rc3",
        "torch_npu": "2.8.0.post2",
        "python": "3.11.9",
    }
    host = facts(engine=installed, cann={SCRIPTS[0]: "8.5.1"})
    assert checked(host, engine_version="0.13.0rc3").findings == []
    found = errors(checked(host, engine_version="0.13.0"))
    assert [each.subject for each in found] == ["CANN", "vllm_ascend"]
    assert found[0].message.endswith(
        "vLLM 0.13.0 goes with CANN 8.5.0 (driver 25.5.2). CANN 8.5.1 goes with vLLM 0.18.0."
    )
    assert found[1].message == "vllm_ascend 0.13.0rc3 is installed; vLLM 0.13.0 goes with 0.13.0."


def test_a_version_without_an_option_list_is_one_warning() -> None:
    host = facts(cann={SCRIPTS[0]: "9.0.1"})
    named = {"service_version": "0.24.0rc1", "executable": None}
    found = only(checked(host, "Qwen3-8B", "Qwen3-14B", **named))
    assert (found.severity, found.message, found.advice) == (
        "warning",
        "vLLM 0.24.0rc1 has no option list here; args are read by that of vLLM 0.23.0.",
        "vllm_runtime_row can name another list (options: 0.23.0).",
    )
    own = {"vllm": "0.24.0", "python": ["3.10", "3.12"], "options": "0.32.0"}
    assert checked(host, "Qwen3-8B", version_row=own, **named).findings == []


def test_a_version_without_a_row_is_a_warning_that_names_those_that_have_one() -> None:
    found = only(checked(facts(), engine_version="0.17.1", executable=None))
    assert "no row for it (it has 0.23.0, 0.18.0" in found.message


def test_a_version_that_nobody_knows_yet_is_one_warning() -> None:
    named = {"engine_version": "0.99.0", "service_version": "0.99.0", "executable": None}
    found = only(checked(facts(), "Qwen3-8B", **named))
    assert found.severity == "warning"
    assert found.message.endswith(
        "vLLM 0.99.0 has no option list here; args are read by that of vLLM 0.32.0."
    )
    assert "vllm_runtime_row can name another list" in found.advice


def test_a_version_row_of_the_user_takes_the_place_of_the_matrix() -> None:
    own = {"vllm": "0.19.0", "python": ["3.10", "3.12"]}
    named = {"engine_version": "0.19.0", "executable": None}
    assert "has no row" in only(checked(facts(), **named)).message
    assert checked(facts(), version_row=own, **named).findings == []
    other = checked(facts(), version_row={**own, "cann": "9.0.0"}, **named)
    assert "vLLM 0.19.0 goes with CANN 9.0.0 (driver 25.5.2)" in only(other).message


def test_who_may_open_the_cards() -> None:
    host = facts(groups=["root"])
    assert codes(checked(host)) == [("error", "access")]
    host = facts()
    host["user"]["groups"] = ["vllm"]
    assert "usermod -aG HwHiAiUser vllm" in only(checked(host)).advice
    host = facts()
    for device in host["devices"].values():
        device.update(group="root", mode="0660")
    found = checked(host)
    assert errors(found)[0].subject.endswith("/dev/davinci2 and 5 more")
    assert "may not open them (0660, group root)" in errors(found)[0].message


def test_versions_are_those_of_what_services_source() -> None:
    host = facts(cann={SCRIPTS[0]: None})
    assert only(checked(host)).message.startswith("its version cannot be read")
    assert only(checked(host)).advice == f"Searched for it next to {SCRIPTS[0]}."


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("vllm_ascend", "0.18.0rc1", False),
        ("vllm_ascend", "0.18.0.post1", True),
        ("vllm_ascend", "0.18.01", False),
        ("torch_npu", "2.9.0+git1234", True),
        ("torch_npu", "2.9.0.dev20251001", False),
    ],
)
def test_a_release_candidate_is_not_the_release(name: str, version: str, fits: bool) -> None:
    engine = {**dict.fromkeys(("vllm", "vllm_ascend", "torch_npu", "python")), name: version}
    assert [each.subject for each in errors(checked(facts(engine=engine)))] == (
        [] if fits else [name]
    )
