#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.runtime_plan, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_plan
short_description: Plan what a host needs to have the engine of a version
version_added: 1.0.0
description:
  - Finds a version in the version matrix (C(vars/version_matrix.yml)) and returns the steps that
    install it, or the image that contains it. The host is not contacted.
  - A request that cannot be met is rejected, such as wheels on an A3 or a 310P, for which there are
    none; the message names the image to use instead.
  - The options are those of the role P(inferops.ascend.vllm_runtime#role), without its prefix.
options:
  version:
    description: Version of vLLM or vllm-ascend. Empty means C(vllm_service_engine_version).
    type: str
    required: true
  method:
    {type: str, choices: [venv, container, external], default: venv, description: How it comes to the host.}
  device: {type: str, choices: [npu, cpu], default: npu, description: What it computes on.}
  chips:
    description:
      - The host's chips as npu-smi prints them, such as V(910B3). By default C(vllm_runtime_chips), else
        those of O(cards), else those of C(ascend_host_profile). Empty if not known.
    type: list
    elements: str
  cards:
    description:
      - The host's cards as M(inferops.ascend.npu_info) returns them. By default those that the role
        P(inferops.ascend.ascend_host#role) read in the same play.
    type: list
    elements: dict
  row: {type: dict, description: Your row instead of the matrix's.}
  name: {type: str, default: "", description: Directory of the environment. By default the version.}
  packages:
    {type: list, elements: str, default: [], description: "Further requirements, installed last."}
  image: {type: str, default: "", description: "Image for the method V(container), by its digest."}
  wheels: {type: str, default: "", description: Directory of wheels on the host.}
  wheels_source: {type: str, default: "", description: Directory of wheels on the controller.}
  offline: {type: bool, default: false, description: Whether everything comes from O(wheels).}
  image_archive: {type: str, default: "", description: Archive of the image on the host.}
  image_archive_source: {type: str, default: "", description: Archive of the image on the controller.}
extends_documentation_fragment:
  - inferops.ascend.attributes.controller
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
    method: {type: str, description: As given.}
    version: {type: str, description: Version of vLLM.}
    engine_version:
      type: str
      description: Version by which C(vllm_service_engine_version) names it, a candidate by its own.
    name: {type: str, description: "Name of the environment, or the image."}
    python: {type: list, elements: str, description: Oldest and newest version of Python that fit.}
    steps:
      description: As M(inferops.ascend.vllm_environment) takes them, as are the next two.
      type: list
      elements: dict
    expect: {type: dict, description: Version by distribution that has to be installed at the end.}
    metadata: {type: dict, description: Version by distribution that is only named.}
    warnings: {type: list, elements: str, description: What is worth knowing before.}
"""
