#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.runtime_plan, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_plan
short_description: Plan what a host needs to have the engine of a version
version_added: 0.3.0
author:
  - The inferops.ascend authors (@inferops)
description:
  - Finds a version in the version matrix (C(vars/version_matrix.yml)) and returns the steps that
    install it, or the image that contains it. The host is not contacted.
  - A request that cannot be met is rejected, such as wheels on an A3 or a 310P, for which there are
    none; the message names the image to use instead.
options:
  version:
    description:
      - Version of vLLM or vllm-ascend.
    type: str
    required: true
  method:
    description:
      - How the engine comes to the host.
    type: str
    choices: [venv, container, external]
    default: venv
  device:
    description:
      - What it computes on.
    type: str
    choices: [npu, cpu]
    default: npu
  chips:
    description:
      - The host's chips as npu-smi prints them, such as V(910B3). Empty if not known.
    type: list
    elements: str
    default: []
  row:
    description:
      - Your row instead of the matrix's.
    type: dict
  name:
    description:
      - Directory of the environment. By default the version.
    type: str
    default: ""
  packages:
    description:
      - Further requirements, installed last.
    type: list
    elements: str
    default: []
  image:
    description:
      - Image for the method V(container), by its digest.
    type: str
    default: ""
  wheels:
    description:
      - Directory of wheels on the host.
    type: str
    default: ""
  wheels_source:
    description:
      - Directory of wheels on the controller.
    type: str
    default: ""
  offline:
    description:
      - Whether everything comes from O(wheels).
    type: bool
    default: false
  image_archive:
    description:
      - Archive of the image on the host.
    type: str
    default: ""
  image_archive_source:
    description:
      - Archive of the image on the controller.
    type: str
    default: ""
attributes:
  action:
    description: Runs on the controller.
    support: full
  async:
    description: Can be run with C(async).
    support: none
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Has no difference to show.
    support: none
  platform:
    description: Any.
    platforms: all
    support: full
seealso:
  - module: inferops.ascend.vllm_environment
"""

EXAMPLES = r"""
- name: Plan the installation of a version on an A2
  inferops.ascend.runtime_plan:
    version: 0.18.0
    chips: [910B3]
  register: plan

- name: Show what is installed, step by step
  ansible.builtin.debug:
    msg: "{{ plan.installation.steps | map(attribute='requirements') }}"
"""

RETURN = r"""
installation:
  description: What the host needs.
  returned: success
  type: dict
  contains:
    method:
      description: As given.
      type: str
    version:
      description: Version of vLLM.
      type: str
    name:
      description: Name of the environment, or the image.
      type: str
    python:
      description: The oldest and the newest version of Python that fit.
      type: list
      elements: str
    steps:
      description: As M(inferops.ascend.vllm_environment) takes them, as are the next two.
      type: list
      elements: dict
    expect:
      description: Version by distribution that has to be installed at the end.
      type: dict
    metadata:
      description: Version by distribution that is only named.
      type: dict
    warnings:
      description: What is worth to know before.
      type: list
      elements: str
"""
