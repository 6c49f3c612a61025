# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two hosts of one service compared before a deploy: one report, and nothing changed where they differ."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..hosts import HOSTS as TOOL
from ..hosts import address, cut, scenario, started
from ..playbooks import CLEAN, Books, Ran

pytestmark = pytest.mark.hosts

NAME = scenario("across")
HOSTS = ["h1", "h2"]
PODS = ["p1", "p2"]
A3 = "atlas-800i-a3"
WEIGHTS = "/var/lib/vllm/weights/Qwen/Qwen3-14B"
SECRET = "0123456789abcdef0123456789abcdef"
LISTENERS = "ss -xl | grep -c group-probe || true"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("across") / "inventory.yml"
    kinds = [f"{host}:a2-64g" for host in HOSTS] + [f"{host}:a3" for host in PODS]
    flags = [word for kind in kinds for word in ("--host", kind)]
    with started(NAME, path, *flags) as found:
        yield found


def listed(books: Books, hosts: list[str], **more: object) -> None:
    """Give both hosts one service over them, and the second one more of its own."""
    for rank, host in enumerate(hosts):
        alone = [{"model": "Qwen3-8B", "name": "alone", "cards": [7]}] if rank else []
        big = {
            "model": "Qwen3-14B",
            "name": "big",
            "cards": [0, 1],
            "engine": "native",
            "cluster": {"leader": hosts[0], "rank": rank, "hosts": hosts},
        }
        books.list_services(host, big, *alone, vllm_service_cluster_secret=SECRET, **more)
        write_weights(books, host)


@pytest.fixture
def books(inventory: Path, tmp_path: Path) -> Iterator[Books]:
    """The hosts as they were installed."""
    books = Books(NAME, inventory, tmp_path)
    yield books
    for host in (*HOSTS, *PODS):
        firewall(host, "-F", "INPUT")
        books.sh(host, f"{CLEAN}; rm -rf {WEIGHTS}")


@pytest.fixture
def pair(books: Books) -> Books:
    """Two hosts that differ in nothing, and their service."""
    listed(books, HOSTS)
    return books


def firewall(host: str, *words: str) -> None:
    """Change the rules of what arrives at a host."""
    command = [sys.executable, str(TOOL), "pid", NAME, host]
    first = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    command = ["nsenter", "--target", first, "--net", "iptables", "-w", *words]
    subprocess.run(command, check=True)


def deploy(books: Books, hosts: list[str], *flags: str) -> Ran:
    return books.run("deploy", "--limit", ",".join(hosts), *flags)


def refusal(ran: Ran, host: str) -> str:
    """The last message with which a host failed."""
    found = re.findall(rf"^fatal: \[{host}\]: FAILED! => (\{{.*\}})$", ran.output, re.M)
    assert found, ran.output
    return str(json.loads(found[-1])["msg"])


def write_weights(books: Books, host: str, size: int = 4096) -> None:
    books.sh(
        host,
        f"mkdir -p {WEIGHTS}; cd {WEIGHTS}; head -c {size} /dev/zero > model.safetensors;"
        ' echo \'{"num_attention_heads": 40, "max_position_embeddings": 40960}\' > config.json',
    )


def test_hosts_that_differ_in_nothing_serve_and_leave_no_listener(pair: Books) -> None:
    first = deploy(pair, HOSTS, "--forks", "1")
    assert first.status == 0, first.output
    assert "Preflight of service" not in first.output
    again = deploy(pair, HOSTS)
    assert again.status == 0, again.output
    for host in HOSTS:
        assert again.changed(host) == 0
        assert pair.sh(host, LISTENERS) == "0\n"
        status = pair.sh(host, "systemctl show -P StatusText vllm@big")
        assert status.startswith("running since"), status


def test_what_differs_is_in_one_report_and_holds_the_service_on_both_hosts(pair: Books) -> None:
    pair.sh("h2", "ascend-sim card '*' tls=1; ascend-sim card 1 link=DOWN net_health=Fault")
    write_weights(pair, "h2", 8192)
    ran, report = pair.deploy("--limit", ",".join(HOSTS))
    assert ran.status == 2, ran.output
    text = ran.output
    assert "Preflight of service big over h1, h2: 3 errors." in text, text
    assert (
        "ERROR cluster_weights, service big: the weights of h1 and h2 differ: model.safetensors (4096"
        " bytes on h1, 8192 bytes on h2)." in text
    )
    assert "TLS of the cards' network differs: 0 (off) for devices 0-1 of h1; 1 (on) for" in text
    assert (
        "ERROR cluster_ping, service big: device 1 of h2 gets no answer from h1 over RoCE" in text
    )
    assert "0 of 3 packets came back); link DOWN, health Fault." in text
    for host in HOSTS:
        assert refusal(ran, host).startswith(
            "Service big was left as it is on all its hosts: cluster_weights, service big: "
        )
        assert pair.sh(host, "ls /etc/vllm/big.* 2>/dev/null || true") == ""
        assert pair.sh(host, LISTENERS) == "0\n"
        told = report["results"][host]
        assert (told["state"], told["step"]) == ("failed", "group")
        assert [each["service"] for each in told["refused"]] == ["big"]
    assert [each["action"] for each in report["results"]["h2"]["services"]] == ["start"], (
        "the other"
    )
    pair.wait_until_serving("h2", 8001)

    ignored = dict.fromkeys(("cluster_weights", "cluster_tls", "cluster_ping"), "warning")
    listed(pair, HOSTS, ascend_host_checks=ignored)
    write_weights(pair, "h2", 8192)
    assert deploy(pair, HOSTS, "--check").status == 0


def test_a_firewall_is_found_in_the_direction_that_it_closes(pair: Books) -> None:
    there = address(NAME, "h2")
    with cut(NAME, "h1", "h2", "--one-way"):
        ran = deploy(pair, HOSTS, "--check")
    assert ran.status != 0
    # What h2 answers to h1 is dropped as well.
    for one, other in (("h1", "h2"), ("h2", "h1")):
        assert re.search(
            rf"{one} \([0-9.]+\) does not reach {other} \([0-9.]+\): port [0-9]+: nothing comes",
            ran.output,
        ), ran.output
    assert f"Allow all TCP from {there} on h1" in ran.output
    for host in HOSTS:
        assert pair.sh(host, LISTENERS) == "0\n"

    rule = ["-p", "tcp", "--syn", "-s", there, "!", "--dport", "18000", "-j", "REJECT"]
    firewall("h1", "-I", "INPUT", *rule)
    ran = deploy(pair, HOSTS, "--check")
    assert ran.status != 0
    assert re.search(
        r"h2 \([0-9.]+\) does not reach h1 \([0-9.]+\): port [345][0-9]{4}: the connection is"
        r" refused. Single ports are not enough",
        ran.output,
    ), ran.output
    assert "h1 does not reach" not in ran.output


def test_a_port_that_another_process_has_is_named_with_its_owner(pair: Books) -> None:
    pair.sh("h1", "systemd-run -q --unit train python3 -m http.server 18001")
    pair.sh("h1", "until ss -tln | grep -q :18001; do sleep 0.1; done")
    ran = deploy(pair, HOSTS, "--check")
    assert ran.status != 0
    assert re.search(
        "ERROR cluster_ports, service big, h1: port 18001, .* is taken: PID [0-9]+ .*train.service",
        ran.output,
    ), ran.output


def test_cards_of_a_super_pod_are_pinged_over_hccs_whatever_their_links_report(
    books: Books,
) -> None:
    listed(books, PODS, ascend_host_profile=A3)
    for host in PODS:
        books.sh(host, "ascend-sim card '*' link=DOWN net_health=Init")
    ran = deploy(books, PODS, "--check")
    assert ran.status == 0, ran.output
    assert (
        "WARNING cluster_cards, service big, p1: link DOWN and health Init of devices 0-1, and yet"
        in ran.output
    )

    books.sh("p2", "ascend-sim set super_pod_id=1")
    ran = deploy(books, PODS, "--check")
    assert ran.status != 0
    assert "devices 0-1 of p1 get no answer from p2 over RoCE" in ran.output
