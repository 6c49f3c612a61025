# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hosts are real where it matters, and the simulator on them behaves as recorded.

Two hosts are started for the whole file; they are removed afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..hosts import inside, scenario, started

pytestmark = pytest.mark.hosts

NAME = scenario("test-hosts")
COMMON = ("davinci_manager", "devmm_svm", "hisi_hdc")
ENVIRONMENT = (
    "source /usr/local/Ascend/ascend-toolkit/set_env.sh && "
    "source /usr/local/Ascend/nnal/atb/set_env.sh && "
)
SERVE = f"set --; {ENVIRONMENT} exec /opt/vllm/current/bin/vllm serve --config "

Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The inventory of two simulated hosts, alpha (A2) and beta (A3)."""
    if os.geteuid() != 0:
        pytest.skip("test hosts need root")
    path = tmp_path_factory.mktemp("hosts") / "inventory.yml"
    with started(NAME, path, "--host", "alpha:a2-64g", "--host", "beta:a3"):
        yield path


@pytest.fixture
def alpha(inventory: Path) -> Shell:
    """Run a shell script as root on the first host."""

    def shell(script: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = inside(NAME, "alpha", "bash", "-c", script)
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    return shell


@pytest.fixture
def service(alpha: Shell) -> Iterator[Callable[..., str]]:
    """Start a stand-in vLLM as a transient unit on cards; what was started is stopped after."""
    started: list[str] = []
    alpha(
        "id vllm >/dev/null 2>&1 || useradd --system --groups HwHiAiUser vllm; mkdir -p /etc/vllm"
    )

    def start(name: str, cards: str, config: str, properties: str = "", **env: str) -> str:
        allowed = [*COMMON, *(f"davinci{card}" for card in cards.split(","))]
        devices = " ".join(f"-p 'DeviceAllow=/dev/{node} rw'" for node in allowed)
        variables = " ".join(f"-E {key}={value}" for key, value in env.items())
        started.append(name)
        alpha(
            f"cat > /etc/vllm/{name}.yaml <<'EOF'\n{config}EOF\n"
            f"systemd-run -q --unit {name} -p User=vllm -p KillMode=mixed -p DevicePolicy=closed "
            f"-p ProtectSystem=strict {devices} {variables} {properties} "
            f"-E ASCEND_RT_VISIBLE_DEVICES={cards} bash -c '{SERVE} /etc/vllm/{name}.yaml'"
        )
        return name

    yield start
    for name in started:
        alpha(f"systemctl stop {name}; systemctl reset-failed {name} 2>/dev/null; true")
    alpha("ascend-sim reset")


def healthy(alpha: Shell, port: int, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while alpha(f"curl -sf -m 2 http://127.0.0.1:{port}/health", check=False).returncode:
        assert time.monotonic() < deadline, alpha("journalctl -n 30 --no-pager").stdout
        time.sleep(0.2)


def ended(alpha: Shell, name: str, seconds: float = 120) -> tuple[str, str]:
    """Exit status and journal of a unit that ends by itself."""
    deadline = time.monotonic() + seconds
    while alpha(f"systemctl is-active {name}", check=False).stdout.strip() in (
        "active",
        "activating",
    ):
        assert time.monotonic() < deadline, f"{name} does not end"
        time.sleep(0.2)
    show = alpha(f"journalctl -u {name} --no-pager -o cat").stdout
    status = alpha(f"systemctl show -p ExecMainStatus --value {name}", check=False).stdout
    return status.strip(), show


def test_ansible_reaches_both_hosts_by_ssh(inventory: Path) -> None:
    done = subprocess.run(
        ["ansible", "-i", inventory, "all", "-m", "ansible.builtin.command", "-a", "id -un"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nroot\n") == 2


def test_systemd_runs_without_a_failed_unit(alpha: Shell) -> None:
    assert alpha("systemctl is-system-running").stdout.strip() == "running"


def opens(alpha: Shell, allow: str, node: str) -> str:
    """What a unit with DevicePolicy=closed and one DeviceAllow= gets when it opens a node."""
    script = f'python3 -c "import os; os.open(\\"{node}\\", os.O_RDWR | os.O_NOCTTY)"'
    done = alpha(
        f"systemd-run -q --wait --pipe -p DevicePolicy=closed -p 'DeviceAllow={allow} rw' {script}",
        check=False,
    )
    return "opened" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def test_the_kernel_refuses_a_card_that_a_unit_was_not_given(alpha: Shell) -> None:
    assert opens(alpha, "/dev/davinci3", "/dev/davinci3") == "opened"
    assert "[Errno 1] Operation not permitted" in opens(alpha, "/dev/davinci3", "/dev/davinci4")


def test_a_leaked_rule_for_all_devices_is_noticed(alpha: Shell) -> None:
    assert opens(alpha, "char-*", "/dev/davinci4") == "opened"


def test_memory_limits_are_enforced(alpha: Shell) -> None:
    done = alpha(
        "systemd-run -q --wait --pipe -p MemoryMax=40M -p MemorySwapMax=0 "
        "python3 -c 'x = bytearray(200 * 2**20)'",
        check=False,
    )
    assert done.returncode != 0


def test_npu_smi_refuses_users_outside_the_group(alpha: Shell) -> None:
    done = alpha("runuser -u deploy -- npu-smi info", check=False)
    assert done.returncode == 187
    assert "dcmi module initialize failed. ret is -8005" in done.stdout


def test_a_service_opens_its_cards_serves_and_holds_memory(
    alpha: Shell, service: Callable[..., str]
) -> None:
    config = "model: Qwen/Qwen3-14B\ntensor-parallel-size: 2\nmax-model-len: 16K\nport: 8101\n"
    name = service("pair", "4,5", config, VLLM_API_KEY="s3cret")
    refused = alpha("curl -s -m 2 http://127.0.0.1:8101/health", check=False)
    assert refused.returncode == 7
    healthy(alpha, 8101)
    url = "http://127.0.0.1:8101/v1/models"
    assert alpha(f"curl -s -o /dev/null -w '%{{http_code}}' {url}").stdout == "401"
    models = json.loads(alpha(f"curl -sf -H 'Authorization: Bearer s3cret' {url}").stdout)
    assert [(m["id"], m["max_model_len"]) for m in models["data"]] == [("Qwen/Qwen3-14B", 16384)]
    nodes = alpha(
        f"for p in $(cat /sys/fs/cgroup/systemd/system.slice/{name}.service/cgroup.procs "
        f"/sys/fs/cgroup/system.slice/{name}.service/cgroup.procs 2>/dev/null); do "
        "readlink /proc/$p/fd/*; done | grep -E '^/dev/(davinci|devmm|hisi)' | sort -u"
    ).stdout.split()
    assert nodes == sorted(f"/dev/{node}" for node in (*COMMON, "davinci4", "davinci5"))
    # 0.9 of the 62433 MB that the framework sees, on top of an idle card's 3314.
    assert alpha("npu-smi info").stdout.count(f"{3314 + 56189}/ 65536") == 2
    alpha(f"systemctl stop {name}")
    assert "59503" not in alpha("npu-smi info").stdout


def test_a_card_that_another_service_holds_is_refused(
    alpha: Shell, service: Callable[..., str]
) -> None:
    service("first", "2", "model: m\nport: 8102\n")
    healthy(alpha, 8102)
    service("second", "2", "model: m\nport: 8103\n")
    status, journal = ended(alpha, "second")
    assert status == "1"
    assert "because the device is used. ret is -8020" in journal


def test_a_card_outside_the_units_device_policy_cannot_be_served(
    alpha: Shell, service: Callable[..., str]
) -> None:
    service("stray", "6", "model: m\nport: 8104\n", "-p DeviceAllow= -p DevicePolicy=closed")
    status, journal = ended(alpha, "stray")
    assert status == "1"
    assert "/dev/davinci_manager: Operation not permitted" in journal


@pytest.mark.parametrize(
    ("cards", "config", "env", "status", "words"),
    [
        (
            "8",
            "port: 8105\n",
            {},
            "1",
            "set ASCEND_RT_VISIBLE_DEVICES:8 error, input data rang[0-8)",
        ),
        (
            "1",
            "tensor-parallel-size: 2\n",
            {},
            "1",
            "local_world_size (2) must be less than or equal",
        ),
        ("1", "gpu-memory-utilization: 1.5\n", {}, "1", "less than or equal to 1"),
        ("1", "no-such-flag: 3\n", {}, "2", "vllm: error: unrecognized arguments: --no-such-flag"),
        ("1", "port: 22\n", {}, "1", "OSError"),
        ("1", "port: 8106\n", {"ASCEND_SIM_FAIL": "oom"}, "1", "NPU out of memory"),
    ],
)
def test_a_wrong_wish_fails_in_the_engines_words(
    alpha: Shell,
    service: Callable[..., str],
    cards: str,
    config: str,
    env: dict[str, str],
    status: str,
    words: str,
) -> None:
    service(
        "wrong", cards, "model: m\n" + config, "-p AmbientCapabilities=CAP_NET_BIND_SERVICE", **env
    )
    found, journal = ended(alpha, "wrong")
    assert words in journal
    assert found == status


def test_memory_that_a_foreign_process_holds_refuses_a_start(
    alpha: Shell, service: Callable[..., str]
) -> None:
    alpha("""ascend-sim card 1 'processes=[{"pid": 4711, "name": "python", "memory_mb": 50000}]'""")
    service("late", "1", "model: m\n")
    status, journal = ended(alpha, "late")
    assert status == "1"
    assert "on startup is less than desired GPU memory utilization (0.9, 54.87 GiB)" in journal


def test_a_server_whose_engine_dies_exits_0(alpha: Shell, service: Callable[..., str]) -> None:
    service("dying", "1", "model: m\nport: 8107\n", ASCEND_SIM_ENGINE_GRACE="1")
    healthy(alpha, 8107)
    alpha("kill -9 $(npu-smi info | awk '$2 == 1 && /EngineCor/ {print $5}')")
    assert ended(alpha, "dying")[0] == "0"


def test_sigterm_is_ignored_while_starting_and_obeyed_afterwards(
    alpha: Shell, service: Callable[..., str]
) -> None:
    alpha("ascend-sim behaviour m hang_at=weights delay=0.5")
    service("slow", "1", "model: m\nport: 8108\n")
    alpha(
        "for i in $(seq 600); do journalctl -u slow -o cat | grep -q '2/4' && exit 0; sleep 0.2;"
        " done; exit 1"
    )
    alpha("systemctl kill --kill-whom=main slow; ! curl -sf -m 2 http://127.0.0.1:8108/health")
    alpha("ascend-sim behaviour m hang_at=null")
    healthy(alpha, 8108)
    alpha("systemctl kill --kill-whom=main slow")
    assert ended(alpha, "slow")[0] == "0"


def test_a_request_in_flight_is_answered_before_the_server_stops(
    alpha: Shell, service: Callable[..., str]
) -> None:
    config = "model: m\nport: 8110\nshutdown-timeout: 60\n"
    service("busy", "1", config, ASCEND_SIM_DELAY="0.2", ASCEND_SIM_REQUEST_SECONDS="4")
    healthy(alpha, 8110)
    url = "http://127.0.0.1:8110/v1/completions"
    done = alpha(
        f'curl -sf {url} -d \'{{"prompt": "a"}}\' &'
        " until curl -s http://127.0.0.1:8110/metrics | grep -q '^vllm:num_requests_running.* 1.0';"
        " do sleep 0.1; done; systemctl stop busy; wait $!"
    )
    assert json.loads(done.stdout)["object"] == "text_completion"
    assert alpha("systemctl show -p Result --value busy").stdout.strip() == "success"


def test_the_environment_scripts_are_needed(alpha: Shell) -> None:
    serve = "/opt/vllm/current/bin/vllm serve m"
    done = alpha(serve, check=False)
    assert "libascend_hal.so: cannot open shared object file" in done.stderr
    toolkit = "source /usr/local/Ascend/ascend-toolkit/set_env.sh"
    assert "libatb.so" in alpha(f"{toolkit}; {serve}", check=False).stderr
    leaking = alpha(f"set -- chat; {ENVIRONMENT} true", check=False)
    assert leaking.returncode != 0


def test_a_restart_brings_the_cards_back_under_their_own_numbers(
    alpha: Shell, service: Callable[..., str], repository: Path
) -> None:
    alpha("ascend-sim card 0 phy_id=12")
    before = alpha("ls -l --time-style=+ /dev/ | grep -E 'davinci|devmm|hisi'").stdout
    assert "davinci12" in before
    subprocess.run([repository / "tests/hosts/hosts", "reboot", NAME, "alpha"], check=True)
    after = alpha("ls -l --time-style=+ /dev/ | grep -E 'davinci|devmm|hisi'").stdout
    assert after == before
    # Visible devices are logic ids; the node to open is the physical one.
    service("moved", "0", "model: m\nport: 8109\n")
    assert "/dev/davinci12: Operation not permitted" in ended(alpha, "moved")[1]
    service("allowed", "0", "model: m\nport: 8109\n", "-p 'DeviceAllow=/dev/davinci12 rw'")
    healthy(alpha, 8109)
    alpha("systemctl stop allowed; ascend-sim reset")
    assert "davinci12" not in alpha("ls /dev").stdout
