#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module inferops.ascend.group_info."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: group_info
short_description: What a host of a service over several hosts shows of itself and of the others
version_added: 1.0.0
description:
  - Reads what has to be equal or free on all hosts of a service, and tries whether they reach each other,
    by their own network and by that of the cards. It changes nothing; the action
    M(inferops.ascend.group_check) asks all hosts and compares.
  - With O(listen) a process of this module listens after it, until the other hosts have connected, until
    O(stop) ends it, or for O(listen.seconds).
options:
  npu_smi:
    description:
      - Path of C(npu-smi). Without it, C(/usr/local/bin), C(/usr/local/sbin) and the C(PATH) are
        searched.
    type: path
  weights:
    description: Directories of weights whose files are read.
    type: list
    elements: path
    default: []
  ports:
    description: TCP ports that should be free.
    type: list
    elements: int
    default: []
  devices:
    description: Cards whose network is read, each with C(device) (physical id), C(npu_id) and C(chip_id).
    type: list
    elements: dict
    default: []
  listen:
    description: Where this host listens for the others.
    type: dict
    suboptions:
      address:
        description: Its address.
        type: str
        required: true
      ports:
        description: By port, the addresses of the hosts that connect to it. All of them connect to one more,
          which the kernel chooses.
        type: dict
        required: true
      seconds:
        description: How long at most.
        type: float
        required: true
  stop:
    description: End the process that O(listen) started before, first of all.
    type: bool
    default: false
  source:
    description: The address of this host from which it connects.
    type: str
    default: ''
  connect:
    description: Where to connect to, each with C(address), C(port) and the C(token) that has to come back.
    type: list
    elements: dict
    default: []
  pings:
    description: Pings by a card's network, each with C(device), C(kind) (V(ping) or V(hccs_ping)) and C(address).
    type: list
    elements: dict
    default: []
  connect_timeout:
    description: Seconds for all connections together.
    type: float
    default: 10
  cards_timeout:
    description: Seconds for all that C(hccn_tool) is asked.
    type: float
    default: 30
extends_documentation_fragment:
  - inferops.ascend.attributes.facts
notes:
  - Run it as root; C(hccn_tool) wants it.
"""

EXAMPLES = r"""
- name: Read the network of two cards
  inferops.ascend.group_info:
    devices:
      - {device: 0, npu_id: 0, chip_id: 0}
      - {device: 1, npu_id: 1, chip_id: 0}
  become: true
"""

RETURN = r"""
clock:
  description: The host's time when the module C(began) and C(ended), in seconds since 1970.
  returned: always
  type: dict
weights:
  description: By directory the names of files with their size and, of small texts, a digest; null where there is
    none.
  returned: always
  type: dict
taken:
  description: Those of O(ports) on which somebody listens, as M(inferops.ascend.host_info) returns them.
  returned: always
  type: list
  elements: dict
tool:
  description: Path of C(hccn_tool), or null.
  returned: with O(devices) or O(pings)
  type: str
searched:
  description: Where it was searched for.
  returned: with O(devices) or O(pings)
  type: str
devices:
  description: By physical id C(link), C(net_health), C(address), C(tls), C(vnic), C(super_pod) and C(problem).
  returned: with O(devices)
  type: dict
listener:
  description: The C(token) that is sent to who connects, C(ports) with why one could not be opened
    (V(taken) where another process listens), and the C(free_port) that the kernel chose.
  returned: with O(listen)
  type: dict
connections:
  description: What became of each of O(connect), one of V(open), V(other), V(refused), V(silent), or an error.
  returned: always
  type: list
  elements: str
pings:
  description: Each of O(pings) with the packets C(sent) and C(received), and C(problem).
  returned: always
  type: list
  elements: dict
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._host import card_network, reach
from ansible_collections.inferops.ascend.plugins.module_utils._host.processes import listening
from ansible_collections.inferops.ascend.plugins.module_utils._host.weight_files import weight_files

ROOT = Path("/")


def main() -> None:
    """Run the module."""
    where = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "npu_smi": {"type": "path"},
            "weights": {"type": "list", "elements": "path", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "devices": where,
            "listen": {
                "type": "dict",
                "options": {
                    "address": {"type": "str", "required": True},
                    "ports": {"type": "dict", "required": True},
                    "seconds": {"type": "float", "required": True},
                },
            },
            "stop": {"type": "bool", "default": False},
            "source": {"type": "str", "default": ""},
            "connect": where,
            "pings": where,
            "connect_timeout": {"type": "float", "default": 10},
            "cards_timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    try:
        found = collect(module.params)
    except HostError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


def collect(given: dict[str, Any]) -> dict[str, Any]:
    """What the options ask for. Raises HostError."""
    began = time.time()
    found: dict[str, Any] = {
        "weights": {each: weight_files(ROOT, each) for each in given["weights"]},
        "pings": [],
    }
    if given["stop"]:
        reach.stop()
    asked = set(given["ports"])
    found["taken"] = [each for each in listening(ROOT) if each["port"] in asked] if asked else []
    if given["devices"] or given["pings"]:
        tool, searched = card_network.tool_of(ROOT, given["npu_smi"], given["cards_timeout"])
        found.update(tool=tool.path if tool else None, searched=searched)
        if tool:
            found["devices"] = card_network.read_network(tool, given["devices"])
            found["pings"] = card_network.ping(tool, given["pings"])
    if given["listen"]:
        found["listener"] = reach.listen(**given["listen"])
    found["connections"] = reach.connect(
        given["source"], given["connect"], given["connect_timeout"]
    )
    return {**found, "clock": {"began": began, "ended": time.time()}}


if __name__ == "__main__":
    main()
