#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_options
short_description: Read the options of an installed engine
version_added: 1.0.0
description:
  - Asks the engine's own argument parser for the options of C(vllm serve). It changes nothing, starts
    no server, and needs no card.
  - A file with the result can be named in C(vllm_runtime_row), so that the C(args) of services are read
    by the options of a version that this collection has no list of. The playbook
    C(inferops.ascend.options) writes it.
options:
  executable:
    description:
      - The engine's program. The Python beside it is asked.
    type: path
    default: /opt/vllm/current/bin/vllm
  command:
    description:
      - A command that runs the engine's Python instead, such as one that starts a container.
        C(-c) and a program are appended to it.
    type: list
    elements: str
    default: []
  cann_scripts:
    description:
      - Scripts that are sourced before, as far as they are there.
    type: list
    elements: path
    default: []
  timeout:
    description:
      - Seconds that the engine may take to answer.
    type: float
    default: 300
extends_documentation_fragment:
  - inferops.ascend.attributes.facts
"""

EXAMPLES = r"""
- name: Read the options of the installed engine
  inferops.ascend.vllm_options:
    cann_scripts: [/usr/local/Ascend/ascend-toolkit/set_env.sh]
  register: engine

- name: Read those of an image
  inferops.ascend.vllm_options:
    command: [podman, run, --rm, --entrypoint, python3, quay.io/ascend/vllm-ascend:v0.18.0]
  register: engine
"""

RETURN = r"""
version:
  description: Version of vLLM.
  type: str
  returned: success
  sample: 0.18.0
options:
  description: What is known of each option, by its name without dashes.
  type: dict
  returned: success
  sample: {port: {opts: [--port], action: _StoreAction, type: int, default: 8000}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._service.options import (
    python_of,
    read_options,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "executable": {"type": "path", "default": "/opt/vllm/current/bin/vllm"},
            "command": {"type": "list", "elements": "str", "default": []},
            "cann_scripts": {"type": "list", "elements": "path", "default": []},
            "timeout": {"type": "float", "default": 300},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        command = given["command"] or [python_of(given["executable"])]
        found = read_options(command, given["cann_scripts"], given["timeout"])
    except HostError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, version=found["version"], options=found["options"])


if __name__ == "__main__":
    main()
