#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module inferops.ascend.host_tuning."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_tuning
short_description: Set kernel settings for inference, and put back what was found
version_added: 0.1.0
description:
  - Sets sysctls, the governor of cpufreq, and stops irqbalance, now and at boot. What was found is
    first written to C(/var/lib/inferops-ascend/tuning.json), which only root reads, with every
    value that may stand on the host since; a run that was broken off can be undone, too.
  - A value that the kernel refuses is not set at boot either; what it took before stays.
  - With O(state=absent) it puts back what was found and removes its files. A setting that somebody
    has changed in between is left alone and named in RV(notes). With O(state=present) it is set
    again as declared, and named.
options:
  state:
    description: V(present) to set, V(absent) to put back.
    type: str
    choices: [present, absent]
    default: present
  sysctl:
    description:
      - Values by name. One that the kernel does not have is passed over and named in RV(notes);
        C(kernel.sched_migration_cost_ns) is also looked for in debugfs, where Linux 5.13 moved it.
    type: dict
    default: {}
  governor:
    description: Governor of every cpufreq policy. Empty to leave it.
    type: str
    default: ""
  irqbalance:
    description:
      - V(stop) stops and disables irqbalance, V(keep) leaves it, and V(auto) stops it on aarch64,
        where vllm-ascend binds interrupts itself from 0.18 on.
    type: str
    choices: [auto, stop, keep]
    default: keep
author:
  - The inferops.ascend authors (@inferops)
attributes:
  check_mode:
    description: Can run in check mode and say what it would do.
    support: full
  diff_mode:
    description: Returns what has changed, in diff mode.
    support: full
  platform:
    description: Target systems.
    support: full
    platforms: linux
notes:
  - It fails, after everything else was tried, where the kernel does not take a value, as in a
    container, whose C(/proc/sys) is read-only.
  - It fails before anything is changed where its record cannot be read, or a file of its name was
    made by hand.
"""

EXAMPLES = r"""
- name: Tune
  inferops.ascend.host_tuning:
    sysctl: {vm.swappiness: 0, kernel.numa_balancing: 0}
    governor: performance
  become: true

- name: Put back what was found
  inferops.ascend.host_tuning:
    state: absent
  become: true
"""

RETURN = r"""
changes:
  description: What was changed, with C(name), C(before) and C(after).
  returned: always
  type: list
  elements: dict
failed_settings:
  description: What the kernel did not take, with C(name) and C(message).
  returned: always
  type: list
  elements: dict
notes:
  description: What was passed over or left alone, or was changed by others, and why.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._host import tuning as _host_tuning


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "sysctl": {"type": "dict", "default": {}},
            "governor": {"type": "str", "default": ""},
            "irqbalance": {"type": "str", "choices": ["auto", "stop", "keep"], "default": "keep"},
        },
        supports_check_mode=True,
    )
    given = module.params
    stop = given["irqbalance"] == "stop"
    stop = stop or (given["irqbalance"] == "auto" and os.uname().machine == "aarch64")
    try:
        tuning = _host_tuning.Tuning(check=module.check_mode)
        if given["state"] == "absent":
            outcome = tuning.restore()
        else:
            wanted = {name: str(value) for name, value in given["sysctl"].items()}
            outcome = tuning.apply(wanted, given["governor"], stop)
    except (_host_tuning.TuningError, OSError) as error:
        module.fail_json(msg=str(error))
    result = {
        "changed": bool(outcome.changes),
        "changes": outcome.changes,
        "failed_settings": outcome.failed,
        "notes": outcome.notes,
        "diff": {
            "before": "".join("{name}: {before}\n".format(**each) for each in outcome.changes),
            "after": "".join("{name}: {after}\n".format(**each) for each in outcome.changes),
        },
    }
    if outcome.failed:
        module.fail_json(msg="\n".join(each["message"] for each in outcome.failed), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
