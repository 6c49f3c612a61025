# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that an action plugin sets, with what it rendered on the controller."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that write rendered files."""

    DOCUMENTATION = r"""
options:
  contents:
    description: Set by the action plugin, not by hand. The rendered text of each file by its path.
    type: dict
    default: {}
  secret_contents:
    description: Set by the action plugin, not by hand. Likewise for files that contain secrets.
    type: dict
    default: {}
  digests:
    description: Set by the action plugin, not by hand. For each instance the digest of its files.
    type: dict
    default: {}
  secret_digests:
    description: Set by the action plugin, not by hand. For each instance the digest of its secrets.
    type: dict
    default: {}
"""
