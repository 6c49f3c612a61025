#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.check_variables, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Check the variables of all hosts before any is contacted
version_added: 1.0.0
description:
  - Compares the variables of hosts with the argument specs of the roles and playbooks of this collection, and
    the settings of services with their bounds. No host is contacted.
  - Fails with all that is wrong, a line each with the hosts, the variable, and the file in which it is set, or
    C(-e). What is equal for several hosts is one line.
  - A variable with the prefix of a role that is not known, but similar to one that is, gets a warning.
  - C(ascend_hosts) in the inventory, where it has no effect, gets a warning too.
  - A value that cannot be rendered yet is left to those that need it.
options:
  hosts:
    description: Pattern of hosts whose variables are checked, beside those of the play.
    type: str
  services:
    description:
      - V(checked) checks the services that hosts list as the role P(inferops.ascend.ascend_host#role) does
        before it contacts a host; the first that is wrong on a host is reported. V(required) does so, and
        requires that each host has a list, which may be empty. V(ignored) leaves them out.
    type: str
    choices: [ignored, checked, required]
    default: ignored
  plan_json:
    description: File on the controller that gets what is wrong, as M(inferops.ascend.plan) writes it.
    type: path
  deploy_report:
    description: The same, as M(inferops.ascend.vllm_deploy_report) writes it.
    type: path
  verify_output:
    description: The same, as M(inferops.ascend.verify_report) writes it.
    type: path
extends_documentation_fragment:
  - inferops.ascend.attributes.action
"""

EXAMPLES = r"""
- name: Check the variables
  inferops.ascend.check_variables:
  run_once: true
"""

RETURN = r"""
# Nothing but what every module returns.
"""
