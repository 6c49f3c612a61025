# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of others beside those of a plan, and secrets in them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from .site import FILE, PROFILE, Site


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


def test_other_plans_in_the_same_directory_are_left_alone(site: Site) -> None:
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
    assert f"npu-01: Qwen3-8B in {site.file('npu-01')} was not written by the plan" in outcome.words
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
    site.write("out", "no directory")
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


def test_a_file_beside_a_directory_that_is_there_is_not_read_either(site: Site) -> None:
    site.group("QwQ-32B", hosts=["npu-01"])
    site.planned()
    site.write("host_vars/npu-01.yml", "mine: 5\n")
    assert "is not read by Ansible, because there is the directory" in site.refused()
    site.planned(vllm_plan_adopt_host_vars=True)
    assert site.variables()["npu-01"]["mine"] == 5


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
def test_a_secret_in_plain_text_is_rejected(
    site: Site, request_keys: dict[str, object], named: str
) -> None:
    site.group({"model": "Qwen3-14B", **request_keys})
    said = site.refused()
    assert f"{named} is in plain text" in said
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
