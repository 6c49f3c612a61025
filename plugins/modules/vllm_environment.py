#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_environment
short_description: Make a virtual environment in steps beside others, and switch to it at once
version_added: 0.2.0
description:
  - Keeps virtual environments side by side in one directory, with a link C(current) to one of them.
  - An environment is installed in the given steps, in order, and checked against O(expect). Only
    then it gets a marker, and C(current) is moved to it by the rename of a link. A run that fails
    or is killed at any moment leaves C(current) as it was; the next one clears up.
  - It is made in its final place, for a virtual environment cannot be moved. Once complete it is not
    changed again. Other packages under the same name are rejected.
  - Everything is installed by uv, in O(tools). Where it is not there yet, it is installed from its
    wheel in O(find_links), else from the package index, which needs a Python with the module C(venv).
  - Nothing is restarted.
  - In check mode it fails where an environment is to be made and a version of O(expect) is nowhere to be had, or an
    index is not reached; all that is missing is reported at once.
options:
  root:
    description: Directory of all environments.
    type: path
    default: /opt/vllm
  name:
    description: Directory of the wanted one below O(root). Without it the module only reports what is there.
    type: str
    default: ""
  steps:
    description:
      - What is installed, one call of the installer after the other. Without any, the environment
        has to be there already, whatever is in it, as for the way back to an earlier one.
    type: list
    elements: dict
    default: []
    suboptions:
      requirements:
        description: Requirements as in a requirements file.
        type: list
        elements: str
        required: true
      overrides:
        description:
          - Requirements that take the place of what the packages of this step and their
            dependencies ask for.
        type: list
        elements: str
        default: []
      exclude:
        description: Packages that are left out although others ask for them.
        type: list
        elements: str
        default: []
      environment:
        description: Variables of this call.
        type: dict
        default: {}
  expect:
    description:
      - Version by distribution that has to be installed at the end. Builds of it (V(2.9.0+cpu) for
        V(2.9.0)) are the same version.
    type: dict
    default: {}
  metadata:
    description:
      - Version by distribution that is recorded as installed although no package of that name
        is, for one that was published under another name.
    type: dict
    default: {}
  program:
    description: Program that has to be in the environment's C(bin) at the end.
    type: str
    default: vllm
  constraints:
    description: Lines of a constraints file.
    type: list
    elements: str
    default: []
  python:
    description: Path or name of the interpreter. Empty to take the newest one that fits.
    type: str
    default: ""
  python_versions:
    description: Oldest and newest minor version of Python that fit.
    type: list
    elements: str
    default: ["3.8", "3.99"]
  tools:
    description: Directory of uv, C(tools) below O(root) by default. No environment can have that name.
    type: path
    default: ""
    version_added: 1.0.0
  index_url:
    description:
      - Package index instead of PyPI. A password in it is not shown.
    type: str
    default: ""
  extra_index_urls:
    description:
      - Further indexes.
    type: list
    elements: str
    default: []
  find_links:
    description:
      - Directories of the host with packages.
    type: list
    elements: path
    default: []
  coming:
    description:
      - Names of files that are copied into O(find_links) before anything is installed. Check mode takes them for there.
    type: list
    elements: str
    default: []
    version_added: 1.0.0
  offline:
    description:
      - Ask no index, take everything from O(find_links).
    type: bool
    default: false
  environment:
    description:
      - Variables of every call, such as a proxy.
    type: dict
    default: {}
  switch:
    description:
      - Make it current. Otherwise it is only added beside the others.
    type: bool
    default: true
  keep:
    description:
      - How many environments to keep beside the current one. Older ones are removed, but never one
        that a process or a unit of the host uses. All are kept by default.
    type: int
  lock_timeout:
    description:
      - Seconds to wait for another run on the same host to end.
    type: float
    default: 600
extends_documentation_fragment:
  - inferops.ascend.attributes
attributes:
  diff_mode:
    description: Shows which environments come and go, and where C(current) leads.
"""

EXAMPLES = r"""
- name: Install one version beside the others and switch to it
  inferops.ascend.vllm_environment:
    name: 0.18.0
    python_versions: ["3.10", "3.11"]
    steps:
      - requirements: [torch==2.9.0]
      - requirements: [vllm==0.18.0]
        overrides: [torch==2.9.0]
      - requirements: [vllm-ascend==0.18.0]
    expect: {vllm: 0.18.0, vllm-ascend: 0.18.0, torch: 2.9.0}
    keep: 2
  become: true

- name: Go back to one that is still there
  inferops.ascend.vllm_environment:
    name: 0.13.0
  become: true
"""

RETURN = r"""
builds:
  description: Whether the environment was made, or would be.
  returned: always
  type: bool
switches:
  description: Whether C(current) was moved, or would be.
  returned: always
  type: bool
removed:
  description: Names of environments that were removed, or would be.
  returned: always
  type: list
  elements: str
path:
  description: Directory of the environment.
  returned: if O(name) is given
  type: str
executable:
  description: O(program) in it.
  returned: if O(name) is given
  type: str
current:
  description: Name that C(current) leads to afterwards, null for none.
  returned: always
  type: str
previous:
  description: Name of the one that was current before it and is still there, null for none.
  returned: always
  type: str
environments:
  description: All that are complete, the last made or current first.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its directory.
      type: str
    python:
      description: Version of its Python.
      type: str
    installer:
      description: The program that made it.
      type: str
    distributions:
      description: Version by distribution, as it was made.
      type: dict
"""

import os
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.lock import exclusive
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.environments import (
    current,
    states,
)
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.run import (
    Environments,
    Outcome,
)
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import (
    Commands,
    EnvironmentSpec,
    Step,
)


def _hide_passwords(module: AnsibleModule) -> None:
    """Keep passwords of addresses out of everything that is shown."""
    given = module.params
    values = [given["index_url"], *given["extra_index_urls"]]
    values += [str(value) for value in given["environment"].values()]
    for value in values:
        try:
            password = urlsplit(value).password
        except ValueError:
            continue
        if password:
            module.no_log_values.add(password)


def _spec(module: AnsibleModule) -> EnvironmentSpec:
    given = module.params

    def minor(text: str) -> tuple[int, int]:
        major, number = text.split(".")
        return int(major), int(number)

    try:
        low, high = map(minor, given["python_versions"])
    except ValueError:
        module.fail_json(
            msg="python_versions needs the oldest and the newest, like ['3.10', '3.11']."
        )
        raise
    texts: dict[str, Any] = {
        name: {key: str(value) for key, value in given[name].items()}
        for name in ("expect", "metadata", "environment")
    }
    lists = {name: tuple(given[name]) for name in ("constraints", "extra_index_urls", "find_links")}
    same = ("root", "name", "python", "tools", "index_url", "offline", "program", "switch", "keep")
    return EnvironmentSpec(
        steps=tuple(
            Step(
                tuple(step["requirements"]),
                tuple(step["overrides"]),
                tuple(step["exclude"]),
                tuple((key, str(value)) for key, value in step["environment"].items()),
            )
            for step in given["steps"]
        ),
        python_min=low,
        python_max=high,
        **texts,
        **lists,
        **{name: given[name] for name in same},
    )


def _diff(before: list[str], now: str | None, outcome: Outcome, name: str) -> dict[str, str]:
    after = [each for each in before if each not in outcome.removes]
    after += [name] if outcome.builds and name not in after else []

    def text(names: list[str], current_name: str | None) -> str:
        return "".join(f"{each}\n" for each in sorted(names)) + f"current: {current_name}\n"

    return {"before": text(before, now), "after": text(after, outcome.current)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/vllm"},
            "name": {"type": "str", "default": ""},
            "steps": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "requirements": {"type": "list", "elements": "str", "required": True},
                    "overrides": {"type": "list", "elements": "str", "default": []},
                    "exclude": {"type": "list", "elements": "str", "default": []},
                    "environment": {"type": "dict", "default": {}},
                },
            },
            "expect": {"type": "dict", "default": {}},
            "metadata": {"type": "dict", "default": {}},
            "program": {"type": "str", "default": "vllm"},
            "constraints": {"type": "list", "elements": "str", "default": []},
            "python": {"type": "str", "default": ""},
            "python_versions": {"type": "list", "elements": "str", "default": ["3.8", "3.99"]},
            "tools": {"type": "path", "default": ""},
            "index_url": {"type": "str", "default": ""},
            "extra_index_urls": {"type": "list", "elements": "str", "default": []},
            "find_links": {"type": "list", "elements": "path", "default": []},
            "coming": {"type": "list", "elements": "str", "default": []},
            "offline": {"type": "bool", "default": False},
            "environment": {"type": "dict", "default": {}},
            "switch": {"type": "bool", "default": True},
            "keep": {"type": "int"},
            "lock_timeout": {"type": "float", "default": 600},
        },
        supports_check_mode=True,
    )
    _hide_passwords(module)
    # What is installed is for the services' user to read, whatever umask root works with.
    os.umask(0o022)
    spec = _spec(module)
    try:
        environments = Environments(Commands(), spec)
        if module.check_mode:
            before, now, outcome = _compare(environments)
            if outcome.builds:
                missing = environments.missing(module.params["coming"])
                if missing:
                    module.fail_json(msg="\n".join(missing))
        else:
            lock = "/run/inferops-ascend/vllm_environment.lock"
            timeout = module.params["lock_timeout"]
            with exclusive(lock, timeout, "installing engines") as environments.lock:
                before, now, outcome = _compare(environments)
                environments.act(outcome)
    except (HostError, OSError) as error:
        module.fail_json(msg=disk.message(error))
    result = {
        "changed": outcome.builds or outcome.switches or bool(outcome.removes),
        "builds": outcome.builds,
        "switches": outcome.switches,
        "removed": list(outcome.removes),
        "current": outcome.current,
        "previous": outcome.previous,
        "environments": [
            {
                "name": state.name,
                **{key: state.record.get(key) for key in ("python", "installer", "distributions")},
            }
            for state in states(spec.root).values()
            if state.kind == "complete"
        ],
        "diff": _diff(before, now, outcome, spec.name),
    }
    if spec.name:
        result["path"] = spec.path
        result["executable"] = os.path.join(spec.path, "bin", spec.program)
    module.exit_json(**result)


def _compare(environments: Environments) -> tuple[list[str], str | None, Outcome]:
    root = environments.spec.root
    return (
        [each.name for each in states(root).values() if each.kind != "foreign"],
        current(root),
        environments.compare(),
    )


if __name__ == "__main__":
    main()
