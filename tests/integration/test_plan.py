# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook plan on inventories as people write them, with the real ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options as ResolveOptions,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    resolve_terms,
    with_profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.tables import (
    load_catalogue,
    load_profiles,
    profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place

from tests.integration.conftest import environment

FILE = "vllm_service_instances.yml"
PROFILE = "atlas-800i-a2-64g"


@dataclass
class Outcome:
    """One run of ansible-playbook."""

    status: int
    output: str

    @property
    def changed(self) -> bool:
        return any(int(count) for count in re.findall(r"changed=(\d+)", self.output))

    @property
    def words(self) -> str:
        """The output with the escapes of JSON undone and lines joined, also those of a list."""
        joined = re.sub(r'",\n\s+"', " ", self.output)
        return " ".join(joined.replace("\\n", " ").replace('\\"', '"').split())


@dataclass
class Site:
    """An inventory in a folder of its own."""

    root: Path
    sources: list[str] = field(default_factory=lambda: ["hosts.yml"])
    profile: str | None = PROFILE

    def write(self, path: str, content: Any) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        file.write_text(text, encoding="utf-8")
        return file

    def group(self, *services: Any, hosts: Any = ("npu-[01:03]",), **variables: Any) -> None:
        """Write hosts.yml: a group that lists services, with hosts by name and variables."""
        named = hosts if isinstance(hosts, dict) else {host: {} for host in hosts}
        common: dict[str, Any] = {"vllm_plan_services": list(services), **variables}
        if self.profile:
            common["ascend_host_profile"] = self.profile
        self.write("hosts.yml", {"ascend": {"hosts": named, "vars": common}})

    def run(self, *command: str, **more: str) -> Outcome:
        done = subprocess.run(
            command,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**environment(), **more},
        )
        return Outcome(done.returncode, done.stdout + done.stderr)

    def inventory(self) -> list[str]:
        return [word for source in self.sources for word in ("-i", source)]

    def plan(self, *flags: str, env: dict[str, str] | None = None, **variables: Any) -> Outcome:
        extra = ["-e", json.dumps(variables)] if variables else []
        playbook = "inferops.ascend.plan"
        return self.run(
            "ansible-playbook", playbook, *self.inventory(), *extra, *flags, **(env or {})
        )

    def planned(self, *flags: str, **variables: Any) -> Outcome:
        """A run that has to go well."""
        outcome = self.plan(*flags, **variables)
        assert outcome.status == 0, outcome.output
        return outcome

    def refused(self, *flags: str, **variables: Any) -> str:
        """What a run says that has to fail, and to leave everything as it is."""
        before = self.tree()
        outcome = self.plan(*flags, **variables)
        assert outcome.status != 0, outcome.output
        assert self.tree() == before
        return outcome.words

    def tree(self) -> dict[str, str]:
        """Every file below the folder that has the inventory's folder, and its text."""
        return {
            str(path.relative_to(self.root.parent)): (
                os.readlink(path) if path.is_symlink() else path.read_text(encoding="utf-8")
            )
            for path in sorted(self.root.parent.rglob("*"))
            if path.is_symlink() or path.is_file()
        }

    def file(self, host: str, base: str = ".") -> Path:
        return self.root / base / "host_vars" / host / FILE

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob(FILE))
        }

    def variables(self) -> dict[str, dict[str, Any]]:
        """The variables of all hosts as Ansible loads them, templates unrendered."""
        done = subprocess.run(
            ["ansible-inventory", "--list", *self.inventory()],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
            env=environment(),
        )
        hosts: dict[str, dict[str, Any]] = json.loads(done.stdout)["_meta"]["hostvars"]
        return hosts

    def where(self) -> dict[str, dict[str, list[int]]]:
        """The cards of each service by host, as written."""
        return {
            host: {
                each["name"]: each["cards"]
                for each in own["vllm_service_instances"]
                if isinstance(each, dict)
            }
            for host, own in self.variables().items()
            if "vllm_service_instances" in own
        }

    def deployed(self) -> dict[str, dict[str, tuple[list[int], int, int]]]:
        """Cards, port and length of each service by host, as the role vllm_service has them."""
        found = {}
        for host, own in self.variables().items():
            kind = profile(own["ascend_host_profile"])
            specs = resolve_terms(
                own["vllm_service_instances"],
                load_catalogue(),
                with_profile(ResolveOptions(), None, kind.name),
            )
            placed = place(
                specs,
                kind.cards,
                excluded=own.get("ascend_host_excluded_cards", []),
                block_unit=kind.cards_per_board,
            )
            found[host] = {
                each["name"]: (each["cards"], each["port"], each["max_model_len"])
                for each in placed
            }
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    root = tmp_path / "inventory"
    root.mkdir()
    return Site(root)


# -- what it writes --------------------------------------------------------------------------------


def test_a_plan_is_what_deploy_does_and_a_second_run_changes_nothing(site: Site) -> None:
    site.group(
        {"model": "Qwen3-14B", "replicas": 3, "args": {"enable-prefix-caching": True}},
        {"model": "Qwen2.5-72B", "name": "chat", "replicas": 2, "max_model_len": "16K"},
        {"model": "Qwen/Qwen2.5-7B-Instruct", "port": 8100, "state": "stopped"},
        {"model": "bge-large-zh-v1.5", "replicas": "all"},
        ascend_host_excluded_cards=[3],
    )
    first = site.planned()
    assert first.changed
    assert "npu-02" in first.output
    written = site.where()
    assert sum("chat" in services for services in written.values()) == 2
    assert all({"qwen3-14b", "bge-large-zh-v1.5"} <= set(services) for services in written.values())
    assert all(3 not in cards for services in written.values() for cards in services.values())
    deployed = site.deployed()
    for host, own in site.variables().items():
        for service in own["vllm_service_instances"]:
            settled = (service["cards"], service["port"], service["max_model_len"])
            assert deployed[host][service["name"]] == settled
    lengths = {
        length
        for services in deployed.values()
        for name, (_unused, _unused, length) in services.items()
        if name == "chat"
    }
    assert lengths == {16384}
    files = site.files()
    second = site.planned()
    assert not second.changed
    assert site.files() == files


def test_the_same_input_gives_the_same_bytes_in_whatever_order(site: Site, tmp_path: Path) -> None:
    services = [{"model": "Qwen3-14B", "replicas": 4}, "QwQ-32B", {"model": "Qwen2.5-72B"}]
    site.group(*services, hosts=["a", "b", "c"])
    site.planned()
    other = Site(tmp_path / "other")
    other.group(*reversed(services), hosts=["c", "a", "b"])
    other.planned()
    assert other.files() == site.files()


def test_check_shows_each_file_and_writes_nothing(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": 2}, hosts=["npu-01", "npu-02"])
    before = site.tree()
    outcome = site.planned(
        "--check", "--diff", vllm_plan_markdown="plan.md", vllm_plan_html="plan.html"
    )
    assert outcome.changed
    for host in ("npu-01", "npu-02"):
        assert f"+++ after: {site.file(host)}" in outcome.output
    assert "+  - name: qwen3-14b" in outcome.output
    assert site.tree() == before


def test_a_locked_plan_fails_when_it_is_stale(site: Site) -> None:
    site.group("Qwen3-14B", "QwQ-32B", hosts=["npu-01", "npu-02"])
    assert "stale for 2 hosts: npu-01, npu-02" in site.refused(vllm_plan_locked=True)
    site.planned()
    assert not site.planned(vllm_plan_locked=True).changed
    (host,) = (host for host, services in site.where().items() if "qwq-32b" in services)
    site.group("Qwen3-14B", {"model": "QwQ-32B", "max_model_len": "8K"}, hosts=["npu-01", "npu-02"])
    said = site.refused(vllm_plan_locked=True)
    assert f"stale for 1 host: {host}." in said
    assert "ansible-playbook inferops.ascend.plan -i hosts.yml, look" in said
    said = site.refused(vllm_plan_locked=True, vllm_plan_output="o", ascend_hosts="ascend")
    assert "plan -i hosts.yml -e ascend_hosts=ascend -e vllm_plan_output=o, look" in said


def test_what_is_placed_stays(site: Site) -> None:
    site.group(
        {"model": "Qwen3-14B", "replicas": 3}, "QwQ-32B", "Qwen2.5-72B", hosts=["b", "c", "d"]
    )
    site.planned()
    before = site.where()
    # Others before and after, another order, one less, hosts before and after.
    site.group(
        {"model": "Qwen3-8B", "name": "aaa", "replicas": 4},
        "Qwen2.5-72B",
        {"model": "Qwen3-14B", "replicas": 3},
        hosts=["a", "b", "c", "d", "e"],
    )
    site.planned()
    after = site.where()
    for host, services in before.items():
        for name, cards in services.items():
            if name != "qwq-32b":
                assert after[host][name] == cards
    assert not any("qwq-32b" in services for services in after.values())
    assert sum("aaa" in services for services in after.values()) == 4


def test_a_change_of_one_service_rewrites_only_the_files_it_must(site: Site) -> None:
    hosts = [f"h{number}" for number in range(12)]
    services = [{"model": "Qwen3-14B", "name": f"s{number}", "replicas": 2} for number in range(12)]
    site.group(*services, hosts=hosts)
    site.planned()
    before = site.files()
    on = {f"host_vars/{host}/{FILE}" for host, own in site.where().items() if "s5" in own}
    services[5]["max_model_len"] = "4K"
    site.group(*services, hosts=hosts)
    site.planned()
    after = site.files()
    assert {path for path in before if before[path] != after[path]} == on


def test_cards_that_were_changed_by_hand_stand(site: Site) -> None:
    site.group("QwQ-32B", "Qwen3-14B", hosts=["npu-01"])
    site.planned()
    file = site.file("npu-01")
    file.write_text(file.read_text().replace("cards: [0, 1]", "cards: [4, 5]"), encoding="utf-8")
    site.planned()
    assert site.where()["npu-01"]["qwq-32b"] == [4, 5]
    # What does not fit any more is placed anew.
    file.write_text(file.read_text().replace("cards: [4, 5]", "cards: [5, 6]"), encoding="utf-8")
    site.planned()
    assert site.where()["npu-01"]["qwq-32b"] != [5, 6]


def test_ports_stay_too(site: Site) -> None:
    site.group("Qwen3-14B", "Qwen3-8B", hosts=["npu-01"])
    site.planned()
    ports = {name: port for name, (_unused, port, _unused) in site.deployed()["npu-01"].items()}
    site.group("Qwen3-14B", {"model": "Qwen3-1.7B", "name": "a"}, "Qwen3-8B", hosts=["npu-01"])
    site.planned()
    after = {name: port for name, (_unused, port, _unused) in site.deployed()["npu-01"].items()}
    assert {name: after[name] for name in ports} == ports
    assert len(set(after.values())) == 3


def test_a_repack_says_what_moves(site: Site) -> None:
    site.group("Qwen3-14B", hosts=["npu-01"])
    site.planned()
    file = site.file("npu-01")
    file.write_text(file.read_text().replace("cards: [0]", "cards: [5]"), encoding="utf-8")
    assert not site.planned().changed
    outcome = site.planned(vllm_plan_repack=True)
    assert site.where()["npu-01"]["qwen3-14b"] != [5]
    assert re.search(r"qwen3-14b.*npu-01.*5", outcome.output)


# -- what does not fit -----------------------------------------------------------------------------


def test_all_that_does_not_fit_is_said_at_once(site: Site) -> None:
    site.group(
        {"model": "Qwen3-14B", "replicas": 20},
        {"model": "Qwen3-Coder-480B-A35B", "name": "big"},
        {"model": "Qwen3-14B", "name": "long", "max_model_len": "1M"},
        hosts=["npu-01", "npu-02"],
    )
    said = site.refused()
    assert "qwen3-14b needs 1 card" in said
    assert "big needs 32 cards" in said
    assert "longest that was tested" in said
    assert "The plan has 3 problems, and nothing was written" in said


def test_a_request_that_is_wrong_stops_all(site: Site) -> None:
    site.group("Qwen3-14B", {"model": "Qwen3-15B"}, {"model": "QwQ-32B", "replicas": "many"})
    said = site.refused()
    assert "The closest are Qwen3-14B" in said
    assert "replicas is 'many'" in said
    assert "npu-01, npu-02, npu-03: vllm_plan_services, service 2" in said


def test_nobody_who_lists_services_is_an_error(site: Site) -> None:
    site.write("hosts.yml", {"all": {"hosts": {"npu-01": {}}}})
    assert "vllm_plan_services is not set for any host of this plan (npu-01)" in site.refused()


def test_a_limit_is_refused(site: Site) -> None:
    site.group("Qwen3-14B")
    assert "a plan is of a whole group" in site.refused("--limit", "npu-02")


# -- files of others -------------------------------------------------------------------------------


def test_hosts_that_left_lose_their_files_and_nothing_else(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["a", "b", "c", "d"])
    site.planned()
    site.write("host_vars/b/own.yml", "mine: 5\n")
    hand = site.write(f"host_vars/z/{FILE}", "vllm_service_instances: []\n")
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["a"])
    # d is still a host, and lists nothing any more.
    inventory = yaml.safe_load((site.root / "hosts.yml").read_text())
    site.write("hosts.yml", {**inventory, "others": {"hosts": {"d": {}}}})
    outcome = site.planned("--diff")
    assert f"--- before: {site.file('c')}" in outcome.output
    assert sorted(site.files()) == [f"host_vars/a/{FILE}", f"host_vars/z/{FILE}"]
    assert hand.exists()
    assert [path.name for path in sorted((site.root / "host_vars").iterdir())] == ["a", "b", "z"]
    assert [path.name for path in (site.root / "host_vars" / "b").iterdir()] == ["own.yml"]


def test_other_plans_in_the_same_folder_are_left_alone(site: Site) -> None:
    services = {"vllm_plan_services": ["Qwen3-14B"], "ascend_host_profile": PROFILE}
    site.write(
        "hosts.yml",
        {
            "east": {"hosts": {"e1": {}}, "vars": services},
            "west": {"hosts": {"w1": {}}, "vars": services},
        },
    )
    site.write("staging.yml", {"staging": {"hosts": {"s1": {}}, "vars": services}})
    site.planned(ascend_hosts="east")
    site.planned(ascend_hosts="west")
    # It might be meant as one service, so the run that adds it says what it does not count.
    again = site.planned("--check", ascend_hosts="west", vllm_plan_repack=True)
    assert "is added" not in again.words
    site.file("w1").unlink()
    outcome = site.planned(ascend_hosts="west")
    assert "qwen3-14b is added, and is also on e1, which this plan leaves out" in outcome.words
    staging = Site(site.root, ["staging.yml"])
    staging.planned()
    assert sorted(site.files()) == [f"host_vars/{host}/{FILE}" for host in ("e1", "s1", "w1")]
    assert not site.planned(ascend_hosts="east").changed


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("host_vars/npu-02/more.yml", {"vllm_service_instances": ["QwQ-32B"]}),
        (f"host_vars/npu-02/{FILE}", {"vllm_service_instances": ["QwQ-32B"]}),
        ("host_vars/npu-02.yml", {"vllm_service_instances": ["QwQ-32B"]}),
        ("group_vars/special.yml", {"vllm_service_instances": "{{ hand }}", "hand": ["QwQ-32B"]}),
    ],
)
def test_what_was_written_by_hand_is_taken_as_given(site: Site, path: str, content: Any) -> None:
    site.group({"model": "QwQ-32B", "replicas": 2}, hosts=["npu-01", "npu-02"])
    inventory = yaml.safe_load((site.root / "hosts.yml").read_text())
    site.write("hosts.yml", {**inventory, "special": {"hosts": {"npu-02": {}}}})
    file = site.write(path, content)
    before = file.read_text()
    outcome = site.planned()
    assert f"npu-02: its services are written by hand in {file}" in outcome.words
    # It counts as a replica, and nothing is written for the host.
    assert site.where()["npu-01"] == {"qwq-32b": [0, 1]}
    assert [name for name in site.files() if name != path] == [f"host_vars/npu-01/{FILE}"]
    assert file.read_text() == before


@pytest.mark.parametrize(
    "path",
    [
        "host_vars/npu-01/zzz.yml",  # hides the plan's file
        "host_vars/npu-01/aaa.yml",  # is hidden by it
        "group_vars/ascend.yml",
        "group_vars/all/services.yml",
    ],
)
def test_nothing_hides_or_is_hidden(site: Site, path: str) -> None:
    site.group("QwQ-32B", hosts=["npu-01"])
    site.planned()
    file = site.write(path, {"vllm_service_instances": ["Qwen3-14B"]})
    said = site.refused()
    assert f"written by hand in {file}, and by the plan in {site.file('npu-01')}" in said


def test_hand_and_plan_in_the_inventory_file_and_on_the_command_line(site: Site) -> None:
    site.group("QwQ-32B", hosts=["npu-01"])
    site.planned()
    said = site.refused(vllm_service_instances=["Qwen3-14B"])
    assert "written by hand in the inventory or an extra variable" in said
    by_hand = {"npu-01": {"vllm_service_instances": ["Qwen3-14B"]}, "npu-02": {}}
    site.group("QwQ-32B", hosts=by_hand)
    assert "one of them hides the other" in site.refused()
    site.file("npu-01").unlink()
    assert "npu-01: its services are written by hand" in site.planned().words
    assert site.where() == {"npu-01": {}, "npu-02": {"qwq-32b": [0, 1]}}


def test_variables_loaded_at_the_start_are_no_hand_of_others(site: Site) -> None:
    site.group("QwQ-32B", hosts=["npu-01"])
    env = {"ANSIBLE_RUN_VARS_PLUGINS": "start"}
    assert site.plan(env=env).status == 0
    again = site.plan(env=env)
    assert again.status == 0, again.output
    assert not again.changed


def test_more_in_a_file_of_the_plan_is_not_lost(site: Site) -> None:
    site.group("QwQ-32B", hosts=["npu-01"])
    site.planned()
    with site.file("npu-01").open("a") as stream:
        stream.write("mine: 5\n")
    assert "also sets mine, which the plan would remove" in site.refused()


def test_services_added_by_hand_to_a_file_of_the_plan_go_with_a_word(site: Site) -> None:
    site.group("QwQ-32B", hosts=["npu-01"])
    site.planned()
    with site.file("npu-01").open("a") as stream:
        stream.write("  - Qwen3-8B\n  - {name: b, model: Qwen3-8B, cards: [7], port: 9000}\n")
    outcome = site.planned("--check")
    assert (
        f"npu-01: Qwen3-8B in {site.file('npu-01')} was not put there by the plan" in outcome.words
    )
    assert "- b: npu-01 7" in outcome.words
    assert f"Would write 1 file (npu-01) in {site.root}/host_vars." in outcome.words
    site.planned()
    assert "No file changes." in site.planned().words


def test_a_file_that_cannot_be_read_is_named(site: Site) -> None:
    site.group("Qwen3-14B", hosts=["npu-01", "npu-02"])
    broken = site.write("host_vars/npu-02/more.yml", "a: [\n")
    said = site.refused()
    assert "variables of npu-02 cannot be read" in said
    assert str(broken) in said
    broken.unlink()
    site.write("out", "no folder")
    said = site.refused(vllm_plan_output="out")
    assert "out/host_vars cannot be read: Not a directory." in said
    assert "Errno" not in said


# -- the trap --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["npu-01.yml", "npu-01.yaml", "npu-01.json", "npu-01"])
def test_a_file_that_ansible_would_no_longer_read(site: Site, name: str) -> None:
    site.group("QwQ-32B", hosts=["npu-01", "npu-02"])
    file = site.write(f"host_vars/{name}", '{"mine": 5}')
    said = site.refused()
    assert f"{file} would no longer be read by Ansible" in said
    assert "mkdir" in said
    checked = site.planned("--check", "--diff", vllm_plan_adopt_host_vars=True)
    assert "would be moved to" in checked.words
    assert file.read_text() == '{"mine": 5}'
    site.planned(vllm_plan_adopt_host_vars=True)
    own = site.variables()["npu-01"]
    assert own["mine"] == 5
    assert own["vllm_service_instances"]
    assert not site.planned().changed


def test_a_file_beside_a_folder_that_is_there_is_not_read_either(site: Site) -> None:
    site.group("QwQ-32B", hosts=["npu-01"])
    site.planned()
    site.write("host_vars/npu-01.yml", "mine: 5\n")
    assert "is not read by Ansible, because there is the folder" in site.refused()
    site.planned(vllm_plan_adopt_host_vars=True)
    assert site.variables()["npu-01"]["mine"] == 5


# -- secrets and templates -------------------------------------------------------------------------

CIPHER = """\
$ANSIBLE_VAULT;1.1;AES256
33363835653437306236336162313032366634393061303932353834336264393764393430366631
6137"""


def test_secrets_and_templates_stay_as_they_were_written(site: Site) -> None:
    block = "".join(f"          {line}\n" for line in CIPHER.splitlines())
    site.write(
        "hosts.yml",
        "ascend:\n  hosts:\n    npu-01:\n      size: 14B\n  vars:\n"
        f"    ascend_host_profile: {PROFILE}\n    vllm_plan_services:\n"
        '      - model: "Qwen3-{{ size }}"\n        name: chat\n'
        '        max_model_len: "{{ 4 * 4 }}K"\n'
        f"        api_key: !vault |\n{block}"
        '        secret_env: {HF_TOKEN: "{{ vault_token }}"}\n'
        '        env: {WHO: "{{ nobody_knows }}", RAW: !unsafe "{{ raw }}"}\n',
    )
    site.planned()  # without a password of any vault
    text = site.file("npu-01").read_text()
    assert "model: Qwen3-14B\n" in text
    assert "max_model_len: 16384\n" in text
    assert "api_key: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      3336383565" in text
    assert 'HF_TOKEN: "{{ vault_token }}"' in text
    assert 'WHO: "{{ nobody_knows }}"' in text
    assert 'RAW: !unsafe "{{ raw }}"' in text
    assert not site.planned().changed


@pytest.mark.parametrize(
    ("request_keys", "named"),
    [
        ({"api_key": "hush-hush"}, "api_key"),
        (
            {"weights": {"source": "archive", "location": "https://me:hush-hush@host/x.tar"}},
            "the password in weights, location,",
        ),
    ],
)
def test_a_secret_in_plain_text_is_refused(
    site: Site, request_keys: dict[str, object], named: str
) -> None:
    site.group({"model": "Qwen3-14B", **request_keys})
    said = site.refused()
    assert f"{named} stands there in plain text" in said
    assert "hush-hush" not in said


def test_what_a_host_renders_to_counts_for_it(site: Site) -> None:
    site.group(
        {"model": "{{ wanted }}", "name": "chat"},
        hosts={
            "npu-01": {"wanted": "Qwen3-14B", "ascend_host_excluded_cards": "{{ ill }}"},
            "npu-02": {"wanted": "Qwen3-14B", "other": "{{ hostvars['npu-01'].wanted }}"},
        },
        ill=[0],
    )
    site.planned()
    site.group(
        {"model": "{{ wanted }}", "name": "chat"},
        hosts={
            "npu-01": {"wanted": "Qwen3-14B"},
            "npu-02": {"wanted": "{{ hostvars['npu-01'].wanted | replace('14', '8') }}"},
            "npu-03": {},
        },
    )
    said = site.refused()
    assert "npu-03: vllm_plan_services, service 1 (chat): model: {{ wanted }} cannot be" in said
    assert "npu-01 and npu-02 ask for it with other values of model" in said


# -- inventories -----------------------------------------------------------------------------------

SERVICES = {"vllm_plan_services": ["Qwen3-14B"], "ascend_host_profile": PROFILE}


def test_an_inventory_is_a_folder_too(site: Site) -> None:
    apart = [{"model": f"Qwen3-{n}B", "hosts": f"npu-0{i}"} for i, n in ((1, 8), (2, 14))]
    site.group(*apart, hosts=["npu-01"])
    site.write("more/hosts", "[ascend]\nnpu-02\n")
    site.sources = ["."]
    site.planned()
    assert sorted(site.where()) == ["npu-01", "npu-02"]
    assert not site.planned().changed
    site.sources = [str(site.root)]
    assert not site.planned().changed
    site.sources = ["hosts.yml", "more/hosts"]
    # Beside that file Ansible now reads a host_vars of its own. What stands stays.
    file = site.file("npu-02")
    moved = re.sub(r"cards: .*\n    port: .*", "cards: [6]\n    port: 8765", file.read_text())
    file.write_text(moved, encoding="utf-8")
    site.planned()
    assert sorted(site.files()) == [f"host_vars/npu-01/{FILE}", f"more/host_vars/npu-02/{FILE}"]
    assert list(site.where()["npu-02"].values()) == [[6]]
    assert "port: 8765" in site.file("npu-02", "more").read_text()


def test_several_sources_have_their_own_folders(site: Site) -> None:
    site.write("east/hosts.yml", {"ascend": {"hosts": {"e1": {}}, "vars": SERVICES}})
    site.write("west/hosts", "[ascend]\nw1\nw2\n")
    site.sources = ["east/hosts.yml", "west/hosts"]
    site.planned()
    assert sorted(site.files()) == [
        f"east/host_vars/e1/{FILE}",
        f"west/host_vars/w1/{FILE}",
        f"west/host_vars/w2/{FILE}",
    ]
    assert sorted(site.where()) == ["e1", "w1", "w2"]
    assert not site.planned().changed


def test_an_inventory_is_a_script_too(site: Site) -> None:
    data = {
        "ascend": {"hosts": ["npu-01", "fe80::1"], "vars": SERVICES},
        "_meta": {"hostvars": {"npu-01": {}, "fe80::1": {}}},
    }
    script = site.write("inventory", f"#!{sys.executable}\nprint('''{json.dumps(data)}''')\n")
    script.chmod(0o755)
    site.sources = ["inventory"]
    site.planned()
    assert sorted(site.where()) == ["fe80::1", "npu-01"]


def test_hosts_of_the_command_line_need_a_folder(site: Site) -> None:
    site.sources = ["npu-01,npu-02,"]
    assert "Set vllm_plan_output" in site.refused(**SERVICES)
    site.planned(vllm_plan_output="out", **SERVICES)
    assert sorted(site.files()) == [f"out/host_vars/npu-0{n}/{FILE}" for n in (1, 2)]
    assert not site.planned(vllm_plan_output="out", **SERVICES).changed
    site.sources = ["npu-01,"]
    site.planned(vllm_plan_output="out", **SERVICES)
    assert sorted(site.files()) == [f"out/host_vars/npu-01/{FILE}"]


def test_an_output_folder_is_kept_as_the_inventorys_own(site: Site) -> None:
    site.group("Qwen3-14B", "QwQ-32B", hosts=["npu-01", "npu-02"])
    site.planned()
    beside = site.files()
    site.write(f"out/host_vars/npu-02/{FILE}", "vllm_service_instances: [Qwen3-8B]\n")
    outcome = site.planned(vllm_plan_output="out")
    assert f"by hand in {site.file('npu-02', 'out')}" in outcome.words
    assert {path: text for path, text in site.files().items() if path in beside} == beside
    assert not site.planned(vllm_plan_output="out").changed


def test_odd_names_of_hosts(site: Site) -> None:
    names = ["npu-01", "2001:db8::1", "~tilde", "#hash", "é", "a b", "{{ x }}", "*", "x.yml", "-d"]
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=names)
    site.planned()
    assert sorted(site.where()) == sorted(names)
    assert not site.planned().changed


@pytest.mark.parametrize(
    "name", ["../../etc", "/etc", "..", ".", "a/b", "$HOME", "${HOME}/x", "a\nb", "npu-01.yml"]
)
def test_no_name_leads_out_of_the_folder(site: Site, name: str) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01", name])
    assert "cannot be planned for" in site.refused()


def test_no_link_leads_out_of_the_folder(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01"])
    outside = site.root.parent / "outside"
    outside.mkdir()
    (site.root / "host_vars").symlink_to(outside)
    assert f"a symbolic link to {outside}" in site.refused()
    (site.root / "host_vars").unlink()
    (site.root / "host_vars").mkdir()
    (site.root / "host_vars" / "npu-01").symlink_to(outside)
    assert "is a symbolic link" in site.refused()
    assert not list(outside.iterdir())


# -- hardware --------------------------------------------------------------------------------------


def test_a_mixed_fleet(site: Site) -> None:
    site.profile = None
    site.group(
        {"model": "QwQ-32B", "replicas": "all", "hosts": "a2*"},
        {"model": "Qwen2.5-72B", "name": "large"},
        hosts={
            "a2-64": {"ascend_host_profile": "atlas-800i-a2-64g", "vllm_service_cards": 2},
            "a2-32": {"ascend_host_profile": "atlas-800i-a2-32g"},
            "a3": {"ascend_host_profile": "atlas-800i-a3", "ascend_host_excluded_cards": [0]},
        },
    )
    outcome = site.planned()
    where = site.where()
    assert where == {
        "a2-32": {"qwq-32b": [0, 1, 2, 3]},
        "a2-64": {"qwq-32b": [0, 1]},
        "a3": {"large": where["a3"]["large"]},
    }
    assert len(where["a3"]["large"]) == 4
    assert where["a3"]["large"][0] % 4 == 0
    assert "large: not for hosts of atlas-800i-a2-32g" in outcome.words


def test_a_service_larger_than_a_host_takes_whole_ones(site: Site) -> None:
    site.group(
        {"model": "Qwen3-235B-A22B", "name": "big"},
        "Qwen3-14B",
        hosts=["npu-01", "npu-02", "npu-03"],
    )
    site.planned()
    own = site.variables()
    parts = {
        host: each
        for host, variables in own.items()
        for each in variables["vllm_service_instances"]
        if each["name"] == "big"
    }
    assert len(parts) == 2
    hosts = sorted(parts)
    for rank, host in enumerate(hosts):
        part = parts[host]
        assert part["cards"] == list(range(8))
        assert (part["tensor_parallel_size"], part["pipeline_parallel_size"]) == (8, 2)
        assert part["cluster"] == {"leader": hosts[0], "rank": rank, "hosts": hosts}
    assert not site.planned().changed
    with pytest.raises(AscendError, match="big spans several hosts"):
        site.deployed()


NPU_SMI = """\
#!/bin/sh
case "$*" in
    info) cat {data}/a3-16-dies-info.txt ;;
    "info -m") cat {data}/a3-16-dies-m.txt ;;
    *) exit 1 ;;
esac
"""


def test_only_hosts_that_do_not_say_what_they_have_are_asked(site: Site, repository: Path) -> None:
    npu_smi = site.write(
        "npu-smi", NPU_SMI.format(data=repository / "tests" / "unit" / "data" / "npu-smi")
    )
    npu_smi.chmod(0o755)
    asked = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "ascend_host_npu_smi": str(npu_smi),
    }
    declared = {"ascend_host_profile": PROFILE, "ansible_ssh_executable": "/bin/false"}
    site.profile = None
    site.group(
        {"model": "Qwen3-14B", "replicas": "all"}, hosts={"npu-01": declared, "npu-02": asked}
    )
    outcome = site.planned()
    assert "npu-02: no ascend_host_profile is declared. By its cards it is atlas-800i-a3" in (
        outcome.words
    )
    assert sorted(site.where()) == ["npu-01", "npu-02"]
    away = {"ansible_ssh_executable": "/bin/false", "ansible_ssh_retries": 0}
    site.group(
        {"model": "Qwen3-14B", "replicas": "all"},
        hosts={
            "npu-01": declared,
            "npu-02": {**asked, "ascend_host_npu_smi": "/nowhere"},
            "npu-03": away,
            "npu-04": asked,
        },
    )
    said = site.refused()
    for host in ("npu-02", "npu-03"):
        assert re.search(
            f"{host} \\(.+?\\) could not be asked for its cards, which its variables do not", said
        )
    assert "npu-04 (" not in said


def test_tables_and_estimates_of_the_role_count(site: Site) -> None:
    site.write(
        "files/own.yml",
        {
            "table": "own",
            "updated": "2026-01-31",
            "conditions": {"gpu_memory_utilization": 0.9, "card_memory_gb": 64},
            "rows": [
                {"model": "our-tune", "min_cards": 2, "max_model_len_k": 8, "kind": "generate"}
            ],
        },
    )
    site.group("our-tune", hosts=["npu-01"], ascend_model_tables=["files/own.yml"])
    site.planned()
    text = site.file("npu-01").read_text()
    assert "# figures: table own, row 1, 2026-01-31, measured" in text
    assert "cards: [0, 1]" in text


# -- roles and pages -------------------------------------------------------------------------------


def test_the_role_runs_in_a_play_of_all_hosts(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": 2}, hosts=["npu-01", "npu-02", "npu-03"])
    site.write(
        "play.yml",
        [
            {
                "hosts": "ascend",
                "gather_facts": False,
                "tasks": [
                    {
                        "ansible.builtin.include_role": {"name": "inferops.ascend.vllm_plan"},
                        "run_once": True,
                    }
                ],
            }
        ],
    )
    outcome = site.run("ansible-playbook", "-i", "hosts.yml", "play.yml")
    assert outcome.status == 0, outcome.output
    assert sum(map(len, site.where().values())) == 2
    assert not site.planned().changed


def test_a_pattern_of_several_groups(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01", "npu-02", "npu-03"])
    site.planned(ascend_hosts="ascend:!npu-02")
    assert sorted(site.where()) == ["npu-01", "npu-03"]


def test_hosts_are_a_list_of_patterns_too(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01", "npu-02", "npu-03"])
    site.planned(ascend_hosts=["npu-01", "npu-03"])
    assert sorted(site.where()) == ["npu-01", "npu-03"]


def test_what_is_printed_fits_80_columns(site: Site) -> None:
    """With all that Ansible puts around it, and but for a path that is longer by itself."""
    site.group(
        {"model": "Qwen3-235B-A22B", "name": "assistant-of-the-second-line-of-the-support-desk"},
        {"model": "bge-large-zh-v1.5", "replicas": "all", "hosts": "npu-0*"},
        hosts={
            "npu-0001.rack-12.row-3.hall-b.example.com": {},
            "npu-a3": {"ascend_host_profile": "atlas-800i-a3"},
            "duo": {"ascend_host_profile": "atlas-300i-duo-96g", "vllm_service_cards": 8},
        },
    )
    ran = site.planned()
    assert "not for hosts of atlas-300i-duo-96g (8 cards of 48 GB)" in ran.words
    lines = ran.output.split("Show the plan", 1)[1].split("PLAY RECAP")[0].splitlines()[1:]
    assert any("0123 4567 8901 2345  services" in line for line in lines)
    assert [line for line in lines if len(line) > 80 and max(map(len, line.split())) < 60] == []


def test_pages_are_written_once(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": 2}, hosts=["npu-01", "npu-02"])
    pages = {"vllm_plan_markdown": "pages/plan.md", "vllm_plan_html": "pages/plan.html"}
    assert site.planned(**pages).changed
    before = site.tree()
    assert "qwen3-14b" in before["inventory/pages/plan.md"]
    assert "<html" in before["inventory/pages/plan.html"]
    assert not site.planned(**pages).changed
    assert site.tree() == before
    site.group({"model": "Qwen3-14B", "replicas": 1}, hosts=["npu-01", "npu-02"])
    assert site.planned(**pages).changed
    assert site.tree()["inventory/pages/plan.md"] != before["inventory/pages/plan.md"]


def test_every_profile_can_be_planned(site: Site) -> None:
    hosts = {
        name: {"ascend_host_profile": name, "vllm_service_cards": kind.cards or 8}
        for name, kind in load_profiles().items()
    }
    site.profile = None
    site.group(
        {"model": "Qwen3-0.6B", "replicas": "all"}, hosts=hosts, vllm_service_allow_untested=True
    )
    site.planned()
    assert sorted(site.where()) == sorted(hosts)
    shutil.rmtree(site.root / "host_vars")
