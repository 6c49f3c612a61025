# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a service: its secrets are read as they are written, and shown nowhere."""

from __future__ import annotations

from ansible_collections.inferops.ascend.plugins.module_utils._service.configuration import (
    parse_environment_file,
    redactor,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import environment_file
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")) | st.just("\n")
)


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,10}", fullmatch=True), VALUES, max_size=4))
def test_what_the_role_writes_into_a_secret_file_is_read_back(values: dict[str, str]) -> None:
    try:
        text = environment_file(values)
    except Exception:  # what the role refuses to write
        return
    assert parse_environment_file(text) == values


def test_secrets_are_taken_out_of_lines_long_ones_and_short_ones() -> None:
    redact = redactor(["opensesame", "12", "first line\nsecond"])
    assert redact("api_key=['opensesame'] xopensesamex") == "api_key=['********'] x********x"
    assert redact("pin 12, port 8012, 12 MB") == "pin ********, port 8012, ******** MB"
    assert redact("a first line alone, a second alone") == "a ******** alone, a ******** alone"
    assert redactor([])("as it is") == "as it is"
