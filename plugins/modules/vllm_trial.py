#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vllm_trial
short_description: Start a vLLM server for a trial on free cards, benchmark it, and remove it
version_added: 1.0.0
description:
  - The part of M(inferops.ascend.calibrate) that runs on the host, which also writes its options.
  - The server and the benchmark are units of their own with files below C(/run). A process of its own
    runs them, reports how far it is, and removes them at the end, after a failure, and one minute
    after the last question, as when the controller is gone.
  - Services of the host are not touched, and cards that a process uses are not taken.
options:
  phase:
    description: V(wait) for another trial to end, V(start) one, V(follow) it, or V(stop) it and remove what
      is left of one.
    type: str
    choices: [wait, start, follow, stop]
    required: true
  trial:
    description: What is run, for V(start).
    type: dict
    default: {}
  secrets:
    description: Text of the file with the secrets of the environment, for V(start).
    type: str
    default: ""
  patience:
    description: Seconds to wait for the end of the trial before V(follow) reports.
    type: float
    default: 0
  lock_timeout:
    description: Seconds to wait for another trial on this host to end.
    type: float
    default: 180
extends_documentation_fragment:
  - inferops.ascend.attributes
attributes:
  check_mode:
    description: Starts and stops nothing in check mode.
  diff_mode:
    description: Shows no difference; what it writes is removed at the end.
    support: none
seealso:
  - module: inferops.ascend.calibrate
"""

EXAMPLES = r"""
- name: Remove what a trial left
  inferops.ascend.vllm_trial:
    phase: stop
  become: true
"""

RETURN = r"""
finished:
  description: Whether the trial has ended.
  returned: with V(follow)
  type: bool
phase:
  description: V(starting), V(benchmark), V(ending) or V(done).
  returned: with V(follow)
  type: str
status:
  description: The server as M(inferops.ascend.vllm_status) reports it, while it starts.
  returned: with V(follow)
  type: dict
outcome:
  description: C(started), C(start_seconds), C(late), C(cause) and C(log) of a failure, and the figures of
    the C(benchmark).
  returned: with V(follow)
  type: dict
error:
  description: Why the trial was not run to its end.
  returned: with V(follow)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._calibrate import run
from ansible_collections.inferops.ascend.plugins.module_utils._calibrate.trial import Trial


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "phase": {
                "type": "str",
                "choices": ["wait", "start", "follow", "stop"],
                "required": True,
            },
            "trial": {"type": "dict", "default": {}, "no_log": False},
            "secrets": {"type": "str", "default": "", "no_log": True},
            "patience": {"type": "float", "default": 0},
            "lock_timeout": {"type": "float", "default": 180},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        if given["phase"] == "follow":
            module.exit_json(changed=False, **run.follow(given["patience"]))
        if given["phase"] == "wait":
            run.wait(given["lock_timeout"])
            module.exit_json(changed=False)
        if module.check_mode:
            module.exit_json(changed=given["phase"] == "start")
        if given["phase"] == "stop":
            module.exit_json(changed=run.stop(given["lock_timeout"]))
        run.start(Trial(**given["trial"], secrets=given["secrets"]), given["lock_timeout"])
    except (HostError, OSError) as error:
        module.fail_json(msg=disk.message(error))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
