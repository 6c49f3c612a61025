#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# What it does is in plugins/action/plan.py; nothing of it runs on a host.
from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Place the services of a fleet over its hosts, as files of the inventory
version_added: 0.2.0
description:
  - Reads C(vllm_plan_services) from the variables of many hosts, resolves the services for what each
    host has, places them, and writes C(host_vars/HOST/vllm_service_instances.yml) beside the
    inventory, which is all that the role P(inferops.ascend.vllm_service#role) needs.
  - It runs on the controller alone, once for all hosts. Use it with C(run_once), or in a play of one
    host with O(hosts).
  - What is in the files of an earlier plan stays where it fits. What somebody wrote by hand is
    taken as it is and never overwritten or hidden.
  - Either every file is as planned afterwards, or nothing was written and the message lists all that
    is wrong.
options:
  hosts:
    description:
      - A pattern for the hosts to plan for. Without it, those of the play.
    type: str
    default: ""
  output:
    description:
      - Directory that gets C(host_vars), instead of the inventory's own.
    type: str
    default: ""
  repack:
    description:
      - Place all again from the start, whatever exists. The result reports what moves.
    type: bool
    default: false
  locked:
    description:
      - Leave C(host_vars) alone, and fail if the files there are not what would be written. Pages for
        people are written all the same.
    type: bool
    default: false
  adopt_host_vars:
    description:
      - Where C(host_vars/HOST.yml) exists, which Ansible no longer reads once there is a directory
        C(host_vars/HOST), move it into that directory. Without it such a host is rejected.
    type: bool
    default: false
  lock_timeout:
    description:
      - Seconds to wait for another plan that writes into the same directory. It is locked while a plan reads
        and writes there, by C(.inferops-plan.lock) beside C(host_vars), unless this is a check.
    type: float
    default: 60
    version_added: 1.0.0
  markdown:
    description:
      - Path of a Markdown page of the plan, for pull requests.
    type: str
    default: ""
  html:
    description:
      - Path of one self-contained HTML page of the plan.
    type: str
    default: ""
  json:
    description:
      - Path of a JSON file about this run, as C(vars/schemas/plan.schema.json) of this collection describes it. It is
        written in check mode and where the plan fails too, and does not count as a change.
    type: str
    default: ""
    version_added: 1.0.0
  facts:
    description:
      - What M(inferops.ascend.host_info) or M(inferops.ascend.npu_info) returned for the hosts of
        RV(ask), as a loop over them registers it.
    type: list
    elements: dict
    default: []
  return_plan:
    description:
      - Return the complete plan as RV(plan). For a large fleet that takes longer than planning.
    type: bool
    default: false
extends_documentation_fragment:
  - inferops.ascend.attributes
attributes:
  platform:
    description: The controller.
    platforms: posix
seealso:
  - module: inferops.ascend.host_info
"""

EXAMPLES = r"""
- name: Plan the hosts of this play
  inferops.ascend.plan:
  run_once: true
  register: plan

- name: Show where everything is
  ansible.builtin.debug:
    msg: "{{ plan.report }}"
  run_once: true

- name: Fail in a pipeline if the plan that is checked in is stale
  inferops.ascend.plan:
    locked: true
  run_once: true
"""

RETURN = r"""
ask:
  description: Hosts that do not say what cards they have. They have to be asked, and the module to be
    run again with O(facts); nothing was planned or written.
  returned: success
  type: list
  elements: str
  sample: []
report:
  description: The fleet as lines for a terminal, with what changes and what is worth knowing.
  returned: where nothing has to be asked
  type: list
  elements: str
files:
  description: Paths of files that were written or removed, or would be.
  returned: where nothing has to be asked
  type: list
  elements: str
hosts_changed:
  description: Hosts whose files these are.
  returned: where nothing has to be asked
  type: list
  elements: str
plan:
  description: The plan, with C(hosts) and C(changes).
  returned: with O(return_plan)
  type: dict
problems:
  description: All that is wrong.
  returned: failure
  type: list
  elements: str
unplaced:
  description: Services without room, each with C(service), C(replicas) (such as V(2-4, 6)), C(cards)
    that one of them takes, C(largest_free) (cards of the largest free block on a host that it may go
    to), C(repack_helps) (whether it would have room if all were placed again from the start) and C(reason).
  returned: failure
  type: list
  elements: dict
"""
