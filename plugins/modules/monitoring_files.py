#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_files
short_description: Write several text files below a directory at once
version_added: 1.0.0
description:
  - For M(inferops.ascend.monitoring), which makes the files on the controller. Each file is replaced in one
    step, with mode 0644, where it differs; directories are made.
options:
  directory:
    description: Where the files are.
    type: path
    required: true
  files:
    description: Text by path below O(directory).
    type: dict
    required: true
extends_documentation_fragment:
  - inferops.ascend.attributes
seealso:
  - module: inferops.ascend.monitoring
"""

EXAMPLES = r"""
- name: Write a file of targets
  inferops.ascend.monitoring_files:
    directory: /etc/prometheus
    files:
      targets/mine.yml: |
        - targets: [10.0.0.1:9100]
"""

RETURN = r"""
written:
  description: Paths of the files that changed, or would change, below the directory.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._base import disk
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.files import (
    read_text,
    remove_leftovers,
    write_atomically,
)
from ansible_collections.inferops.ascend.plugins.module_utils._base.lock import try_lock


def _is_alone(directory: str) -> bool:
    """Tell whether no other run is writing in a directory; it is locked until this process ends."""
    try:
        return try_lock(os.open(directory, os.O_RDONLY | os.O_DIRECTORY))
    except OSError:  # there is none yet, or its file system has no such locks
        return False


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    # Prometheus reads them as another user, whatever umask root works with.
    os.umask(0o022)
    directory, files = module.params["directory"], module.params["files"]
    written, differences = [], []
    try:
        if not module.check_mode and _is_alone(directory):
            remove_leftovers(os.path.join(directory, name) for name in files)
        for name, text in sorted(files.items()):
            path = os.path.join(directory, name)
            before = read_text(path)
            if before == text:
                continue
            if not module.check_mode:
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
                write_atomically(path, text)
            written.append(name)
            header = {"before_header": path, "after_header": path}
            differences.append({**header, "before": before or "", "after": text})
    except (HostError, OSError) as error:
        module.fail_json(msg=disk.message(error))
    module.exit_json(changed=bool(written), written=written, diff=differences)


if __name__ == "__main__":
    main()
