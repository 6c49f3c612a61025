# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Pythons of a host, and which of them an environment is made with."""

from __future__ import annotations

import glob
import os
import re
import stat
from typing import NamedTuple, Sequence

from .._base import process
from .._base.errors import HostError
from .._base.reading import parse_json
from .spec import EnvironmentSpec

# Seconds; a Python starts in a fraction of one.
_PROBE_TIMEOUT = 60.0
_PROBE = (
    "import json, sys\n"
    "try:\n    import ensurepip, venv\n    able = True\nexcept ImportError:\n    able = False\n"
    "print(json.dumps({'version': list(sys.version_info[:3]), 'venv': able,"
    " 'prefix': sys.base_prefix}))\n"
)


class Interpreter(NamedTuple):
    """A Python of the host. `venv`: it can make environments with pip. `closed`: a directory on the
    way to it that only its owner can enter, or empty."""

    path: str
    version: tuple[int, int, int]
    venv: bool
    closed: str = ""

    def __str__(self) -> str:
        text = "{} ({}.{}.{}".format(self.path, *self.version)
        text += f", below {self.closed} which others cannot enter" if self.closed else ""
        return text + ")"


def directories() -> list[str]:
    """Where programs are searched for."""
    found = os.environ.get("PATH", "").split(os.pathsep)
    return list(dict.fromkeys([*filter(None, found), "/usr/local/bin", "/usr/bin"]))


def closed_directory(path: str) -> str:
    """The first directory above a path that only its owner or group can enter, or empty."""
    parts = os.path.dirname(os.path.realpath(path)).split("/")
    for count in range(2, len(parts) + 1):
        directory = "/".join(parts[:count])
        if not os.stat(directory).st_mode & stat.S_IXOTH:
            return directory
    return ""


def probe(path: str) -> Interpreter | None:
    """What an interpreter is; None if it is not there, does not run or is not Python 3."""
    if not os.access(path, os.X_OK):
        return None
    try:
        done = process.run([path, "-I", "-c", _PROBE], _PROBE_TIMEOUT)
    except HostError:
        return None
    if done.status != 0:
        return None
    try:
        data = parse_json(done.text)
        major, minor, micro = map(int, data["version"])
        closed = closed_directory(path) or closed_directory(os.path.join(data["prefix"], "lib"))
        return Interpreter(path, (major, minor, micro), bool(data["venv"]), closed)
    except (ValueError, KeyError, TypeError, OSError):
        return None


def interpreters() -> list[Interpreter]:
    """Every Python 3 on the usual paths, the newest first, each once."""
    seen: dict[str, Interpreter] = {}
    for directory in directories():
        # python3.11 before python3: that name may be another Python after an upgrade of the host.
        pattern = os.path.join(glob.escape(directory), "python3*")
        for path in sorted(glob.glob(pattern), reverse=True):
            if not re.fullmatch(r"python3(\.[0-9]+)?", os.path.basename(path)):
                continue
            real = os.path.realpath(path)
            if real in seen or not os.access(path, os.X_OK):
                continue
            found = probe(path)
            if found:
                seen[real] = found
    return sorted(seen.values(), key=lambda each: each.version, reverse=True)


def choose(spec: EnvironmentSpec) -> Interpreter:
    """The interpreter to use: the named one, else the newest that fits.

    Raises HostError that names what is there and what is needed.
    """
    low, high = spec.python_min, spec.python_max
    needed = "Python {}.{} to {}.{}".format(*low, *high)

    def fits(each: Interpreter) -> bool:
        return low <= each.version[:2] <= high and not each.closed

    if spec.python:
        path = spec.python if "/" in spec.python else (process.find(spec.python) or spec.python)
        named = probe(path)
        if named is None:
            raise HostError(
                f"{spec.python} is not a Python 3 of this host. Name another one (in the role: "
                f"vllm_runtime_python), or leave it out; {spec.name} needs {needed}. "
                + _available(interpreters())
            )
        if not fits(named):
            raise HostError(f"{spec.name} needs {needed}, and {named} cannot be used for it.")
        return named
    found = interpreters()
    for each in found:
        if fits(each):
            return each
    raise HostError(
        f"{spec.name} needs {needed}, open to every user, and this host has none on its path. "
        f"{_available(found)} Install one (a package such as {'python{}.{}'.format(*high)}), or "
        "name one that lies elsewhere (in the role: vllm_runtime_python)."
    )


def _available(found: Sequence[Interpreter]) -> str:
    return f"There is {', '.join(map(str, found)) or 'no Python 3'}."
