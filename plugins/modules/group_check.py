#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.group_check, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: group_check
short_description: Compare the hosts of services over several hosts
version_added: 1.0.0
description:
  - The preflight of services over several hosts, in three tasks, since Ansible waits for all hosts between
    tasks. The first reads each host and lets it listen, the second connects each host to the others and lets
    its cards ping theirs, the third compares, prints one report of each service, and ends what listens.
  - It reads what M(inferops.ascend.deployment) returned on each host, registered as
    C(ascend_host_deployment), and its other steps, registered as C(ascend_host_group_read) and
    C(ascend_host_group_reached).
  - An error does not fail the task. M(inferops.ascend.vllm_services) leaves such a service as it is on all its
    hosts, by RV(held) of the leader, registered as C(ascend_host_group). What is checked is in
    C(docs/cluster.md).
options:
  step:
    description: Which of the three it is.
    type: str
    choices: [read, reach, report]
    required: true
extends_documentation_fragment:
  - inferops.ascend.attributes.action
attributes:
  action:
    description: Runs on the controller, and a module on the host.
  check_mode:
    description: Changes nothing.
  diff_mode:
    description: Has no differences to show.
seealso:
  - module: inferops.ascend.group_info
  - module: inferops.ascend.deployment
"""

EXAMPLES = r"""
- name: Read what the hosts of a service have to have in common, and listen for the others
  inferops.ascend.group_check:
    step: read
  become: true
  register: ascend_host_group_read
"""

RETURN = r"""
services:
  description: The report of each service that this host leads, by name.
  returned: with O(step=report)
  type: dict
  contains:
    report:
      description: As a text.
      type: str
    findings:
      description: As C(severity), C(code), C(subject), C(message) and C(advice).
      type: list
    errors:
      description: Their number.
      type: int
    warnings:
      description: Their number.
      type: int
held:
  description: By name, why a service cannot be served by its hosts together; none where
    C(ascend_host_stop_on_error) is false.
  returned: with O(step=report)
  type: dict
"""
