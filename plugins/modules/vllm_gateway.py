#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action inferops.ascend.vllm_gateway, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_gateway
short_description: Route to the vLLM services of a fleet by one address
version_added: 1.0.0
description:
  - Places the services of the hosts of O(services) by their variables, without contact to them, renders the
    files of the gateway of this host, and has M(inferops.ascend.vllm_gateway_host) converge them.
  - The other options are the variables C(vllm_gateway_*) of the role
    P(inferops.ascend.vllm_gateway#role), which describes them.
options:
  services:
    description: Pattern of the hosts whose services are routed to. Those that list none are left out.
    type: str
    required: true
  bind: {description: Address to listen on., type: str, default: 0.0.0.0}
  port: {description: Port for clients., type: int, default: 443}
  metrics_bind: {description: Address of the metrics., type: str, default: 0.0.0.0}
  metrics_port: {description: Port of the metrics., type: int, default: 8405}
  tls:
    description: Which certificate clients see.
    type: str
    choices: [self-signed, files, none]
    default: self-signed
  certificate: {description: File of a certificate on the controller., type: str, default: ""}
  certificate_key: {description: File of its key on the controller., type: str, default: ""}
  names:
    description: Names and addresses of the self-signed certificate.
    type: list
    elements: str
    default: []
  keys: {description: Keys of clients., type: list, elements: dict, default: []}
  backends: {description: Servers that are not of the fleet., type: list, elements: dict, default: []}
  affinity:
    description: Models or services whose requests go by the beginning of the prompt.
    type: list
    elements: str
    default: []
  paths: {description: Paths that are passed on., type: list, elements: str, required: true}
  max_body_mb: {description: Largest body in MiB., type: int, default: 4}
  max_connections: {description: Connections at the same time., type: int, default: 1000}
  receive_timeout: {description: Seconds for a request to arrive., type: int, default: 60}
  request_timeout: {description: Seconds for a server to answer., type: int, default: 3600}
extends_documentation_fragment:
  - inferops.ascend.attributes.action
attributes:
  action:
    description: Runs on the controller, and a module on the host.
  diff_mode:
    description: Shows the difference of each file, of a secret only that it differs.
    support: full
seealso:
  - module: inferops.ascend.vllm_gateway_servers
"""

EXAMPLES = r"""
- name: Set up the gateway
  inferops.ascend.vllm_gateway:
    services: ascend
    paths: [/v1/chat/completions, /v1/completions]
    keys:
      - {name: team-a, key: "{{ vault_key_of_team_a }}"}
  become: true
"""

RETURN = r"""
backends:
  description:
    - What is routed to, each with C(name), C(names), those of models, and C(servers), each with C(name) and
      C(address).
  returned: always
  type: list
  elements: dict
report:
  description: The address and its models, in lines.
  returned: always
  type: list
  elements: str
actions:
  description: What systemctl did, or would do.
  returned: always
  type: list
  elements: str
certificate:
  description: The certificate that clients see, without its key; empty where there is none.
  returned: always
  type: str
"""
