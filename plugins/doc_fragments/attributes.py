# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """Authors and attributes of modules; a module names only what differs for it."""

    # Modules that run on a host.
    DOCUMENTATION = r"""
author:
  - The inferops.ascend authors (@inferops)
attributes:
  check_mode:
    description: Can run in check mode and reports what it would do.
    support: full
  diff_mode:
    description: Shows the difference of each file.
    support: full
  platform:
    description: Hosts with Linux.
    platforms: linux
    support: full
"""

    # Modules that read a host and change nothing.
    FACTS = r"""
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

    # Actions that run on the controller, and modules on the host.
    ACTION = r"""
author:
  - The inferops.ascend authors (@inferops)
attributes:
  action:
    description: Runs on the controller, and modules on the host.
    support: full
  async:
    description: Can be run with C(async).
    support: none
  check_mode:
    description: Reports what it would do.
    support: full
  diff_mode:
    description: Shows what would be different.
    support: none
  platform:
    description: Hosts that run systemd.
    platforms: linux
    support: full
"""

    # Actions that contact no host.
    CONTROLLER = r"""
author:
  - The inferops.ascend authors (@inferops)
attributes:
  action: {support: full, description: Runs on the controller.}
  async: {support: none, description: Can be run with C(async).}
  check_mode: {support: full, description: Changes nothing in any mode.}
  diff_mode: {support: none, description: Has no difference to show.}
  platform: {support: full, platforms: all, description: Any.}
"""
