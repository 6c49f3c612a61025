#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_remove, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_remove
short_description: Remove vLLM services from a host
version_added: 0.3.0
description:
  - Stops and disables services that the role P(inferops.ascend.vllm_service#role) made, and removes
    their files. Units made by hand, the template unit and the weights are left alone.
options:
  services:
    description:
      - Names of the services, as a list or as a text with commas, or the text V(all).
      - Rejected before contact where it names nothing, or what cannot be a service's name.
    type: raw
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
"""

RETURN = r"""
report:
  description: What was removed, and what the variables of the host still list.
  returned: success
  type: list
  elements: str
"""
