# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves of a gateway's files, with a real HAProxy that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._gateway import host
from ansible_collections.inferops.ascend.plugins.module_utils._gateway.master import Master

CONFIGURATION = """\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind unix@front.sock
"""


class Quiet:
    """What is used of AnsibleModule on a host without SELinux."""

    def selinux_enabled(self) -> bool:
        return False


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(host, "CHECKED", str(tmp_path / "checked"))
    return tmp_path / "checked"


def run(folder: Path, **secrets: str) -> None:
    module: Any = Quiet()
    unit = str(folder / "system" / host.UNIT)
    wanted = host.Wanted(
        str(folder), {host.CONFIGURATION: CONFIGURATION}, secrets, {unit: "[Service]\n"}, "1", []
    )
    host.Host(module, wanted, Master()).run(False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "vllm-gateway"
    made.mkdir()
    return made


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_a_run_that_cannot_write_one_file_leaves_nothing_beside_the_others(
    folder: Path, checked: Path
) -> None:
    too_long = "k" * 250  # for the name of a file that is to become it
    with pytest.raises(HostError, match=f"{too_long}.*It is as it was"):
        run(folder, **{"keys.map": "another key", too_long: "a key"})
    assert files(folder.parent) == [] and not checked.exists()


def test_what_a_killed_run_left_is_removed_also_by_one_that_is_rejected(
    folder: Path, checked: Path
) -> None:
    """Keys of clients can be in it."""
    (folder / ".inferops-ascend-keys.map.abcd_123").write_text("a key")
    checked.mkdir()
    (checked / "keys.map").write_text("a key")
    with pytest.raises(HostError, match="HAProxy rejects the configuration"):
        run(folder, **{host.CONFIGURATION: "frontend a\n    no such word\n", "keys.map": "a key"})
    assert files(folder.parent) == [] and not checked.exists()
