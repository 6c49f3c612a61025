# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd reports about units, and what their files set."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.systemctl import (
    overrides,
    parse_environ,
    unit_states,
    unit_variables,
)


def test_show_is_read_for_several_units() -> None:
    first, second = unit_states(
        "Id=vllm@a.service\nLoadState=loaded\nActiveState=active\nSubState=running\n"
        "UnitFileState=enabled\nMainPID=7\nNRestarts=2\nNeedDaemonReload=yes\nResult=success\n"
        "ExecMainStatus=0\n\nId=vllm@b.service\nLoadState=masked\nActiveState=inactive\n"
        "SubState=dead\nUnitFileState=masked\nMainPID=0\nNRestarts=0\nNeedDaemonReload=no\n"
        "Result=success\nExecMainStatus=0\n"
    )
    assert (first.name, first.pid) == ("vllm@a.service", 7)
    assert first.enabled and first.needs_reload
    assert second.masked and not second.running


def test_environ_is_read_with_odd_values() -> None:
    environ = parse_environ(b"A=1\0B=x=y\nz\0INFEROPS_DIGEST=d1\0broken\0C=\xff\0")
    assert environ["B"] == "x=y\nz"
    assert environ["INFEROPS_DIGEST"] == "d1"


def test_only_lines_as_they_are_written_name_variables() -> None:
    text = 'Environment=A=0,1\nEnvironment="B=1"\n#Environment=C=1\nEnvironment=D=2 E=3\n'
    assert unit_variables(text, ["A", "B", "C", "D", "E"]) == {"A": "0,1"}


@pytest.mark.parametrize(
    ("text", "later", "strays", "says"),
    [
        ("[Service]\nEnvironment=X=1 A=7\n", True, False, "sets A"),
        ('[Service]\nEnvironment="A=7"\n', True, False, "sets A"),
        ("[Service]\nEnvironment=A=7\n", False, False, ""),  # ours is read later and wins
        ("[Service]\nUnsetEnvironment=A\n", False, False, "unsets A"),
        ("[Service]\nEnvironment=OTHER_A=7\n", True, False, ""),
        ("[Service]\nNice=1\n", True, True, ""),
        ("[Service]\nEnvironmentFile=/etc/x\n", True, False, ""),
        ("[Service]\nEnvironmentFile=/etc/x\n", False, True, "has EnvironmentFile="),
        ("[Service]\nExecStart=\nExecStart=/bin/x\n", False, True, "has ExecStart="),
        ("# Environment=A=7\n", True, True, ""),
    ],
)
def test_how_a_drop_in_takes_a_variable_away(
    text: str, later: bool, strays: bool, says: str
) -> None:
    assert overrides(text, ["A"], later=later, strays=strays) == says


def test_drop_ins_and_start_are_read() -> None:
    (state,) = unit_states(
        'Id=vllm@a.service\nDropInPaths="/run/a b.conf" /etc/c.conf\n'
        "ExecMainStartTimestampMonotonic=11548584537\n"
    )
    assert state.drop_ins == ("/run/a b.conf", "/etc/c.conf")
    assert state.started == pytest.approx(11548.584537)
