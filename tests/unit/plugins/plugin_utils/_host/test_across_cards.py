# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of the cards between hosts of one service."""

from __future__ import annotations

from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._host import across_cards

from .test_across import device, found, member, pinged


def pod(host: int, number: str = "0", **more: Any) -> dict[str, Any]:
    return {"vnic": f"10.215.{host}.7", "super_pod": number, **more}


def cards(*members: Any) -> list[str]:
    return found(across_cards.check_cards, *members)


def test_each_card_pings_the_one_at_its_place_on_each_other_host() -> None:
    here = member(1)
    pings = across_cards.pings_of(here, [member(2), member(3)])
    assert [(each["device"], each["kind"], each["address"]) for each in pings] == [
        (0, "ping", "10.214.2.0"),
        (1, "ping", "10.214.2.1"),
        (0, "ping", "10.214.3.0"),
        (1, "ping", "10.214.3.1"),
    ]


def test_cards_of_one_super_pod_ping_over_hccs_unless_it_is_split() -> None:
    def kind(one: Any, other: Any) -> str:
        return str(across_cards.pings_of(one, [other])[0]["kind"])

    assert kind(member(1, pod(1)), member(2, pod(2))) == "hccs_ping"
    assert kind(member(1, pod(1)), member(2, pod(2, "1"))) == "ping"
    split = [member(n, pod(n), logic_pod=str(n)) for n in (1, 2)]
    assert kind(*split) == "ping"


def test_pings_that_are_lost_are_an_error_with_what_the_link_says() -> None:
    down = member(1, {"link": "DOWN", "net_health": "Fault"})
    assert cards(pinged(down, member(2), received=0), pinged(member(2), down)) == [
        "error service big: devices 0-1 of h1 get no answer from h2 over RoCE (device 0 to 10.214.2.0:"
        " 0 of 3 packets came back); link DOWN, health Fault."
    ]
    (some,) = cards(pinged(member(1), member(2), received=2), pinged(member(2), member(1)))
    assert some.startswith("warning service big: devices 0-1 of h1 lose packets")


def test_a_link_that_is_down_is_a_warning_where_pings_are_answered() -> None:
    ill = {"link": "DOWN", "net_health": "Init"}
    one, two = member(1, pod(1, **ill)), member(2, pod(2))
    assert cards(pinged(one, two), pinged(two, one)) == [
        "warning service big, h1: link DOWN and health Init of devices 0-1, and yet each of its"
        " pings to other hosts is answered."
    ]
    (untold,) = cards(member(1, ill), member(2))
    assert untold.startswith("error service big, h1: link DOWN"), "no ping tells more"


def test_tls_has_to_be_equal_over_all_cards() -> None:
    two = member(2, devices={"0": device(0, 2), "1": device(1, 2, tls="1")})
    assert cards(pinged(member(1), two), pinged(two, member(1))) == [
        "error service big: TLS of the cards' network differs: 0 (off) for devices 0-1 of h1 and"
        " device 0 of h2; 1 (on) for device 1 of h2. HCCL then finds no connection (EI0006)."
    ]


def test_addresses_are_needed_for_roce_and_differ() -> None:
    none = member(2, {"address": None})
    texts = cards(pinged(member(1), none), pinged(none, member(1)))
    assert texts == [
        "error service big, h2: devices 0-1 have no address, so no card of another host reaches it."
    ]
    same = [member(n, {"address": "10.214.1.1"}) for n in (1, 2)]
    assert any("device 0 of h1 and device 0 of h2 both have the address" in t for t in cards(*same))


def test_cards_of_one_super_pod_need_no_address_and_those_of_two_do() -> None:
    def members(*pods: str) -> list[Any]:
        pair = [member(n, pod(n, pods[n - 1], address=None)) for n in (1, 2)]
        return [pinged(pair[0], pair[1]), pinged(pair[1], pair[0])]

    assert cards(*members("0", "0")) == []
    assert [text.split(":")[0] for text in cards(*members("0", "1"))] == [
        "error service big, h1",
        "error service big, h2",
    ]


def test_one_logic_super_pod_over_two_physical_ones_is_an_error() -> None:
    members = [member(n, pod(n, str(n)), logic_pod="x") for n in (1, 2)]
    pair = [pinged(members[0], members[1]), pinged(members[1], members[0])]
    (text,) = cards(*pair)
    assert "HCCL_LOGIC_SUPERPOD_ID is x on hosts of different super-pods (1 of h1, 2 of h2)" in text


def test_a_host_without_the_tool_is_a_warning() -> None:
    (text,) = cards(member(1, devices=None), member(2))
    assert text.startswith("warning service big, h1: hccn_tool was not found")
    assert "/usr/bin" in text
