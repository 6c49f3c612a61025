# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where services land on a host, and what is refused with which words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place
from hypothesis import given, settings
from hypothesis import strategies as st


def spec(name: str, cards: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "model": f"Model-{name}", "cards": cards, **more}


def pinned(name: str, cards: list[int], **more: Any) -> dict[str, Any]:
    return spec(name, len(cards), pinned_cards=cards, **more)


def cards_of(placed: list[dict[str, Any]]) -> dict[str, list[int]]:
    return {service["name"]: service["cards"] for service in placed}


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(AscendError) as caught:
        place(*args, **options)
    return str(caught.value)


# What the issue asks for, example by example.


def test_blocks_are_aligned_and_taken_in_list_order() -> None:
    placed = place([spec("a", 1), spec("b", 4), spec("c", 2), spec("d", 1)], 8)
    assert cards_of(placed) == {"a": [0], "b": [4, 5, 6, 7], "c": [2, 3], "d": [1]}


def test_other_counts_are_contiguous() -> None:
    assert cards_of(place([spec("a", 1), spec("b", 3)], 8))["b"] == [1, 2, 3]


def test_a_block_does_not_span_a_gap_in_the_ids() -> None:
    assert cards_of(place([spec("a", 3)], [0, 1, 3, 4, 5])) == {"a": [3, 4, 5]}


def test_pinned_cards_are_not_taken_by_a_service_before_them() -> None:
    placed = place([spec("a", 2), pinned("b", [1, 0])], 8)
    assert cards_of(placed) == {"a": [2, 3], "b": [0, 1]}


def test_pinned_cards_need_no_alignment() -> None:
    assert cards_of(place([pinned("b", [6, 1])], 8)) == {"b": [1, 6]}


def test_dies_of_one_card_stay_together() -> None:
    specs = [spec("a", 1), spec("b", 3)]
    assert cards_of(place(specs, 16, block_unit=2))["b"] == [2, 3, 4]


def test_device_nodes_follow_the_physical_id() -> None:
    host = [{"logic_id": n, "phy_id": n + 4, "npu_id": 24 + n} for n in range(4)]
    assert place([spec("a", 2)], host)[0]["devices"] == ["/dev/davinci4", "/dev/davinci5"]


def test_without_any_physical_id_it_is_the_logic_id() -> None:
    host = [{"logic_id": n, "phy_id": None} for n in range(2)]
    assert place([spec("a", 1)], host)[0]["devices"] == ["/dev/davinci0"]


def test_a_model_name_becomes_a_slug_and_a_given_name_stays() -> None:
    placed = place(
        [{"name": "Qwen2.5 VL/7B", "model": "Qwen2.5 VL/7B", "cards": 1}, spec("Chat_1", 1)], 8
    )
    assert [service["name"] for service in placed] == ["qwen2.5-vl-7b", "Chat_1"]


def test_stopped_keeps_and_absent_gives_up() -> None:
    placed = place(
        [
            spec("a", 1, state="stopped"),
            {"name": "gone", "state": "absent", "cards": 0, "port": 8001, "env": {"A": 1}},
            spec("c", 1),
        ],
        8,
    )
    assert placed[0]["cards"] == [0] and placed[0]["port"] == 8000
    assert placed[1] == {
        "name": "gone",
        "state": "absent",
        "cards": [],
        "devices": [],
        "env": {"A": 1},
    }
    assert placed[2]["cards"] == [1] and placed[2]["port"] == 8001


def test_other_keys_pass_through_and_the_input_stays_as_it_was() -> None:
    specs = [spec("a", "2", env={"X": 1}, args={"seed": 1}, warnings=["w"])]
    before = copy.deepcopy(specs)
    placed = place(specs, "8")[0]
    assert specs == before
    assert placed["cards"] == [0, 1]
    assert {key: placed[key] for key in ("env", "args", "warnings")} == {
        "env": {"X": 1},
        "args": {"seed": 1},
        "warnings": ["w"],
    }


def test_placing_what_was_placed_changes_nothing() -> None:
    once = place([spec("a", 2), spec("b", 4, port=9000), pinned("c", [2])], 8)
    assert place(once, 8) == once


def test_explicit_ports_are_reserved_before_automatic_ones() -> None:
    placed = place([spec("a", 1), spec("b", 1, port=8000), spec("c", 1, port="8002")], 8)
    assert [service["port"] for service in placed] == [8001, 8000, 8002]


def test_hccl_ports_belong_to_the_first_card_whoever_goes() -> None:
    both = place([spec("a", 4), spec("b", 2, port=8100)], 8)
    alone = place([pinned("b", [4, 5])], 8)
    assert both[1]["hccl_ports"] == alone[0]["hccl_ports"] == [61128, 61159]


def test_automatic_ports_skip_hccl_ports_also_of_cards_not_taken_yet() -> None:
    options = {"port_base": 20000, "hccl_port_base": 20001, "ephemeral_ports": []}
    first = place([spec("a", 1), spec("b", 1)], 2, **options)
    assert [service["port"] for service in first] == [20000, 20065]


# Refusals: both sides and the way out.


@pytest.mark.parametrize(
    ("specs", "options", "words"),
    [
        ([pinned("a", [3]), pinned("b", [2, 3])], {}, ["a and b", "card 3"]),
        ([spec("a", 1), spec("a", 1)], {}, ["1 and 2", "named a", "`name`"]),
        (
            [{"name": "M 1", "model": "M 1", "cards": 1}, spec("m-1", 1)],
            {},
            ["1 and 2", "named m-1"],
        ),
        ([spec("a", 1), {"name": "a", "state": "absent"}], {}, ["1 and 2", "named a"]),
        ([spec("a", 1, port=8100), spec("b", 1, port=8100)], {}, ["a and b", "port 8100"]),
        ([pinned("a", [9])], {}, ["a wants card 9", "the cards 0-7"]),
        ([pinned("a", [3])], {"excluded": [3]}, ["card 3", "excluded"]),
        ([spec("a", 16)], {}, ["a needs 16 cards", "has 8", "cannot carry"]),
        ([spec("a", 8)], {"excluded": [3]}, ["a needs 8", "even", "3 are excluded"]),
        (
            [spec("a", 1), spec("b", 8)],
            {},
            [
                "b needs 8 cards",
                "Free cards: 1-7",
                "run among them has 7",
                "aligned block 4",
                "a: 0",
            ],
        ),
        ([spec("a", 1, port=80)], {}, ["a: port 80", "root"]),
        ([spec("a", 1, port=65536)], {}, ["a: port 65536", "65535"]),
        ([spec("a", 1, port=True)], {}, ["a: port True"]),
        (
            [spec("a", 1), spec("b", 1, port=61001)],
            {},
            ["b: port 61001", "a's HCCL", "61000-61031"],
        ),
        ([spec("a", 1)], {"hccl_port_base": 60990}, ["a", "60990-61021", "ephemeral range 32768"]),
        ([pinned("a", [7])], {"hccl_port_base": 65400}, ["a", "65520", "Lower the base"]),
        ([spec("a", 1)], {"hccl_port_base": 65521}, ["hccl_port_base", "65520"]),
        ([spec("a", 1), spec("b", 1)], {"port_base": 65535}, ["b: no port is free"]),
        ([spec("a", 1, state="running")], {}, ["a: state 'running'", "started, stopped, absent"]),
        ([spec("a", 0)], {}, ["a: cards is 0"]),
        ([spec("a", True)], {}, ["a: cards is True"]),
        ([spec("a", "two")], {}, ["a: cards is 'two'"]),
        ([pinned("a", [-1])], {}, ["a, cards: -1"]),
        ([pinned("a", [True])], {}, ["a, cards: True"]),
        ([pinned("a", [1, 1])], {}, ["a names card 1 twice"]),
        ([spec("a", 2, pinned_cards=[1])], {}, ["a takes 2 cards and names 1"]),
        ([{"model": "M", "cards": 1}], {}, ["no name"]),
        ([{"name": "a"}], {}, ["a does not say how many cards"]),
        ([spec("my chat", 1)], {}, ["my chat", "Write name: my-chat"]),
        ([spec("chat\n", 1)], {}, ["Write name: chat"]),
        ([spec("a%i", 1)], {}, ["Write name: a-i"]),
        ([spec("a@b", 1)], {}, ["Write name: a-b"]),
        ([spec("../a", 1)], {}, ["Write name: a"]),
        ([spec("é", 1)], {}, ["another `name`"]),
        ([spec("x" * 64, 1)], {}, ["64 characters", "63"]),
        ([{"name": 7, "cards": 1}], {}, ["quotes"]),
        ("a", {}, ["list of services", "a string"]),
        (["Qwen3-14B"], {}, ["service 1", "a string"]),
        ([spec("a", 1)], {"hccl_port_count": 4}, ["hccl_port_count", "16"]),
        ([spec("a", 1)], {"excluded": 3}, ["excluded cards", "a number"]),
        ([spec("a", 1)], {"ephemeral_ports": [5]}, ["ephemeral_ports", "[first, last]"]),
        (
            [pinned("a", [0, 7]), spec("b", 4), spec("c", 4)],
            {"excluded": [6]},
            [
                "b needs 4",
                "starts at a multiple of 4",
                "1-5",
                "has 5",
                "aligned block 2",
                "a: 0, 7",
                "excluded: 6",
            ],
        ),
        ([spec("a", 1)], {"block_unit": 3}, ["block_unit", "power of two"]),
    ],
)
def test_refused(specs: Any, options: dict[str, Any], words: list[str]) -> None:
    message = refusal(specs, 8, **options)
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ([{"logic_id": None, "npu_id": 5}], ["NPU 5", "no logic id", "npu-smi info -m"]),
        (
            [{"logic_id": 0, "phy_id": 4}, {"logic_id": 1, "npu_id": 7}],
            ["NPU 7", "no physical id", "/dev/davinciN"],
        ),
        ([{"logic_id": 0}, {"logic_id": 0}], ["logic id 0", "twice"]),
        ([{"logic_id": 0, "phy_id": 1}, {"logic_id": 1, "phy_id": 1}], ["physical id 1", "twice"]),
        ([0, 0], ["0 listed twice"]),
        ([0, True], ["True is not a card id"]),
        ([{"logic_id": 0}, 1], ["mixed"]),
        (True, ["a boolean"]),
        (-1, ["-1"]),
        ("eight", ["a string"]),
    ],
)
def test_a_host_that_cannot_be_read_is_refused(cards: Any, words: list[str]) -> None:
    message = refusal([spec("a", 1)], cards)
    assert [word for word in words if word not in message] == [], message


def test_a_card_that_is_excluded_and_gone_is_no_error() -> None:
    assert cards_of(place([spec("a", 1)], [1, 2], excluded=[0])) == {"a": [1]}


# Properties, over hosts with gaps and lists of any wishes.

HOSTS = st.sampled_from([8, 16, 2, [0, 3, 4, 7], [0, 1, 2, 4, 5, 6, 7]])


@st.composite
def wishes(draw: st.DrawFn) -> list[dict[str, Any]]:
    result = []
    for number in range(draw(st.integers(1, 7))):
        one: dict[str, Any] = spec(f"s{number}", draw(st.sampled_from([1, 1, 2, 3, 4, 5, 8])))
        if draw(st.integers(0, 4)) == 0:
            chosen = draw(st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True))
            one = pinned(f"s{number}", chosen)
        if draw(st.integers(0, 3)) == 0:
            one["port"] = draw(st.integers(8000, 8004))
        one["state"] = draw(st.sampled_from(["started", "started", "stopped", "absent"]))
        result.append(one)
    return result


def ids(host: Any) -> list[int]:
    return list(range(host)) if isinstance(host, int) else host


def try_place(specs: Any, host: Any, **options: Any) -> list[dict[str, Any]] | str:
    try:
        return place(specs, host, **options)
    except AscendError as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(wishes(), HOSTS, st.lists(st.integers(0, 7), max_size=2), st.sampled_from([1, 2]))
def test_whatever_is_placed_is_disjoint_aligned_and_on_the_host(
    specs: list[dict[str, Any]], host: Any, excluded: list[int], unit: int
) -> None:
    placed = try_place(specs, host, excluded=excluded, block_unit=unit)
    if isinstance(placed, str):
        return
    present = [service for service in placed if service.get("state") != "absent"]
    taken = [card for service in present for card in service["cards"]]
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(ids(host)) - set(excluded)
    ports = [service["port"] for service in present]
    spans = [range(a, b + 1) for a, b in (service["hccl_ports"] for service in present)]
    every = ports + [port for span in spans for port in span]
    assert len(every) == len(set(every))
    assert max(every, default=0) <= 65535
    assert not [port for span in spans for port in span if 32768 <= port <= 60999]
    for wish, service in zip(specs, placed, strict=True):
        if service.get("state") == "absent":
            continue
        cards = service["cards"]
        if "pinned_cards" in wish:
            assert cards == sorted(wish["pinned_cards"])
            continue
        assert cards == list(range(cards[0], cards[0] + wish["cards"]))
        if wish["cards"] in (2, 4, 8):
            assert cards[0] % wish["cards"] == 0
        if wish["cards"] >= 2:
            assert cards[0] % unit == 0
        if "port" in wish:
            assert service["port"] == wish["port"]


@settings(max_examples=150, deadline=None)
@given(wishes(), HOSTS, st.sampled_from([1, 2, 3, 4, 8]))
def test_an_appended_service_moves_none_and_is_refused_only_without_a_free_block(
    specs: list[dict[str, Any]], host: Any, count: int
) -> None:
    before = try_place(specs, host)
    if isinstance(before, str):
        return
    after = try_place([*specs, spec("new", count)], host)
    taken = {card for service in before for card in service["cards"]}
    step = count if count in (2, 4, 8) else 1
    blocks = [
        first
        for first in range(0, 16, step)
        if set(range(first, first + count)) <= set(ids(host)) - taken
    ]
    if isinstance(after, str):
        assert not blocks, after
    else:
        assert after[:-1] == before
        assert after[-1]["cards"][0] == blocks[0]


# --- cards that cannot be used, and services that run ------------------------------------------


def test_an_ill_card_is_left_out_and_the_others_keep_their_numbers() -> None:
    ill = {"3": "health Alarm"}
    placed = place([spec("a", 4), spec("b", 2), spec("c", 1)], 8, unavailable=ill)
    assert cards_of(placed) == {"a": [4, 5, 6, 7], "b": [0, 1], "c": [2]}
    text = refusal([pinned("a", [3])], 8, unavailable=ill)
    assert "service a wants card 3, which is not available: health Alarm." in text
    gone = [card for card in range(8) if card != 3]
    assert refusal([pinned("a", [3])], gone, unavailable=ill) == text, "also if its ids are unknown"
    text = refusal([spec("a", 8)], gone, unavailable=ill)
    assert "the host has the cards 0-7; not available: card 3, health Alarm" in text
    text = refusal([spec("a", 4), spec("b", 4)], 8, unavailable=ill)
    assert "not available: card 3, health Alarm" in text
    assert "a mapping" in refusal([], 8, unavailable=[3])


def stands(**cards: list[int]) -> dict[str, Any]:
    return {name: {"cards": ids, "port": None} for name, ids in cards.items()}


def test_what_stands_stays_when_something_before_it_goes() -> None:
    wishes = [spec("a", 1), spec("b", 2), spec("c", 1)]
    now = stands(a=[5], b=[6, 7], gone=[0])
    assert cards_of(place(wishes, 8, standing=now)) == {"a": [5], "b": [6, 7], "c": [0]}
    assert cards_of(place(wishes, 8)) == {"a": [0], "b": [2, 3], "c": [1]}


def test_what_stands_moves_for_a_pin_a_new_size_an_ill_card_and_to_make_room() -> None:
    now = stands(a=[5], b=[6, 7])
    wishes = [spec("a", 1), spec("b", 2)]
    assert cards_of(place([*wishes, pinned("p", [5])], 8, standing=now))["a"] == [0]
    assert cards_of(place([spec("a", 2)], 8, standing=now)) == {"a": [0, 1]}
    assert cards_of(place(wishes, 8, standing=now, unavailable={7: "ill"}))["b"] == [0, 1]
    assert cards_of(place(wishes, 8, standing=now, excluded=[5]))["a"] == [0]
    now = stands(a=[0], b=[4, 5])
    tight = place([*wishes, spec("c", 4)], 8, standing=now)
    assert cards_of(tight) == {"a": [0], "b": [2, 3], "c": [4, 5, 6, 7]}
    assert "needs 8 cards" in refusal([*wishes, spec("c", 8)], 8, standing=now)


def test_a_port_stays_too_unless_somebody_names_it_or_the_base_moves() -> None:
    def ports(wishes: list[dict[str, Any]], **options: Any) -> dict[str, int]:
        now = {"b": {"cards": [1], "port": 8001}, "c": {"cards": [2], "port": 8002}}
        return {each["name"]: each["port"] for each in place(wishes, 8, standing=now, **options)}

    b, c = spec("b", 1), spec("c", 1)
    assert ports([b, c]) == {"b": 8001, "c": 8002}
    assert ports([spec("new", 1), b, c]) == {"new": 8000, "b": 8001, "c": 8002}
    assert ports([spec("new", 1, port=8001), b, c]) == {"new": 8001, "b": 8000, "c": 8002}
    assert ports([b, c], port_base=9000) == {"b": 9000, "c": 9001}
    for wrong in ([], {"a": [1]}, {"a": {"cards": ["x"]}}):
        assert "standing" in refusal([b], 8, standing=wrong)


def test_what_runs_on_an_unavailable_card_keeps_it_also_when_others_must_move() -> None:
    stands = {"a": {"cards": [1], "runs": True}, "b": {"cards": [2], "runs": False}}
    gone = {1: "health Alarm", 2: "health Alarm"}
    placed = place([spec("a", 1), spec("b", 1)], 4, unavailable=gone, standing=stands)
    assert cards_of(placed) == {"a": [1], "b": [0]}
    # Everything is placed anew, for b's old card is in the way of c.
    wishes = [pinned("a", [1]), spec("b", 1), spec("c", 2)]
    again = place(wishes, 4, unavailable={1: "held"}, standing={**stands, "b": {"cards": [3]}})
    assert cards_of(again) == {"a": [1], "b": [0], "c": [2, 3]}
    wishes[0] = spec("a", 1)
    assert cards_of(
        place(wishes, 4, unavailable={1: "held"}, standing={**stands, "b": {"cards": [3]}})
    )["a"] == [1]
    assert "card 2, which is not available" in refusal(
        [spec("a", 1), pinned("b", [2])], 4, unavailable=gone, standing=stands
    )


def dies(*npus: int) -> list[dict[str, int]]:
    """Dies of these boards, with logic ids that have closed up."""
    return [{"logic_id": n, "phy_id": n, "npu_id": npu} for n, npu in enumerate(npus)]


def test_a_pair_is_one_board_also_where_a_die_is_gone() -> None:
    host = dies(0, 0, 1, 2, 2, 3, 3, 4, 4)
    placed = place([spec("a", 2), spec("b", 2), spec("c", 1), spec("d", 3)], host, block_unit=2)
    assert cards_of(placed) == {"a": [0, 1], "b": [3, 4], "c": [2], "d": [5, 6, 7]}
    assert cards_of(place([spec("four", 4)], host, block_unit=2)) == {"four": [3, 4, 5, 6]}


def test_a_service_that_spans_hosts_is_refused_but_can_be_removed() -> None:
    cluster = {"leader": "h1", "rank": 0, "hosts": ["h1", "h2"]}
    text = refusal([spec("a", 1), spec("big", list(range(8)), cluster=cluster)], 8)
    assert "service big spans several hosts (h1, h2)" in text
    assert "vllm_cluster" in text and "take big out of vllm_plan_services" in text
    assert "service big spans several hosts." in refusal([spec("big", 8, cluster="h1")], 8)
    gone = place([{"name": "big", "state": "absent", "cluster": cluster}], 8)
    assert gone[0]["cards"] == []
    assert cards_of(place([spec("a", 1, cluster=None)], 8)) == {"a": [0]}
