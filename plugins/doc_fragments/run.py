# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  run:
    description:
      - Set by the action plugin, not by hand. Which run of ansible-playbook this is, and which others have
        ended. A host that an upgrade or rollback has claimed is changed by no other run.
    type: dict
    default: {}
    version_added: 1.0.0
"""
