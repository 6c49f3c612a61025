# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of an installation are run within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import Commands


def test_a_command_has_its_directory_and_its_variables_beside_all_others(tmp_path: Path) -> None:
    script = 'pwd; echo "$STEP"; echo "$PATH" >&2; exit 3'
    done = Commands().run_command(["sh", "-c", script], {"STEP": "one"}, cwd=str(tmp_path))
    assert done[:2] == (3, f"{tmp_path}\none\n")
    assert done[2].strip()


def test_a_command_that_prints_without_end_or_does_not_answer_is_ended() -> None:
    with pytest.raises(HostError, match="printed more than"):
        Commands().run_command(["cat", "/dev/zero"])
    with pytest.raises(HostError, match="did not end within 0.2 s"):
        Commands(0.2).run_command(["sleep", "100"])
