#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_services, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_services
short_description: Converge the vLLM services of a host
version_added: 1.0.0
description:
  - Renders the files of the services that the variables of the host list, and has
    M(inferops.ascend.systemd_instances) converge them in one round trip.
  - What M(inferops.ascend.deployment) computed earlier in the run, registered as
    C(ascend_host_deployment), is used where the variables are still the same. Without it the services
    are placed on the declared cards.
  - Its settings are the variables of the role P(inferops.ascend.vllm_service#role), with the defaults
    of that role, wherever it is used.
options:
  compare:
    description:
      - Report what is different instead of what would be changed; for use in check mode. RV(expected)
        is added, and a service that waits for a deferred restart is different.
    type: bool
    default: false
  probe:
    description: Report in RV(status) how the services are at the end.
    type: bool
    default: false
  foresee:
    description:
      - In check mode, fail where an upgrade or rollback has claimed the host, because a task that changes it
        follows.
    type: bool
    default: false
extends_documentation_fragment:
  - inferops.ascend.attributes.action
  - inferops.ascend.members
attributes:
  action:
    description: Runs on the controller, and a module on the host.
  diff_mode:
    description: Shows the difference of each file, of a secret only that it differs.
    support: full
notes:
  - "Variables that a template sees beside those that M(inferops.ascend.systemd_instances) names:
    C(unit), the texts of the template unit, and C(instance.texts), those of a service."
seealso:
  - module: inferops.ascend.systemd_instances
"""

EXAMPLES = r"""
- name: Converge the services of this host
  inferops.ascend.vllm_services:
  become: true
"""

RETURN = r"""
services:
  description: As M(inferops.ascend.systemd_instances) returns it, and so are all other keys.
  returned: always
  type: list
  elements: dict
status:
  description: How the services are at the end, as M(inferops.ascend.vllm_status) returns them.
  returned: with O(probe=true)
  type: list
  elements: dict
left:
  description: Names of members that O(leave_members=true) left as they are.
  returned: always
  type: list
  elements: str
awaited:
  description: Names of the services that should serve after this run; none where O(probe=true) found
    that all of them do.
  returned: without O(compare=true)
  type: list
  elements: str
held:
  description: By name, why a service over several hosts was left as it is on this host.
  returned: without O(compare=true)
  type: dict
stopping:
  description: Servers of gateways, as M(inferops.ascend.vllm_gateway_servers) names them, whose services stop
    or restart in this run.
  returned: always
  type: list
  elements: str
serving:
  description: Those of services that are to run and that clients ask.
  returned: always
  type: list
  elements: str
starting:
  description: Those of RV(serving) whose services start or restart in this run.
  returned: always
  type: list
  elements: str
expected:
  description: C(name), C(state), C(cards), C(port), C(max_model_len) and C(aliases) of each service.
  returned: with O(compare=true)
  type: list
  elements: dict
"""
