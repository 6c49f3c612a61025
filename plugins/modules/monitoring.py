#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

# What it does is in plugins/action/monitoring.py; the host runs the module monitoring_files.
from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring
short_description: Write the files that Prometheus takes from the placed services of a fleet
version_added: 1.0.0
description:
  - Writes targets for C(file_sd), rules that record what the fleet should be, and scrape jobs, from the
    variables of all hosts and, where the action M(inferops.ascend.deployment) ran in the same play as
    RV(ignore:ascend_host_deployment), from what it found.
  - It writes the recording rules and alerts that every fleet has, and the dashboard, beside them. Hosts of services
    are not contacted.
options:
  hosts:
    description: Names of the hosts with services.
    type: list
    elements: str
    required: true
  gateways:
    description: Names of the hosts of the gateway; C(vllm_gateway_metrics_port) of each is its port.
    type: list
    elements: str
    default: []
  directory:
    description: Directory on the host of this task, which gets the files.
    type: str
    required: true
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
seealso:
  - module: inferops.ascend.deployment
"""

EXAMPLES = r"""
- name: Write what Prometheus takes
  inferops.ascend.monitoring:
    hosts: "{{ groups.ascend }}"
    directory: /etc/prometheus
    targets: /etc/prometheus/targets
"""

RETURN = r"""
written:
  description: Paths of the files that changed, or would change, below the directory.
  returned: success
  type: list
  elements: str
files:
  description: Text of the files of this fleet by path, below the directory.
  returned: success
  type: dict
  sample:
    targets/inferops_vllm.yml: "- targets: [10.0.0.1:8000]\n  labels: {host: npu-01}\n"
"""
