#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_gateway_servers
short_description: Take services out of a gateway, put them back, or report how they are
version_added: 1.0.0
description:
  - Asks the HAProxy that the role P(inferops.ascend.vllm_gateway#role) set up on this host, by the socket
    of its master process, so that the workers which a reload left are asked as well.
  - A service that is taken out gets no new requests and completes those that it has, streams included.
options:
  servers:
    description:
      - Services as C(SERVICE:HOST), each in every backend that has it. HOST is the name in the
        inventory; of a service over several hosts that of its leader. Characters other than letters,
        digits and C(_.:-) are written as the role writes them.
      - All of the gateway by default, for O(state=query) alone.
    type: list
    elements: str
  state:
    description:
      - V(drained) gives them no new requests and waits until they have none left.
      - V(ready) puts them back and waits until their health checks succeed. One that was taken out counts as
        down until its check succeeds again, because it may have been restarted.
      - V(query) changes nothing.
    type: str
    choices: [query, drained, ready]
    default: query
  timeout:
    description:
      - Seconds to wait. When they are over the module returns what it found, and does not fail.
    type: float
    default: 300
  leaving:
    description: Other servers that are about to stop, for RV(outages).
    type: list
    elements: str
    default: []
  awaited:
    description: Which of O(servers) to wait for with O(state=ready). All of them by default.
    type: list
    elements: str
  socket:
    description: The socket of HAProxy's master process.
    type: path
    default: /run/vllm-gateway/master.sock
extends_documentation_fragment:
  - inferops.ascend.attributes
attributes:
  diff_mode:
    description: Has no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Take a service out of a gateway before its host is restarted
  inferops.ascend.vllm_gateway_servers:
    servers: [chat:npu-01]
    state: drained
    timeout: 600
  become: true
  register: drained
  failed_when: not drained.reached

- name: Put it back
  inferops.ascend.vllm_gateway_servers:
    servers: [chat:npu-01]
    state: ready
  become: true
"""

RETURN = r"""
running:
  description: Whether a gateway runs here. Where none does, nothing else is done.
  returned: always
  type: bool
reached:
  description:
    - "Whether all of them are as O(state) says: without requests, or with health checks that succeed."
  returned: always
  type: bool
late:
  description: Those of O(servers) that were waited for and are not so.
  returned: always
  type: list
  elements: str
servers:
  description:
    - They as they are at the end, each with C(backend), C(name), C(address), C(up) (takes new requests),
      C(drained), C(health) (HAProxy's word) and C(sessions), the requests that it has.
  returned: always
  type: list
  elements: dict
others_up:
  description: By backend of one of O(servers), how many of its other servers take new requests.
  returned: always
  type: dict
outages:
  description:
    - By backend, its other servers with why they take no requests, where none of them does and one of
      O(servers) did.
  returned: always
  type: dict
missing:
  description: Those of O(servers) that the gateway does not have.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._gateway import report
from ansible_collections.inferops.ascend.plugins.module_utils._gateway.master import (
    SOCKET,
    Master,
    NotRunning,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "servers": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["query", "drained", "ready"], "default": "query"},
            "timeout": {"type": "float", "default": 300},
            "leaving": {"type": "list", "elements": "str", "default": []},
            "awaited": {"type": "list", "elements": "str"},
            "socket": {"type": "path", "default": SOCKET},
        },
        required_if=[("state", "drained", ["servers"]), ("state", "ready", ["servers"])],
        supports_check_mode=True,
    )
    given = module.params
    state = "query" if module.check_mode else given["state"]
    try:
        found = report.of(
            Master(given["socket"]),
            given["servers"],
            state,
            given["timeout"],
            given["leaving"],
            given["awaited"],
        )
    except NotRunning:
        found = report.no_gateway(given["servers"])
    except HostError as error:
        module.fail_json(msg=str(error))
    if module.check_mode:
        found["changed"] = report.would_change(found["servers"], given["state"])
    module.exit_json(**found)


if __name__ == "__main__":
    main()
