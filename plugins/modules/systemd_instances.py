#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: systemd_instances
short_description: Converge every instance of one systemd template unit on a host at once
version_added: 0.1.0
description:
  - Converges the files of a template unit such as C(vllm@.service) and of all its instances to the
    wanted state, removes instances that are no longer listed, and enables, starts, stops and
    restarts what needs it, in one round trip whatever the number of instances.
  - An instance is restarted if and only if the digest in the environment of its running process
    is not the wanted one. A run that was interrupted between writing and restarting is
    therefore completed by the next one, and equal files cause nothing.
  - Somebody who edits a file and restarts the instance by hand leaves the digest as it was. So an
    instance is also restarted where a file that is restored was edited before its process
    started, or where its process has other O(process_variables) or O(process_programs).
  - Every file it writes begins with a line that marks it. Files without that line are neither
    overwritten nor removed.
  - The templates are rendered on the controller, with the variables of the task and those that the
    notes name.
options:
  unit:
    description: Name of the template unit.
    type: str
    required: true
  files:
    description: Files that all instances share, the template unit itself among them.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description: Jinja template on the controller, searched in C(templates/) of the role.
        type: path
      dest:
        description: Path on the host.
        type: path
        required: true
      mode:
        description: Permissions, an octal number in quotes.
        type: str
        default: "0644"
  instance_files:
    description:
      - Files of each instance. C(%i) in O(instance_files[].dest) means its name, as in a unit.
      - A template that renders to nothing but white space means that the file should not be there.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description:
          - Jinja template on the controller. It sees the instance as the variable C(instance).
        type: path
      dest:
        description: Path on the host, with C(%i) for the name.
        type: path
        required: true
      mode:
        description: Permissions, an octal number in quotes.
        type: str
        default: "0644"
      secret:
        description:
          - The file contains secrets. Only root can read it, whatever O(instance_files[].mode)
            is, and it is never shown in a diff or a log.
        type: bool
        default: false
  instances:
    description:
      - The instances that should be there. One of which a file is found on the host but which is
        not listed is stopped, disabled and removed.
      - Beside the keys named here an instance carries whatever its templates read. Texts in a list
        C(warnings) are shown as warnings of the task.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the instance, the part between C(@) and C(.service).
        type: str
        required: true
      state:
        description: V(started) and V(stopped) are enabled and disabled at boot likewise.
        type: str
        choices: [started, stopped, absent]
        default: started
      cards:
        description: Logic ids of the cards that it has, for O(free_timeout) and O(restart).
        type: list
        elements: int
        default: []
        version_added: 0.2.0
      user:
        description: The account that its process runs as, for O(make_users) and O(state_directory).
        type: str
        version_added: 1.0.0
  adopt:
    description:
      - Replace files that somebody else wrote where a desired file goes, and set aside drop-ins of
        an instance that change the O(process_variables) of its process. A copy of each is kept
        beside it.
    type: bool
    default: false
  process_variables:
    description:
      - Names of environment variables that O(instance_files) set by lines C(Environment=NAME=value)
        without quotes, and that the running process must have as they are set. Where it has
        not, it is restarted.
      - A drop-in that somebody else wrote and that changes one of them is rejected, because a restart
        would not help.
    type: list
    elements: str
    default: []
    version_added: 0.2.0
  process_programs:
    description:
      - Paths of programs by name of an environment variable, which O(instance_files) set by a line
        C(Environment=NAME=@NAME@). On the host C(@NAME@) becomes where that path leads once all links
        are followed. So a link that moves, as to another version, changes nothing for an instance
        that crashes or boots before the next run of this module, which writes the new path and
        restarts it.
    type: dict
    default: {}
    version_added: 0.2.0
  remove_unlisted:
    description:
      - Remove instances that this module made and that O(instances) does not list. With V(false)
        those are left alone, and only what is listed is managed.
    type: bool
    default: true
    version_added: 0.2.0
  keep:
    description:
      - Names of instances that are left as they are, though O(instances) does not list them.
    type: list
    elements: str
    default: []
    version_added: 1.0.0
  restart:
    description:
      - V(now) restarts what has to be restarted. With V(deferred) everything is written, and instances
        that run go on with what they have; RV(waiting) names them, and the next run with V(now)
        restarts them. Those that are to be stopped or absent are stopped all the same, and those that
        do not run are started, unless one that waits has their O(instances[].cards).
      - One that crashes meanwhile comes up with what was written, which has no card of one that waits.
    type: str
    choices: [now, deferred]
    default: now
    version_added: 0.2.0
  free_timeout:
    description:
      - Seconds to wait, before instances are started, until C(npu-smi) lists no process on their
        O(instances[].cards) any more and the memory is back. After that they are started all the
        same, and a warning names the process on the card. V(0) does not check.
    type: float
    default: 0
    version_added: 0.2.0
  npu_smi:
    description: Path of C(npu-smi) where it is not on the usual ones.
    type: path
    version_added: 0.2.0
  lock_timeout:
    description: Seconds to wait for another run on the same host to end.
    type: float
    default: 300
  probe:
    description:
      - Return in RV(status) how the instances are at the end. They are taken for vLLM services.
    type: bool
    default: false
    version_added: 1.0.0
  completion:
    description: With O(probe=true), ask the leader of each service over several hosts for one token.
    type: bool
    default: false
    version_added: 1.0.0
extends_documentation_fragment:
  - inferops.ascend.attributes
  - inferops.ascend.members
  - inferops.ascend.run
  - inferops.ascend.rendered
  - inferops.ascend.users
attributes:
  diff_mode:
    description: Shows the difference of each file, of a secret only that it differs.
  platform:
    description: Hosts that run systemd.
notes:
  - Needs root on the host.
  - "Variables that a template sees beside those of the task: C(instance), the entry of
    O(instances); C(instance_digest), which one of the files has to set in the environment of
    the process as C(INFEROPS_DIGEST); and in secret files C(secret_digest), likewise as
    C(INFEROPS_SECRET_DIGEST)."
  - "C(@CARDS:/dev/davinci0@) in a file becomes C(0=c1:00.0), with the PCI address that the card has then."
"""

EXAMPLES = r"""
- name: Converge the workers of this host
  inferops.ascend.systemd_instances:
    unit: worker@.service
    files:
      - src: worker@.service.j2
        dest: /etc/systemd/system/worker@.service
    instance_files:
      - src: worker.conf.j2
        dest: /etc/systemd/system/worker@%i.service.d/settings.conf
    instances:
      - name: mail
        queue: outgoing
"""

RETURN = r"""
services:
  description: One entry for each listed instance, in order.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the instance.
      type: str
    unit:
      description: Name of its unit.
      type: str
    action:
      description:
        - What was done, V(start), V(restart), V(stop) or V(none). V(wait) where O(restart=deferred)
          postponed it.
      type: str
    reason:
      description: Why.
      type: str
    pid:
      description: Main process afterwards, 0 where there is none.
      type: int
    boot:
      description: What was done to its start at boot, V(enable), V(disable) or V(none).
      type: str
    files:
      description: Paths that differed.
      type: list
      elements: str
    other_files:
      description: Drop-ins that systemd reads for the unit and that somebody else wrote.
      type: list
      elements: str
removed:
  description: Names of instances that were found, are no longer wanted, and were removed.
  returned: always
  type: list
  elements: str
found:
  description: Names of instances that this module had made and that were on the host before.
  returned: always
  type: list
  elements: str
files:
  description: Paths of shared files that differed.
  returned: always
  type: list
  elements: str
refused:
  description: Why nothing was changed, each with C(name), the instance or nothing, and C(message).
  returned: always
  type: list
  elements: dict
accounts:
  description: C(name) of each account that was missing something or was needed no more, and C(action).
  returned: always
  type: list
  elements: dict
reloaded:
  description: Whether systemd read its units again.
  returned: always
  type: bool
waiting:
  description: Instances that O(restart=deferred) postponed, each with C(name) and C(reason).
  returned: always
  type: list
  elements: dict
groups:
  description: C(rank) and C(hosts) of each service over several hosts that was on the host before, by
    its name.
  returned: always
  type: dict
left:
  description: Members that O(leave_members=true) left as they are.
  returned: always
  type: list
  elements: str
held:
  description: Sentences about cards that were not free when O(free_timeout) was over.
  returned: always
  type: list
  elements: str
status:
  description:
    - Each instance of O(instances), and each of RV(removed), as RV(inferops.ascend.vllm_status#module:services)
      has it, without what a journal tells.
  returned: with O(probe=true)
  type: list
  elements: dict
copies:
  description: Copies kept of files that O(adopt=true) replaced.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base import claim, disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.lock import exclusive
from ansible_collections.inferops.ascend.plugins.module_utils._service.converge import run


def main() -> None:
    file_options = {
        "src": {"type": "path"},
        "dest": {"type": "path", "required": True},
        "mode": {"type": "str", "default": "0644"},
    }
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "dict", "default": [], "options": file_options},
            "instance_files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": dict(file_options, secret={"type": "bool", "default": False}),
            },
            "instances": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "state": {
                        "type": "str",
                        "choices": ["started", "stopped", "absent"],
                        "default": "started",
                    },
                    "cards": {"type": "list", "elements": "int", "default": []},
                    "user": {"type": "str"},
                },
            },
            "make_users": {"type": "bool", "default": False},
            "groups": {"type": "list", "elements": "str", "default": []},
            "state_directory": {"type": "path"},
            "adopt": {"type": "bool", "default": False},
            "process_variables": {"type": "list", "elements": "str", "default": []},
            "process_programs": {"type": "dict", "default": {}},
            "remove_unlisted": {"type": "bool", "default": True},
            "keep": {"type": "list", "elements": "str", "default": []},
            "restart": {"type": "str", "choices": ["now", "deferred"], "default": "now"},
            "free_timeout": {"type": "float", "default": 0},
            "npu_smi": {"type": "path"},
            "leave_members": {"type": "bool", "default": False},
            "run": {"type": "dict", "default": {}},
            "left": {"type": "list", "elements": "str", "default": []},
            "lock_timeout": {"type": "float", "default": 300},
            "probe": {"type": "bool", "default": False},
            "completion": {"type": "bool", "default": False},
            "contents": {"type": "dict", "default": {}},
            "secret_contents": {"type": "dict", "default": {}, "no_log": True},
            "digests": {"type": "dict", "default": {}},
            "secret_digests": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    # Directories are for the service's user to enter, whatever umask root works with.
    os.umask(0o022)
    if os.geteuid() != 0:
        module.fail_json(msg="Units are changed by root alone: run this task with become: true.")
    try:
        if module.check_mode:
            claim.foresee(module.params["run"])
            result = run(module)
        else:
            # Not below /run/lock, where any user could lock it or replace it by a link.
            lock = "/run/inferops-ascend/{}.lock".format(module.params["unit"])
            with exclusive(lock, module.params["lock_timeout"], "changing these services"):
                claim.check(module.params["run"])
                result = run(module)
    except (HostError, OSError) as error:
        module.fail_json(msg=disk.message(error), claimed=getattr(error, "claim", None))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
