# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import shown


def test_a_value_in_a_message_is_short_whatever_it_is() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert shown("16k") == "'16k'"
    assert shown("x" * 100, 10) == "'xxxxxx..."
    assert shown(endless) == "[[...]]"
    assert shown(10**5000) == "a very large int"
