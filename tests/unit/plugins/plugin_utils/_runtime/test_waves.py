# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which hosts change their engine."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.waves import (
    Member,
    check_outage,
    partners,
    units,
    waves,
    ways_back,
)
from hypothesis import given
from hypothesis import strategies as st

SERVICES = ["chat", "code", "embed", "rank"]


def names(members: list[Member], at_once: int = 1) -> list[list[str]]:
    return [[member.name for member in group] for group in waves(members, at_once)]


def test_by_default_hosts_go_one_after_the_other_in_their_order() -> None:
    members = [Member("h2", ("chat",)), Member("h1", ("embed",)), Member("h3", ())]
    assert names(members) == [["h2"], ["h1"], ["h3"]]


def test_hosts_without_a_service_in_common_go_together_but_for_the_first() -> None:
    members = [
        Member("h1", ("chat", "embed")),
        Member("h2", ("chat",)),
        Member("h3", ("embed",)),
        Member("h4", ("chat",)),
        Member("h5", ("rank",)),
    ]
    assert names(members, 0) == [["h1"], ["h2", "h3", "h5"], ["h4"]]
    assert names(members, 2) == [["h1"], ["h2", "h3"], ["h4", "h5"]]


def test_a_host_that_does_not_serve_comes_first() -> None:
    """Else its replica and that of another host would be down at once."""
    members = [
        Member("h1", ("chat",)),
        Member("h2", ("chat",)),
        Member("h3", ("chat",), frozenset({"chat"})),
    ]
    assert names(members, 0) == [["h3"], ["h1"], ["h2"]]


def test_hosts_of_one_service_are_one_to_the_waves() -> None:
    pair, other = {"big": ("h2", "h3")}, {"wide": ("h3", "h5")}
    members = [
        Member("h1", ("chat",)),
        Member("h2", ("big", "embed"), spans=pair),
        Member("h3", ("big", "wide"), spans={**pair, **other}),
        Member("h4", ("embed",)),
        Member("h5", ("wide",), frozenset({"wide"}), spans=other),
    ]
    # Two services connect three hosts, and one that does not serve takes all of them to the front.
    assert names(members) == [["h2", "h3", "h5"], ["h1"], ["h4"]]
    assert names(members, 0) == [["h2", "h3", "h5"], ["h1", "h4"]]
    # Those that change together do not wait for each other; those that share a service with them do.
    assert partners(members)["h2"] == {"h4": ["embed"]}
    assert partners(members)["h4"] == {"h2": ["embed"]}
    assert partners(members)["h3"] == {}


@given(order=st.permutations([0, 1, 2, 3, 4]))
def test_services_over_hosts_join_them_in_every_order(order: list[int]) -> None:
    spans = [
        {"a": ("h0", "h1")},
        {"a": ("h0", "h1"), "b": ("h1", "h2")},
        {"b": ("h1", "h2")},
        {},
        {},
    ]
    members = [Member(f"h{n}", spans=spans[n]) for n in order]
    assert sorted(sorted(unit.hosts) for unit in units(members)) == [
        ["h0", "h1", "h2"],
        ["h3"],
        ["h4"],
    ]


def test_hosts_of_one_service_return_only_together_and_to_one_version() -> None:
    pair = {"big": ("h1", "h2")}
    both = [Member("h1", back="env-a", spans=pair), Member("h2", back="env-b", spans=pair)]
    alone = Member("h3", back="0.13")

    def back(members: list[Member], **versions: str) -> list[str]:
        return [member.back for member in ways_back(members, versions)]

    assert back([*both, alone], h1="0.13", h2="0.13") == ["env-a", "env-b", "0.13"]
    assert back([*both, alone], h1="0.13", h2="0.11") == ["", "", "0.13"]
    assert back([both[0], Member("h2", spans=pair)], h1="0.13") == ["", ""]


@given(
    hosts=st.lists(
        st.tuples(st.lists(st.sampled_from(SERVICES), unique=True), st.booleans()), max_size=9
    ),
    at_once=st.integers(0, 4),
)
def test_of_each_service_at_most_one_replica_is_down(
    hosts: list[tuple[list[str], bool]], at_once: int
) -> None:
    members = [
        Member(f"h{number}", tuple(services), frozenset(services[:1] if ill else ()))
        for number, (services, ill) in enumerate(hosts)
    ]
    groups = waves(members, at_once)
    assert sorted(m.name for g in groups for m in g) == sorted(m.name for m in members)
    assert all(groups)
    assert not groups or len(groups[0]) == 1
    waiting = {name: set(member.down) for member in members for name in [member.name]}
    for group in groups:
        assert not at_once or len(group) <= at_once
        carried = [service for member in group for service in member.services]
        assert len(carried) == len(set(carried)), "two replicas at once"
        for member in group:
            waiting.pop(member.name)
        for member in group:
            if not member.down:
                others = {service for ill in waiting.values() for service in ill}
                assert not others & set(member.services), "another replica was down already"


def test_an_outage_is_rejected_where_none_is_allowed() -> None:
    members = [
        Member("h1", ("chat", "embed"), before="0.13", after="0.18"),
        Member("h2", ("rank",), frozenset({"rank"}), "0.13", "0.18"),  # down already
        Member("h3", ("code",), before="0.18", after="0.18"),  # stays as it is
    ]
    check_outage(members, {"h9": ["chat", "embed"]})
    with pytest.raises(AscendError) as error:
        check_outage(members, {"h9": ["chat"]})
    assert "embed on h1 has no other replica" in str(error.value)
    pair = {"big": ("h1", "h2")}
    over = [
        Member(name, ("big",), before="0.13", after="0.18", spans=pair) for name in ("h1", "h2")
    ]
    check_outage(over, {"h9": ["big"]})
    with pytest.raises(AscendError, match="big on h1, h2 has no other replica"):
        check_outage(over)


def test_the_other_replicas_that_have_to_serve_before_a_host_goes_down() -> None:
    members = [
        Member("h1", ("chat", "embed")),
        Member("h2", ("chat",), frozenset({"chat"})),
        Member("h3", ("embed", "chat", "rank")),
    ]
    assert partners(members) == {
        "h1": {"h2": ["chat"], "h3": ["chat", "embed"]},
        "h2": {},
        "h3": {"h1": ["embed", "chat"], "h2": ["chat"]},
    }
    # And those on hosts that are left out of the run.
    assert partners(members[1:2], {"h9": ["chat"]}) == {"h2": {}}
    assert partners(members[:1], {"h8": ["rank"], "h9": ["chat"]}) == {"h1": {"h9": ["chat"]}}


@pytest.mark.parametrize("at_once", [-1])
def test_a_number_of_hosts_that_is_not_valid(at_once: int) -> None:
    with pytest.raises(AscendError, match="vllm_upgrade_hosts_at_once"):
        waves([], at_once)
