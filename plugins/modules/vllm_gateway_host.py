#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_gateway_host
short_description: Write the files of a gateway, and have HAProxy load them
version_added: 1.0.0
description:
  - For M(inferops.ascend.vllm_gateway), which renders the files on the controller.
  - HAProxy checks all of them before one is written where it counts. A running gateway is reloaded, which
    keeps its connections, if and only if it runs with other files than are wanted; it is restarted where
    its unit is another one.
options:
  directory:
    description: Directory of the gateway's files.
    type: path
    required: true
  files:
    description: Text by path below O(directory).
    type: dict
    required: true
  secrets:
    description: The same of files that root alone reads, and that no difference shows.
    type: dict
    default: {}
  system:
    description: Text by path of the unit and of programs.
    type: dict
    required: true
  digest:
    description: Of what is below O(directory), as the configuration has it.
    type: str
    required: true
  names:
    description: Host names and addresses of a self-signed certificate, made where there is none yet.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - inferops.ascend.attributes
seealso:
  - module: inferops.ascend.vllm_gateway
"""

EXAMPLES = r"""
- name: Set up the gateway
  inferops.ascend.vllm_gateway:
    services: ascend
  become: true
"""

RETURN = r"""
actions:
  description: What systemctl did, or would do.
  returned: always
  type: list
  elements: str
certificate:
  description: The certificate that clients see, without its key; empty where there is none.
  returned: always
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.lock import exclusive
from ansible_collections.inferops.ascend.plugins.module_utils._gateway.host import Host, Wanted
from ansible_collections.inferops.ascend.plugins.module_utils._gateway.master import Master


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "system": {"type": "dict", "required": True},
            "digest": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    if os.geteuid() != 0:
        module.fail_json(msg="A gateway is set up by root alone: run this task with become: true.")
    host = Host(module, Wanted(**module.params), Master())
    try:
        with exclusive("/run/inferops-ascend/gateway.lock", 300, "changing this gateway"):
            result = host.run(module.check_mode)
    except (HostError, OSError) as error:
        module.fail_json(msg=disk.message(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
