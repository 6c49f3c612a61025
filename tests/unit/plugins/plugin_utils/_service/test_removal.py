# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services are to go, and what is said of it."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.removal import (
    listed_names,
    names_to_remove,
    report,
)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("chat", ["chat"]),
        ("chat, embed,", ["chat", "embed"]),
        (["chat", "chat"], ["chat"]),
        ('["chat", "embed"]', ["chat", "embed"]),
        ("all", None),
        (["all"], ["all"]),
    ],
)
def test_what_is_asked_for(value: object, names: list[str] | None) -> None:
    assert names_to_remove(value) == names


@pytest.mark.parametrize(
    "value", [None, "", " , ", [], 7, True, ["a b"], "../x", "all,chat", [1], "[chat]", {"chat": 1}]
)
def test_without_a_clear_word_nothing_is_removed(value: object) -> None:
    with pytest.raises(AscendError, match="-e vllm_remove_services=chat,embed"):
        names_to_remove(value)


def test_variables_name_services_as_placement_does() -> None:
    requests = [
        "qwen/qwen3-14b",
        {"model": "Qwen2.5-72B", "name": "chat"},
        {"model": "of-our-own V2"},
        {"model": "Qwen3-8B", "state": "absent"},
        None,
    ]
    names = listed_names(requests, load_catalogue())
    assert names == ["qwen3-14b", "chat", "of-our-own-v2"]
    assert listed_names("nonsense", load_catalogue()) == []


def test_the_report_names_what_would_come_back_and_what_is_not_there() -> None:
    result = {"found": ["chat", "embed"]}
    text = " ".join(" ".join(report("npu-01", ["chat", "chta"], result, ["chat"])).split())
    assert text == (
        "npu-01: removed: chat. chta: there is no such service that this collection made; others of"
        " it here: embed. Still in vllm_service_instances of npu-01: chat. The next deploy creates"
        " them again. Remove them there (where the plan writes it, from vllm_plan_services, and"
        " plan again), or write state: absent."
    )
    assert report("npu-01", None, result, [], check=True) == [
        "npu-01: would be removed: chat, embed."
    ]
    assert report("npu-01", None, {"found": []}, []) == ["npu-01: nothing to remove."]
