#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module inferops.ascend.vllm_status."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vllm_status
short_description: How the vLLM services of a host are, in one reading
version_added: 0.2.0
description:
  - Reads for each service what systemd reports of its unit, what its process runs with, what it
    answers over HTTP, and, where it does not serve, how far its start has come or why it failed,
    from its journal. It changes nothing.
  - All services are asked at the same time. What cannot be read is null, with the reason in
    RV(problems) or RV(services[].problems); a part that fails does not affect the rest.
options:
  services:
    description:
      - The services to check. A placed service may have other keys than those named here.
      - A name alone is enough for a service that this collection wrote. Names may also be one text with commas between
        them, or of JSON.
    type: list
    elements: raw
    default: []
    suboptions:
      name:
        description: Name of the service, the part between C(@) and C(.service).
        type: str
        required: true
      port:
        description: Port of its API. Without it, the service's configuration tells.
        type: int
      host:
        description: Address that it listens on. Without it, the service's configuration tells.
        type: str
      api_key_file:
        description:
          - File of variables, for root alone, with the API key as C(VLLM_API_KEY). It counts where
            the process does not show the key that it runs with. By default C(NAME.env) beside the configuration.
        type: path
  others:
    description: Check every other service that this collection wrote on the host as well.
    type: bool
    default: false
  completion:
    description: Ask the leader of each service over several hosts for one token as well. Its C(/health)
      alone does not tell that the engines of the other hosts still answer. A mapping of O(services) may
      have the same key.
    type: bool
    default: false
  unit:
    description: Template unit of the services. Their configurations are in the directory of C(/etc)
      that is named like it.
    type: str
    default: vllm@.service
  timeout:
    description: Seconds that one request may take, over HTTP, to systemd, or to the journal.
    type: float
    default: 10
  journal_lines:
    description: Lines of each journal that are read, the newest. With 0 no journal is read.
    type: int
    default: 2000
  log_lines:
    description: Lines of this start's journal to return of a service that does not serve.
    type: int
    default: 20
  npu:
    description: Read the cards too, as M(inferops.ascend.host_info) does.
    type: bool
    default: true
  npu_smi:
    description:
      - Path of C(npu-smi). Without it, C(/usr/local/bin), C(/usr/local/sbin) and the C(PATH) are
        searched.
    type: path
  npu_timeout:
    description: Seconds that one call of C(npu-smi) may take.
    type: float
    default: 30
  phases:
    description: Set by the action plugin, not by hand. The parts of a start.
    type: list
    elements: dict
    default: []
  failures:
    description: Set by the action plugin, not by hand. The known failures.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - inferops.ascend.attributes.facts
notes:
  - Run it as root; else keys, environments and journals cannot be read.
  - Secrets of a service are taken out of every line that is returned.
"""

EXAMPLES = r"""
- name: Check two services
  inferops.ascend.vllm_status:
    services:
      - name: chat
      - name: embed
        port: 8001
  become: true
  register: status

- name: Report their states
  ansible.builtin.debug:
    msg: "{{ item.name }} is {{ item.state }}, {{ item.phase }} {{ item.percent }}"
  loop: "{{ status.services }}"
"""

RETURN = r"""
services:
  description: One entry for each service that was asked about, in that order, then the others.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the service.
      type: str
      sample: chat
    port:
      description: Port of its API; null where nothing tells it.
      type: int
      sample: 8000
    unit:
      description: What systemd reports; null and 0 where it reports nothing.
      type: dict
      contains:
        load_state:
          description: V(loaded), V(not-found), V(masked) and the like.
          type: str
        active_state:
          description: V(active), V(activating), V(failed) and the like.
          type: str
        sub_state:
          description: V(running), V(auto-restart) and the like.
          type: str
        result:
          description: How the last start ended, such as V(success) or V(exit-code).
          type: str
        exec_main_status:
          description: Exit status, or signal, of the process that ended last.
          type: int
        n_restarts:
          description: How often systemd has restarted it by itself.
          type: int
        unit_file_state:
          description: V(enabled), V(disabled) and the like.
          type: str
        main_pid:
          description: Its main process, 0 without one.
          type: int
        since:
          description: When this start began, or the last one, in UTC; null if it never started.
          type: str
          sample: "2025-11-23T17:44:00Z"
    digest_running:
      description: C(INFEROPS_DIGEST) that its process runs with; null without one.
      type: str
    visible_cards:
      description: C(ASCEND_RT_VISIBLE_DEVICES) that its process runs with, logic ids; null
        without one.
      type: list
      elements: int
      sample: [0, 1]
    group:
      description: Of a service over several hosts, its C(rank) here, its C(members) by rank, its first
        C(port), the C(digest) of the settings that all members have, the C(status) that its guard
        reports, and C(missing), the ranks that it waits for. Null for any other service.
      type: dict
    headless:
      description: Whether the service has no API on this host, since another host answers for it.
      type: bool
    http:
      description: What it answers.
      type: dict
      contains:
        health:
          description: HTTP status of C(/health); null without an answer.
          type: int
          sample: 200
        models:
          description: C(id) and C(max_model_len) of each entry of C(/v1/models).
          type: list
          elements: dict
        error:
          description: Why there is no answer, or no right one; null if all is well.
          type: str
    state:
      description: V(ready), V(starting), V(unhealthy) (it has served and does not any more),
        V(restarting) (it ended and systemd waits to start it again), V(stopping), V(stopped),
        V(failed), V(absent) or V(unknown).
      type: str
      sample: starting
    phase:
      description: The part of the start that the journal names last, or V(ready); null where
        there is none.
      type: str
      sample: weights
    percent:
      description: How much of RV(services[].phase) is done, where the engine counts it.
      type: int
      sample: 25
    done:
      description: The count behind the percentage, such as shards that are loaded.
      type: int
      sample: 1
    total:
      description: What RV(services[].done) is counted to.
      type: int
      sample: 4
    elapsed:
      description: Seconds since this start began; of a service that does not run, how long its
        last start lasted; of one over several hosts, since it runs or waits for members. Null if it
        never started.
      type: float
      sample: 93.2
    cause:
      description: Why it does not serve. Null where nothing is known to be wrong.
      type: dict
      contains:
        id:
          description: A word to test for.
          type: str
          sample: kv-cache
        cause:
          description: What is wrong, in a sentence.
          type: str
        advice:
          description: What to do.
          type: str
        retry:
          description: Whether another start may go better as things are.
          type: bool
        source:
          description: Where this failure was described.
          type: str
        start:
          description: V(current) if it is of this start, V(previous) if of the one before. That of
            a service which is still starting is a suspicion; it may come up all the same.
          type: str
        served:
          description: Whether that start had been serving.
          type: bool
        values:
          description: Figures of the lines.
          type: dict
        lines:
          description: The lines that show it.
          type: list
          elements: str
    log:
      description: The last lines of this start's journal; empty for a service that is ready.
      type: list
      elements: str
    problems:
      description: What could not be read of this service.
      type: list
      elements: str
npu:
  description: What M(inferops.ascend.npu_info) returns. Each process has C(command) besides. Null
    if O(npu=false).
  returned: always
  type: dict
report:
  description: The services in lines for people; each with its state, and cause, evidence and
    advice where it does not serve.
  returned: always
  type: list
  elements: str
not_serving:
  description: Names of services that should serve and do not. One that is stopped and not enabled
    at boot is meant to be.
  returned: always
  type: list
  elements: str
problems:
  description: What could not be read of the host.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._host.npu import npu_facts
from ansible_collections.inferops.ascend.plugins.module_utils._host.services import (
    existing_services,
)
from ansible_collections.inferops.ascend.plugins.module_utils._service import journal, status


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "services": {"type": "list", "elements": "raw", "default": []},
            "others": {"type": "bool", "default": False},
            "completion": {"type": "bool", "default": False},
            "unit": {"type": "str", "default": "vllm@.service"},
            "timeout": {"type": "float", "default": 10},
            "journal_lines": {"type": "int", "default": 2000},
            "log_lines": {"type": "int", "default": 20},
            "npu": {"type": "bool", "default": True},
            "npu_smi": {"type": "path"},
            "npu_timeout": {"type": "float", "default": 30},
            "phases": {"type": "list", "elements": "dict", "default": []},
            "failures": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        limits = status.limits_of(given)
        requests = [status.StatusRequest(**each) for each in given["services"]]
        if given["others"]:
            named = {request.name for request in requests}
            requests += [
                status.StatusRequest(each["name"], each["port"])
                for each in existing_services(Path("/"), given["unit"])
                if each["name"] not in named
            ]
        if given["completion"]:
            requests = [request._replace(completion=True) for request in requests]
        facts = status.collect(
            requests,
            given["unit"],
            limits,
            journal.phases_of(given["phases"]),
            given["failures"],
            lambda root: (
                npu_facts(given["npu_smi"], given["npu_timeout"], root) if given["npu"] else None
            ),
        )
    except HostError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
