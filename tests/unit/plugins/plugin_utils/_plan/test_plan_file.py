# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written is what Ansible reads, and what the plan reads back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan import plan_file
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import read_directory
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import INSTANCES
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import Assignment
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import TaggedValue
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .plan_files import entry, loaded, place_on, text


def test_a_file_as_people_review_it() -> None:
    passed = {
        "api_key": "{{ vault_key }}",
        "args": {"enable-prefix-caching": True, "hf-overrides": {"a": [1, 2.5]}, "x": {}},
        "env": {"OMP_NUM_THREADS": "10", "EMPTY": None, "LIST": [], "WORDS": ["yes", "a b"]},
        "mixed": [{"a": 1}, [2], "c"],
    }
    members = {"leader": "npu-01", "rank": 0, "hosts": ["npu-01", "npu-02"]}
    assert (
        text(entry("chat", passed, cards=[0, 1], cluster=members))
        == """\
---
# Written by the playbook inferops.ascend.plan from the inventory hosts.yml.
# To change what is served, change vllm_plan_services and run it again. It rewrites this file, and
# removes it when the host leaves. Cards and ports that are changed here stay where they fit. Without
# the first line the file is yours: it is left alone, and the host taken as it says.
vllm_service_instances:
  # figures: table ascend-64gb, row 29, 2025-11-19, measured
  - name: chat
    model: Qwen3-14B
    cards: [0, 1]
    port: 8000
    max_model_len: 32768
    tensor_parallel_size: 1
    cluster:
      leader: npu-01
      rank: 0
      hosts: [npu-01, npu-02]
    api_key: "{{ vault_key }}"
    args:
      enable-prefix-caching: true
      hf-overrides:
        a: [1, 2.5]
      x: {}
    env:
      OMP_NUM_THREADS: "10"
      EMPTY: null
      LIST: []
      WORDS: ["yes", "a b"]
    mixed:
      -
        a: 1
      - [2]
      - c
"""
    )


def test_a_host_without_services_says_so() -> None:
    assert text().endswith("\nvllm_service_instances: []\n")


def test_what_ansible_is_to_decrypt_or_not_to_render_keeps_its_tag(tmp_path: Path) -> None:
    cipher = "$ANSIBLE_VAULT;1.1;AES256\n3132\n3334"
    passed = {
        "api_key": TaggedValue("!vault", cipher),
        "raw": TaggedValue("!unsafe", "a {{ b }}"),
        "list": [TaggedValue("!vault", cipher)],
    }
    content = text(entry("chat", passed))
    place_on(tmp_path, "h", content)
    service = loaded(tmp_path, "h")[INSTANCES][0]
    for value in (service["api_key"], service["list"][0]):
        kept = value._ciphertext
        assert (kept.decode() if isinstance(kept, bytes) else kept).strip() == cipher
    assert 'raw: !unsafe "a {{ b }}"' in content
    assert read_directory(tmp_path).plans["h"].names == ["chat"]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(
        ["yes", "No", "1e3", "0x1F", "012", "1:30", "~", "null", "=", "<<", "2026-01-01"]
    )
)


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(["y", "on"])


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(
    st.lists(
        st.tuples(NAMES, st.lists(st.integers(0, 15), min_size=1), st.integers(1024, 65535)),
        max_size=4,
        unique_by=lambda each: each[0],
    ),
    st.dictionaries(KEYS.map(lambda key: f"x{key}"), VALUES, max_size=3),
)
@example(
    [("a", [1], 8000)], {"x": [1e16, 1e-7, -2.5e300, 0.1], "xy": {"é\u2028": "\x85 \ufeff\x7f"}}
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_files_loaded_by_ansible_give_the_plan_back(
    tmp_path_factory: pytest.TempPathFactory, placed: list[Any], passed: dict[str, Any]
) -> None:
    base = tmp_path_factory.mktemp("base", numbered=True)
    made = [
        entry(name, passed, cards=sorted(set(cards)), port=port) for name, cards, port in placed
    ]
    place_on(base, "h", text(*made))
    wanted = [{**each.settled, **passed} for each in made]
    assert loaded(base, "h") == {INSTANCES: wanted}
    existing = read_directory(base).plans["h"]
    assert existing.fault is None
    assert existing.ports == {name: port for name, _unused, port in placed}
    assert existing.assignments == [
        Assignment(name, "h", tuple(sorted(set(cards)))) for name, cards, _unused in placed
    ]
    shutil.rmtree(base)


# What people do to a file by hand, and more.
LINES = st.sampled_from(
    [
        "  - name: other",
        "    cards: [9]",
        "    cards: 2",
        "    port: 9000",
        "    name: twice",
        '    "cards": [7]',
        "    cluster: {leader: a, rank: 0, hosts: [a, b]}",
        "    args: {cards: [8]}",
        "    args:",
        "      cards: [8]",
        "    text: |",
        "    words: 'a",
        "    end'",
        "  # a comment",
        "# another",
        "",
        "other: 5",
        "   ",
        "  - {name: flow, cards: [3]}",
        "\tx: y",
        "    cards: [010]",
        "    port: 010",
        "      leader: z",
        "      rank: 010",
        "      hosts: [a, on]",
        "      hosts: [a, i]",
    ]
)


@example([(32, "      leader: z")], set())  # below those of the cluster, and the last one counts
@example([(32, "      hosts: [a, on]")], {31})
@given(st.lists(st.tuples(st.integers(0, 40), LINES), max_size=3), st.sets(st.integers(5, 36)))
@settings(max_examples=400, deadline=None)
def test_a_file_that_is_edited_by_hand_is_read_as_yaml_reads_it(
    edits: list[tuple[int, str]], dropped: set[int]
) -> None:
    spans = {"leader": "h", "rank": 1, "hosts": ["g", "h"]}
    made = [entry("a", {"k": 1}), entry("b", cards=[2, 3], port=8001)]
    lines = text(*made, entry("c", {"k": 1}, port=8002, cluster=spans)).splitlines()
    lines = [line for number, line in enumerate(lines) if number not in dropped]
    for place, line in edits:
        lines.insert(min(max(place, 2), len(lines)), line)
    content = "\n".join(lines) + "\n"
    read = plan_file.read_plan_file(Path("f"), "h", content.encode(), "hosts.yml")
    try:
        meant = yaml.safe_load(content)
        meant = {} if meant is None else meant
    except yaml.YAMLError:
        assert read.fault is not None
        return  # it is written again
    if not isinstance(meant, dict) or set(meant) - {INSTANCES}:
        assert read.fault is not None
        return
    if not isinstance(meant.get(INSTANCES, []), list):
        assert read.fault is not None
        return
    items = [each for each in meant.get(INSTANCES, []) if isinstance(each, dict)]
    named = [each for each in items if isinstance(each.get("name"), str)]
    assert read.names == [each["name"] for each in named]
    cards = [list(each.cards) for each in read.assignments]
    for each in named:
        if isinstance(each.get("cards"), list):
            assert sorted(each["cards"]) in cards


def test_cards_changed_by_hand_stay() -> None:
    content = text(entry("a"), entry("b", cards=[2, 3])).replace("[2, 3]", "[5, 4]")
    existing = plan_file.read_plan_file(Path("f"), "h", content.encode(), "hosts.yml")
    assert existing.assignments[1] == Assignment("b", "h", (4, 5))


@pytest.mark.parametrize(
    ("content", "source"),
    [
        (text(), "hosts.yml"),
        ("# mine\n" + text(), "hosts.yml"),
        (text().replace("\n", "\r\n"), "hosts.yml"),
        ("vllm_service_instances: []\n" + text(), None),
        ("---\nvllm_service_instances: []\n", None),
        ("", None),
        ("$ANSIBLE_VAULT;1.1;AES256\n3132\n", None),
    ],
)
def test_the_marker_decides_whose_a_file_is(
    tmp_path: Path, content: str, source: str | None
) -> None:
    place_on(tmp_path, "h", content)
    directory = read_directory(tmp_path)
    assert [each.source for each in directory.plans.values()] == ([source] if source else [])
    assert list(directory.by_hand) == ([] if source else ["h"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (text() + "a: [", "is not YAML. Fix or delete it"),
        (text() + "more: 5\nother: 6\n", "also sets more, other"),
        (text().replace("[]", "5"), "is not a list"),
    ],
)
def test_a_file_of_ours_that_cannot_be_taken(tmp_path: Path, content: str, words: str) -> None:
    place_on(tmp_path, "h", content)
    fault = read_directory(tmp_path).plans["h"].fault
    assert fault is not None
    assert words in fault


def test_entries_that_say_nothing_of_a_place_are_passed_over(tmp_path: Path) -> None:
    content = text().replace(" []", "\n- 5\n- {name: a, cards: 2}\n- {cards: [1]}\n- {name: 7}\n")
    place_on(tmp_path, "h", content)
    existing = read_directory(tmp_path).plans["h"]
    assert (existing.names, existing.assignments, existing.fault) == (["a"], [], None)
    assert existing.unplaced_names == ["an entry", "a", "an entry", "an entry"]
