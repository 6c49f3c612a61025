# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the checks, and the report of what they find."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    ExistingPlacement,
)

from .facts import checked, codes, facts, problems, report, serving, with_card


def test_a_user_sets_how_grave_a_check_is() -> None:
    host = with_card(0, health="Alarm")
    assert codes(checked(host, checks={"health": "error"})) == [("error", "health")]
    assert checked(host, checks={"health": "ignore"}).findings == []
    for checks, word in (({"helath": "error"}, "helath"), ({"health": "fatal"}, "fatal")):
        with pytest.raises(AscendError, match=word):
            checked(host, checks=checks)


def test_errors_come_first_and_the_report_counts() -> None:
    host = with_card(0, health="Alarm")
    host["files"] = {}
    data = checked(host, "Qwen3-14B").as_dict("alpha")
    assert (data["errors"], data["warnings"]) == (2, 1)
    lines = data["report"].splitlines()
    assert lines[0] == (
        "Preflight of alpha: 2 errors and 1 warning. Nothing was changed on this host."
    )
    assert [line.split(",")[0] for line in lines[1:]] == [
        "ERROR cann",
        "ERROR engine",
        "WARNING health",
    ]
    assert checked(host, "Qwen3-14B").unavailable == {0: "health Alarm"}
    assert checked(serving(3)).existing == {"chat": ExistingPlacement((3,), 8000, True)}


def test_options_as_a_playbook_gives_them() -> None:
    host = with_card(3, health="Alarm")
    assert checked(host, excluded=["3"], engine_version=None).findings == []
    for options in ({"excluded": ["x"]}, {"checks": ["health"]}):
        with pytest.raises(AscendError, match="ascend_host_"):
            checked(host, **options)


def test_the_report_says_whether_the_run_goes_on() -> None:
    found = checked(problems(facts([]), "dcmi_8005"))
    assert "Nothing was changed on this host" in report(found)
    going_on = report(found, stops=False)
    assert "Nothing was changed" not in going_on
    assert "The run continues" in going_on
