#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.rollout, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Decide the steps of a change of engines over several hosts
version_added: 1.0.0
description:
  - For the playbooks C(upgrade) and C(rollback). Contacts no host; it reads what tasks before it have
    registered as C(vllm_rollout_engines) (M(inferops.ascend.rollout_host)), C(vllm_rollout_change) (the
    step V(change)) and C(vllm_rollout_status) (M(inferops.ascend.vllm_status)).
options:
  step:
    description:
      - V(targets) chooses the engine that each host of the play goes back to, the one that is current,
        or was the one before, on every host, and that none was rolled back from. It is rejected where
        there is none or more than one.
      - V(change) determines the change of one host, with the engine it returns to if the new one does
        not come up. It is rejected where the run leaves out a host of a service that spans several.
      - V(order) divides the hosts of the play into waves, so that two which carry a replica of the same
        service are never in one. Hosts on which a service does not serve come first, else the given
        order stays. The first wave is one host. The hosts of a service that spans several change
        together, as one host.
      - V(others) fails where another replica of what goes down on this host does not serve now.
      - V(together) fails where another host that changes together with this one did not come to
        O(point) or cannot be reached any more.
      - V(result) fails on each host of a wave that did not come up, or of which another was lost, with
        the cause and the state of all hosts.
    type: str
    choices: [targets, change, order, others, together, result]
    required: true
  point:
    description:
      - For V(together) what each host sets C(vllm_rollout_reached) to when it comes there.
    type: str
    default: ""
  action:
    {type: str, choices: [upgrade, rollback], default: upgrade, description: "What is done, for the record."}
  target: {type: str, default: "", description: "The engine to change to, for V(change)."}
  version:
    description:
      - For V(targets) the engine or its version of vLLM, if it is named. For V(change) the version of
        vLLM in O(target), where that is not installed yet.
    type: str
    default: ""
  at_once:
    description: Hosts in a wave at most, or 0 for as many as can go together.
    type: raw
    default: 1
  outage:
    description: Whether a service with one replica may go down. Rejected with V(false).
    type: bool
    default: true
  elsewhere:
    description: Hosts that the run leaves out and that may have replicas of the same services.
    type: list
    elements: str
    default: []
  tables: {type: raw, description: "Model tables of the user, for the names of services."}
  replies:
    description: For V(others) what M(inferops.ascend.vllm_status) returned in a loop over the other hosts.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - inferops.ascend.attributes.controller
seealso:
  - module: inferops.ascend.rollout_host
"""

EXAMPLES = r"""
- name: Determine the change of this host
  inferops.ascend.rollout:
    step: change
    target: 0.18.0
  register: vllm_rollout_change

- name: Show what it would go back to
  ansible.builtin.debug:
    msg: "{{ vllm_rollout_change.change.back or 'nothing' }}"
"""

RETURN = r"""
targets: {type: dict, returned: with O(step=targets), description: Name of the engine by host.}
change:
  description:
    - C(before), C(after) and C(back), names of engines and empty for none; C(version) and
      C(back_version) of vLLM in the last two; C(switches), whether they differ; C(installed), whether
      C(after) is on the host; C(interrupted), whether a rollout began there and did not end; and
      C(begin), C(finish) and C(give_up), the records of the host, empty where nothing is recorded.
  returned: with O(step=change)
  type: dict
waves:
  description:
    - Names of hosts by wave. Also returned are C(order), the names in one list, and C(sizes) of the
      waves, as C(hosts) and C(serial) of a play take them; C(hosts) with their services and engines;
      C(units), by host those that change together; C(back), by host the engine that it returns to;
      C(partners), by host the others with replicas of what it serves now; and for people C(lines),
      and C(progress), by host which engine the others have when its wave begins.
  returned: with O(step=order)
  type: list
  elements: list
"""
