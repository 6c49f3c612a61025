# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import (
    parse_names,
    plain,
    shown,
)


def test_a_value_in_a_message_is_short_whatever_it_is() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert shown("16k") == "'16k'"
    assert shown("x" * 100, 10) == "'xxxxxx..."
    assert shown(endless) == "[[...]]"
    assert shown(10**5000) == "a very large int"


def test_an_encrypted_text_of_older_ansible_core_is_the_text() -> None:
    class Encrypted:
        """As AnsibleVaultEncryptedUnicode before 2.19: no str, and decrypted when it is shown."""

        __ENCRYPTED__ = True

        def __str__(self) -> str:
            return "clear"

    assert plain({"api_key": Encrypted()}, "a service") == {"api_key": "clear"}
    with pytest.raises(AscendError, match="a service, api_key is a object, not text"):
        plain({"api_key": object()}, "a service")


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a,b , c", ["a", "b", "c"]),
        (
            '["a", {"model": "b", "max_model_len": "8K"}]',
            ["a", {"model": "b", "max_model_len": "8K"}],
        ),
        ('{"model": "b"}', [{"model": "b"}]),
        (["Qwen/Qwen3-14B"], ["Qwen/Qwen3-14B"]),
        ("*", ["*"]),
    ],
)
def test_a_list_is_written_as_one_as_json_or_with_commas(value: Any, names: list[Any]) -> None:
    assert parse_names(value, "capacity_models") == names


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (" , ", "is empty"),
        ([], "is empty"),
        (None, "is not set"),
        (3, "is a number"),
        ("[a", "is not JSON"),
    ],
)
def test_what_is_no_list_is_rejected(value: Any, problem: str) -> None:
    with pytest.raises(AscendError, match="capacity_models") as caught:
        parse_names(value, "capacity_models")
    assert problem in str(caught.value)
    assert "-e capacity_models=a,b" in str(caught.value)
