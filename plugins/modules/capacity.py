#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# What it does is in plugins/action/capacity.py; nothing of it runs on a host.
from __future__ import annotations

DOCUMENTATION = r"""
module: capacity
short_description: Show what models take on the hosts of an inventory, or on named profiles
version_added: 1.0.0
description:
  - For each model and each kind of host it tells the least number of cards, the longest context
    length on them, the basis of both figures, whether the engine's version is known to refuse them,
    and what would change them. Measured and documented figures stand beside an estimate.
  - A model that nothing is known of has the reason in its place, and the task does not fail.
  - It runs on the controller alone, once for all hosts, and contacts none.
options:
  models:
    description:
      - Models as the lookup P(inferops.ascend.model#lookup) takes them, as a list, as JSON, or as
        names with commas between them. C(*) is every row of the tables for a host's cards.
    type: raw
    default: "*"
  profiles:
    description:
      - Names of hardware profiles, as O(models). Without it, the hosts of the inventory count.
    type: raw
  hosts:
    description:
      - A pattern for the hosts. Without it, those of the play.
    type: str
    default: ""
  answers:
    description:
      - Name of the variable in which each host has the result of M(inferops.ascend.host_info), if the
        hosts were asked. Then cards and engine are those that it shows.
    type: str
    default: ""
  json:
    description:
      - Path of a file on the controller for RV(capacity).
    type: str
    default: ""
extends_documentation_fragment:
  - inferops.ascend.attributes
attributes:
  platform:
    description: The controller.
    platforms: posix
seealso:
  - plugin: inferops.ascend.model
    plugin_type: lookup
  - module: inferops.ascend.host_info
"""

EXAMPLES = r"""
- name: Work out what two models take on the hosts of this play
  inferops.ascend.capacity:
    models: [Qwen3-14B, Qwen/Qwen2.5-72B-Instruct]
  run_once: true
  register: capacity

- name: Show it
  ansible.builtin.debug:
    msg: "{{ capacity.report }}"
  run_once: true

- name: Write every row of the tables for an Atlas 800I A2 to a file
  inferops.ascend.capacity:
    profiles: [atlas-800i-a2-64g]
    json: capacity.json
  run_once: true
"""

RETURN = r"""
report:
  description: A table for each kind of host as lines for a terminal, with notes.
  returned: success
  type: list
  elements: str
capacity:
  description:
    - The same as data, C(profiles), C(rows) and C(left_out). Its schema is
      C(vars/schemas/capacity.schema.json) of this collection.
  returned: success
  type: dict
"""
