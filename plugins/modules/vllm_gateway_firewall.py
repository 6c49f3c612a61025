#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_gateway_firewall, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_gateway_firewall
short_description: Determine what a firewall of a host of services admits
version_added: 1.0.0
description:
  - For the role P(inferops.ascend.vllm_gateway#role), which writes the rules. It reads the variables of this
    host and of the gateways, and contacts none.
options:
  gateways:
    description: Names of the gateways in the inventory. Their names are resolved on the controller.
    type: list
    elements: str
    required: true
  admits:
    description: Addresses and networks that are admitted too.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - inferops.ascend.attributes.action
seealso:
  - module: inferops.ascend.vllm_gateway
"""

EXAMPLES = r"""
- name: Determine what is admitted
  inferops.ascend.vllm_gateway_firewall:
    gateways: [gw-01, gw-02]
    admits: [10.0.0.20]
"""

RETURN = r"""
ports:
  description: Of the services of this host that gateways route to, sorted.
  returned: always
  type: list
  elements: int
addresses:
  description: Addresses and networks that are admitted, sorted.
  returned: always
  type: list
  elements: str
"""
