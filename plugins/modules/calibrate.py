#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.calibrate, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: calibrate
short_description: Find the least cards and the longest length of a model on a host
version_added: 1.0.0
description:
  - Starts the engine with a number of cards and a length, has it complete vLLM's C(vllm bench serve) with
    fixed lengths that fill the context, and removes it again, until the least number of cards and the
    longest length are known. Few starts are needed, because the engine mostly prints what fits.
  - The result is a row of the user's own table on the controller, of basis V(calibrated), with all
    conditions and trials, and an SVG chart beside it.
  - Trials take cards that no process uses. Services of the host go on running.
  - Each trial is recorded in O(state) when it has ended. A run that was cut off goes on from there, and
    trials of other conditions do not count. A trial whose controller is gone ends within a minute.
  - The settings of the engine are the variables of the role P(inferops.ascend.vllm_service#role).
options:
  model:
    description: Name of a model, or what a service of it would be, without cards, length and name.
    type: raw
    required: true
  cards:
    description: Numbers of cards to try; by default the powers of two that the host has cards for.
    type: raw
    default: []
  shortest:
    description: The shortest length that counts.
    type: raw
    default: 0.5K
  longest:
    description: The longest length to try; by default the model's native context.
    type: raw
    default: ""
  gpu_memory_utilization:
    description: Share of the memory that the engine may use.
    type: float
    default: 0.95
  prompts:
    description: Prompts of the benchmark, all of which have to be completed.
    type: int
    default: 4
  output_tokens:
    description: Tokens of each answer, at most half of the length.
    type: int
    default: 128
  start_timeout:
    description: Seconds that a start may take.
    type: float
    default: 1800
  benchmark_timeout:
    description: Seconds that a benchmark may take.
    type: float
    default: 3600
  interval:
    description: Seconds between two questions to the host.
    type: float
    default: 10
  lock_timeout:
    description: Seconds to wait for another trial on the host to end.
    type: float
    default: 180
  table:
    description: File that gets the row; by default the first of C(ascend_model_tables).
    type: str
    default: ""
  chart:
    description: File for the chart; by default beside the table.
    type: str
    default: ""
  state:
    description: File for the trials that were run; by default beside the table.
    type: str
    default: ""
  restart:
    description: Run all trials again.
    type: bool
    default: false
extends_documentation_fragment:
  - inferops.ascend.attributes.action
attributes:
  check_mode:
    description: Reads the host, and reports in RV(plan) which trials it would run.
  diff_mode:
    description: Shows the difference of the table.
    support: full
seealso:
  - module: inferops.ascend.vllm_trial
"""

EXAMPLES = r"""
- name: Find what a model of our own carries
  inferops.ascend.calibrate:
    model:
      model: our-finetune
      path: /data/our-finetune
    longest: 128K
    table: our-models.yml
  become: true
"""

RETURN = r"""
row:
  description: The row of the table.
  returned: success, not in check mode
  type: dict
trials:
  description: C(cards), C(max_model_len), C(passed), C(start_seconds) of each trial; C(fits), C(cause) and
    C(reason) of one that was too large, C(benchmark) of one that passed.
  returned: success
  type: list
  elements: dict
plan:
  description: What would be tried, in lines.
  returned: in check mode
  type: list
  elements: str
table:
  description: Path of the table.
  returned: success, not in check mode
  type: str
chart:
  description: Path of the chart.
  returned: success, not in check mode
  type: str
"""
