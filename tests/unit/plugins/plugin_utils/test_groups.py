# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services over several hosts, put together from what is known of each of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils import groups
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

HOSTS = ["h1", "h2"]


def part(rank: int = 0, **changed: Any) -> dict[str, Any]:
    cluster = {"leader": "h1", "rank": rank, "hosts": HOSTS}
    service = {"name": "big", "cards": [4, 5], "engine": "native", "cluster": cluster}
    return {**service, **changed}


def deployment(address: str, *services: dict[str, Any]) -> dict[str, Any]:
    return {
        "services": list(services),
        "group_address": {"address": address, "interface": "eth0", "port_base": 18000},
        "host": {"standing": []},
    }


def both() -> dict[str, dict[str, Any]]:
    return {
        "h1": deployment("192.0.2.1", part()),
        "h2": deployment("192.0.2.2", part(1, cards=[0, 1])),
    }


def test_members_are_in_the_order_of_ranks_with_ports_by_the_leaders_first_card() -> None:
    group = groups.grouped([part(1)], Settings({}.get), both().get, "h2").services[0]["group"]
    assert [(each.host, each.address) for each in group.members] == [
        ("h1", "192.0.2.1"),
        ("h2", "192.0.2.2"),
    ]
    assert (group.rank, group.leads, group.port) == (1, False, 18000 + 64 * 4)


def test_a_host_that_failed_its_checks_holds_the_service_and_no_other() -> None:
    known = both()
    del known["h2"]
    alone = {"name": "alone", "cards": [0]}
    found = groups.grouped([part(), alone], Settings({}.get), known.get, "h1")
    assert [each["name"] for each in found.services] == ["alone"]
    assert found.held["big"].startswith("h2 failed the checks of this run")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (
            deployment("192.0.2.1", part(1)),
            "h1 and h2, hosts of service big, both have the address",
        ),
        (
            {
                **deployment("192.0.2.2", part(1)),
                "group_address": {"address": "192.0.2.2", "interface": "e", "port_base": 19000},
            },
            "cluster_port_base is 19000 on h2 and 18000 on h1, hosts of service big",
        ),
        (
            deployment("192.0.2.2", part(1, state="stopped", max_model_len=4096, cards=[0])),
            "service big differs between h1 and h2 in state, max_model_len, the number of cards",
        ),
        (deployment("192.0.2.2"), "variables of h2 list no service of that name"),
        (deployment("192.0.2.2", part(cluster=None)), "variables of h2 list no service of that"),
    ],
    ids=["same address", "other ports", "other settings", "not listed", "alone"],
)
def test_hosts_that_disagree_are_named(second: dict[str, Any], words: str) -> None:
    known = {**both(), "h2": second}
    with pytest.raises(AscendError) as caught:
        groups.grouped([part()], Settings({}.get), known.get, "h1")
    assert words in str(caught.value)


def test_a_run_without_all_hosts_of_a_service_is_refused_with_the_limit_to_write() -> None:
    with pytest.raises(AscendError, match="leaves out h2.*--limit h1,h2"):
        groups.check_members([part()], {}, ["h1"], HOSTS)
    groups.check_members([part()], {}, ["h1", "h2", "h3"], HOSTS)
    groups.check_members([part(state="absent")], {}, ["h1"], HOSTS)


def test_a_service_that_goes_takes_all_its_hosts_that_the_inventory_still_has() -> None:
    with pytest.raises(AscendError, match="service old spans h1, h2.*leaves out h2"):
        groups.check_members([], {"old": HOSTS}, ["h1"], HOSTS)
    groups.check_members([], {"old": HOSTS}, ["h1"], ["h1"])
    groups.check_members([], {"old": HOSTS}, HOSTS, HOSTS)


def without_the_second(*services: dict[str, Any]) -> groups.Grouped:
    """What h1 does, where the files of the service are and h2 is not reached."""
    members = [{"host": host, "address": f"192.0.2.{host[-1]}"} for host in HOSTS]
    here = deployment("192.0.2.1", *services)
    here["host"]["standing"] = [
        {"name": "big", "group": {"rank": 0, "members": members, "port": 20256}}
    ]
    return groups.grouped(list(services), Settings({}.get), {"h1": here}.get, "h1")


def test_a_service_is_stopped_where_its_hosts_are_reached_and_the_others_are_named() -> None:
    found = without_the_second(part(state="stopped"))
    assert [each.address for each in found.services[0]["group"].members] == [
        "192.0.2.1",
        "192.0.2.2",
    ]
    assert (found.held, found.behind) == ({}, {"big": ["h2"]})
    for gone in ([], [{"name": "big", "state": "absent", "cluster": None}]):
        assert without_the_second(*gone).behind == {"big": ["h2"]}
    started = without_the_second(part())
    assert started.behind == {} and "big" in started.held


def test_a_comparison_takes_the_other_addresses_from_what_was_written() -> None:
    members = [{"host": "h1", "address": "192.0.2.1"}, {"host": "h2", "address": "192.0.2.2"}]
    here = deployment("192.0.2.22", part(1))
    here["host"]["standing"] = [
        {"name": "big", "group": {"rank": 1, "members": members, "port": 20128}}
    ]
    group = groups.as_written([part(1)], Settings({}.get), "h2", here)[0]["group"]
    assert [each.address for each in group.members] == ["192.0.2.1", "192.0.2.22"]
    assert group.port == 20128


def test_a_play_that_divides_the_hosts_of_a_service_is_rejected() -> None:
    alone = {"name": "alone", "cards": [0]}
    groups.check_batch([part(), alone], ["h3"])
    gone = part(cluster={**part()["cluster"]}, state="absent")
    groups.check_batch([gone, alone], ["h2"])
    with pytest.raises(AscendError, match="with the serial of this play h2 does not come together"):
        groups.check_batch([alone, part()], ["h2", "h3"])


def test_hosts_of_a_service_are_read_from_requests_before_anything_is_resolved() -> None:
    cluster = {"leader": "h1", "rank": 0, "hosts": HOSTS}
    requests: list[Any] = [
        "Qwen3-0.6B",
        {"model": "Qwen3-32B", "cluster": cluster},
        {"model": "Qwen3-32B", "name": "named", "cluster": cluster},
        {"model": "Qwen3-32B", "name": "gone", "cluster": cluster, "state": "absent"},
        {"model": "Qwen3-32B", "name": "malformed", "cluster": "h1"},
    ]
    found = groups.requested(requests, load_catalogue)
    assert [each["name"] for each in found] == ["qwen3-32b", "named"]
    with pytest.raises(AscendError, match="run with --limit h1,h2, or without --limit"):
        groups.check_members(found, {}, ["h1", "h3"], HOSTS)


def test_what_a_host_has_a_part_of_counts_as_what_it_is_to_have() -> None:
    left = {"name": "left", "group": {"members": [{"host": "h2"}, {"host": "h9"}]}}
    known = {**deployment("192.0.2.1", part()), "host": {"standing": [left, {"name": "alone"}]}}
    assert groups.spans(known) == {"left": ["h2", "h9"], "big": HOSTS}


def test_a_host_has_the_rank_at_which_it_is_listed() -> None:
    groups.check_ranks([part(1), {"name": "alone"}, part(0, state="absent")], "h2")
    with pytest.raises(AscendError, match="h2 have rank 0, which is h1. Write rank: 1, or plan"):
        groups.check_ranks([part(0)], "h2")
    with pytest.raises(AscendError, match="h3 have rank 0, which is h1. Write them, with this"):
        groups.check_ranks([part(0)], "h3")


def test_a_host_that_the_inventory_does_not_have_is_not_sent_for_with_limit() -> None:
    with pytest.raises(AscendError, match="the inventory has no host h2. Plan again"):
        groups.check_members([part()], {}, ["h1"], ["h1"])


def test_two_clusters_of_ray_with_the_same_ports_on_a_host_are_rejected() -> None:
    def ray(name: str, rank: int, card: int, *hosts: str) -> dict[str, Any]:
        cluster = {"leader": hosts[0], "rank": rank, "hosts": list(hosts)}
        return part(rank, name=name, engine="ray", cards=[card], cluster=cluster)

    def known(card: int, leader: str = "h3") -> dict[str, Any]:
        hosts = (leader, "h2") if leader == "h3" else ("h1", "h2", "h3")
        other = {host: [ray("b", hosts.index(host), card, *hosts)] for host in hosts}
        first = {"h1": [ray("a", 0, 4, "h1", "h2")], "h2": [ray("a", 1, 0, "h1", "h2")]}
        return {
            host: deployment(f"192.0.2.{host[-1]}", *first.get(host, ()), *other.get(host, ()))
            for host in ("h1", "h2", "h3")
        }

    one = ray("a", 0, 4, "h1", "h2")
    with pytest.raises(
        AscendError, match="services a and b both run Ray on h2.*card 4 is the first"
    ):
        groups.grouped([one], Settings({}.get), known(4).get, "h1")
    groups.grouped([one], Settings({}.get), known(5).get, "h1")
    groups.grouped([one], Settings({}.get), known(5, leader="h1").get, "h1")


def test_what_is_written_for_another_version_is_not_compared_with_what_was_checked() -> None:
    """As on the way back of an upgrade, whose version may want other args."""
    former = part(args={"task": "generate"})
    assert groups.grouped([former], Settings({}.get), both().get, "h1").services[0]["group"]


def test_a_host_whose_address_is_not_known_is_named() -> None:
    known = both()
    known["h2"]["group_address"] = None
    with pytest.raises(AscendError, match="the address of h2, a host of service big, is not known"):
        groups.grouped([part()], Settings({}.get), known.get, "h1")
