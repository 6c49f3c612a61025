# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exception of the hosts' layer, and the oldest Python that it takes: every module imports this."""

from __future__ import annotations

import sys

OLDEST_PYTHON = (3, 8)
# ansible-core 2.17 runs modules with 3.7 too, with which some of them end halfway.
if sys.version_info[:2] < OLDEST_PYTHON:
    raise ImportError("this collection requires a minimum of Python version 3.8 on hosts")


class HostError(Exception):
    """Something on the host that a run cannot work with.

    The message names the thing, what is wrong with it, and the way out.
    """
