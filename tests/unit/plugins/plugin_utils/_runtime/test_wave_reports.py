# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is reported before, during and after a rollout."""

from __future__ import annotations

from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.wave_reports import (
    Outcome,
    apart,
    by_host,
    order_lines,
    others_down,
    state_lines,
    stopped,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.waves import Member, waves


def test_an_outage_that_cannot_be_avoided_is_reported_before() -> None:
    members = [
        Member("h1", ("chat", "embed"), before="0.13", after="0.18", back="0.13"),
        Member("h2", ("chat",), frozenset({"chat"}), "0.13", "0.18", "0.13"),
        Member("h3", ("chat",), before="0.18", after="0.18"),
        Member("h4", ("rank",), before="/opt/handmade", after="0.18"),
    ]
    found = order_lines(waves(members), "upgrade")
    assert found[:2] == [
        "Upgrade of 4 hosts to 0.18 in 4 waves:",
        "wave 1: h2: 0.13 -> 0.18, restarts chat",
    ]
    assert "chat does not serve there now" in found[2]
    assert "wave 3: h3: has 0.18 already, restarts only what differs" in found
    assert any("There is no way back on h4" in line for line in found)
    assert [line for line in found if "no other replica" in line] == [
        "embed has no other replica: it is down while h1 restarts it and loads.",
        "rank has no other replica: it is down while h4 restarts it and loads.",
    ]
    elsewhere = {"h9": ["embed", "more"]}
    assert [
        line for line in order_lines(waves(members), "upgrade", False, elsewhere) if "other" in line
    ] == [
        "rank has no other replica: it is down while h4 restarts it and loads.",
    ]


def groups_of(*groups: str) -> list[list[Member]]:
    """Waves of hosts from 0.13 to 0.18; those with a star have it already."""
    return [
        [
            Member(name.strip("*"), before="0.18" if "*" in name else "0.13", after="0.18")
            for name in group.split()
        ]
        for group in groups
    ]


def test_the_end_of_a_stopped_run_names_where_every_host_is() -> None:
    fleet = groups_of("h1", "h2 h4", "h3 h5*")
    assert stopped(
        fleet, "h2", {"h2": Outcome("h2: no memory", "0.13"), "h4": Outcome()}
    ).splitlines() == [
        "h2 did not come up with 0.18: no memory",
        "h2 is back on 0.13 and serves.",
        "With 0.18 already: h1, h4, h5.",
        "Not touched, still with 0.13: h3.",
    ]
    both = stopped(fleet, "h2", {"h2": Outcome("no memory", "0.13"), "h4": Outcome("no port")})
    assert "Did not come up either: h4." in both
    assert "already: h1, h5." in both
    assert stopped(fleet, "h4", {"h4": Outcome()}).splitlines() == [
        "h2 cannot be reached any more, so it is not known whether its services serve. The run stops"
        " here; the next one goes on.",
        "With 0.18 already: h1, h4, h5.",
        "Not touched, still with 0.13: h3.",
    ]
    assert "see to h2 by hand: no port" in stopped(
        fleet, "h2", {"h2": Outcome("no memory", stuck="no port")}
    )
    assert "no version to go back to" in stopped(fleet, "h2", {"h2": Outcome("no memory")})


def test_a_host_that_serves_and_gets_no_requests_stops_the_run() -> None:
    fleet = groups_of("h1", "h2", "h3*")
    assert stopped(fleet, "h1", {"h1": Outcome(gateways="gw1: DOWN.")}).splitlines() == [
        "Not all gateways send requests to h1 again, so the run stops: gw1: DOWN.",
        "With 0.18 already: h1, h3.",
        "Not touched, still with 0.13: h2.",
    ]
    back = stopped(fleet, "h1", {"h1": Outcome("no memory", "0.13", gateways="gw1: DOWN.")})
    assert back.splitlines()[1:3] == [
        "h1 is back on 0.13 and serves.",
        "Not all gateways send requests to h1 again, so the run stops: gw1: DOWN.",
    ]


def test_of_a_digest_as_much_is_shown_as_the_container_engine_shows() -> None:
    one, two = "x@sha256:" + "1" * 64, "x@sha256:" + "2" * 64
    found = order_lines([[Member("h1", (), before=one, after=two, back=one)]], "upgrade")
    assert found[1] == f"wave 1: h1: x@sha256:{'1' * 12} -> x@sha256:{'2' * 12}"


def test_each_wave_begins_with_where_the_others_are() -> None:
    """The last that is read where its hosts are lost."""
    fleet = groups_of("h1", "h2 h4", "h3 h5*")
    assert state_lines(fleet, 1) == [
        "With 0.18 already: h1, h5.",
        "Not touched, still with 0.13: h3.",
    ]


def test_where_nothing_is_wrong_nothing_is_reported() -> None:
    assert stopped(groups_of("h1 h2"), "h1", {"h1": Outcome(), "h2": Outcome()}) == ""


def test_each_host_has_the_lines_of_its_wave() -> None:
    lines = by_host(groups_of("h1", "h2 h4"))
    assert lines["h1"] == ["Wave 1 of 2: h1.", "Not touched, still with 0.13: h2, h4."]
    assert lines["h2"] == lines["h4"] == ["Wave 2 of 2: h2, h4.", "With 0.18 already: h1."]


PAIR = {"big": ("h2", "h3")}


def pair(back: str = "0.13") -> list[Member]:
    """Two hosts of one service."""
    return [
        Member("h2", ("big", "embed"), before="0.13", after="0.18", back=back, spans=PAIR),
        Member("h3", ("big",), before="0.13", after="0.18", back=back, spans=PAIR),
    ]


def test_hosts_of_one_service_are_reported_as_changing_together() -> None:
    first = Member("h1", ("embed",), before="0.13", after="0.18", back="0.13")
    found = order_lines(waves([first, *pair("")]), "upgrade")
    assert found[2:] == [
        "wave 2: h2: 0.13 -> 0.18, restarts big, embed",
        "wave 2: h3: 0.13 -> 0.18, restarts big",
        "  h2, h3 change together, because of big.",
        "  There is no way back on h2, h3: not each of them has an engine before 0.18, of one version and"
        " made by this collection.",
        "big has no other replica: it is down while h2, h3 restart it and load.",
    ]


def test_hosts_of_one_service_go_back_together_and_each_tells_why() -> None:
    fleet = [[Member("h1", before="0.13", after="0.18")], pair()]
    back = {
        "h2": Outcome("h2: big fails again and again.", "0.13"),
        "h3": Outcome("no memory", "0.13"),
    }
    assert stopped(fleet, "h2", back) == stopped(fleet, "h3", back)
    assert stopped(fleet, "h3", back).splitlines() == [
        "h2, h3 did not come up with 0.18:",
        "  h2: big fails again and again.",
        "  h3: no memory",
        "h2, h3 are back on 0.13 and serve.",
        "With 0.18 already: h1.",
    ]
    by_hand = stopped(fleet, "h2", {**back, "h3": Outcome("no memory", stuck="no port")})
    assert "see to h2, h3 by hand: h3: no port" in by_hand
    lost = stopped(fleet, "h2", {"h2": Outcome("no peer")})
    assert "h2 did not go back, because what a host that is not reached serves from" in lost
    assert "h3 cannot be reached any more" in lost


def test_a_host_goes_on_only_where_those_that_change_with_it_are() -> None:
    unit, there = ["h2", "h3"], {"h2": "switched", "h3": "switched"}
    assert apart(unit, unit, there, "switched") == ""
    assert apart(unit, unit, {"h2": "switched"}, "switched").startswith("it failed on h3, and")
    assert apart(unit, unit, there, "restarted").startswith("it failed on h2, h3, and")
    assert apart(unit, ["h2"], there, "switched").startswith("h3 cannot be reached any more, and")


def reply(host: str, *services: str, **found: object) -> dict[str, object]:
    return {"item": {"key": host, "value": list(services)}, **found}


def test_a_host_is_not_touched_while_another_replica_is_down() -> None:
    serves = reply("h2", "chat", not_serving=[])
    skipped = reply("h4", "chat", skipped=True)
    assert others_down([], "h1") == others_down([serves, skipped], "h1") == ""
    gone = reply("h5", "rank", "chat", unreachable=True)
    text = others_down([gone, serves, reply("h3", "embed", not_serving=["embed"])], "h1")
    assert text.startswith(
        "h3, h5 does not serve all of chat, embed, rank, or cannot be reached, so h1 is not touched"
    )
