# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of the engine that is installed on a host."""

from __future__ import annotations

import inspect
import os
import shlex
from typing import Any, Sequence

from .._base.errors import HostError
from .._base.process import find, run
from .._base.reading import parse_json
from . import parser


def read_options(command: Sequence[str], scripts: Sequence[str], timeout: float) -> dict[str, Any]:
    """{version, options} of an engine.

    command: its Python, to which a program is handed over. scripts: sourced before, as far as they
    are there. Raises HostError for an engine that gives no answer.
    """
    sourced = "".join(f". {shlex.quote(each)} >&2; " for each in scripts if os.path.exists(each))
    program = inspect.getsource(parser)
    words = ["bash", "-c", sourced + 'exec "$@"', "vllm-options"]
    words += [find(command[0]) or command[0], *command[1:], "-c", program]
    answer = run(words, timeout)
    try:
        found: dict[str, Any] = parse_json(answer.text.strip().splitlines()[-1])
        if found["options"] and found["version"]:
            return found
    except (ValueError, KeyError, IndexError, TypeError):
        pass
    tail = " ".join(answer.errors.strip().splitlines()[-3:])[-600:]
    raise HostError(
        f"{' '.join(command)} did not print the options of vllm serve (exit {answer.status}): {tail}"
    )


def python_of(executable: str) -> str:
    """The Python of an engine's program, beside it; of a link, beside what the path names."""
    python = os.path.join(os.path.dirname(executable), "python")
    if not os.path.exists(executable):
        raise HostError(
            f"there is no {executable}, so no engine is installed there; name its program in"
            " executable, or install it with the role vllm_runtime"
        )
    if not os.path.exists(python):
        raise HostError(f"beside {executable} there is no python; name the interpreter in command")
    return python
