# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written is what Ansible reads; nothing of anybody else's is touched, and nothing by halves."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.host import Host
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.vars import host_group_vars
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan import files, plan_file
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import (
    adopted_path,
    beside,
    hidden_file_message,
    place_fault,
    read_directory,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.entries import (
    INSTANCES,
    Entry,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.files import (
    Change,
    apply,
    write_page,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import (
    Assignment,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import (
    TaggedValue,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.locations import (
    FILE,
    HOST_VARS,
    Places,
    defined_where,
    name_fault,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.plan_file import (
    Writer,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.requests import (
    ServiceRequest,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.services import (
    Service,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

SPEC = {
    "provenance": {"table": "ascend-64gb", "row": 29, "updated": "2025-11-19", "basis": "measured"}
}


def entry(name: str, passed: Mapping[str, Any] | None = None, **settled: Any) -> Entry:
    request = ServiceRequest(name, {"model": "Qwen3-14B"}, passed or {}, 1, None, False, 0)
    keys = {
        "name": name,
        "model": "Qwen3-14B",
        "cards": [0],
        "port": 8000,
        "max_model_len": 32768,
        "tensor_parallel_size": 1,
        **settled,
    }
    return Entry(name, keys, Service(request, ()), SPEC)


def text(*entries: Entry) -> str:
    return Writer().text(entries, "hosts.yml")


def place_on(base: Path, host: str, content: str) -> Path:
    path = base / HOST_VARS / host / FILE
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    return path


def loaded(base: Path, host: str) -> Any:
    """What Ansible itself reads for a host, of this folder alone."""
    host_group_vars.FOUND.clear()
    host_group_vars.NAK.clear()
    plugin = host_group_vars.VarsModule()
    return plugin.get_vars(DataLoader(), str(base), [Host(host)])


# -- text ------------------------------------------------------------------------------------------


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
    data = content.encode()
    quick = plan_file.read_plan_file(Path("f"), "h", data, "hosts.yml")
    try:
        yaml.safe_load(content)
    except yaml.YAMLError:
        return  # what the fast way makes of it does not matter: it is written anew
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_file, "_quickly", lambda *_: False)
        slow = plan_file.read_plan_file(Path("f"), "h", data, "hosts.yml")
    assert quick == slow


def test_cards_changed_by_hand_stand() -> None:
    content = text(entry("a"), entry("b", cards=[2, 3])).replace("[2, 3]", "[5, 4]")
    existing = plan_file.read_plan_file(Path("f"), "h", content.encode(), "hosts.yml")
    assert existing.assignments[1] == Assignment("b", "h", (4, 5))


# -- markers and folders ---------------------------------------------------------------------------


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
        (text() + "a: [", "is not YAML. Mend or delete it"),
        (text() + "more: 5\nother: 6\n", "also sets more, other"),
        (text().replace("[]", "5"), "does not hold a list"),
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


def test_where_files_go(tmp_path: Path) -> None:
    for name in ("one/hosts.yml", "two/sub/more.yml", "three/a.yml", "three/b.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    sources = [str(one / "hosts.yml"), str(two), str(three / "a.yml"), "x,y,", "/nowhere"]
    places = Places(sources, "")
    assert places.of(str(one), str(one / "hosts.yml")) == (one, "hosts.yml")
    # Ansible reads no host_vars beside a file in a folder of the inventory's folder.
    assert places.of(str(two / "sub"), str(two / "sub" / "more.yml")) == (two, "sub/more.yml")
    assert places.speaks_for(two, "sub/more.yml")
    assert places.speaks_for(three, "a.yml")
    assert not places.speaks_for(three, "b.yml")
    with pytest.raises(AscendError, match="vllm_plan_output"):
        places.of(None, None)
    with pytest.raises(AscendError, match="whose folder Ansible reads"):
        places.of("/elsewhere", "/elsewhere/hosts")
    output = Places(sources, str(tmp_path / "out"))
    assert output.of(None, None) == (tmp_path / "out", "of the command line")
    assert output.of(str(one), str(one / "hosts.yml")) == (tmp_path / "out", "hosts.yml")
    assert output.speaks_for(tmp_path / "out", "of the command line")


def test_a_folder_and_its_file_are_called_the_same(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.touch()
    for source in (tmp_path, file):
        places = Places([str(source)], "")
        assert places.of(str(tmp_path), str(file)) == (tmp_path, "hosts.yml")
        assert places.speaks_for(tmp_path, "hosts.yml")


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../etc",
        "/etc",
        "a/b",
        "a\0b",
        "$HOME",
        "a$b",
        "a\nb",
        "x" * 256,
        "\ud800",
    ],
)
def test_names_that_ansible_would_look_for_elsewhere(name: str) -> None:
    assert name_fault(name)


@pytest.mark.parametrize(
    "name",
    ["npu-01", "fe80::1", "2001:db8::1", "a b", "~root", "#x", "{{ x }}", "é", "*", "-a", "a~"],
)
def test_odd_names_that_work(tmp_path: Path, name: str) -> None:
    assert name_fault(name) is None
    place_on(tmp_path, name, text(entry("a")))
    assert loaded(tmp_path, name)[INSTANCES][0]["name"] == "a"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.lists(st.sampled_from(["..", ".", "a", "", "~", "$HOME", "etc"]), max_size=5).map("/".join)
)
@settings(max_examples=200, deadline=None)
def test_no_name_leads_out_of_the_folder_or_to_where_ansible_does_not_look(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    outer = tmp_path_factory.mktemp("outer", numbered=True)
    base = outer / "base"
    base.mkdir()
    if name_fault(name) is None:
        directory = read_directory(base)
        assert not beside(directory, name)
        apply(directory, [Change(name, directory.target(name), None, text(entry("a")))])
        files = [path for path in outer.rglob("*") if not path.is_dir()]
        assert [path.parent.parent for path in files] == [base / HOST_VARS]
        assert loaded(base, name)[INSTANCES][0]["name"] == "a"
    assert [path.name for path in outer.iterdir()] == ["base"]
    shutil.rmtree(outer)


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    base = tmp_path / "base"
    (base / HOST_VARS).mkdir(parents=True)
    (base / HOST_VARS / "a").symlink_to(outside)
    (base / HOST_VARS / "b").mkdir()
    (base / HOST_VARS / "b" / FILE).symlink_to(outside / "x")
    directory = read_directory(base)
    assert "symbolic link" in str(place_fault(directory, "a"))
    assert "symbolic link" in str(place_fault(directory, "b"))
    assert place_fault(directory, "c") is None
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / HOST_VARS).symlink_to(outside)
    assert str(outside) in str(place_fault(read_directory(linked), "c"))


# -- the trap --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["h.yml", "h.yaml", "h.json", "h"])
def test_the_command_that_is_named_mends_it(tmp_path: Path, name: str) -> None:
    folder_path = tmp_path / "with space" / HOST_VARS
    folder_path.mkdir(parents=True)
    (folder_path / name).write_text('{"mine": 5}', encoding="utf-8")
    directory = read_directory(tmp_path / "with space")
    (file,) = beside(directory, "h")
    said = hidden_file_message(directory, "h", file)
    assert "would no longer be read" in said
    command = said.split("into the folder: ")[1].split(" ; or")[0]
    assert os.system(command) == 0
    put_beside = folder_path / "h" / FILE
    put_beside.write_text(text(entry("a")), encoding="utf-8")
    read = loaded(tmp_path / "with space", "h")
    assert (read["mine"], read[INSTANCES][0]["name"]) == (5, "a")
    assert not beside(read_directory(tmp_path / "with space"), "h")


@pytest.mark.parametrize("name", ["h.yml", "h"])
def test_what_is_moved_can_be_read_at_any_time(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / HOST_VARS / name
    path.parent.mkdir()
    path.write_text("mine: 5", encoding="utf-8")
    directory = read_directory(tmp_path)
    (file,) = beside(directory, "h")
    seen = []

    def looking(do: Any) -> Any:
        def then(*args: Any, **options: Any) -> Any:
            result = do(*args, **options)
            seen.append(loaded(tmp_path, "h").get("mine"))
            return result

        return then

    for module, function in ((os, "rename"), (os, "replace"), (shutil, "copy2"), (Path, "unlink")):
        monkeypatch.setattr(module, function, looking(getattr(module, function)))
    target = adopted_path(directory, "h", file)
    apply(directory, [Change("h", directory.target("h"), None, text(entry("a")), file, target)])
    assert len(seen) >= 4
    assert set(seen) == {5}


@pytest.mark.parametrize("name", ["h.yml", "h.yaml", "h.json", "h"])
@pytest.mark.parametrize("there", [False, True])
def test_adopted_files_are_read_beside_the_plan(tmp_path: Path, name: str, there: bool) -> None:
    path = tmp_path / HOST_VARS / name
    path.parent.mkdir()
    path.write_text('{"mine": 5}', encoding="utf-8")
    path.chmod(0o640)
    if there and name != "h":
        (tmp_path / HOST_VARS / "h").mkdir()
    directory = read_directory(tmp_path)
    (file,) = beside(directory, "h")
    target = adopted_path(directory, "h", file)
    apply(directory, [Change("h", directory.target("h"), None, text(entry("a")), file, target)])
    read = loaded(tmp_path, "h")
    assert (read["mine"], read[INSTANCES][0]["name"]) == (5, "a")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert not beside(read_directory(tmp_path), "h")


def test_the_folder_of_another_host_is_no_file_beside(tmp_path: Path) -> None:
    place_on(tmp_path, "h.yml", text())
    assert not beside(read_directory(tmp_path), "h")


# -- writing ---------------------------------------------------------------------------------------


def changes(directory: files.Directory, *hosts: str) -> list[Change]:
    return [
        Change(
            host,
            directory.target(host),
            directory.plans[host].text if host in directory.plans else None,
            text(entry(f"on-{host}")),
        )
        for host in hosts
    ]


def test_modes_are_kept_and_those_of_new_files_are_the_users(tmp_path: Path) -> None:
    kept = place_on(tmp_path, "a", text())
    kept.chmod(0o604)
    before = os.umask(0o027)
    try:
        directory = read_directory(tmp_path)
        apply(directory, changes(directory, "a", "b"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o604
    made = tmp_path / HOST_VARS / "b" / FILE
    assert stat.S_IMODE(made.stat().st_mode) == 0o640
    assert sorted(path.name for path in (tmp_path / HOST_VARS).iterdir()) == ["a", "b"]


def test_what_was_removed_takes_its_empty_folder_along(tmp_path: Path) -> None:
    for host in ("a", "b"):
        place_on(tmp_path, host, text())
    (tmp_path / HOST_VARS / "b" / "own.yml").touch()
    directory = read_directory(tmp_path)
    apply(
        directory,
        [Change(h, directory.target(h), directory.plans[h].text, None) for h in ("a", "b")],
    )
    left = sorted(str(path.relative_to(tmp_path / HOST_VARS)) for path in tmp_path.rglob("*.yml"))
    assert left == ["b/own.yml"]
    assert not (tmp_path / HOST_VARS / "a").exists()


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[files.Directory]:
    """A run that dies at the second rename, and does not get to clean up."""
    place_on(tmp_path, "b", text())
    directory = read_directory(tmp_path)
    replace, renamed = os.replace, []

    def dying(source: Any, target: Any) -> None:
        renamed.append(target)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        patch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            apply(directory, changes(directory, "a", "b", "c"))
    yield directory


def test_an_interrupted_run_leaves_whole_files_and_is_completed(
    tmp_path: Path, interrupted: files.Directory
) -> None:
    assert loaded(tmp_path, "a")[INSTANCES][0]["name"] == "on-a"
    assert loaded(tmp_path, "b")[INSTANCES] == []
    assert INSTANCES not in loaded(tmp_path, "c")
    again = read_directory(tmp_path)
    assert len(again.stale) == 1
    apply(again, changes(again, "a", "b", "c"))
    assert sorted(path.name for path in (tmp_path / HOST_VARS).iterdir()) == ["a", "b", "c"]
    assert [loaded(tmp_path, host)[INSTANCES][0]["name"] for host in "abc"] == [
        "on-a",
        "on-b",
        "on-c",
    ]


def test_nothing_is_written_where_one_file_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = read_directory(tmp_path)
    write = files._stage_file
    count = 0

    def full(*args: Any) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(28, "No space left on device", "x")
        write(*args)

    monkeypatch.setattr(files, "_stage_file", full)
    with pytest.raises(AscendError, match="No space left on device"):
        apply(directory, changes(directory, "a", "b"))
    assert list((tmp_path / HOST_VARS).iterdir()) == []


def test_a_page_is_written_when_its_stamp_is_another(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "plan.md"
    assert write_page(page, "one\nstamp 1\n", "stamp 1", check=True) == (True, "")
    assert not page.parent.exists()
    assert write_page(page, "one\nstamp 1\n", "stamp 1", check=False) == (True, "")
    assert write_page(page, "two\nstamp 1\n", "stamp 1", check=False)[0] is False
    assert page.read_text() == "one\nstamp 1\n"
    assert write_page(page, "two\nstamp 2\n", "stamp 2", check=False) == (True, "one\nstamp 1\n")
    assert [path.name for path in page.parent.iterdir()] == ["plan.md"]


def test_a_page_in_the_place_of_a_link_is_not_open_to_all(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    page = tmp_path / "plan.md"
    page.symlink_to("kept")
    write_page(page, "text", "stamp", check=False)
    assert page.stat().st_mode & 0o022 == 0
    assert (tmp_path / "kept").read_text() == "mine"


def test_the_file_that_defines_a_variable_is_found(tmp_path: Path) -> None:
    ours = place_on(tmp_path, "h", text())
    assert defined_where("h", ["g"], [tmp_path], {ours}) is None
    (tmp_path / "group_vars").mkdir()
    other = tmp_path / "group_vars" / "g.yaml"
    other.write_text("vllm_service_instances: []\n", encoding="utf-8")
    assert defined_where("h", ["g"], [tmp_path], {ours}) == other
    nearer = tmp_path / HOST_VARS / "h" / "more.yml"
    nearer.write_text("vllm_service_instances: []\n", encoding="utf-8")
    assert defined_where("h", ["g"], [tmp_path], {ours}) == nearer
