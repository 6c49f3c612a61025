#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_deploy_report, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_deploy_report
short_description: Write what a deployment did on each host
version_added: 1.0.0
description:
  - A part of the playbook C(inferops.ascend.deploy). Collects what the
    tasks of the play registered for each of its hosts, also for those that failed or were lost, and writes it as JSON.
options:
  path:
    description:
      - File on the controller, by C(vars/schemas/deploy.schema.json) of this collection. It is written in check mode too.
    type: path
    required: true
  begin:
    description:
      - Write what is known at the beginning, which stays where the run does not come to its end.
    type: bool
    default: false
extends_documentation_fragment:
  - inferops.ascend.attributes.action
seealso:
  - module: inferops.ascend.vllm_services
"""

EXAMPLES = r"""
- name: Write the report
  inferops.ascend.vllm_deploy_report:
    path: deploy.json
  run_once: true
"""

RETURN = r"""
data:
  description: What the file has.
  returned: success
  type: dict
"""
