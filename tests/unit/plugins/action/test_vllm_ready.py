# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action vllm_ready is given."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError

from .actions import run


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"patience": 3}, "patience. Supported parameters include"),
        ({"timeout": "an hour"}, "unable to convert to float"),
        ({"timeout": -1}, "timeout is -1; a number of seconds is needed"),
        ({"timeout": "inf"}, "timeout is inf; a number of seconds is needed"),
        ({"interval": 0}, "interval is 0; a number of seconds above 0 is needed"),
        ({"question_timeout": 0}, "question_timeout is 0; a number of seconds above 0"),
        ({"services": [{"port": 8000}]}, "services, item 1 is a mapping without a name"),
        ({}, "vllm_service_instances is not defined"),
    ],
)
def test_options_are_checked_before_the_host_is_contacted(
    option: dict[str, Any], words: str
) -> None:
    with pytest.raises(AnsibleError, match=words):
        run("vllm_ready", {}, **option)
