# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts list becomes services with candidates; what is wrong is said, all of it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import (
    Catalogue,
    load_catalogue,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.by_hand import (
    given_services,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import (
    PortAllocator,
    entries,
    source_line,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.hosts import (
    Hardware,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import (
    Problems,
    TaggedValue,
    some,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.request_lists import (
    RequestReader,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.services import (
    Service,
    services_of,
)

A2 = {"ascend_host_profile": "atlas-800i-a2-64g"}


class Hosts:
    """An inventory in memory, with Jinja's own templates and shell patterns."""

    def __init__(self, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        self.hosts = hosts
        self.rendered: list[tuple[str, str]] = []

    def variables(self, host: str) -> Mapping[str, Any]:
        return self.hosts[host]

    def render(self, host: str, text: str) -> object:
        self.rendered.append((host, text))
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
        try:
            return environment.from_string(text).render(self.hosts[host])
        except jinja2.TemplateError as error:
            raise AscendError(f"{text} cannot be rendered: {error}") from error

    def tagged_value(self, value: object) -> TaggedValue | None:
        return value if isinstance(value, TaggedValue) else None

    def matching(self, pattern: str) -> frozenset[str]:
        return frozenset(host for host in self.hosts if fnmatchcase(host, pattern))

    def catalogue(self, tables: Sequence[str]) -> Catalogue:
        return load_catalogue(list(tables))


def read(
    hosts: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, Service], dict[str, Hardware], list[str], Hosts]:
    inventory, problems = Hosts(hosts), Problems()
    reader = RequestReader(inventory, problems)
    found, ask = reader.hardware(hosts, {})
    assert not ask
    services = services_of(reader.lists(found), found, inventory, problems)
    return services, found, problems.lines(), inventory


def group(requests: Any, count: int = 2, **variables: Any) -> dict[str, dict[str, Any]]:
    """Hosts of a group, which share one list as Ansible hands it to them."""
    return {
        f"npu-{number:02}": {**A2, "vllm_plan_services": requests, **variables}
        for number in range(1, count + 1)
    }


def problems(requests: Any, **variables: Any) -> str:
    return "\n".join(read(group(requests, **variables))[2])


# -- hosts -----------------------------------------------------------------------------------------


def hardware(**variables: Any) -> Hardware:
    found, problems, _unused = _hardware(variables)
    assert not problems
    return found["h"]


def _hardware(
    variables: Mapping[str, Any], seen: Mapping[str, Any] | None = None
) -> tuple[dict[str, Hardware], list[str], list[str]]:
    problems = Problems()
    found, ask = RequestReader(Hosts({"h": variables}), problems).hardware(["h"], seen or {})
    return found, problems.lines(), ask


def test_a_profile_says_what_a_host_has_and_variables_of_the_role_go_before() -> None:
    own = hardware(ascend_host_profile="atlas-800i-a3", ascend_host_excluded_cards=[3])
    assert (own.cards, own.unit, own.card_memory_gb) == (tuple(range(16)), 2, 64)
    assert own.excluded == (3,)
    own = hardware(
        ascend_host_profile="atlas-800i-a3",
        ascend_host_excluded_cards=[3],
        vllm_service_cards=4,
        vllm_service_cards_per_board="1",
        vllm_service_excluded_cards=[],
        vllm_service_unavailable_cards={"2": "health Alarm"},
        vllm_service_port_base=9000,
    )
    assert (own.cards, own.unit, own.excluded) == ((0, 1, 2, 3), 1, (2,))
    assert own.ports.base == 9000


def test_ports_begin_where_those_of_the_role_begin() -> None:
    defaults = Path(__file__).parents[5] / "roles" / "vllm_service" / "defaults" / "main.yml"
    role = yaml.safe_load(defaults.read_text(encoding="utf-8"))
    ports = hardware(ascend_host_profile="atlas-800i-a3").ports
    for name in ("base", "hccl_base", "hccl_count"):
        key = name.replace("base", "port_base").replace("hccl_count", "hccl_port_count")
        assert getattr(ports, name) == role[f"vllm_service_{key}"]


def test_cards_and_memory_stand_for_a_profile() -> None:
    own = hardware(vllm_service_cards=[0, 1, 5], vllm_service_card_memory_gb=32)
    assert (own.cards, own.card_memory_gb, own.profile) == ((0, 1, 5), 32, None)


def test_only_hosts_that_do_not_say_it_are_asked() -> None:
    assert _hardware({})[2] == ["h"]
    assert _hardware({"vllm_service_cards": 4})[2] == ["h"]
    # A profile whose number of cards is the host's own.
    assert _hardware({"ascend_host_profile": "atlas-300i-duo-96g"})[2] == ["h"]
    duo = {"ascend_host_profile": "atlas-300i-duo-96g", "vllm_service_cards": 8}
    assert _hardware(duo)[2] == []


def test_a_host_that_was_asked_has_the_cards_that_it_shows() -> None:
    cards = [
        {"logic_id": n, "phy_id": n, "name": "910B3", "memory_total_mb": 65536} for n in range(8)
    ]
    found, problems, ask = _hardware({}, {"h": cards})
    assert (found["h"].card_memory_gb, found["h"].cards, ask) == (64, tuple(range(8)), [])
    unknown = [{**card, "name": "920X"} for card in cards]
    assert "ascend_host_profile" in _hardware({}, {"h": unknown})[1][0]


def test_hosts_on_which_requests_are_resolved_alike_are_of_one_kind() -> None:
    hosts = {
        "a": A2,
        "b": {**A2, "ascend_host_excluded_cards": [1]},
        "c": {**A2, "vllm_service_cards": 4},
        "d": {**A2, "vllm_service_allow_untested": True},
    }
    found, _unused = RequestReader(Hosts(hosts), Problems()).hardware(hosts, {})
    kinds = {name: own.kind for name, own in found.items()}
    assert kinds["a"] == kinds["b"]
    assert len(set(kinds.values())) == 3


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ascend_host_profile": "atlas-900"}, "no hardware profile 'atlas-900'"),
        ({"vllm_service_cards": "many"}, "vllm_service_cards: the host's cards"),
        ({"vllm_service_cards": 0}, "no cards"),
        ({"ascend_host_excluded_cards": 3}, "ascend_host_excluded_cards"),
        ({"vllm_service_cards_per_board": 3}, "power of two"),
        ({"vllm_service_estimate": "perhaps"}, "vllm_service_estimate"),
        ({"vllm_service_port_base": "high"}, "vllm_service_port_base"),
        ({"ascend_model_tables": 5}, "ascend_model_tables"),
        ({"ascend_host_excluded_cards": "{{ nowhere }}"}, "ascend_host_excluded_cards: {{ nowhere"),
    ],
)
def test_what_no_host_can_have(variables: dict[str, Any], words: str) -> None:
    lines = _hardware({**A2, **variables})[1]
    assert len(lines) == 1
    assert lines[0].startswith("h: ")
    assert words in lines[0]


def test_a_template_of_a_host_is_rendered_for_it() -> None:
    hosts = {
        "a": {**A2, "ascend_host_excluded_cards": "{{ ill }}", "ill": [1]},
        "b": {"ascend_host_profile": "atlas-800i-a2-{{ size }}g", "size": 32},
    }
    inventory = Hosts(hosts)
    inventory.render = lambda host, text: [1] if "ill" in text else "atlas-800i-a2-32g"  # type: ignore[method-assign]
    found, _unused = RequestReader(inventory, Problems()).hardware(hosts, {})
    assert found["a"].excluded == (1,)
    assert found["b"].card_memory_gb == 32


# -- requests --------------------------------------------------------------------------------------


def test_a_service_may_go_to_every_host_that_lists_it() -> None:
    hosts = group([{"model": "Qwen3-14B", "replicas": "2", "priority": "-3"}, "QwQ-32B"], 3)
    hosts["npu-03"]["vllm_plan_services"] = ["QwQ-32B"]
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].hosts == ("npu-01", "npu-02")
    assert services["qwq-32b"].hosts == ("npu-01", "npu-02", "npu-03")
    asked = services["qwen3-14b"].for_planner()
    assert (asked.replicas, asked.priority, asked.spread_required) == (2, -3, False)
    assert services["qwq-32b"].for_planner().cards == {"atlas-800i-a2-64g": 2}


def test_a_pattern_narrows_and_all_means_each() -> None:
    requests = [{"model": "Qwen3-14B", "hosts": "*-02", "replicas": "all", "spread": "required"}]
    services, _unused, wrong, _unused = read(group(requests, 3))
    asked = services["qwen3-14b"].for_planner()
    assert (asked.hosts, asked.replicas, asked.spread_required) == (("npu-02",), None, True)
    assert not wrong


def test_a_port_of_its_own_keeps_replicas_on_different_hosts() -> None:
    services, *_unused = read(group([{"model": "Qwen3-14B", "port": 8100}]))
    assert services["qwen3-14b"].for_planner().spread_required


def test_cards_by_number_are_pinned() -> None:
    services, *_unused = read(group([{"model": "Qwen3-14B", "cards": [5]}]))
    assert services["qwen3-14b"].for_planner().pinned == (5,)


def test_each_kind_of_host_is_resolved_for_itself() -> None:
    hosts = group(["QwQ-32B"], 2)
    hosts["npu-02"]["ascend_host_profile"] = "atlas-800i-a2-32g"
    service = read(hosts)[0]["qwq-32b"]
    assert service.for_planner().cards == {"atlas-800i-a2-64g": 2, "atlas-800i-a2-32g": 4}


def test_a_kind_that_cannot_carry_a_service_says_why() -> None:
    hosts = group(["Qwen3-14B"], 2)
    hosts["npu-02"]["ascend_host_profile"] = "atlas-800i-a2-32g"
    service = read(hosts)[0]["qwen3-14b"]
    assert set(service.totals) == {"atlas-800i-a2-64g"}
    assert "cards of 32 GB" in service.refused["atlas-800i-a2-32g"]


def test_absent_services_are_no_services() -> None:
    requests = [{"model": "Qwen3-14B"}, {"model": "gone-model", "state": "absent"}]
    services, _unused, wrong, _unused = read(group(requests))
    assert list(services) == ["qwen3-14b"]
    assert not wrong


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"model": "Qwen3-14B", "replicas": 0}, "replicas is 0"),
        ({"model": "Qwen3-14B", "replicas": "some"}, "replicas is 'some'"),
        ({"model": "Qwen3-14B", "replicas": True}, "replicas is True"),
        ({"model": "Qwen3-14B", "spread": "wide"}, "preferred or required"),
        ({"model": "Qwen3-14B", "priority": "high"}, "priority is 'high'"),
        ({"model": "Qwen3-14B", "hosts": []}, "hosts is []"),
        ({"model": "Qwen3-14B", "hosts": 5}, "hosts is 5"),
        ({"model": "Qwen3-14B", "hosts": "web*"}, "match none of the hosts that list it"),
        ({"model": "Qwen3-14B", "port": 80}, "port is 80"),
        ({"model": "Qwen3-14B", "state": "gone"}, "started, stopped, absent"),
        ({"model": "Qwen3-14B", "replica": 2}, "is replicas meant?"),
        ({"model": "Qwen3-14B", "max-model-len": 5}, "Write max_model_len"),
        ({"model": "Qwen3-14B", "enable_prefix_caching": True}, "an option of vLLM"),
        ({"model": "Qwen3-14B", "cluster": {}}, "the key cluster is the plan's"),
        ({"model": "Qwen3-14B", 5: 6}, "the key 5, which is no text"),
        ({"model": "Qwen3-14B", "name": "a b"}, "Write name: a-b"),
        ({"model": "Qwen3-15B"}, "The closest are Qwen3-14B"),
        ({"cards": 2}, "names no model"),
        ({}, "A request names no model. Write"),
        ({"model": "Qwen3-14B", "env": "A=b"}, "env is a string"),
        (5, "service 1 is a number"),
        (None, "service 1 is null"),
        (["Qwen3-14B"], "service 1 is a list"),
        (TaggedValue("!vault", "$ANSIBLE_VAULT"), "is encrypted"),
        ({"model": TaggedValue("!vault", "$ANSIBLE_VAULT")}, "model is encrypted"),
    ],
)
def test_a_request_that_cannot_be_planned(request_: Any, words: str) -> None:
    text = problems([request_])
    assert words in text
    assert text.count("\n") == 0


def test_a_model_that_no_host_can_carry_is_left_to_the_planner_with_the_reason() -> None:
    service = read(group([{"model": "Qwen3-14B", "max_model_len": "1M"}]))[0]["qwen3-14b"]
    assert service.totals == {}
    assert "longest that was tested" in service.refused["atlas-800i-a2-64g"]


def test_all_that_is_wrong_is_said_at_once_with_the_hosts() -> None:
    lines = read(group([{"model": "Nope"}, {"model": "Qwen3-14B", "spread": 5}, 7], 5))[2]
    assert len(lines) == 3
    assert all(line.startswith("npu-01, npu-02 and 3 more hosts: ") for line in lines)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("Qwen3-14B", "a list is needed"),
        ({"model": "Qwen3-14B"}, "is a mapping; a list"),
        (None, "is null; a list"),
        (TaggedValue("!vault", "x"), "encrypted as a whole"),
        ("{{ lookup('file', 'x') }}", "may only name other lists"),
        ("{{ nowhere }}", "nowhere, which is not defined"),
        ("{{ vllm_plan_services }}", "not defined"),
        ([], "is empty for all hosts"),
    ],
)
def test_a_list_that_is_none(value: Any, words: str) -> None:
    assert words in problems(value)


def test_an_empty_list_on_one_host_takes_its_services_elsewhere() -> None:
    hosts = group(["Qwen3-14B"], 3)
    hosts["npu-02"]["vllm_plan_services"] = []
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].hosts == ("npu-01", "npu-03")


def test_the_same_name_twice_in_a_list() -> None:
    text = problems(["Qwen3-14B", {"model": "QwQ-32B", "name": "qwen3-14b"}])
    assert "services 1 and 2 are both named qwen3-14b" in text


def test_two_hosts_that_do_not_mean_the_same_are_named() -> None:
    hosts = group([{"model": "Qwen3-14B", "env": {"A": 1}}])
    hosts["npu-02"]["vllm_plan_services"] = [{"model": "Qwen3-14B", "replicas": 2}]
    text = "\n".join(read(hosts)[2])
    assert "npu-01 and npu-02 ask for it with other values of env, replicas" in text


def test_lists_that_say_the_same_in_two_places_are_one() -> None:
    hosts = group([{"model": "Qwen3-14B", "args": {"seed": 1}}])
    hosts["npu-02"]["vllm_plan_services"] = [{"model": "Qwen3-14B", "args": {"seed": 1}}]
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].hosts == ("npu-01", "npu-02")


# -- templates and secrets -------------------------------------------------------------------------


def test_only_what_is_needed_is_rendered_and_only_for_what_holds_a_template() -> None:
    request = {
        "model": "Qwen3-{{ size }}",
        "max_model_len": "16K",
        "api_key": "{{ vault_key }}",
        "env": {"A": "{{ nowhere }}"},
    }
    services, _unused, wrong, inventory = read(group([request, "QwQ-32B"], 2, size="14B"))
    assert not wrong
    assert inventory.rendered == [("npu-01", "Qwen3-{{ size }}"), ("npu-02", "Qwen3-{{ size }}")]
    request = services["qwen3-14b"].request
    assert request.passed == {"api_key": "{{ vault_key }}", "env": {"A": "{{ nowhere }}"}}


def test_a_shared_list_without_templates_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    request = RequestReader._request

    def counting(self: RequestReader, *args: Any) -> Any:
        nonlocal count
        count += 1
        return request(self, *args)

    monkeypatch.setattr(RequestReader, "_request", counting)
    read(group(["Qwen3-14B", {"model": "QwQ-32B", "args": {"seed": "{{ x }}"}}], 50, x=1))
    assert count == 2


def test_a_template_that_renders_to_other_requests_is_two_requests() -> None:
    hosts = group([{"model": "Qwen3-14B", "max_model_len": "{{ length }}"}], 2, length="16K")
    hosts["npu-02"]["length"] = "8K"
    assert "npu-01 and npu-02 ask for it with other values of max_model_len" in read(hosts)[2][0]


def test_args_of_a_host_are_its_own_affair() -> None:
    hosts = group([{"model": "Qwen3-14B", "args": {"seed": "{{ seed }}"}}], 2, seed=1)
    hosts["npu-02"]["seed"] = 2
    services, _unused, wrong, _unused = read(hosts)
    assert not wrong
    assert services["qwen3-14b"].request.passed["args"] == {"seed": "{{ seed }}"}


def test_lists_may_be_named_and_joined_without_being_rendered() -> None:
    key = {"model": "Qwen3-14B", "api_key": "{{ vault_key }}"}
    hosts = group("{{ base + more }}", 2, base=[key], more="{{ deeper }}", deeper=["QwQ-32B"])
    services, _unused, wrong, inventory = read(hosts)
    assert not wrong
    assert sorted(services) == ["qwen3-14b", "qwq-32b"]
    assert services["qwen3-14b"].request.passed == {"api_key": "{{ vault_key }}"}
    assert not inventory.rendered


@pytest.mark.parametrize(
    ("secrets", "name"),
    [
        ({"api_key": "hush-hush"}, "api_key"),
        ({"api_key": 12345678}, "api_key"),
        ({"api_key": TaggedValue("!unsafe", "hush-hush{{")}, "api_key"),
        ({"secret_env": {"HF_TOKEN": "hush-hush"}}, "secret_env, HF_TOKEN"),
        ({"secret_env": "hush-hush"}, "secret_env"),
        ({"env": {"HF_TOKEN": "hush-hush"}}, "HF_TOKEN"),
        ({"env": {"VLLM_API_KEY": "hush-hush"}}, "VLLM_API_KEY"),
        ({"args": {"api_key": "hush-hush"}}, "api_key"),
    ],
)
def test_a_secret_in_plain_text_is_refused_and_not_shown(
    secrets: dict[str, Any], name: str
) -> None:
    text = problems([{"model": "Qwen3-14B", **secrets}])
    assert name in text
    assert "hush" not in text
    assert "12345678" not in text


def test_a_secret_that_tells_nothing_passes() -> None:
    request = {
        "model": "Qwen3-14B",
        "api_key": TaggedValue("!vault", "$ANSIBLE_VAULT;1.1;AES256\n00"),
        "secret_env": {"HF_TOKEN": "{{ vault_token }}", "NONE": None},
    }
    services, _unused, wrong, _unused = read(group([request]))
    assert not wrong
    assert services["qwen3-14b"].request.passed["api_key"] == request["api_key"]


def test_where_weights_come_from_is_handed_on_as_it_is_written() -> None:
    weights = {"source": "archive", "location": "{{ vault_address }}"}
    services, _unused, wrong, _unused = read(group([{"model": "Qwen3-14B", "weights": weights}]))
    assert not wrong
    assert services["qwen3-14b"].request.passed["weights"] == weights


# -- services that span hosts ----------------------------------------------------------------------


def split(model: str, **more: Any) -> tuple[int, int, int]:
    hosts = group([{"model": model, "name": "big", **more}], 4)
    service = read(hosts)[0]["big"]
    kind = "atlas-800i-a2-64g"
    if kind in service.refused:
        raise AscendError(service.refused[kind])
    spec = service.specs[kind]
    return (
        service.totals[kind],
        spec["tensor_parallel_size"],
        spec["pipeline_parallel_size"],
    )


def test_the_size_of_hosts_settles_how_a_service_is_split() -> None:
    assert split("Qwen3-235B-A22B") == (16, 8, 2)
    assert split("Qwen3-Coder-480B-A35B") == (32, 8, 4)
    assert split("Qwen3-14B", cards=20) == (24, 8, 3)
    # 28 heads: 8 does not divide them, and neither do the 16 cards in all.
    assert split("Qwen2.5-7B", cards=16) == (16, 4, 4)


def test_sizes_that_the_user_gives_are_kept_where_they_fill_whole_hosts() -> None:
    assert split("Qwen3-235B-A22B", tensor_parallel_size=16) == (16, 16, 1)
    with pytest.raises(AscendError, match="no whole number of hosts of 8"):
        split("Qwen3-14B", tensor_parallel_size=4, pipeline_parallel_size=3)


def test_cards_by_number_do_not_span() -> None:
    with pytest.raises(AscendError, match="names 10 cards, and the host has 8"):
        split("Qwen3-14B", cards=list(range(10)))


def test_the_spec_of_a_part_is_that_of_its_host_with_the_sizes_of_all() -> None:
    members = {"leader": "a", "rank": 1, "hosts": ["a", "b"]}
    request = {"model": "Qwen3-235B-A22B", "cards": list(range(8)), "cluster": members}
    spec = resolve(request, load_catalogue(), Options()).as_dict()
    assert (spec["cards"], spec["pinned_cards"]) == (8, list(range(8)))
    assert (spec["tensor_parallel_size"], spec["pipeline_parallel_size"]) == (8, 2)
    assert spec["max_model_len"] == 65536
    with pytest.raises(AnsibleFilterError, match="vllm_cluster"):
        place([spec], 8)


@pytest.mark.parametrize(
    "cluster",
    [
        5,
        {},
        {"leader": "a", "rank": 0, "hosts": ["a"]},
        {"leader": "a", "rank": 2, "hosts": ["a", "b"]},
        {"leader": "c", "rank": 0, "hosts": ["a", "b"]},
        {"leader": "a", "rank": "x", "hosts": ["a", "b"]},
        {"leader": "a", "rank": 0, "hosts": ["a", "a"]},
    ],
)
def test_a_cluster_that_is_none(cluster: Any) -> None:
    with pytest.raises(AscendError, match="cluster of Qwen3-14B"):
        resolve({"model": "Qwen3-14B", "cards": 8, "cluster": cluster}, load_catalogue(), Options())


def test_a_part_without_its_cards_is_refused() -> None:
    members = {"leader": "a", "rank": 0, "hosts": ["a", "b"]}
    with pytest.raises(AscendError, match="how many cards it takes on this one"):
        resolve({"model": "Qwen3-14B", "cluster": members}, load_catalogue(), Options())


# -- what was written by hand, and entries ---------------------------------------------------------


def test_services_written_by_hand_are_placed_as_the_role_places_them() -> None:
    hosts = group([], 1, length="8K")
    inventory = Hosts(hosts)
    reader = RequestReader(inventory, Problems())
    own = reader.hardware(hosts, {})[0]["npu-01"]
    raw = [
        "QwQ-32B",
        {
            "model": "Qwen3-14B",
            "name": "x",
            "max_model_len": "{{ length }}",
            "env": {"A": "{{ b }}"},
        },
        {"model": "gone", "state": "absent"},
    ]
    placed = given_services(reader, "npu-01", raw, own, "vllm_service_instances")
    assert [(each["name"], each["cards"], each["port"]) for each in placed] == [
        ("qwq-32b", [0, 1], 8000),
        ("x", [2], 8001),
    ]
    assert placed[1]["max_model_len"] == 8192
    with pytest.raises(AscendError, match="Nope"):
        given_services(reader, "npu-01", ["Nope"], own, "vllm_service_instances")


def test_ports_stay_and_those_given_win() -> None:
    hosts = group(["QwQ-32B", {"model": "Qwen3-14B", "port": 8001}, "Qwen3-8B"], 1)
    services, found, _unused, _unused = read(hosts)
    assignments = [
        Assignment("qwen3-14b", "npu-01", (2,)),
        Assignment("qwen3-8b", "npu-01", (3,)),
        Assignment("qwq-32b", "npu-01", (0, 1)),
    ]
    own = found["npu-01"]
    made = entries(own, assignments, services, {"qwq-32b": 8005, "qwen3-8b": 8001}, PortAllocator())
    assert [(entry.name, entry.settled["port"]) for entry in made] == [
        ("qwen3-14b", 8001),
        ("qwen3-8b", 8000),
        ("qwq-32b", 8005),
    ]


def test_a_hub_id_is_kept_for_it_says_which_weights() -> None:
    services, found, _unused, _unused = read(group(["Qwen/Qwen2.5-72B-Instruct", "qwen3-14b"], 1))
    models = {
        entry.name: entry.settled["model"]
        for entry in entries(
            found["npu-01"],
            [Assignment(name, "npu-01", (n * 4,)) for n, name in enumerate(services)],
            services,
            {},
            PortAllocator(),
        )
    }
    assert models == {"qwen2.5-72b": "Qwen/Qwen2.5-72B-Instruct", "qwen3-14b": "Qwen3-14B"}


def test_every_entry_says_where_its_figures_come_from() -> None:
    requests = [{"model": "Qwen3-14B"}, {"model": "QwQ-32B", "max_model_len": "8K"}, "Qwen3-8B"]
    hosts = group(requests, 1)
    hosts["npu-01"].update(ascend_host_profile="atlas-800i-a2-32g", vllm_service_estimate=True)
    services, found, _unused, _unused = read(hosts)
    assignments = [Assignment(name, "npu-01", (n,)) for n, name in enumerate(sorted(services))]
    lines = [
        source_line(entry)
        for entry in entries(found["npu-01"], assignments, services, {}, PortAllocator())
    ]
    assert lines[0] == "figures: estimated from the model's size, never run"
    assert lines[2].startswith(
        "max_model_len as asked for; figures: table ascend-vllm-0.7.2, row 1"
    )


def test_names_are_cut_where_they_are_many() -> None:
    assert some(["a", "b", "c"]) == "a, b, c"
    assert some(list("abcde")) == "a, b and 3 more hosts"
