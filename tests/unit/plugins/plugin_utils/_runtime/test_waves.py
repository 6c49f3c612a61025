# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which hosts change their engine."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.waves import (
    Member,
    check_outage,
    others_down,
    partners,
    waves,
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
