#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.verify, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Compare a host with what its variables list
version_added: 1.0.0
description:
  - Computes the deployment of the host with M(inferops.ascend.deployment), asks
    M(inferops.ascend.vllm_services) in check mode what a deploy would change, and how the services
    are. What is compared is in C(docs/verify.md) of the collection. It changes nothing.
  - It does not fail, also where the host cannot be reached; the report says so.
options:
  accept_loading:
    description: Whether a service that is still loading is accepted.
    type: bool
    default: false
extends_documentation_fragment:
  - inferops.ascend.attributes.action
seealso:
  - module: inferops.ascend.verify_report
"""

EXAMPLES = r"""
- name: Compare the host with its variables
  inferops.ascend.verify:
  become: true
  register: found
"""

RETURN = r"""
report:
  description: The result, in the form that C(docs/verify.md) describes.
  returned: always
  type: dict
"""
