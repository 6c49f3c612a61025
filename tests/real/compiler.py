# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A C++ compiler for a test host, on which none is installed: that of this machine, with its libraries."""

from __future__ import annotations

from pathlib import Path

from .engines import PYTHON, MissingError

_ROOT = "/srv/machine"
# For `hosts up --mount`.
MOUNT = f"/usr:{_ROOT}/usr"
# The machine's root is the system root of the compiler, whose own libraries are there as well.
_PROGRAM = f"""#!/bin/sh
export PATH={_ROOT}/usr/bin:$PATH LD_LIBRARY_PATH={_ROOT}/usr/lib/x86_64-linux-gnu
exec {_ROOT}/usr/bin/g++ --sysroot={_ROOT} -isystem {_ROOT}/usr/include/python{PYTHON} "$@"
"""
# A shell script for the host.
INSTALL = f"""set -e
ln -sfn usr/lib {_ROOT}/lib
ln -sfn usr/lib64 {_ROOT}/lib64
cat > /usr/local/bin/g++ <<'EOF'
{_PROGRAM}EOF
chmod 755 /usr/local/bin/g++
"""


def see_to_compiler() -> None:
    """Raises MissingError where this machine has no compiler for extensions of the hosts' Python."""
    for path, package in (
        ("/usr/bin/g++", "g++"),
        (f"/usr/include/python{PYTHON}/Python.h", f"libpython{PYTHON}-dev"),
    ):
        if not Path(path).exists():
            raise MissingError(
                f"{path} is missing, with which the engine compiles: install {package}."
            )
