# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pythons of a host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._runtime import interpreters
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.interpreters import (
    Interpreter,
)
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import (
    EnvironmentSpec,
)


def test_this_machines_python_is_found_with_its_version() -> None:
    found = interpreters.probe(sys.executable)
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.venv
    assert interpreters.probe("/bin/true") is None
    assert interpreters.probe("/bin/false") is None


def test_a_python_that_hangs_or_prints_without_end_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(interpreters, "_PROBE_TIMEOUT", 0.5)
    for words in ("sleep 300", "exec yes", "echo '[[['", "echo '{\"version\": 3}'"):
        path = tmp_path / "python3"
        path.write_text(f"#!/bin/sh\n{words}\n", "utf-8")
        path.chmod(0o755)
        assert interpreters.probe(str(path)) is None


OLD = Interpreter("/usr/bin/python3.9", (3, 9, 2), True)
BARE = Interpreter("/usr/bin/python3.11", (3, 11, 2), False)
NEW = Interpreter("/usr/bin/python3.12", (3, 12, 3), True)
SHUT = Interpreter("/root/bin/python3.11", (3, 11, 9), True, "/root")


def choose(monkeypatch: pytest.MonkeyPatch, *found: Interpreter) -> Interpreter:
    spec = EnvironmentSpec("/opt/vllm", "0.18.0", python_min=(3, 10), python_max=(3, 11))
    monkeypatch.setattr(interpreters, "interpreters", lambda: list(found))
    return interpreters.choose(spec)


def test_the_python_that_fits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Interpreter("/usr/bin/python3.10", (3, 10, 1), True)
    assert choose(monkeypatch, NEW, SHUT, fits, OLD) == fits
    # uv makes environments itself.
    assert choose(monkeypatch, NEW, SHUT, BARE, fits, OLD) == BARE


def test_none_that_fits_is_refused_with_what_is_there_and_what_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(HostError) as caught:
        choose(monkeypatch, NEW, SHUT, OLD)
    text = str(caught.value)
    assert "0.18.0 needs Python 3.10 to 3.11" in text
    assert "/usr/bin/python3.12 (3.12.3)" in text
    assert "/root/bin/python3.11 (3.11.9, below /root which others cannot enter)" in text
    assert "a package such as python3.11" in text


def test_a_python_that_only_root_reaches_is_no_use(tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    (shut / "python3").touch()
    closed = Path(interpreters.closed_directory(str(shut / "python3")))
    assert closed in (shut, *shut.parents)
    assert not closed.stat().st_mode & 0o001
    assert interpreters.closed_directory("/usr/bin/env") == ""
