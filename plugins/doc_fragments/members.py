# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of modules that stop services over several hosts, the leader before its members."""

from __future__ import annotations


class ModuleDocFragment:
    """Options for two tasks: the first stops leaders, the second what it left."""

    DOCUMENTATION = r"""
options:
  leave_members:
    description:
      - Leave a member of a service over several hosts as it is, files too, where it would be stopped,
        restarted or removed and its leader is on another host. RV(left) has their names, for a second
        task when the leaders have stopped.
    type: bool
    default: false
    version_added: 1.0.0
  left:
    description: RV(left) of the first task. They are restarted where they run.
    type: list
    elements: str
    default: []
    version_added: 1.0.0
"""
