# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to a unit, given what systemd reports about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.systemctl import (
    UnitState,
    unit_states,
    unit_variables,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service.decide import (
    Decision,
    DesiredInstance,
    after_leader,
    decide,
    defer,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service.plan import (
    program_of,
    with_programs,
)

RUNNING = UnitState(
    name="vllm@chat.service",
    active="active",
    sub="running",
    enabled=True,
    masked=False,
    pid=42,
    restarts=0,
    needs_reload=False,
    result="success",
    exit_status="0",
    digest="d1",
    secret_digest="",
)
DOWN = RUNNING._replace(active="inactive", sub="dead", pid=0, digest="")
STARTED = DesiredInstance("chat", "started", "d1", "")


def test_a_unit_that_systemd_does_not_know_is_down() -> None:
    """systemd before 241 leaves properties out of units that were never loaded."""
    (state,) = unit_states("Id=vllm@new.service\nActiveState=inactive\n")
    assert decide(STARTED, state, files_changed=True).action == "start"
    assert decide(STARTED, state, files_changed=True).enable is True


def test_enabled_until_the_next_boot_is_not_enabled() -> None:
    (state,) = unit_states("Id=vllm@a.service\nUnitFileState=enabled-runtime\n")
    assert decide(STARTED, state, files_changed=False).enable is True


@pytest.mark.parametrize(
    ("desired", "state", "files_changed", "action"),
    [
        (STARTED, RUNNING, False, "none"),
        (STARTED, RUNNING, True, "none"),  # e.g. a comment: the digest alone decides
        (STARTED, RUNNING._replace(digest="d0"), False, "restart"),  # an earlier run died
        (STARTED, RUNNING._replace(digest=""), False, "restart"),  # started by hand
        (STARTED, RUNNING._replace(secret_digest="s1"), False, "restart"),
        (STARTED, RUNNING._replace(active="activating"), False, "none"),
        (STARTED, DOWN, False, "start"),
        (STARTED, DOWN._replace(active="failed", result="exit-code"), False, "start"),
        (STARTED, DOWN._replace(active="activating", sub="auto-restart"), False, "none"),
        (STARTED, DOWN._replace(active="activating", sub="auto-restart"), True, "restart"),
        (STARTED, RUNNING._replace(active="deactivating"), False, "restart"),
        (STARTED._replace(state="stopped"), RUNNING, False, "stop"),
        (STARTED._replace(state="stopped"), DOWN, False, "none"),
        (STARTED._replace(state="stopped"), DOWN._replace(active="failed"), False, "none"),
        (STARTED._replace(state="stopped"), DOWN._replace(active="activating"), False, "stop"),
        (STARTED._replace(state="absent"), RUNNING, False, "stop"),
        (STARTED._replace(state="absent"), DOWN, False, "none"),
    ],
)
def test_what_is_done(
    desired: DesiredInstance, state: UnitState, files_changed: bool, action: str
) -> None:
    assert decide(desired, state, files_changed).action == action


def test_a_unit_names_the_program_that_a_link_leads_to(tmp_path: Path) -> None:
    """A link that moves must not bring another program under an old configuration."""
    for name in ("1", "2", "a b%h"):
        (tmp_path / name).mkdir()
    current = tmp_path / "current"
    current.symlink_to("1")
    program = program_of(f"{current}/vllm")
    assert program == f"{tmp_path}/1/vllm"
    text = "[Service]\nEnvironment=ENGINE=@ENGINE@\nEnvironment=OTHER=@OTHER@\n"
    written = with_programs(text, {"ENGINE": program})
    assert written == f"[Service]\nEnvironment=ENGINE={program}\nEnvironment=OTHER=@OTHER@\n"
    desired = STARTED._replace(environment=unit_variables(written, ["ENGINE"]))
    assert decide(desired, RUNNING._replace(environ={"ENGINE": program}), False).action == "none"
    moved = decide(desired, RUNNING._replace(environ={"ENGINE": f"{tmp_path}/2/vllm"}), False)
    assert moved.reason == f"its process has ENGINE={tmp_path}/2/vllm, not {program}"
    # What a unit could not hold without quotes is named by the link.
    current.unlink()
    current.symlink_to("a b%h")
    assert program_of(f"{current}/vllm") == f"{current}/vllm"


@pytest.mark.parametrize(
    ("state", "enabled", "enable"),
    [
        ("started", False, True),
        ("started", True, None),
        ("stopped", True, False),
        ("absent", True, False),
        ("absent", False, None),
    ],
)
def test_boot_follows_the_state(state: str, enabled: bool, enable: bool | None) -> None:
    decision = decide(STARTED._replace(state=state), RUNNING._replace(enabled=enabled), False)
    assert decision.enable is enable


def test_a_process_with_another_place_is_restarted_though_its_digest_is_right() -> None:
    desired = STARTED._replace(environment={"ASCEND_RT_VISIBLE_DEVICES": "0,1"})
    right = RUNNING._replace(environ={"ASCEND_RT_VISIBLE_DEVICES": "0,1"})
    assert decide(desired, right, False).action == "none"
    wrong = decide(desired, RUNNING._replace(environ={"ASCEND_RT_VISIBLE_DEVICES": "7"}), False)
    assert (wrong.action, wrong.reason) == (
        "restart",
        "its process has ASCEND_RT_VISIBLE_DEVICES=7, not 0,1",
    )
    without = decide(desired, RUNNING, False)
    assert without.reason == "its process has no ASCEND_RT_VISIBLE_DEVICES, not 0,1"


def test_a_process_that_has_read_an_edit_is_restarted() -> None:
    assert decide(STARTED, RUNNING, True, read_edited=True).action == "restart"
    assert decide(STARTED._replace(state="stopped"), DOWN, True, read_edited=True).action == "none"


def test_a_member_stops_after_its_leader_and_so_do_those_that_get_its_cards() -> None:
    decisions = {
        "big": Decision("restart", "its process runs with other settings", True),
        "old": Decision("stop", "it is no longer wanted", False),
        "down": Decision("none", "there is none"),
        "alone": Decision("restart", "its process runs with another secret"),
        "new": Decision("start", "it was not running"),
    }
    in_use = {"big": [0], "old": [1], "alone": [2]}
    found = after_leader(decisions, ["big", "old", "down"], in_use, {"new": [1]})
    assert {name: (each.action, each.enable) for name, each in found.items()} == {
        "big": ("wait", None),
        "old": ("wait", None),
        "down": ("none", None),
        "alone": ("restart", None),
        "new": ("wait", None),
    }
    assert found["new"].reason == "its cards are free when old has stopped after its leader"


def test_what_is_put_off_keeps_its_cards_from_others() -> None:
    decisions = {
        "chat": Decision("restart", "its process runs with other settings", True),
        "new": Decision("start", "it was not running"),
        "far": Decision("start", "it was not running"),
        "old": Decision("stop", "it is to be stopped"),
    }
    put_off = defer(decisions, {"chat": [0, 1], "old": [4]}, {"new": [1], "far": [4], "chat": [8]})
    assert {name: each.action for name, each in put_off.items()} == {
        "chat": "wait",
        "new": "wait",
        "far": "start",
        "old": "stop",
    }
    assert put_off["chat"] == decisions["chat"]._replace(action="wait")
    assert "chat is restarted" in put_off["new"].reason
