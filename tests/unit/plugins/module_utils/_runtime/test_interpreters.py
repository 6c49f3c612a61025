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

from ._local import Local


def test_this_machines_python_is_found_with_its_version() -> None:
    found = interpreters.probe(Local(), sys.executable)
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.venv
    assert interpreters.probe(Local(), "/bin/true") is None
    assert interpreters.probe(Local(), "/bin/false") is None


class Pythons(Local):
    """A host whose Pythons are these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: Interpreter) -> None:
        monkeypatch.setattr(interpreters, "interpreters", lambda _module: list(found))


OLD = Interpreter("/usr/bin/python3.9", (3, 9, 2), True)
BARE = Interpreter("/usr/bin/python3.11", (3, 11, 2), False)
NEW = Interpreter("/usr/bin/python3.12", (3, 12, 3), True)
SHUT = Interpreter("/root/bin/python3.11", (3, 11, 9), True, "/root")


def choose(monkeypatch: pytest.MonkeyPatch, *found: Interpreter) -> Interpreter:
    spec = EnvironmentSpec("/opt/vllm", "0.18.0", python_min=(3, 10), python_max=(3, 11))
    return interpreters.choose(Pythons(monkeypatch, *found), spec)


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
