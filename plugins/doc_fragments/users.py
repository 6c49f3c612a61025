# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options about the users of instances and the directories of their state."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that create users and directories."""

    DOCUMENTATION = r"""
options:
  make_users:
    description:
      - Create the user of each instance where it is missing, with a group of the same name, for that instance
        alone. An account that this module did not create for it is rejected.
      - Such an account is removed, with the directory of the state, when its instance is removed or gets
        another user and no process runs as that user.
    type: bool
    default: false
    version_added: 1.0.0
  groups:
    description: Groups that users join with O(make_users=true). They must exist.
    type: list
    elements: str
    default: []
    version_added: 1.0.0
  state_directory:
    description:
      - Directory of an instance's state, with C(%i) for the name. It is created for the user of the
        instance, who alone can enter it.
    type: path
    version_added: 1.0.0
"""
