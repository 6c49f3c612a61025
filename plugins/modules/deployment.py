#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.deployment, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment
short_description: Compute what a host serves, and check the host for it
version_added: 1.0.0
description:
  - Resolves the services that the variables of the host list, places them, and rejects before any
    contact what the declared cards cannot carry or the engine's version does not read.
  - Then reads the host with M(inferops.ascend.host_info), places the services on its real cards, and
    checks all that could keep them from running. Everything that is wrong is in one report.
  - Its settings are the variables of the roles P(inferops.ascend.ascend_host#role) and
    P(inferops.ascend.vllm_service#role), with the defaults of these roles, wherever it is used.
  - No C(env), C(api_key) or C(secret_env) is in what it returns.
options:
  stop_on_error:
    description:
      - Fail where the report has an error. By default C(ascend_host_stop_on_error).
    type: bool
  require_services:
    description:
      - Fail before any contact where no variable of the host lists its services; the list may be empty.
    type: bool
    default: false
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
  - module: inferops.ascend.host_info
  - module: inferops.ascend.vllm_services
"""

EXAMPLES = r"""
- name: Check the host for its services
  inferops.ascend.deployment:
  become: true
  register: ascend_host_deployment
"""

RETURN = r"""
services:
  description: The placed services, as the filter P(inferops.ascend.place#filter) returns them, without
    what is private; and C(user), the account of the processes of each.
  returned: success
  type: list
  elements: dict
started:
  description: Names of the services that should run.
  returned: success
  type: list
  elements: str
origins:
  description: For each service the position of its request in the list of services.
  returned: success
  type: list
  elements: int
fingerprint:
  description: Of the variables that this was computed from; empty where not all could be placed.
  returned: success
  type: str
state:
  description: What the services were placed on.
  returned: success
  type: dict
  contains:
    cards:
      description: Cards of M(inferops.ascend.npu_info) whose ids are known.
      type: list
    unavailable:
      description: Reasons by logic id of cards that may not be used now.
      type: dict
    existing:
      description: C(cards), C(port) and C(runs) by name of the services that are on the host.
      type: dict
    ephemeral_ports:
      description: First and last port of the kernel's range.
      type: list
group_address:
  description: C(address) and C(interface) at which the other hosts of a service reach this one, and
    C(port_base), the first port of such services; null where no service spans hosts.
  returned: success
  type: dict
spans_hosts:
  description: Whether a service that should run spans hosts.
  returned: success
  type: bool
preflight:
  description: The report.
  returned: success
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
account:
  description: The account of all services.
  returned: success
  type: dict
  contains:
    user:
      description: Its name, empty where each service has one to itself (C(user) in RV(services)).
      type: str
    groups:
      description: The groups that it needs.
      type: list
    ready:
      description: Whether it exists and is in all of them, or none is needed here.
      type: bool
weights_dir:
  description: Directory of weights.
  returned: success
  type: str
prepare:
  description: Whether the account and directories of the services are to be made.
  returned: success
  type: bool
tuning:
  description: What happens to the kernel's settings, one of V(present), V(absent) and V(none).
  returned: success
  type: str
host:
  description: What M(inferops.ascend.host_info) returned.
  returned: success
  type: dict
"""
