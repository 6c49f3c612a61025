# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the module, which may be the first that a host runs."""

from __future__ import annotations

from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import HostModule


class ActionModule(HostModule):
    """The module as it is; see `HostModule` for what an error tells."""
