# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """What every module says that reads a host and changes nothing."""

    DOCUMENTATION = r"""
author:
  - The inferops.ascend authors (@inferops)
attributes:
  check_mode:
    description: Can run in check mode and return the same.
    support: full
  diff_mode:
    description: Returns what has changed, in diff mode.
    support: none
  platform:
    description: Target systems.
    support: full
    platforms: linux
"""
