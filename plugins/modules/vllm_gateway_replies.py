#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_gateway_replies, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_gateway_replies
short_description: Say what is wrong in what gateways answered
version_added: 1.0.0
description:
  - Reads what M(inferops.ascend.vllm_gateway_servers) returned for each gateway, and warns where requests may
    be lost, of gateways that could not be asked too.
options:
  replies:
    description: The C(results) of a loop over gateways.
    type: list
    elements: dict
    required: true
  state:
    description: The state that the servers were brought into.
    type: str
    choices: [query, drained, ready]
    required: true
  strict:
    description: Fail instead, as the playbook C(upgrade) does before it goes on.
    type: bool
    default: false
extends_documentation_fragment:
  - inferops.ascend.attributes.action
seealso:
  - module: inferops.ascend.vllm_gateway_servers
"""

EXAMPLES = r"""
- name: Put a service back into the gateways
  inferops.ascend.vllm_gateway_servers:
    servers: [chat:npu-01]
    state: ready
    timeout: 30
  become: true
  delegate_to: "{{ item }}"
  loop: "{{ groups.ascend_gateway }}"
  register: gateways
  ignore_unreachable: true

- name: Stop where one of them does not send it requests
  inferops.ascend.vllm_gateway_replies:
    replies: "{{ gateways.results }}"
    state: ready
    strict: true
"""

RETURN = r"""
problems:
  description: A sentence for each reason why requests may be lost.
  returned: always
  type: list
  elements: str
"""
