#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_host
short_description: Read the engines of a host, and read or write the record of a rollout
version_added: 1.0.0
description:
  - For the playbooks C(upgrade) and C(rollback). Reads which engines are on a host, environments or
    images, and the record that the last rollout left there,
    C(/var/lib/inferops-ascend/rollout.json); or writes that record.
options:
  root:
    description:
      - Directory of the environments.
    type: path
    default: /opt/vllm
  container_engine:
    description:
      - Program that runs containers, to read images instead of environments.
    type: str
    default: ""
  record:
    description:
      - The record to write, as M(inferops.ascend.rollout) returns it. Without it the module reads.
    type: dict
  claim:
    description:
      - V(take) claims the host for this run of ansible-playbook, or keeps it claimed, so that no other run
        changes its services meanwhile; V(release) frees it again. In check mode neither is done.
      - A claim ends with its process where that can be seen, with a restart of the host, and 24 hours after it
        was last kept. C(vllm_upgrade_take_over=true) takes it over.
    type: str
    choices: [take, release]
extends_documentation_fragment:
  - inferops.ascend.attributes
  - inferops.ascend.run
attributes:
  diff_mode:
    description: Has no difference to show.
    support: none
seealso:
  - module: inferops.ascend.rollout
"""

EXAMPLES = r"""
- name: Read the engines of a host
  inferops.ascend.rollout_host:
  become: true
  register: engines

- name: Show which engine its services came from before
  ansible.builtin.debug:
    msg: "{{ engines.record.before | default('none') }}"
"""

RETURN = r"""
record:
  description: The record, empty where there is none.
  returned: always
  type: dict
claimed:
  description: What another run wrote that has the host, null for none. C(msg) says it in words.
  returned: with O(claim)
  type: dict
container_engine:
  description: As given.
  returned: without O(record)
  type: str
current:
  description: Name of the environment that is current, null for none.
  returned: without O(record) and O(container_engine)
  type: str
previous:
  description: Name of the one that was current before it and is still there, null for none.
  returned: without O(record) and O(container_engine)
  type: str
environments:
  description: C(name) and C(distributions) of those that are complete.
  returned: without O(record) and O(container_engine)
  type: list
  elements: dict
units:
  description: Image and version of vLLM of each service.
  returned: with O(container_engine)
  type: list
  elements: list
images:
  description: Those images, of services and of the record, that are on the host.
  returned: with O(container_engine)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base import claim, disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._runtime import rollout
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import Commands

_TIMEOUT = 120.0  # seconds of one question to the container engine


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/opt/vllm"},
            "container_engine": {"type": "str", "default": ""},
            "record": {"type": "dict"},
            "claim": {"type": "str", "choices": ["take", "release"]},
            "run": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    given = module.params
    record = rollout.read_record()
    try:
        if given["claim"]:
            if not module.check_mode:
                (claim.take if given["claim"] == "take" else claim.release)(given["run"])
            module.exit_json(changed=False, claimed=None)
        if given["record"] is not None:
            changed = record != given["record"]
            if changed and not module.check_mode:
                rollout.write_record(given["record"])
            module.exit_json(changed=changed, record=given["record"])
        engine = given["container_engine"]
        commands = Commands(_TIMEOUT)
        found = (
            rollout.read_images(commands, engine, record)
            if engine
            else rollout.read_environments(commands, given["root"])
        )
    except claim.ClaimedError as error:
        module.exit_json(changed=False, claimed=error.claim, msg=str(error))
    except (HostError, OSError) as error:
        module.fail_json(msg=disk.message(error))
    module.exit_json(changed=False, record=record, container_engine=engine, **found)


if __name__ == "__main__":
    main()
