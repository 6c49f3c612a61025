# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Making one environment: its packages in steps, and a check of what is installed at the end."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from .._base.errors import HostError
from .._base.files import write_atomically
from .._base.reading import parse_json
from .environments import BUILDING, COMPLETE
from .interpreters import Interpreter
from .spec import EnvironmentSpec, normal, same_version
from .uv import Uv

_INSPECT = (
    "import json, sys, sysconfig\n"
    "from importlib import metadata\n"
    "found = {}\n"
    "for each in metadata.distributions():\n"
    "    name = each.metadata['Name']\n"
    "    if name:\n        found.setdefault(name, each.version)\n"
    "print(json.dumps({'prefix': sys.prefix, 'site': sysconfig.get_path('purelib'),"
    " 'found': found}))\n"
)


def build(uv: Uv, spec: EnvironmentSpec, python: Interpreter) -> None:
    """Make the environment in its place; its marker is written last. Raises HostError."""
    os.mkdir(spec.path, 0o755)
    write_atomically(os.path.join(spec.path, BUILDING), json.dumps({"recipe": spec.recipe}) + "\n")
    uv.make(spec.path, python.path)
    for number, step in enumerate(spec.steps, 1):
        uv.add(spec.path, step, number)
    _name_distributions(uv, spec)
    installed = _verify(uv, spec)
    os.sync()
    record = {
        "recipe": spec.recipe,
        "distributions": installed,
        "python": "{}.{}.{}".format(*python.version),
        "interpreter": python.path,
        "installer": uv.program,
    }
    write_atomically(os.path.join(spec.path, COMPLETE), json.dumps(record, indent=1) + "\n")
    os.unlink(os.path.join(spec.path, BUILDING))


def _inspect(uv: Uv, spec: EnvironmentSpec) -> dict[str, Any]:
    """What the environment's Python finds installed in it."""
    command = [os.path.join(spec.path, "bin", "python3"), "-I", "-c", _INSPECT]
    data: dict[str, Any] = parse_json(uv.run(command, "reading what is installed"))
    return data


def _name_distributions(uv: Uv, spec: EnvironmentSpec) -> None:
    """Write the metadata of distributions that are there under another name."""
    if not spec.metadata:
        return
    data = _inspect(uv, spec)
    found = {normal(name) for name in data["found"]}
    for name, version in spec.metadata.items():
        if normal(name) in found:
            continue
        stem = re.sub(r"[-.]+", "_", name)
        directory = os.path.join(data["site"], f"{stem}-{version}.dist-info")
        os.mkdir(directory, 0o755)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        write_atomically(os.path.join(directory, "METADATA"), text)
        write_atomically(os.path.join(directory, "INSTALLER"), "inferops.ascend\n")


def _verify(uv: Uv, spec: EnvironmentSpec) -> dict[str, str]:
    """Compare what is installed with what was asked for; return version by distribution."""
    data = _inspect(uv, spec)
    versions = {normal(name): version for name, version in data["found"].items()}
    problems = []
    if os.path.realpath(data["prefix"]) != os.path.realpath(spec.path):
        problems.append(f"its Python belongs to {data['prefix']}")
    for name, wanted in sorted(spec.expect.items()):
        found = versions.get(normal(name))
        if found is None:
            problems.append(f"{name} is missing")
        elif not same_version(found, wanted):
            problems.append(f"{name} is {found} instead of {wanted}")
    for name in sorted({each for step in spec.steps for each in step.exclude}):
        if normal(name) in versions:
            version = versions[normal(name)]
            problems.append(f"{name} {version} came with another package and must not be there")
    program = os.path.join(spec.path, "bin", spec.program)
    if spec.program and not os.access(program, os.X_OK):
        problems.append(f"bin/{spec.program} is missing")
    if problems:
        raise HostError(
            f"{spec.path} was installed, but {'; '.join(problems)}. It is removed again, and "
            "`current` is as it was. One row of the version matrix is one unit: check the "
            "constraints and further packages that were given (in the role: "
            "vllm_runtime_constraints, vllm_runtime_packages)."
        )
    return dict(sorted(versions.items()))
