# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exception of the hosts' layer."""

from __future__ import annotations


class HostError(Exception):
    """Something on the host that a run cannot work with.

    The message names the thing, what is wrong with it, and the way out.
    """
