# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of other test folders, and what the machine has to have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .engines import MissingError
from .machine import see_to_machine

TESTS = Path(__file__).resolve().parents[1]
# Helpers of the test hosts, and the stand-in's parser.
sys.path[:0] = [str(TESTS), str(TESTS / "simulator")]


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skip, with the reason, where the real engine cannot be had; all else that fails is a failure."""
    try:
        see_to_machine()
    except MissingError as error:
        pytest.skip(f"the real vLLM cannot be tried here: {error}")
