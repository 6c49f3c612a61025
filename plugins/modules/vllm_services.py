#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_services, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_services
short_description: Converge the placed vLLM services of a host
version_added: 0.3.0
author:
  - The inferops.ascend authors (@inferops)
description:
  - Computes what the files of each service contain, its configuration, environment, secrets and
    container command, and passes the services to M(inferops.ascend.systemd_instances), whose other
    options it takes as well.
  - It is used by the role P(inferops.ascend.vllm_service#role) and reads that role's variables.
options:
  services:
    description:
      - Placed services, as the filter P(inferops.ascend.place#filter) returns them.
    type: list
    elements: dict
    required: true
  requests:
    description:
      - The services as the user wrote them. Their C(env), C(api_key) and C(secret_env) are added to the
        placed service of that name, so that O(services) can be facts without secrets.
    type: list
    elements: raw
    required: true
attributes:
  action:
    description: Runs on the controller, and a module on the host.
    support: full
  async:
    description: Can be run with C(async).
    support: none
  check_mode:
    description: Reports what it would do.
    support: full
  diff_mode:
    description: Shows the difference of each file, of a secret only that it differs.
    support: full
  platform:
    description: Hosts that run systemd.
    platforms: linux
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
    services: "{{ placed }}"
    requests: "{{ vllm_service_instances }}"
    unit: vllm@.service
    instance_files:
      - src: config.yaml.j2
        dest: /etc/vllm/%i.yaml
"""

RETURN = r"""
services:
  description: As M(inferops.ascend.systemd_instances) returns it, and so are all other keys.
  returned: always
  type: list
  elements: dict
"""
