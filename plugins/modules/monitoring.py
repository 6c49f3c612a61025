#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# What it does is in plugins/action/monitoring.py; nothing of it runs on a host.
from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring
short_description: Make the files that Prometheus takes from the placed services of a fleet
version_added: 0.3.0
description:
  - Makes targets for C(file_sd), rules that record what the fleet should be, and scrape jobs, from the
    variables of all hosts and, where the action M(inferops.ascend.deployment) ran in the same play as
    RV(ignore:ascend_host_deployment), from what it found.
  - It runs on the controller alone and writes nothing; the role C(vllm_monitoring) does.
options:
  hosts:
    description: Names of the hosts with services.
    type: list
    elements: str
    required: true
  gateways:
    description: Names of the hosts of the gateway.
    type: list
    elements: str
    default: []
  gateway_port:
    description: Port of the metrics of the gateway.
    type: int
    default: 8404
  targets:
    description: Directory in which Prometheus finds the files of targets.
    type: str
    required: true
  first_token_seconds:
    description: Limit of the alert C(VllmSlowFirstToken). Without it, the alert never fires.
    type: float
  card_temperature:
    description: Limit of the alert C(NpuHot), in degrees Celsius. Without it, the alert never fires.
    type: float
extends_documentation_fragment:
  - inferops.ascend.attributes
attributes:
  platform:
    description: The controller.
    platforms: posix
seealso:
  - module: inferops.ascend.deployment
"""

EXAMPLES = r"""
- name: Make what Prometheus takes
  inferops.ascend.monitoring:
    hosts: "{{ groups.ascend }}"
    targets: /etc/prometheus/targets
  register: made
"""

RETURN = r"""
files:
  description: Text by path, relative to a directory of your choice.
  returned: success
  type: dict
  sample:
    targets/inferops_vllm.yml: "- targets: [10.0.0.1:8000]\n  labels: {host: npu-01}\n"
"""
