# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the memory of cards counts as free again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._service import cards as service_cards
from ansible_collections.inferops.ascend.plugins.module_utils._service.cards import Freed, visible


def card(number: int, used: int | None, *processes: tuple[int, int]) -> dict[str, Any]:
    listed = [{"pid": pid, "name": "python", "memory_mb": mb} for pid, mb in processes]
    return {
        "logic_id": number,
        "memory_used_mb": used,
        "memory_total_mb": 65536,
        "processes": listed,
    }


def waited(*looks: list[dict[str, Any]], timeout: float = 60, cards: Any = (0,)) -> list[str]:
    """What is held at the end, when npu-smi shows these one after the other."""
    shown: Iterator[list[dict[str, Any]]] = iter(looks)
    freed = Freed(None, timeout, cards, lambda: next(shown))
    freed.before()
    held = freed.wait()
    assert next(shown, None) is None, "it did not look until the end"
    return held


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_cards, "PAUSE", 0.0)


SERVING = [card(0, 60000, (41, 57000))]
FREE = [card(0, 3000)]


def test_free_at_once() -> None:
    assert waited(SERVING, FREE) == []


def test_a_process_that_is_listed_still_is_waited_for() -> None:
    assert waited(SERVING, SERVING, SERVING, FREE) == []


def test_memory_that_is_not_back_yet_is_waited_for_without_a_process() -> None:
    assert waited(SERVING, [card(0, 60000)], [card(0, 45000)], [card(0, 9000)]) == []


def test_memory_is_waited_for_where_npu_smi_never_listed_its_process() -> None:
    """As of a process in a container."""
    assert waited([card(0, 60000)], [card(0, 60000)], [card(0, 31000)], FREE[:1]) == []
    # What an idle card shows is not waited for.
    assert waited(FREE, FREE) == []


def test_the_end_of_the_time_names_the_process_and_the_card() -> None:
    freed = Freed(None, 0.001, [0], lambda: SERVING)
    (text,) = freed.wait()
    assert "card 0 is in use by PID 41 (python)" in text


def test_the_end_of_the_time_names_memory_that_nobody_holds() -> None:
    looks = itertools.chain([SERVING], itertools.repeat([card(0, 60000)]))
    freed = Freed(None, 0.001, [0], lambda: next(looks))
    freed.before()
    (text,) = freed.wait()
    assert "card 0 has 60000 MB in use though no process is listed on it" in text


def test_other_cards_and_those_that_npu_smi_does_not_show_are_no_reason_to_wait() -> None:
    other = [card(1, 60000, (7, 57000))]
    assert waited(other, other) == []
    assert waited([], []) == []
    assert waited([card(0, None, (41, 5))], [card(0, None)]) == []


def test_nothing_is_asked_where_it_need_not_be() -> None:
    assert waited(timeout=0) == []
    assert waited(cards=()) == []


def test_visible_devices_are_read() -> None:
    assert visible({"ASCEND_RT_VISIBLE_DEVICES": "4,5"}) == [4, 5]
    assert visible({"ASCEND_RT_VISIBLE_DEVICES": ""}) == []
    assert visible({"ASCEND_RT_VISIBLE_DEVICES": "npu0"}) is None
    assert visible({}) is None


def test_a_service_that_stays_on_a_shared_card_is_not_waited_for() -> None:
    def shared(used: int, *units: str) -> dict[str, Any]:
        found = card(0, used, *((40 + n, 20000) for n, _unit in enumerate(units)))
        for process, unit in zip(found["processes"], units, strict=True):
            process["unit"] = f"vllm@{unit}.service"
        return found

    def held(*shown: dict[str, Any], timeout: float = 60) -> list[str]:
        readings = iter([[each] for each in shown])
        freed = Freed(None, timeout, [0], lambda: next(readings), staying=["vllm@stays.service"])
        freed.before()
        found = freed.wait()
        assert next(readings, None) is None, "it did not look until the end"
        return found

    both, alone = shared(43000, "goes", "stays"), shared(23000, "stays")
    assert held(both, both, alone) == []
    # The memory of the one that went comes back later than it ends.
    assert held(both, shared(43000, "stays"), alone) == []
    # Nothing went, and the one that stays may take more meanwhile.
    assert held(alone, shared(25000, "stays")) == []
