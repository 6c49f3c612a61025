# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception of the controller's layer."""

from __future__ import annotations


class AscendError(Exception):
    """A request that cannot be met or data that cannot be read.

    The message names the thing, what is wrong with it, and the way out. Plugins turn it into
    the Ansible error of their kind.
    """
