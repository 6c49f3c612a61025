# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What these tests share with those of the real engine."""

from real.conftest import machine, pytest_terminal_summary, row

__all__ = ["machine", "pytest_terminal_summary", "row"]
