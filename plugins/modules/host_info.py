#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module inferops.ascend.host_info."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_info
short_description: Everything a preflight wants to know of an Ascend host, in one reading
version_added: 0.1.0
description:
  - Reads the cards as M(inferops.ascend.npu_info) does, and beside them what decides whether a vLLM
    service can start; the driver's records, accounts, the scripts of CANN and NNAL, the engine,
    listening ports with their owners, disk, and which services of this collection run on which
    cards. It changes nothing and checks nothing; the action
    M(inferops.ascend.deployment) does that.
  - It does not fail where C(npu-smi) does. Then the cards of RV(npu) are empty and its problems state
    why.
options:
  npu_smi:
    description:
      - Path of C(npu-smi). Without it, C(/usr/local/bin), C(/usr/local/sbin) and the C(PATH) are
        searched.
    type: path
  timeout:
    description: Seconds that one call of C(npu-smi) may take.
    type: float
    default: 30
  user:
    description: Account whose groups are read.
    type: str
  users:
    description: Accounts to read besides.
    type: list
    elements: str
    default: []
    version_added: 1.0.0
  unit:
    description: Template unit whose instances are read.
    type: str
    default: vllm@.service
  files:
    description: Paths to read.
    type: list
    elements: path
    default: []
  executable:
    description: The engine's program, whose environment tells the installed versions.
    type: path
    default: /opt/vllm/current/bin/vllm
  weights_dir:
    description: Directory for weights, where free space is measured.
    type: path
    default: /var/lib/vllm/weights
  models:
    description: Directories that should contain a model's weights.
    type: list
    elements: path
    default: []
  configurations:
    description: Directories of weights whose C(config.json) and size are read.
    type: list
    elements: path
    default: []
    version_added: 1.0.0
  paths:
    description: Paths whose owner, mode and ACL are read, with those of each directory on the way.
    type: list
    elements: path
    default: []
    version_added: 1.0.0
  shared_cards:
    description: Logic ids of cards that services share, whose device-share setting is read.
    type: list
    elements: int
    default: []
    version_added: 1.0.0
extends_documentation_fragment:
  - inferops.ascend.attributes.facts
notes:
  - Run it as root; else owners of ports and of cards stay unknown.
"""

EXAMPLES = r"""
- name: Read a host
  inferops.ascend.host_info:
  become: true
  register: host

- name: Show who listens
  ansible.builtin.debug:
    msg: "{{ item.port }} {{ item.pid }} {{ item.command }} {{ item.unit }}"
  loop: "{{ host.ports }}"
"""

RETURN = r"""
npu:
  description: What M(inferops.ascend.npu_info) returns. Each process has C(command)
    besides, the start of its command line up to the first option.
  returned: always
  type: dict
device_share:
  description: Whether each of O(shared_cards) may be used from several containers at a time, by
    logic id; cards of which npu-smi does not tell it are missing.
  returned: always
  type: dict
driver:
  description: C(version_info), C(version_info_exists), C(install_info_exists) and C(install_status),
    which is V(complete) where the driver is installed.
  returned: always
  type: dict
devices:
  description: Each C(/dev/davinciN) with C(mode), C(uid), C(gid) and C(group).
  returned: always
  type: dict
groups:
  description: Names of the local groups.
  returned: always
  type: list
  elements: str
user:
  description: C(name), C(exists), C(uid), C(groups) and C(gids) of the account.
  returned: always
  type: dict
users:
  description: The same of each of O(users).
  returned: always
  type: dict
files:
  description: Each path with C(exists), C(executable), C(mode), C(uid) and C(gid).
  returned: always
  type: dict
cann:
  description: For each of O(files), the version of the CANN toolkit that it lies in or beside; null
    where there is none.
  returned: always
  type: dict
ports:
  description: TCP ports on which somebody listens, with C(port), C(pid), C(command) and C(unit).
  returned: always
  type: list
  elements: dict
ephemeral_ports:
  description: First and last of C(net.ipv4.ip_local_port_range).
  returned: always
  type: list
  elements: int
addresses:
  description: The first IPv4 address of each interface but the loopback, with C(interface),
    C(address) and whether it has the C(default) route.
  returned: always
  type: list
  elements: dict
disk:
  description: C(free_bytes) for the directory of weights, measured C(at) its nearest parent.
  returned: always
  type: dict
models:
  description: Whether each directory contains weights.
  returned: always
  type: dict
configurations:
  description: Of each directory in O(configurations) the content of its C(config.json) as C(config),
    without labels, and the C(weight_bytes) by the index or the files of the weights, or null; null
    where there is no such file.
  returned: always
  type: dict
paths:
  description: Of each of O(paths) the C(steps) on the way to it and, of a directory, the C(entries)
    that engines read, the directories C(behind) links among them, and the first C(broken) link.
  returned: always
  type: dict
services:
  description: Running units that this collection made, with C(unit), C(pids), C(cards) (logic ids)
    and C(hccl_base_port).
  returned: always
  type: list
  elements: dict
standing:
  description: Units that this collection wrote, running or not, with C(name), C(cards) (logic
    ids), C(port), C(hccl_base_port), C(group) with C(rank), C(members) and C(port) of a service over several hosts, and
    C(moved) with the cards that are others now than those that it was placed on, each with its
    C(device), the PCI address that it C(was) and is C(now), and the device node C(at) which that card is.
  returned: always
  type: list
  elements: dict
engine:
  description: Versions C(vllm), C(vllm_ascend), C(torch_npu) and C(python) of the engine's
    environment; null where it has none.
  returned: always
  type: dict
system:
  description: C(id), C(version_id), C(name), C(machine) and C(kernel).
  returned: always
  type: dict
tuned:
  description: Whether files of C(ascend_host_tuning) are there.
  returned: always
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._host import info


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "npu_smi": {"type": "path"},
            "timeout": {"type": "float", "default": 30},
            "user": {"type": "str"},
            "users": {"type": "list", "elements": "str", "default": []},
            "unit": {"type": "str", "default": "vllm@.service"},
            "files": {"type": "list", "elements": "path", "default": []},
            "executable": {"type": "path", "default": "/opt/vllm/current/bin/vllm"},
            "weights_dir": {"type": "path", "default": "/var/lib/vllm/weights"},
            "models": {"type": "list", "elements": "path", "default": []},
            "configurations": {"type": "list", "elements": "path", "default": []},
            "paths": {"type": "list", "elements": "path", "default": []},
            "shared_cards": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    if not 0 < given["timeout"] < float("inf"):
        module.fail_json(
            msg="timeout is {timeout}; it must be a number of seconds above 0.".format(**given)
        )
    facts = info.collect(
        given["npu_smi"],
        given["timeout"],
        user=given["user"] or "",
        template=given["unit"],
        files=given["files"],
        executable=given["executable"],
        weights_dir=given["weights_dir"],
        models=given["models"],
        configurations=given["configurations"],
        shared_cards=given["shared_cards"],
        paths=given["paths"],
        accounts=given["users"],
    )
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
