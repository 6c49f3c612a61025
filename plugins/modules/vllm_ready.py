#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_ready, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vllm_ready
short_description: Wait until the vLLM services of a host serve, and show their progress
version_added: 0.2.0
description:
  - Checks all services of the host with M(inferops.ascend.vllm_status), one round trip each time
    whatever their number, until every one of them answers its C(/health). What it serves is not
    compared with what was requested; the playbook C(inferops.ascend.verify) does that.
  - Meanwhile it shows each service's state, phase, percent and time on standard error, where they
    have changed, with the host's name in each line. Hosts are waited for at the same time, as many
    as C(forks) allows.
  - It ends early, and fails, when a service has failed, when it fails again and again, or when it
    failed in a way that another start does not fix. The message has the cause as found in the
    journal, and what to do about it.
  - When the time is over, the message names the phase that each service had reached.
options:
  services:
    description:
      - The services to wait for, by name, or as specs or placed services. Those whose C(state) is
        V(stopped) or V(absent) are left out. By default the services that the variables of the host
        list.
    type: list
    elements: raw
  seen:
    description:
      - An answer about the services of a moment ago, as the module M(inferops.ascend.systemd_instances)
        returns it in C(status). Where all of them served, the host is not contacted again.
      - One of them that has gone meanwhile, or runs with other settings, was changed by another run, and is
        not waited for.
    type: list
    elements: dict
    default: []
    version_added: 1.0.0
  timeout:
    description: Seconds to wait in all. With 0 it checks once.
    type: float
    default: 3600
  interval:
    description: Seconds between two checks. In the first minute it checks more often.
    type: float
    default: 10
  unreachable_timeout:
    description:
      - Seconds for which a host may not answer, as in a reboot, once it has answered. Then it
        counts as unreachable.
      - A check that takes longer, or longer than four times O(question_timeout) and 20 seconds,
        counts as no answer, so that a host that hangs does not keep the wait.
    type: float
    default: 300
  question_timeout:
    description: Seconds that one request may take on the host, over HTTP, to systemd, or to the
      journal.
    type: float
    default: 10
  unit:
    description: Template unit of the services.
    type: str
    default: vllm@.service
extends_documentation_fragment:
  - inferops.ascend.attributes.action
attributes:
  action:
    description: Runs on the controller, and a module on the host.
  check_mode:
    description: Checks once, reports what is not ready, and does not fail for it.
  diff_mode:
    description: Returns what has changed, in diff mode.
  platform:
    description: Target systems.
seealso:
  - module: inferops.ascend.vllm_status
"""

EXAMPLES = r"""
- name: Wait for two services, for half an hour at most
  inferops.ascend.vllm_ready:
    services: [chat, embed]
    timeout: 1800
  become: true
"""

RETURN = r"""
services:
  description: Each service that was waited for.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the service.
      type: str
    ready:
      description: Whether it serves.
      type: bool
    state:
      description: As in M(inferops.ascend.vllm_status).
      type: str
    phase:
      description: As in M(inferops.ascend.vllm_status).
      type: str
    percent:
      description: As in M(inferops.ascend.vllm_status).
      type: int
    elapsed:
      description: As in M(inferops.ascend.vllm_status).
      type: float
    restarts:
      description: How often systemd has restarted it.
      type: int
    cause:
      description: As in M(inferops.ascend.vllm_status).
      type: dict
ready:
  description: Names of services that serve.
  returned: always
  type: list
  elements: str
waiting:
  description: Names of services that were still starting.
  returned: always
  type: list
  elements: str
failed_services:
  description: Names of services that failed.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that were waited.
  returned: always
  type: float
looks:
  description: How often the host answered; 0 where O(seen) was enough.
  returned: always
  type: int
unreachable_looks:
  description: How often it did not.
  returned: always
  type: int
"""
