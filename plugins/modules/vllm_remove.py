#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_remove, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_remove
short_description: Remove vLLM services from a host
version_added: 1.0.0
description:
  - Stops and disables services that the role P(inferops.ascend.vllm_service#role) made, and removes
    their files. Units made by hand, the template unit and the weights are left alone.
  - Of a service over several hosts the leader goes first; a second task with O(after) removes the
    members. A run that leaves some of its hosts out is rejected before anything is changed.
options:
  services:
    description:
      - Names of the services, as a list or as a text with commas, or the text V(all).
      - Rejected before contact where it names nothing, or what cannot be a service's name.
    type: raw
  after:
    description:
      - The result of the task before. Then the members that it left as they are, because their leader is
        on another host, are removed.
    type: dict
  foresee:
    description:
      - In check mode, fail where an upgrade or rollback has claimed the host, because a task that changes it
        follows.
    type: bool
    default: false
extends_documentation_fragment:
  - inferops.ascend.attributes.action
attributes:
  diff_mode:
    support: full
seealso:
  - module: inferops.ascend.systemd_instances
"""

EXAMPLES = r"""
- name: Remove a service
  inferops.ascend.vllm_remove:
    services: [chat]
  become: true
  register: removed

- name: Remove its members, where it spans hosts
  inferops.ascend.vllm_remove:
    services: [chat]
    after: "{{ removed }}"
  become: true
  when: removed.groups != {}
"""

RETURN = r"""
report:
  description: What was removed, and what the variables of the host still list.
  returned: success
  type: list
  elements: str
left:
  description: Names of members that are left as they are until a second task.
  returned: success
  type: list
  elements: str
groups:
  description: C(rank) and C(hosts) of each service over several hosts that was on the host before.
  returned: success
  type: dict
stopping:
  description: Servers of gateways, as M(inferops.ascend.vllm_gateway_servers) names them, whose services stop.
  returned: success
  type: list
  elements: str
"""
