# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vllm_weights on a real host, fetching from a server that speaks as the hubs do."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

from ..hosts import environment, scenario, shell, started
from . import clients

pytestmark = pytest.mark.hosts

SCENARIO = scenario("weights")
ID = "Qwen/Qwen3-14B"
FOLDER = f"/var/lib/vllm/weights/{ID}"
SHARD = "model-00002-of-00003.safetensors"


@dataclass
class Run:
    """One run of the playbook weights."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        found = re.search(r"^h1 .*\bchanged=([0-9]+)", self.output, re.M)
        assert found, self.output
        return int(found.group(1))


class Host:
    """One host, and the role run on it."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        hosts = yaml.safe_load(inventory.read_text())["all"]["hosts"]
        self.address = hosts["h1"]["ansible_host"]

    @property
    def gateway(self) -> str:
        return self.address.rpartition(".")[0] + ".1"

    def sh(self, script: str, check: bool = True) -> str:
        return shell(SCENARIO, "h1", script, check)

    def command(self, *flags: str, **variables: Any) -> list[str]:
        values = {
            "ascend_host_profile": "atlas-800i-a2-64g",
            "vllm_service_instances": ["Qwen3-14B"],
            "vllm_weights_interval": 0.5,
            "vllm_weights_packages": {"wheels": "/hub-wheels", "offline": True},
            **variables,
        }
        extra = self.inventory.parent / "extra.yml"
        extra.write_text(yaml.safe_dump(values))
        playbook = ["ansible-playbook", "-i", str(self.inventory), "inferops.ascend.weights"]
        return [*playbook, "-e", f"@{extra}", *flags]

    def run(self, *flags: str, **variables: Any) -> Run:
        done = subprocess.run(
            self.command(*flags, **variables),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment(),
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def files(self) -> set[str]:
        return set(
            self.sh(
                f"cd {FOLDER} 2>/dev/null && find . -type f -printf '%P\\n'", check=False
            ).split()
        )


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    inventory = tmp_path_factory.mktemp("weights") / "inventory.yml"
    mount = f"{clients.wheels()}:/hub-wheels"
    with started(SCENARIO, inventory, "--host", "h1:a2-64g", "--mount", mount):
        yield Host(inventory)


@pytest.fixture
def host(hosts: Host) -> Iterator[Host]:
    yield hosts
    hosts.sh(
        "fuser -k /run/inferops-ascend/weights/*.lock 2>/dev/null; umount /srv/small 2>/dev/null;"
        " rm -rf /var/lib/vllm /run/inferops-ascend /srv/*; exit 0"
    )


@pytest.fixture
def hub(host: Host) -> Iterator[hubs.Hub]:
    it = hubs.Hub(models={ID: hubs.model(shard_bytes=400_000)})
    with hubs.serving(it, host.gateway):
        yield it


def hub_of(hub: hubs.Hub, source: str = "huggingface") -> dict[str, Any]:
    return {"vllm_weights_source": source, "vllm_weights_endpoints": {source: hub.address}}


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_weights_come_with_progress_and_a_second_run_asks_nobody(
    host: Host, hub: hubs.Hub, source: str
) -> None:
    hub.pace = 120_000
    first = host.run(**hub_of(hub, source))
    assert first.status == 0, first.output
    assert first.changed == 1
    shown = re.findall(
        r"^h1: Qwen3-14B: fetching (\d+) % \(\S+ MB of 1\.2 MB\)", first.output, re.M
    )
    assert shown, first.output
    assert [int(each) for each in shown] == sorted(int(each) for each in shown)
    wanted = {name for name in hub.models[ID] if not name.startswith(".git")}
    assert host.files() == {*wanted, ".inferops-ascend.json"}
    sums = host.sh(f"cd {FOLDER} && sha256sum *.safetensors")
    for name in re.findall(r"\S+\.safetensors", sums):
        assert hubs.sha256(hub.models[ID][name]) in sums
    assert host.sh(f"find {FOLDER} ! -user root -o -perm /022 | wc -l").strip() == "0"
    hub.asked.clear()
    start = time.monotonic()
    second = host.run(**hub_of(hub, source))
    assert (second.status, second.changed) == (0, 0), second.output
    assert hub.asked == []
    assert time.monotonic() - start < 120


def test_check_mode_says_what_and_how_much_and_changes_nothing(host: Host, hub: hubs.Hub) -> None:
    # Nor is the hub's client left behind, which is needed to ask it.
    host.sh("rm -rf /opt/vllm")
    run = host.run("--check", "--diff", **hub_of(hub))
    assert (run.status, run.changed) == (0, 1), run.output
    assert f"+Qwen3-14B from huggingface {ID} at {hubs.COMMIT}: 1.2 MB" in run.output
    assert host.sh("ls /var/lib/vllm /run/inferops-ascend /opt/vllm 2>/dev/null", check=False) == ""
    assert host.sh("find /tmp /var/tmp -name 'inferops-ascend-*'") == ""
    assert not [path for path in hub.files_asked() if "safetensors" in path and "index" not in path]


class Gate:
    """Holds one file of the hub back until it is opened; what comes before it has come."""

    def __init__(self, hub: hubs.Hub) -> None:
        self.open = threading.Event()
        hub.models[ID] = hubs.model(shard_bytes=1_000_000)
        hub.fault = self.fault

    def fault(self, handler: hubs.Handler, path: str, first: int) -> bool:
        if path == SHARD and not self.open.is_set():
            data = handler.server.hub.models[ID][path]
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[:600_000])
            self.open.wait(300)
            with suppress(OSError):
                handler.wfile.write(data[600_000:])
            return True
        return False


@contextmanager
def running(
    host: Host, until: str, **variables: Any
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the playbook, and hand it over when its output has a line with `until`."""
    process = subprocess.Popen(
        host.command(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if re.search(until, line):
            break
    else:
        raise AssertionError(said)
    yield process, said
    process.stdout.close()
    process.wait()


def test_a_controller_that_is_killed_stops_nothing_and_the_next_run_waits(
    host: Host, hub: hubs.Hub
) -> None:
    gate = Gate(hub)
    with running(host, "fetching [1-9]", **hub_of(hub)) as (process, _said):
        process.send_signal(signal.SIGKILL)
    host.sh(f"test -d {FOLDER}.part && ! test -e {FOLDER}")
    with running(host, "waiting for process [0-9]+ on", **hub_of(hub)) as (process, _said):
        gate.open.set()
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
    assert host.files() >= {SHARD, "config.json"}
    assert len([each for each in hub.asked if f"/storage/{ID}/{SHARD}" in each.path]) == 1


def test_a_fetch_that_is_killed_on_the_host_says_so_and_goes_on(host: Host, hub: hubs.Hub) -> None:
    gate = Gate(hub)
    with running(host, "fetching [1-9]", **hub_of(hub)) as (process, _said):
        host.sh(f"kill -9 $(cut -d' ' -f2 {FOLDER}.part/.inferops-ascend.lock)")
        output = process.communicate(timeout=300)[0]
    assert process.returncode == 2
    assert "killed, or out of memory. Run it again; it continues where it was" in output
    gate.open.set()
    hub.asked.clear()
    run = host.run(**hub_of(hub))
    assert run.status == 0, run.output
    # What was lost is the block that had not come to its end.
    assert {each.range for each in hub.asked if each.range} == {"bytes=524288-"}


def test_weights_that_do_not_fit_the_request_are_not_fetched(host: Host, hub: hubs.Hub) -> None:
    hub.models[ID] = hubs.model(num_attention_heads=12, max_position_embeddings=8192)
    run = host.run(**hub_of(hub), vllm_service_instances=[{"model": "Qwen3-14B", "cards": 8}])
    assert run.status == 2
    assert (
        "Total number of attention heads (12) must be divisible by tensor parallel size (8)"
        in run.output
    )
    assert re.search(
        r"max_model_len \d+ is above the 8192 tokens that its weights' config.json gives",
        run.output,
    )
    assert host.sh("ls /var/lib/vllm/weights 2>/dev/null", check=False) == ""


def test_two_services_of_one_model_fetch_it_once(host: Host, hub: hubs.Hub) -> None:
    instances = [{"model": "Qwen3-14B", "name": "one"}, {"model": "Qwen3-14B", "name": "two"}]
    run = host.run(**hub_of(hub), vllm_service_instances=instances)
    assert run.status == 0, run.output
    assert (
        len(
            [
                path
                for path in hub.files_asked()
                if path.startswith(f"/{ID}/resolve/") and SHARD in path
            ]
        )
        == 1
    )


def test_a_folder_made_by_hand_is_refused_untouched_or_taken_whole(
    host: Host, hub: hubs.Hub
) -> None:
    host.sh(f"mkdir -p {FOLDER} && echo '{{}}' > {FOLDER}/config.json")
    before = host.sh(f"ls -la --full-time {FOLDER}")
    run = host.run(**hub_of(hub))
    assert run.status == 2
    assert f"{FOLDER} was made by hand and is not a complete Qwen3-14B" in run.output
    assert "no tokenizer is there" in run.output
    assert host.sh(f"ls -la --full-time {FOLDER}") == before
    absent = host.run(vllm_service_instances=[{"model": "Qwen3-14B", "path": "/srv/mine"}])
    assert absent.status == 2
    assert "Qwen3-14B is not on this host: /srv/mine is not there" in absent.output


def test_a_disk_without_room_is_said_before_anything_is_fetched(host: Host, hub: hubs.Hub) -> None:
    host.sh("mkdir -p /srv/small && mount -t tmpfs -o size=600k none /srv/small")
    run = host.run(**hub_of(hub), vllm_service_weights_dir="/srv/small/weights")
    assert run.status == 2
    assert re.search(
        r"1\.2 MB are needed at /srv/small/weights/Qwen .* 6\d\d\.\d kB are free there", run.output
    )
    assert host.sh("ls /srv/small") == ""


def test_an_archive_of_the_controller_is_unpacked(host: Host, tmp_path: Path) -> None:
    files = hubs.model()
    (tmp_path / "qwen.tar.gz").write_bytes(hubs.tar_of(files))
    wish = {
        "model": "Qwen3-14B",
        "weights": {"source": "archive", "src": str(tmp_path / "qwen.tar.gz")},
    }
    run = host.run(vllm_service_instances=[wish])
    assert (run.status, run.changed) == (0, 1), run.output
    assert host.files() == {*files, ".inferops-ascend.json"}
    assert host.run(vllm_service_instances=[wish]).changed == 0
    assert host.sh("find / -xdev -name 'archive.tar' | wc -l").strip() == "0"


def test_a_token_is_nowhere_to_be_read(
    host: Host, hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "ANSIBLE_PIPELINING", "0"
    )  # modules and their arguments are files, for a while
    hub.token = "hf_verysecrettoken"
    hub.pace = 300_000
    run = host.run("-vvv", **hub_of(hub), vllm_weights_huggingface_token="hf_verysecrettoken")
    assert run.status == 0, run.output
    assert "verysecret" not in run.output
    assert host.sh("grep -rl verysecret /run /var/lib/vllm /tmp /home /root", check=False) == ""


def test_a_secret_of_an_address_is_nowhere_to_be_read(
    host: Host, hub: hubs.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "ANSIBLE_PIPELINING", "0"
    )  # modules and their arguments are files, for a while
    files = hubs.model()
    hub.archives["/q.tar"] = hubs.tar_of(files, mode="w")
    address = hub.address.replace("http://", "http://me:verysecret@") + "/q.tar?sig=verysecret"
    wish = {"model": "Qwen3-14B", "weights": {"source": "archive", "location": address}}
    run = host.run("-vvv", "--diff", vllm_service_instances=[wish])
    assert (run.status, run.changed) == (0, 1), run.output
    # What the test itself gave is in the file of its variables, which Ansible names and does not show.
    assert "verysecret" not in run.output
    assert f"{hub.address}/q.tar" in run.output
    assert "verysecret" not in host.sh("journalctl --no-pager -q")
    assert host.sh("grep -rl verysecret /run /var/lib/vllm /tmp /root", check=False) == ""
    assert host.run(vllm_service_instances=[wish]).changed == 0


def test_what_was_opened_or_changed_by_hand_is_mended_and_said(host: Host, hub: hubs.Hub) -> None:
    host.run(**hub_of(hub))
    host.sh(f"chmod 666 {FOLDER}/{SHARD}")
    run = host.run(**hub_of(hub))
    assert (run.status, run.changed) == (0, 1), run.output
    assert host.sh(f"stat -c %a {FOLDER}/{SHARD}").strip() == "664"
    host.sh(f"echo ' {{}}' > {FOLDER}/tokenizer_config.json")
    again = host.run(**hub_of(hub))
    assert (again.status, again.changed) == (0, 1), again.output
    assert f"h1: Qwen3-14B: fetched again into {FOLDER}: tokenizer_config.json has" in again.output


def test_the_result_names_what_was_fetched(host: Host, hub: hubs.Hub, tmp_path: Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(
        """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: inferops.ascend.vllm_weights
    - ansible.builtin.debug:
        msg: "RESULT{{ vllm_weights_result.weights | to_json }}"
"""
    )
    command = [
        each if each != "inferops.ascend.weights" else str(play)
        for each in host.command(**hub_of(hub))
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=True, env=environment()
    )
    found = re.search(r'"RESULT(.*)"$', done.stdout, re.M)
    assert found
    (entry,) = json.loads(json.loads(f'"{found.group(1)}"'))
    assert entry["directory"] == FOLDER
    assert (entry["state"], entry["fetched"], entry["commit"]) == ("complete", True, hubs.COMMIT)
