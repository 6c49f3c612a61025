# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one look at a real host tells of its services, and what the playbook diagnose makes of it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..hosts import HOST_PYTHON, REMOVE_USERS, environment, scenario, shell, started
from . import role

pytestmark = pytest.mark.hosts

SCENARIO = scenario("status")
KEY = "opensesame-1"

LOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Look
      inferops.ascend.vllm_status: "{{ look_options }}"
      become: true
      register: look
    - name: Hand over the result
      ansible.builtin.copy:
        content: "{{ look | to_json }}"
        dest: "{{ result_file }}"
        mode: "0600"
      delegate_to: localhost
      become: false
      vars:
        ansible_connection: local
        ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""


class Host(role.Host):
    """A host of this module's own scenario."""

    def sh(self, script: str, check: bool = True) -> str:
        return shell(SCENARIO, self.name, script, check)

    def run(
        self, play: str, *flags: str, env: dict[str, str] | None = None, **variables: Any
    ) -> Any:
        """Run a playbook of the collection, or the text of one; return what it printed."""
        file = self.folder / "book.yml"
        file.write_text(play, encoding="utf-8")
        extra = self.folder / "extra.yml"
        extra.write_text(yaml.safe_dump({**self.variables, **variables}), encoding="utf-8")
        book = play if "\n" not in play else str(file)
        command = ["ansible-playbook", "-i", str(self.inventory), book, "-e", f"@{extra}", *flags]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**environment(), **(env or {})},
        )

    def look(
        self, *flags: str, env: dict[str, str] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Run the module and return its result."""
        result = self.folder / "look.json"
        result.unlink(missing_ok=True)
        done = self.run(LOOK, *flags, env=env, look_options=options, result_file=str(result))
        assert done.returncode == 0, done.stdout + done.stderr
        data: dict[str, Any] = json.loads(result.read_text())
        data["output"] = done.stdout + done.stderr
        return data

    def one(self, name: str, **options: Any) -> dict[str, Any]:
        """What is said of one service."""
        found: dict[str, Any] = self.look(services=[name], **options)["services"][0]
        return found

    def until(self, name: str, state: str) -> dict[str, Any]:
        """Look until a service is in a state."""
        for _attempt in range(60):
            found = self.one(name, npu=False)
            if found["state"] == state:
                return found
            time.sleep(0.5)
        raise AssertionError(f"{name} did not become {state}: {found}")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a host for this module; return its inventory."""
    flags = ["--host", "h1:a2-64g"]
    if HOST_PYTHON:
        prefix = str(Path(HOST_PYTHON).parents[1])
        flags += ["--mount", f"{prefix}:{prefix}"]
    with started(SCENARIO, tmp_path_factory.mktemp("fleet") / "inventory.yml", *flags) as inventory:
        yield inventory


@pytest.fixture
def host(fleet: Path, tmp_path: Path) -> Iterator[Host]:
    """Give one host on which nothing is deployed, and clean it afterwards."""
    address = yaml.safe_load(fleet.read_text())["all"]["hosts"]["h1"]["ansible_host"]
    variables: dict[str, Any] = {
        "ascend_host_profile": "atlas-800i-a2-64g",
        # What has failed stays as it is, unless a test is about its restart.
        "vllm_service_restart_delay": 600,
        "vllm_service_shutdown_timeout": 1,
    }
    it = Host("h1", fleet, tmp_path, address, variables)
    if HOST_PYTHON:
        it.variables["ansible_python_interpreter"] = HOST_PYTHON
    yield it
    it.sh(
        "systemctl kill -s KILL 'vllm@*' 2>/dev/null; systemctl stop 'vllm@*' web 2>/dev/null;"
        " rm -rf /etc/systemd/system/vllm@* /etc/systemd/system/multi-user.target.wants/vllm@*"
        f" /etc/vllm /var/lib/vllm; {REMOVE_USERS}; ascend-sim reset; systemctl daemon-reload;"
        " systemctl reset-failed; exit 0"
    )


def deployed(host: Host, *instances: dict[str, Any], **variables: Any) -> None:
    run = host.deploy(list(instances), **variables)
    assert run.status == 0, run.output


def test_one_look_tells_of_every_service_how_it_is(host: Host) -> None:
    host.sh("ascend-sim behaviour slow delay=600; ascend-sim behaviour bad fail=kv-cache")
    deployed(
        host,
        {"model": "Qwen3-14B", "name": "chat", "cards": [2], "api_key": KEY},
        {"model": "Qwen3-0.6B", "name": "slow", "cards": [4, 5]},
        {"model": "Qwen3-0.6B", "name": "bad"},
        {"model": "Qwen3-0.6B", "name": "off", "state": "stopped"},
    )
    host.until("chat", "ready")
    answer = host.look("-vvvv", services=["chat", {"name": "slow", "port": 8001}, "bad", "nobody"],
                       others=True)  # fmt: skip
    chat, slow, bad, nobody, off = answer["services"]
    assert (chat["state"], chat["phase"], chat["cause"], chat["log"]) == (
        "ready",
        "ready",
        None,
        [],
    )
    assert chat["http"] == {
        "health": 200,
        "error": None,
        "models": [
            {"id": "Qwen3-14B", "max_model_len": 32768},
            {"id": "chat", "max_model_len": 32768},
        ],
    }
    assert chat["visible_cards"] == [2]
    assert chat["digest_running"] == host.environ("chat")["INFEROPS_DIGEST"]
    assert chat["unit"]["main_pid"] == host.pid("chat")
    assert chat["unit"]["unit_file_state"] == "enabled"
    assert (slow["state"], slow["phase"], slow["total"]) == ("starting", "weights", 4)
    assert slow["percent"] == 25 * slow["done"]
    assert slow["visible_cards"] == [4, 5]
    assert slow["http"]["error"] == "nothing listens on port 8001 yet"
    assert 0 < slow["elapsed"] < 60
    assert bad["state"] == "restarting"
    assert bad["cause"]["id"] == "kv-cache"
    assert "Set max_model_len: 16384 or less on service bad" in bad["cause"]["advice"]
    assert bad["unit"]["exec_main_status"] == 1
    assert (nobody["state"], off["name"], off["state"]) == ("absent", "off", "stopped")
    held = {
        c["logic_id"]: c["processes"][0]["unit"] for c in answer["npu"]["cards"] if c["processes"]
    }
    assert held == {2: "vllm@chat.service", 4: "vllm@slow.service", 5: "vllm@slow.service"}
    assert answer["problems"] == []
    assert answer["not_serving"] == ["slow", "bad", "nobody"]
    assert KEY not in answer["output"] + json.dumps(answer)


def test_a_secret_that_a_service_logs_is_not_returned(host: Host) -> None:
    host.sh(
        "mkdir -p /etc/systemd/system/vllm@chat.service.d\n"
        "cat > /etc/systemd/system/vllm@chat.service.d/zz-local.conf <<'END'\n"
        "[Service]\n"
        "ExecStartPre=/bin/echo key is ${VLLM_API_KEY}, again ${VLLM_API_KEY}\n"
        "END\n"
        "ascend-sim behaviour chat fail=hang"
    )
    deployed(host, {"model": "Qwen3-0.6B", "name": "chat", "api_key": KEY})
    found = host.look("-vvvv", services=["chat"])
    assert "key is ********, again ********" in found["services"][0]["log"]
    assert KEY not in found["output"] + json.dumps(found)


def test_four_servers_that_never_answer_cost_one_timeout(host: Host) -> None:
    host.sh("ascend-sim behaviour '*' mute=true delay=0.2")
    names = [f"s{number}" for number in range(4)]
    deployed(host, *[{"model": "Qwen3-0.6B", "name": name} for name in names])
    for port in range(8000, 8004):
        host.sh(
            f"for i in $(seq 600); do ss -ltn | grep -q :{port} && exit 0; sleep 0.2; done; exit 1"
        )
    begun = time.monotonic()
    host.look(services=["nobody"], npu=False)
    without = time.monotonic() - begun
    services = host.look(services=names, timeout=5, npu=False)["services"]
    # One after the other they would cost 20 s.
    assert time.monotonic() - begun - without < without + 12
    assert {service["http"]["error"] for service in services} == {
        f"no answer from port {port} within 5 s" for port in range(8000, 8004)
    }
    assert {service["state"] for service in services} == {"unhealthy"}, services


def test_of_a_service_that_starts_again_the_start_before_tells_the_cause(host: Host) -> None:
    host.sh("ascend-sim behaviour chat fail=hccl-timeout")
    deployed(host, {"model": "Qwen3-0.6B", "name": "chat"}, vllm_service_restart_delay=6)
    first = host.until("chat", "restarting")
    assert (first["cause"]["id"], first["cause"]["start"]) == ("hccl-timeout", "current")
    host.sh("ascend-sim behaviour chat fail=hang")
    again = host.until("chat", "starting")
    assert again["unit"]["n_restarts"] >= 1
    assert (again["cause"]["id"], again["cause"]["start"]) == ("hccl-timeout", "previous")
    assert not any("EI0006" in line for line in again["log"]), "the log is of this start alone"


# How the stand-in ends, and what is said of it: the first cause, and not the last traceback.
ENDS = {
    "fail=oom-then-timeout": ("out-of-memory", "896.00 MiB more are wanted of 60.97 GiB"),
    "fail=killed": ("engine-killed", "killed by signal 9"),
    "fail=quiet": ("engine-dead", "recognises none of the lines before as the reason"),
    "fail=weights": ("weights-missing", "/var/lib/vllm/weights/Qwen/Qwen3-0.6B"),
    "engine_dies_after=0.5 engine_grace=0.2": (
        "engine-dead",
        "recognises none of the lines before as the reason",
    ),
}


def test_the_cause_is_the_first_one_and_not_the_last_traceback(host: Host) -> None:
    names = {f"s{number}": behaviour for number, behaviour in enumerate(ENDS)}
    for name, behaviour in names.items():
        host.sh(f"ascend-sim behaviour {name} delay=0.5 {behaviour}")
    deployed(host, *[{"model": "Qwen3-0.6B", "name": name} for name in names])
    host.until("s4", "restarting")  # it serves for a while, so it is the last
    for service in host.look(services=list(names), npu=False)["services"]:
        cause, words = ENDS[names[service["name"]]]
        assert (service["state"], service["cause"]["id"]) == ("restarting", cause)
        assert words in service["cause"]["cause"]
        assert service["cause"]["lines"]
        assert service["cause"]["served"] == (service["name"] == "s4")


def test_an_option_that_the_engine_does_not_know_fails_for_good(host: Host) -> None:
    host.sh("ascend-sim behaviour chat fail=hang")
    deployed(host, {"model": "Qwen3-0.6B", "name": "chat"}, vllm_service_restart_delay=1)
    host.sh("echo 'no-such-flag: 3' >> /etc/vllm/chat.yaml; systemctl kill -s KILL vllm@chat")
    found = host.until("chat", "failed")
    assert found["cause"]["id"] == "unknown-option"
    assert "--no-such-flag" in found["cause"]["cause"]
    assert found["cause"]["retry"] is False


def test_a_missing_script_of_cann_is_named(host: Host) -> None:
    scripts = ["/usr/local/Ascend/ascend-toolkit/set_env.sh", "/opt/none/set_env.sh"]
    host.deploy([{"model": "Qwen3-0.6B", "name": "chat"}], vllm_service_cann_scripts=scripts)
    found = host.until("chat", "failed")
    assert found["cause"]["id"] == "cann-script"
    assert "/opt/none/set_env.sh" in found["cause"]["cause"]


def test_whoever_has_the_port_is_named_and_not_taken_for_the_service(host: Host) -> None:
    host.sh(
        "systemd-run --unit web python3 -m http.server 8000; until curl -s localhost:8000 >/dev/null; do sleep 0.1; done"
    )
    deployed(host, {"model": "Qwen3-0.6B", "name": "chat"})
    found = host.until("chat", "restarting")
    assert found["cause"]["id"] == "port"
    assert "python3 -m http.server" in found["cause"]["cause"]
    assert "unit web.service" in found["cause"]["cause"]


def test_a_server_that_has_served_and_is_ill_is_unhealthy(host: Host) -> None:
    host.sh("ascend-sim behaviour chat delay=0.2 health=503")
    deployed(host, {"model": "Qwen3-0.6B", "name": "chat"})
    found = host.until("chat", "unhealthy")
    assert found["http"] == {"health": 503, "models": [], "error": "/health answers 503"}


def test_npu_smi_that_hangs_costs_the_cards_alone(host: Host) -> None:
    deployed(host, {"model": "Qwen3-0.6B", "name": "chat"})
    host.until("chat", "ready")
    host.sh("ascend-sim set error=hang")
    answer = host.look(services=["chat"], npu_timeout=1)
    assert answer["services"][0]["state"] == "ready"
    assert answer["npu"]["cards"] == []
    assert answer["npu"]["problems"][0]["code"] == "npu_smi_timeout"


@pytest.mark.parametrize("pipelining", ["0", "1"])
def test_it_looks_over_ssh_with_and_without_pipelining(host: Host, pipelining: str) -> None:
    env = {"ANSIBLE_PIPELINING": pipelining}
    assert host.look(services=["chat"], env=env)["services"][0]["state"] == "absent"


def test_diagnose_needs_no_variables_and_says_why_and_what_to_do(host: Host) -> None:
    host.sh("ascend-sim behaviour bad fail=kv-cache")
    deployed(
        host,
        {"model": "Qwen3-0.6B", "name": "bad", "api_key": KEY},
        {"model": "Qwen3-0.6B", "name": "good"},
        {"model": "Qwen3-0.6B", "name": "off", "state": "stopped"},
    )
    host.until("bad", "restarting")
    host.until("good", "ready")
    report = host.run("inferops.ascend.diagnose")
    assert report.returncode == 0 and "changed=0" in report.stdout
    for words in ("bad: restarting", "max_model_len 32768 needs a KV cache of 40.0 GiB",
                  "Set max_model_len: 16384 or less", "| (EngineCore", "good: ready", "off: stopped"):  # fmt: skip
        assert words in report.stdout, words
    assert KEY not in report.stdout
    assert host.run("inferops.ascend.diagnose", vllm_diagnose_services="good,off",
                    vllm_diagnose_fail=True).returncode == 0  # fmt: skip
    failed = host.run("inferops.ascend.diagnose", vllm_diagnose_fail=True)
    assert failed.returncode == 2 and "Not serving: bad" in failed.stdout + failed.stderr
    shown = host.run("inferops.ascend.diagnose", vllm_diagnose_format="json").stdout
    data = json.loads(
        shown[shown.index("{", shown.index("Report as JSON")) : shown.rindex("}") + 1]
    )
    states = {each["name"]: each["state"] for each in data["msg"]["services"]}
    assert states["good"] == "ready" and states["off"] == "stopped"
