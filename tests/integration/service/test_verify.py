# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks verify, remove and site on real hosts: what they say, and what they leave alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..hosts import scenario, started
from ..playbooks import CLEAN, PROFILE, Books, codes

pytestmark = pytest.mark.hosts

SCENARIO = scenario("verify")
SMALL = {"model": "Qwen3-0.6B", "name": "small"}
KEYED = {"model": "Qwen3-1.7B", "name": "keyed", "api_key": "opensesame-1"}
WIDE = {"model": "Qwen3-32B", "name": "wide", "cards": 4}
DOWN = {"model": "Qwen3-4B", "name": "down", "state": "stopped"}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("verify") / "inventory.yml"
    flags = ["--host", "h1:a2-64g", "--host", "h2:a2-64g"]
    with started(SCENARIO, path, *flags) as inventory:
        yield inventory


@pytest.fixture
def books(inventory: Path, tmp_path: Path) -> Iterator[Books]:
    it = Books(SCENARIO, inventory, tmp_path)
    yield it
    for host in ("h1", "h2"):
        it.sh(host, CLEAN + "; userdel vllm; rm -f /etc/security/limits.d/90-i*", check=False)


def test_a_host_that_is_as_wanted_passes_in_two_questions(books: Books) -> None:
    books.list_services("h1", SMALL, KEYED, WIDE, DOWN)
    assert books.run("deploy", "--limit", "h1").status == 0
    before = books.snapshot("h1")
    ran, compared = books.verify("--limit", "h1", "-vvv")
    assert ran.status == 0, ran.output
    assert [
        (each["name"], each["cards"], each["max_model_len"], each["state"], each["result"])
        for each in compared["h1"]["services"]
    ] == [
        ("small", [0], 32768, "ready", "ok"),
        ("keyed", [1], 32768, "ready", "ok"),
        ("wide", [4, 5, 6, 7], 32768, "ready", "ok"),
        ("down", [2], 32768, "stopped", "ok"),
    ]
    assert "opensesame-1" not in (books.folder / "comparison.json").read_text()
    assert "opensesame-1" not in ran.output
    asked = re.findall(r"Using module file .*/(\w+)\.py", ran.output)
    assert asked == ["host_info", "systemd_instances"]
    assert books.snapshot("h1") == before


def test_every_host_is_looked_at_before_the_run_fails(books: Books) -> None:
    """One is right, one carries a stranger, one is not there, one has no variables."""
    values = yaml.safe_load(books.inventory.read_text())
    hosts = values["all"]["hosts"]
    hosts["gone"] = {"ansible_host": "192.0.2.1", "ansible_ssh_timeout": 2}
    hosts["bare"] = {**hosts["h1"], "ascend_host_profile": PROFILE}
    books.inventory.write_text(yaml.safe_dump(values))
    for host in ("h1", "h2", "gone"):
        books.list_services(host, SMALL)
    ran, report = books.deploy()
    assert ran.status == 4, ran.output
    assert (report["complete"], report["check"], report["ok"]) == (True, False, False)
    assert {host: (each["state"], each["step"]) for host, each in report["results"].items()} == {
        "h1": ("changed", ""),
        "h2": ("changed", ""),
        "gone": ("unreachable", "reach"),
        "bare": ("failed", "check"),
    }
    (service,) = report["results"]["h1"]["services"]
    assert (service["action"], service["state"]) == ("start", "ready")
    (refusal,) = report["results"]["bare"]["refused"]
    assert "vllm_service_instances is not defined for this host" in refusal["message"]
    ran, report = books.deploy("--limit", "gone")
    assert (ran.status, report["hosts"]) == (4, {"unreachable": 1}), "no host is left for the end"
    assert "192.0.2.1" in report["results"]["gone"]["message"]
    books.sh(
        "h2",
        "systemd-run -q --unit train /bin/sleep 99999; ascend-sim card 5"
        ' "processes=[{\\"pid\\": $(systemctl show -P MainPID train), \\"name\\": \\"sleep\\",'
        ' \\"memory_mb\\": 50000}]"',
    )
    ran, compared = books.verify()
    assert ran.status == 4, "one was not reached"
    assert ran.output.count("unreachable=1") == 1
    assert {host: comparison["state"] for host, comparison in compared.items()} == {
        "h1": "ok",
        "h2": "differs",
        "gone": "unreachable",
        "bare": "failed",
    }
    (finding,) = compared["h2"]["findings"]
    assert "card 5" in finding["message"] and "unit train.service" in finding["message"]
    assert "systemctl stop train.service" in finding["advice"]
    (finding,) = compared["bare"]["findings"]
    assert "vllm_service_instances is not defined for this host" in finding["message"]
    assert [each["name"] for each in compared["bare"]["services"]] == ["small"], "what is there"
    assert "Hosts: 1 ok, 1 differs, 1 failed, 1 unreachable" in ran.output
    assert max(map(len, re.findall(r'^        ".*"?,?$', ran.output, re.M))) <= 80

    page, data = books.folder / "status.html", books.folder / "status.json"
    ran = books.run("status", vllm_status_html=str(page), vllm_status_output=str(data))
    assert ran.status == 0, ran.output
    first = next(line for line in ran.output.splitlines() if "problems:" in line)
    assert first.strip() == '"3 problems:",', "an on-call person reads it first"
    assert "host  0123 4567  services" in ran.output
    assert "h2    A... .x..  A small" in ran.output
    found = {each["host"]: each for each in json.loads(data.read_text())["hosts"]}
    assert {host: each["state"] for host, each in found.items()} == {
        host: comparison["state"] for host, comparison in compared.items()
    }
    assert found["h2"]["cards"][5]["use"] == "foreign"
    assert "systemctl stop train.service" in page.read_text()
    assert books.run("status", vllm_status_fail=True).status == 2

    _unused, compared = books.verify("--limit", "h2", ascend_host_excluded_cards=[5])
    assert compared["h2"]["ok"], "an excluded card is nobody's business"


def test_services_have_one_card_together(books: Books) -> None:
    embed = {"model": "bge-m3", "name": "embed", "share": True, "gpu_memory_utilization": 0.5}
    rerank = {"model": "bge-reranker-v2-m3", "name": "rerank", "share": True}
    rerank["gpu_memory_utilization"] = 0.3
    more = {"model": "bge-base-zh-v1.5", "name": "more", "share": True}
    books.list_services("h1", embed, rerank)
    contained = {"vllm_service_method": "container", "vllm_service_container_image": "none:1"}
    ran = books.run("deploy", "--limit", "h1", **contained)
    assert ran.status == 2 and "that of card 0 is off" in ran.output, ran.output
    assert "npu-smi set -t device-share -i 0 -c 0 -d 1" in ran.output
    books.sh("h1", "ascend-sim card 0 device_share=true")
    ran = books.run("deploy", "--limit", "h1")
    assert ran.status == 0 and "device-share" not in ran.output, ran.output
    assert "estimated, never run: bge-m3" in ran.output
    journal = books.sh("h1", "journalctl -o cat -u vllm@embed -u vllm@rerank")
    assert journal.count("another service of this card is starting, waiting for it") == 1
    ask = "curl -sSf -H content-type:application/json localhost"
    books.sh("h1", f"""{ask}:8000/v1/embeddings -d '{{"model": "bge-m3", "input": "a"}}'""")
    books.sh("h1", f"""{ask}:8001/rerank -d '{{"query": "a", "documents": ["b"]}}'""")

    def pids() -> str:
        return books.sh("h1", "systemctl show -P MainPID vllm@embed vllm@rerank")

    both = pids()
    third = {**more, "gpu_memory_utilization": 0.2}
    books.list_services("h1", *({**each, "cards": [0]} for each in (embed, rerank, third)))
    ran = books.run("deploy", "--limit", "h1", ansible_host="192.0.2.1")
    assert ran.status == 2 and "UNREACHABLE" not in ran.output
    assert "services embed, rerank and more all want card 0 and take 0.5 + 0.3 + 0.2" in ran.output
    books.list_services("h1", {**more, "gpu_memory_utilization": 0.1}, rerank, embed)
    ran = books.run("deploy", "--limit", "h1")
    assert ran.status == 0, ran.output
    assert pids() == both, "what runs stays, though another one joins it"
    assert books.sh("h1", "npu-smi info | grep -c EngineCor") == "3\n"
    ran, compared = books.verify("--limit", "h1")
    assert ran.status == 0, ran.output
    assert [each["cards"] for each in compared["h1"]["services"]] == [[0], [0], [0]]


def test_what_still_loads_is_told_from_what_is_wrong(books: Books) -> None:
    books.list_services("h1", SMALL)
    books.sh("h1", "ascend-sim behaviour Qwen3-0.6B delay=600")
    assert books.run("deploy", "--limit", "h1", vllm_service_wait=False).status == 0
    ran, compared = books.verify("--limit", "h1")
    assert (ran.status, compared["h1"]["state"]) == (2, "loading")
    assert codes(compared["h1"]) == {}
    ran, compared = books.verify("--limit", "h1", vllm_verify_accept_loading=True)
    assert (ran.status, compared["h1"]["state"]) == (0, "loading")


def test_a_killed_service_and_the_start_limit_are_named(
    books: Books,
) -> None:
    quick = {"vllm_service_restart_delay": 0, "vllm_service_start_limit_burst": 2}
    books.list_services("h1", SMALL, **quick)
    assert books.run("deploy", "--limit", "h1").status == 0
    books.sh(
        "h1",
        "for i in $(seq 600); do systemctl is-failed -q vllm@small && exit 0;"
        " systemctl kill --kill-who=main -s KILL vllm@small 2>/dev/null; sleep 0.2; done; exit 1",
    )
    _unused, compared = books.verify("--limit", "h1")
    [found] = compared["h1"]["services"][0]["findings"]
    assert "killed by signal 9 (SIGKILL)" in found["message"], found
    assert "(start-limit-hit): it ended 2 times within 2h (StartLimitBurst" in found["message"]
    assert "run inferops.ascend.deploy, which starts it" in found["advice"]
    ready = books.run("ready", "--limit", "h1")
    assert ready.status == 2 and "killed by signal 9 (SIGKILL)" in ready.output, ready.output


def test_a_removal_touches_only_what_it_was_told_to(books: Books) -> None:
    books.list_services("h1", SMALL, KEYED, WIDE)
    assert books.run("deploy", "--limit", "h1").status == 0
    books.sh(
        "h1",
        "id vllm >/dev/null 2>&1 || useradd --system vllm;"
        " mkdir -p /etc/systemd/system/vllm@hand.service.d; printf '[Service]\\nExecStart=\\n"
        "ExecStart=/bin/sleep 1000\\n' > /etc/systemd/system/vllm@hand.service.d/x.conf;"
        " cp /etc/vllm/small.yaml /etc/vllm/hand.yaml; systemctl daemon-reload;"
        " systemctl start vllm@hand",
    )
    before = books.snapshot("h1")
    ran = books.run("remove", "--limit", "h1")
    assert ran.status == 2
    assert "vllm_remove_services is not set. Name the services" in ran.output
    ran = books.run("remove", "--limit", "h1", "--check", "--diff", vllm_remove_services="keyed")
    assert ran.status == 0, ran.output
    assert "vllm@keyed.service: stop, because it is no longer wanted, not enabled" in ran.output
    assert "opensesame" not in ran.output
    assert books.snapshot("h1") == before

    def pids() -> list[str]:
        return [
            books.sh("h1", f"systemctl show -P MainPID vllm@{name}") for name in ("small", "wide")
        ]

    stay = pids()
    ran = books.run("remove", "--limit", "h1", vllm_remove_services="keyed,hand,nosuch")
    assert ran.status == 0, ran.output
    assert pids() == stay
    assert books.sh("h1", "ls /etc/vllm") == "hand.yaml\nsmall.yaml\nwide.yaml\n"
    assert (
        books.sh("h1", "systemctl is-active vllm@keyed vllm@hand || true") == "inactive\nactive\n"
    )
    assert books.sh("h1", "npu-smi info | grep -c EngineCor") == "5\n", "its card is free"
    for words in (
        "h1: removed: keyed.",
        "hand: there is no such service that this collection made",
        "Still in vllm_service_instances of h1: keyed.",
    ):
        assert words in ran.output
    again = books.run("remove", "--limit", "h1", vllm_remove_services="keyed")
    assert not again.changed("h1") and "h1: nothing to remove." in again.output
    _unused, compared = books.verify("--limit", "h1")
    assert codes(compared["h1"]) == {"keyed": ["files", "unit", "boot"]}

    assert books.run("remove", "--limit", "h1", vllm_remove_services="all").status == 0
    assert books.sh("h1", "ls /etc/vllm; systemctl is-active vllm@hand") == "hand.yaml\nactive\n"
    books.sh("h1", "systemctl stop vllm@hand")


def test_site_brings_a_blank_host_to_serve(books: Books) -> None:
    flags = ["--limit", "h2", "--skip-tags", "runtime,weights"]  # these hosts have a stand-in
    books.list_services("h2", SMALL)
    before = books.snapshot("h2")
    ran = books.run("site", *flags, "--check", "--diff")
    assert ran.status == 0, ran.output
    assert "+port: 8000" in ran.output
    assert books.snapshot("h2") == before
    ran = books.run("site", *flags)
    assert ran.status == 0, ran.output
    assert "h2: 1 service, as wanted" in ran.output
    again = books.run("site", *flags)
    assert again.status == 0 and not again.changed("h2"), again.output
    books.sh("h2", "systemctl stop vllm@small")
    ran = books.run("site", "--limit", "h2", "--tags", "verify")
    assert ran.status == 2 and not ran.changed("h2")
    assert "1 of 1 service DIFFERS" in ran.output


def test_site_changes_nothing_where_engine_or_weights_cannot_be_had(books: Books) -> None:
    wheels: dict[str, Any] = {"vllm_runtime_offline": True, "vllm_runtime_wheels": "/srv/none"}
    wheels["vllm_runtime_root"] = "/srv/engines"  # the stand-in is in /opt/vllm
    missing = {"model": "Qwen3-0.6B", "name": "small", "path": "/srv/weights/none"}
    books.list_services("h2", missing, vllm_runtime_version="0.18.0", **wheels)
    before = books.snapshot("h2") + books.sh("h2", "find /opt /srv | sort; id vllm 2>&1 || true")
    ran = books.run("site", "--limit", "h2")
    assert ran.status == 2 and not ran.changed("h2"), ran.output
    last = ran.output[ran.output.index("Fail where something cannot be had") :]
    assert "vllm-ascend 0.18.0 is not in /srv/none, and no index is asked" in last
    assert "Qwen3-0.6B is not on this host" in last and "vllm_weights_source" in last
    assert (
        books.snapshot("h2") + books.sh("h2", "find /opt /srv | sort; id vllm 2>&1 || true")
        == before
    )
    ran = books.run("site", "--limit", "h2", "--skip-tags", "runtime")
    assert "vllm_runtime" not in ran.output and "is not on this host" in ran.output, ran.output


def test_site_without_the_engine_says_so_only_when_it_would_start(books: Books) -> None:
    books.list_services("h2", SMALL, vllm_service_executable="/opt/vllm/none/bin/vllm")
    flags = ["--limit", "h2", "--skip-tags", "runtime,weights"]
    ran = books.run("site", *flags, "--check")
    assert ran.status == 0, ran.output
    assert "WARNING engine, /opt/vllm/none/bin/vllm" in ran.output
    ran = books.run("site", *flags)
    assert ran.status == 2
    assert "ERROR engine, /opt/vllm/none/bin/vllm" in ran.output
