# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are not what they are taken for: what is rejected, in which words, and untouched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .site import HIDDEN, SCRAMBLE, Site, a2

pytestmark = pytest.mark.hosts


def test_each_host_is_refused_in_its_own_words_and_left_as_it_was(site: Site) -> None:
    site.sh("a2", SCRAMBLE)
    site.sh("a3", HIDDEN)
    site.sh("broken", "ascend-sim set error=-8005")
    wishes = {
        "a2": a2(
            "Qwen3-14B",
            {"model": "Qwen3-8B", "name": "b", "cards": [5]},
            {"model": "Qwen3-8B", "name": "c", "cards": [2]},
        ),
        "a3": {
            "ascend_host_profile": "atlas-800i-a3",
            "vllm_service_instances": [{"model": "Qwen3-32B", "name": "all", "cards": 16}],
        },
        "duo": {
            "ascend_host_profile": "atlas-300i-duo-96g",
            "vllm_service_estimate": True,
            "vllm_service_instances": [{"model": "Qwen3-0.6B", "args": {"dtype": "bfloat16"}}],
        },
        "small": a2("Qwen3-14B"),
        "broken": a2("Qwen3-14B"),
        "plain": a2("Qwen3-14B"),
    }
    before = {host: site.snapshot(host) for host in wishes}
    run = site.play("deploy", wishes)
    assert run.status != 0
    pid = site.sh("a2", "systemctl show -P MainPID train").strip()

    text = run.refusal("a2")
    assert text.startswith("Preflight of a2: 2 errors and 2 warnings. Nothing was changed")
    assert (
        "ERROR placement, service b: service b wants card 5, which is not available: in use by PID"
        f" {pid} /bin/sleep 99999 (unit train.service)." in text
    )
    assert "service c wants card 2, which is not available: health Alarm." in text
    assert "WARNING health, card 2 (NPU 26 chip 0, /dev/davinci6): health Alarm" in text
    assert f"card 5 (NPU 29 chip 0, /dev/davinci1): in use by PID {pid} /bin/sleep 99999" in text

    text = run.refusal("a3")
    assert "service all needs 16 cards in one block" in text
    assert (
        "card 5, 25536 of 65536 MB are free, gpu_memory_utilization 0.95 takes 59613 MB, and"
        " npu-smi shows no process that uses the rest" in text
    )

    text = run.refusal("duo")
    assert "args of Qwen3-0.6B sets dtype to 'bfloat16' on atlas-300i-duo-96g" in text
    assert "float16 only. Leave it out; it is set to 'float16'." in text
    assert run.recap("duo", "ok") == 0, "this one needs no contact"

    text = run.refusal("small")
    assert (
        "ERROR card_memory, atlas-800i-a2-64g: the profile has cards of 64 GB, but every card has"
        " 32768 MB." in text
    )
    assert "the cards fit atlas-800i-a2-32g." in text
    assert "ERROR chip, atlas-800i-a2-64g: the chip is 910B4" in text
    assert "ERROR model, Qwen3-14B on atlas-800i-a2-32g: No table lists Qwen3-14B on" in text
    assert "ERROR memory" not in text

    text = run.refusal("broken")
    assert text.startswith("Preflight of broken: 1 error. Nothing was changed on this host.")
    assert "ERROR npu_smi, cards: npu-smi cannot talk to the driver" in text
    assert "usermod -aG HwHiAiUser USER" in text
    assert "must be rebooted" in text

    text = run.refusal("plain")
    for code in ("npu_smi, cards: npu-smi was not found", "driver, /usr/local/Ascend/driver/"):
        assert f"ERROR {code}" in text
    assert "ERROR access, group HwHiAiUser: there is no such group" in text
    assert "ERROR cann, /usr/local/Ascend/nnal/atb/set_env.sh: the script is missing" in text
    assert "ERROR engine, /opt/vllm/current/bin/vllm: there is no such program" in text

    assert {host: site.snapshot(host) for host in wishes} == before


def test_services_go_where_the_real_cards_are_and_stay_there(site: Site) -> None:
    """One host is refused, the others go on; a second run changes nothing."""
    site.sh("a2", SCRAMBLE)
    site.sh("broken", "ascend-sim set error=-8005")
    wishes = {
        "a2": a2("Qwen3-14B", {"model": "Qwen3-8B", "name": "b", "cards": 2}),
        "a3": {
            "ascend_host_profile": "atlas-800i-a3",
            "vllm_service_instances": [
                {"model": "Qwen3-0.6B", "name": "one"},
                {"model": "Qwen3-32B", "name": "pair", "cards": 2},
            ],
        },
        "duo": {
            "ascend_host_profile": "atlas-300i-duo-96g",
            "vllm_service_estimate": True,
            "ascend_host_excluded_cards": [0],
            "vllm_service_instances": [
                {"model": "Qwen3-0.6B", "name": "d", "max_model_len": "16K"}
            ],
        },
        "small": {
            "ascend_host_profile": "atlas-800i-a2-32g",
            "vllm_service_instances": [{"model": "QwQ-32B", "name": "s"}],
        },
        "broken": a2("Qwen3-14B"),
    }
    run = site.play("deploy", wishes)
    assert "npu-smi cannot talk to the driver" in run.refusal("broken")
    for host in ("a2", "a3", "duo", "small"):
        assert run.recap(host, "failed") == 0, run.output
        assert run.recap(host, "changed") == 1, run.output  # services

    def placement(host: str, name: str) -> list[str]:
        text = site.sh(host, f"cat /etc/systemd/system/vllm@{name}.service.d/placement.conf")
        return re.findall(r"DEVICES=\S+|/dev/davinci[0-9]+", text)

    assert placement("a2", "qwen3-14b") == ["DEVICES=0", "/dev/davinci4"]
    assert placement("a2", "b") == ["DEVICES=6,7", "/dev/davinci2", "/dev/davinci3"]
    assert placement("a3", "one") == ["DEVICES=0", "/dev/davinci0"]
    assert placement("a3", "pair") == ["DEVICES=2,3", "/dev/davinci2", "/dev/davinci3"]
    assert placement("duo", "d") == ["DEVICES=1", "/dev/davinci1"]
    config = yaml.safe_load(site.sh("duo", "cat /etc/vllm/d.yaml"))
    assert (config["dtype"], config["enforce-eager"]) == ("float16", True)
    for host, port in (("a2", 8000), ("a2", 8001), ("a3", 8001), ("duo", 8000), ("small", 8000)):
        site.sh(
            host,
            f"for i in $(seq 600); do curl -sf localhost:{port}/health && exit 0; sleep 0.2; done;"
            " journalctl -u 'vllm@*' -n 30 >&2; exit 1",
        )

    # The held card is free now: no reason to move what runs. Our own services hold no card of ours.
    site.sh("a2", "systemctl stop train; ascend-sim card 5 'processes=[]'")
    before = site.snapshot("a2")
    del wishes["broken"]
    second = site.play("deploy", wishes)
    assert second.status == 0, second.output
    for host in wishes:
        assert second.recap(host, "changed") == 0, second.output
    assert site.snapshot("a2") == before


def test_one_report_lists_everything_that_is_wrong(site: Site) -> None:
    site.sh(
        "a2",
        "sed -i s/Status=complete/Status=broken/ /etc/ascend_install.info;"
        " ascend-sim card 7 missing=true;"
        " systemd-run -q --unit port python3 -m http.server 8000;"
        " until curl -s localhost:8000 >/dev/null; do sleep 0.1; done",
    )
    pid = site.sh("a2", "systemctl show -P MainPID port").strip()
    before = site.snapshot("a2")
    wish = a2(
        "Qwen3-14B",
        vllm_service_engine_version="0.13.0",
        vllm_service_cann_scripts=[
            "/opt/cann/set_env.sh",
            "/usr/local/Ascend/ascend-toolkit/set_env.sh",
        ],
        ascend_host_checks={"disk": "ignore"},
    )
    text = site.play("deploy", {"a2": wish}).refusal("a2")
    for line in (
        "ERROR count, atlas-800i-a2-64g: npu-smi shows 7 cards, the profile has 8.",
        "ERROR driver, /etc/ascend_install.info: Driver_Install_Status is broken, not complete.",
        "ERROR cann, /opt/cann/set_env.sh: the script is missing;",
        "ERROR versions, CANN: CANN 8.5.1 is installed at /usr/local/Ascend/ascend-toolkit/set_env.sh;"
        " vLLM 0.13.0 goes with CANN 8.5.0 (driver 25.5.2). CANN 8.5.1 goes with vLLM 0.18.0.",
        f"ERROR ports, service qwen3-14b: port 8000 is taken: PID {pid} /usr/bin/python3 -m"
        " http.server 8000 (unit port.service) listens there.",
    ):
        assert line in text
    assert site.snapshot("a2") == before
    lenient = dict.fromkeys(("count", "driver", "cann", "versions", "ports", "npu_smi"), "warning")
    wish["ascend_host_checks"] = lenient
    run = site.play("deploy", {"a2": wish}, "--check")
    assert run.status == 0, run.output
    assert run.output.count("WARNING") >= 5
    assert site.snapshot("a2") == before


def test_the_table_of_cards_is_read_at_a_glance(site: Site) -> None:
    site.sh("a2", SCRAMBLE)
    site.sh("broken", "ascend-sim set error=-8005")
    both: dict[str, dict[str, Any]] = {"a2": {}, "broken": {}}
    pid = site.sh("a2", "systemctl show -P MainPID train").strip()
    run = site.play("facts", both)
    assert run.status == 0, run.output
    lines = [" ".join(line.strip(' ",').split()) for line in run.output.splitlines()]
    assert max(len(line) for line in run.output.splitlines() if "davinci" in line) < 100
    assert f"29 0 5 1 davinci1 910B3 OK 53314/65536 train.service [{pid}]" in lines
    assert "26 0 2 6 davinci6 910B3 Alarm 3314/65536 -" in lines
    assert any("dcmi_8005: npu-smi cannot talk to the driver" in line for line in lines)
    run = site.play("facts", {"a2": {"ascend_facts_format": "json"}})
    data = json.loads(run.output.split("ok: [a2] => ")[-1].split("\n\nPLAY RECAP")[0])["msg"]
    assert data["cards"][5]["processes"][0]["unit"] == "train.service"


TUNABLE = """
mount -t tmpfs none /proc/sys
mkdir -p /proc/sys/vm /proc/sys/kernel
echo 60 >/proc/sys/vm/swappiness
echo 1 >/proc/sys/kernel/numa_balancing
mount -t tmpfs none /sys/devices/system/cpu
mkdir -p /sys/devices/system/cpu/cpufreq/policy0
echo powersave >/sys/devices/system/cpu/cpufreq/policy0/scaling_governor
cat >/etc/systemd/system/irqbalance.service <<X
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
X
systemctl enable -q --now irqbalance
"""
TUNED = r"""
for file in /proc/sys/vm/swappiness /proc/sys/kernel/numa_balancing \
    /sys/devices/system/cpu/cpufreq/policy0/scaling_governor; do echo "$(cat $file)"; done
systemctl is-active irqbalance || true
systemctl start irqbalance; systemctl is-active irqbalance || true
ls /etc/sysctl.d/90-inferops-ascend.conf /etc/tmpfiles.d/inferops-ascend.conf 2>/dev/null || true
"""


def test_tuning_says_that_a_container_does_not_allow_it_and_leaves_no_trace(site: Site) -> None:
    before = site.sh("a3", "ls -R /etc/sysctl.d /etc/tmpfiles.d /var/lib")
    host = {"a3": {"ascend_host_profile": "atlas-800i-a3", "ascend_host_tuning": True}}
    text = site.play("bootstrap", host).refusal("a3")
    assert "/proc/sys is read-only on this host" in text
    host["a3"]["ascend_host_tuning"] = False
    run = site.play("bootstrap", host)
    assert run.status == 0, run.output
    assert run.recap("a3", "changed") == 0, run.output
    site.sh("a3", "rm -r /var/lib/vllm")
    assert site.sh("a3", "ls -R /etc/sysctl.d /etc/tmpfiles.d /var/lib") == before


def test_tuning_is_files_and_taking_it_back_removes_them(site: Site) -> None:
    site.sh("a3", TUNABLE)
    host = {
        "a3": {
            "ascend_host_profile": "atlas-800i-a3",
            "ascend_host_tuning": True,
            "ascend_host_irqbalance": "stop",
        }
    }
    run = site.play("bootstrap", host, "--check", "--diff")
    assert run.status == 0, run.output
    assert "+vm.swappiness = 0" in run.output
    assert "active\nactive\n" in site.sh("a3", TUNED)
    for changed in (True, False):
        run = site.play("bootstrap", host)
        assert run.status == 0, run.output
        assert bool(run.recap("a3", "changed")) == changed, run.output
    files = "/etc/sysctl.d/90-inferops-ascend.conf\n/etc/tmpfiles.d/inferops-ascend.conf\n"
    assert site.sh("a3", TUNED) == f"0\n0\nperformance\ninactive\ninactive\n{files}"
    host["a3"]["ascend_host_tuning"] = False
    for changed in (True, False):
        run = site.play("bootstrap", host)
        assert run.status == 0, run.output
        assert bool(run.recap("a3", "changed")) == changed, run.output
    assert site.sh("a3", TUNED) == "0\n0\nperformance\nactive\nactive\n"


INCLUDED = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: inferops.ascend.ascend_host}
    - ansible.builtin.include_role: {name: inferops.ascend.vllm_service}
"""


def test_included_roles_are_judged_for_the_services_too(site: Site, tmp_path: Path) -> None:
    book = tmp_path / "included.yml"
    book.write_text(INCLUDED, encoding="utf-8")
    site.sh("a2", "ascend-sim card 0 memory_idle=40000")
    pinned = a2({"model": "Qwen3-14B", "cards": [0]})
    text = site.play(str(book), {"a2": pinned}, "--check").refusal("a2")
    assert "ERROR placement, service qwen3-14b: service qwen3-14b wants card 0" in text
    too_many = a2({"model": "Qwen3-32B", "name": "big", "cards": 16})
    run = site.play(str(book), {"a2": too_many}, "--check")
    assert "service big needs 16 cards, and this host has 8" in run.output
    run = site.play(str(book), {"a2": {"ascend_host_profile": "atlas-800i-a2-64g"}}, "--check")
    assert "vllm_service_instances is not defined where this host is checked" in run.output


def test_bootstrap_heeds_the_users_checks_and_refuses_half_words(site: Site) -> None:
    host = a2("Qwen3-14B", vllm_service_cann_scripts=["/opt/cann/set_env.sh"])
    book = "bootstrap"
    run = site.play(book, {"a2": host}, "--check")
    assert "WARNING cann, /opt/cann/set_env.sh" in run.output
    host["ascend_host_checks"] = {"cann": "error"}
    text = site.play(book, {"a2": host}, "--check").refusal("a2")
    assert "ERROR cann, /opt/cann/set_env.sh" in text
    host["ascend_host_tuning"] = "maybe"
    text = site.play(book, {"a2": host}, "--check").refusal("a2")
    assert "ascend_host_tuning is 'maybe'. Write true" in text
    host.update(ascend_host_tuning=None, ascend_host_checks={})
    run = site.play(book, {"a2": host}, "--check")
    assert run.recap("a2", "failed") == 0, run.output
