#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.fleet_status, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status
short_description: Sum up how a fleet is
version_added: 1.0.0
description:
  - Puts together what each host and each gateway of a play answered, for the playbook C(status).
options:
  hosts:
    description: Hosts with services.
    type: list
    elements: str
    default: []
  gateways:
    description: Hosts with a gateway.
    type: list
    elements: str
    default: []
  compared:
    description: Name of the variable in which each of O(hosts) has the result of M(inferops.ascend.verify).
    type: str
    required: true
  rollouts:
    description: The same for M(inferops.ascend.rollout_host).
    type: str
    required: true
  servers:
    description: The same for M(inferops.ascend.vllm_gateway_servers), of each of O(gateways).
    type: str
    required: true
  moment:
    description: When all of it was read, as a text.
    type: str
    required: true
  output:
    description: File on the controller for RV(data) as JSON.
    type: path
  html:
    description: File on the controller for one HTML page of the same.
    type: path
extends_documentation_fragment:
  - inferops.ascend.attributes.action
seealso:
  - module: inferops.ascend.verify
  - module: inferops.ascend.vllm_gateway_servers
"""

EXAMPLES = r"""
- name: Sum up how the fleet is
  inferops.ascend.fleet_status:
    hosts: "{{ groups.ascend }}"
    gateways: "{{ groups.ascend_gateway }}"
    compared: found
    rollouts: rollout
    servers: gateway
    moment: "{{ now(utc=true).isoformat() }}"
  run_once: true
"""

RETURN = r"""
data:
  description: All of it, as C(vars/schemas/status.schema.json) of this collection describes it.
  returned: success
  type: dict
lines:
  description: The same for a terminal; what is wrong is first, each with what to do.
  returned: success
  type: list
  elements: str
"""
