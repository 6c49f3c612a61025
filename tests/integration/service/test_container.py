# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services in containers: a real podman in a real systemd host, under the unit's own name.

The image is made on the spot and has a program alone; the host's /usr is mounted into it. What runs
is the simulator's server, which opens cards as they are numbered inside.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..hosts import environment, scenario, shell, started
from ..images import MAKE, settings

pytestmark = pytest.mark.hosts

SCENARIO = scenario("container")
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Load the image
      ansible.builtin.include_role:
        name: inferops.ascend.vllm_runtime
    - name: Run the services
      ansible.builtin.include_role:
        name: inferops.ascend.vllm_service
"""


@dataclass
class Host:
    inventory: Path
    image: str

    def sh(self, script: str, check: bool = True) -> str:
        return shell(SCENARIO, "h1", script, check)

    def play(self, instances: Any, *flags: str, **more: Any) -> tuple[int, int, str]:
        """Run both roles; return exit status, number of changed tasks and the output."""
        folder = self.inventory.parent
        (folder / "play.yml").write_text(PLAY, encoding="utf-8")
        values = {
            "ascend_host_profile": "atlas-800i-a2-64g",
            **settings(self.image),
            "vllm_service_env_as_written": ["GREETING"],
            "vllm_service_shutdown_timeout": 1,
            "vllm_service_restart_delay": 1,
            "vllm_service_instances": instances,
            **more,
        }
        (folder / "extra.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
        command = ["ansible-playbook", "-i", str(self.inventory), str(folder / "play.yml")]
        done = subprocess.run(
            [*command, "-e", f"@{folder / 'extra.yml'}", *flags],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment(),
        )
        output = done.stdout + done.stderr
        changed = re.search(r"^h1 .*\bchanged=([0-9]+)", output, re.M)
        return done.returncode, int(changed.group(1)) if changed else -1, output

    def show(self, name: str, prop: str) -> str:
        return self.sh(f"systemctl show -P {prop} vllm@{name}").strip()

    def environ(self, pid: str) -> dict[str, str]:
        text = self.sh(f"cat /proc/{pid}/environ")
        return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)

    def server(self, name: str) -> str:
        """The process of the server itself, which is not the unit's main process."""
        return self.sh(
            f"for p in $(cat /sys/fs/cgroup/systemd/system.slice/system-vllm.slice/vllm@{name}"
            ".service/libpod-payload-*/cgroup.procs 2>/dev/null"
            f" || cat /sys/fs/cgroup/system.slice/system-vllm.slice/vllm@{name}"
            ".service/libpod-payload-*/cgroup.procs); do"
            " grep -q serve /proc/$p/cmdline && echo $p; done | head -1"
        ).strip()

    def wait(self, port: int, key: str = "") -> dict[str, Any]:
        """Wait until the server answers; return its models."""
        return dict(
            json.loads(
                self.sh(
                    f"for i in $(seq 600); do curl -sf -H 'Authorization: Bearer {key}'"
                    f" localhost:{port}/v1/models && exit 0; sleep 0.2; done; exit 1"
                )
            )
        )

    def until(self, script: str) -> None:
        self.sh(f"for i in $(seq 600); do {script} && exit 0; sleep 0.2; done; exit 1")

    def left(self) -> str:
        """Containers that are there, running or not."""
        return self.sh("podman ps --all --format '{{.Names}}'").strip()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("container")
    with started(SCENARIO, folder / "inventory.yml", "--host", "h1:a2-64g") as inventory:
        image = shell(SCENARIO, "h1", MAKE).strip().splitlines()[-1]
        shell(SCENARIO, "h1", "mkdir -p /var/lib/vllm/weights /srv/templates")
        shell(SCENARIO, "h1", "echo '{{ messages }}' >/srv/templates/tool.jinja")
        yield Host(inventory, image)


CHAT = {
    "model": "Qwen3-14B",
    "name": "chat",
    "cards": [4, 7],
    "port": 8000,
    "api_key": "key-1",
    "env": {"GREETING": 'a "b" $HOME 100%'},
    "args": {"chat-template": "/srv/templates/tool.jinja"},
}


def test_check_mode_then_a_blank_host_then_nothing(host: Host) -> None:
    before = host.sh("podman images --quiet; ls /etc/vllm 2>/dev/null", check=False)
    status, changed, output = host.play([CHAT], "--check")
    assert (status, changed) == (0, 2), output  # the image, the services
    assert "would be loaded from /srv/engine.tar" in output
    assert host.sh("podman images --quiet; ls /etc/vllm 2>/dev/null", check=False) == before

    status, changed, output = host.play([CHAT])
    assert (status, changed) == (0, 2), output
    assert host.wait(8000, "key-1")["data"][0]["max_model_len"] == 32768
    pid = host.show("chat", "MainPID")
    status, changed, output = host.play([CHAT])
    assert (status, changed) == (0, 0), output
    assert host.show("chat", "MainPID") == pid


def test_inside_are_the_services_own_cards_numbered_from_0(host: Host) -> None:
    server = host.server("chat")
    assert host.environ(server)["ASCEND_RT_VISIBLE_DEVICES"] == "0,1"
    # Those who look from outside find the host's numbers, and the digest, at the main process.
    outside = host.environ(host.show("chat", "MainPID"))
    assert outside["ASCEND_RT_VISIBLE_DEVICES"] == "4,7"
    assert outside["INFEROPS_DIGEST"]
    nodes = host.sh(f"ls /proc/{server}/root/dev | grep -e davinci -e devmm -e hisi").split()
    assert nodes == ["davinci4", "davinci7", "davinci_manager", "devmm_svm", "hisi_hdc"]
    # Even by a node that somebody else made it gets at no other card: the kernel refuses.
    assert "Operation not permitted" in opened(host, server, "/dev/davinci5")
    assert opened(host, server, "/dev/davinci4") == ""
    engine = host.sh("ls -l /proc/*/fd 2>/dev/null | grep -o '/dev/davinci[0-9]*$' | sort -u")
    assert engine.split() == ["/dev/davinci4", "/dev/davinci7"]


def opened(host: Host, server: str, node: str) -> str:
    """What a process of the container is told when it opens a copy of a node."""
    number = host.sh(f"stat -c '%Hr %Lr' {node}").strip()
    host.sh(f"rm -f /proc/{server}/root/dev/node; mknod /proc/{server}/root/dev/node c {number}")
    return host.sh("podman exec vllm-chat sh -c ': < /dev/node' 2>&1", check=False).strip()


def test_the_server_is_confined_to_its_user_and_home(host: Host) -> None:
    server = host.server("chat")
    status = dict(
        line.split(":\t", 1)
        for line in host.sh(f"cat /proc/{server}/status").splitlines()
        if "\t" in line
    )
    user, group, driver = host.sh(
        "id -u vllm-chat; id -g vllm-chat; getent group HwHiAiUser"
    ).split()
    assert status["Uid"].split() == [user] * 4
    assert status["Gid"].split() == [group] * 4
    assert driver.split(":")[2] in status["Groups"].split()
    masks = {name: status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert set(masks.values()) == {"0" * 16}, masks
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    # Whoever runs inside has a name.
    inside = "podman exec vllm-chat sh -c"
    assert host.sh(f"{inside} 'id -un'") == "vllm-chat\n"
    host.sh(f"{inside} 'touch $HOME/a /tmp/a /run/a /var/tmp/a /dev/shm/a'")
    assert host.sh("stat -c '%U %a' /var/lib/vllm-services/chat") == "vllm-chat 700\n"
    # The root of the image and the homes of other services, even for root.
    refused = host.sh(f"nsenter -t {server} -m touch /opt/a /etc/a 2>&1", check=False)
    assert refused.count("Read-only file system") == 2, refused


def test_each_part_of_it_can_be_undone(host: Host) -> None:
    options = ["--shm-size=64m", "--read-only=false", "--cap-add=SYS_NICE"]
    loose = {"vllm_service_container_options": options, "vllm_service_user": "root"}
    status, _changed, output = host.play([CHAT], **loose)
    assert status == 0, output
    host.wait(8000, "key-1")
    server = host.server("chat")
    assert host.sh(f"grep -E '^(Uid|CapBnd)' /proc/{server}/status").split() == [
        *("Uid:", "0", "0", "0", "0"),
        *("CapBnd:", "0000000000800000"),
    ]
    host.sh("podman exec vllm-chat sh -c 'touch /opt/a $HOME/a'")
    status, _changed, output = host.play([CHAT])
    assert status == 0, output
    host.wait(8000, "key-1")
    # What root left in the home is the service's again.
    host.sh("podman exec vllm-chat sh -c 'touch $HOME/a'")


def test_environment_and_secrets_arrive_as_written(host: Host) -> None:
    inside = host.environ(host.server("chat"))
    assert inside["GREETING"] == 'a "b" $HOME 100%'
    assert inside["VLLM_API_KEY"] == "key-1"
    words = host.sh(f"cat /proc/{host.show('chat', 'MainPID')}/cmdline")
    assert "key-1" not in words
    assert "key-1" not in host.sh("cat /etc/systemd/system/vllm@*/*.conf")
    # What args name is there, and nothing else of its directory.
    assert host.sh("podman exec vllm-chat sh -c 'echo /srv/*/*'") == "/srv/templates/tool.jinja\n"
    # The weights cannot be changed from inside.
    assert "Read-only" in host.sh(
        f"nsenter -t {host.server('chat')} -m touch /var/lib/vllm/weights/x 2>&1", check=False
    )


def test_a_changed_secret_restarts_the_container(host: Host) -> None:
    pid = host.show("chat", "MainPID")
    status, changed, output = host.play([{**CHAT, "api_key": "key-2"}])
    assert (status, changed) == (0, 1), output
    assert host.show("chat", "MainPID") != pid
    host.wait(8000, "key-2")


def test_a_process_inside_counts_as_the_services_own(host: Host) -> None:
    assert "/vllm@chat.service/" in host.sh(f"cat /proc/{host.server('chat')}/cgroup")


@pytest.mark.parametrize("victim", ["client", "server", "engine"])
def test_whatever_dies_it_is_up_again_and_nothing_is_left(host: Host, victim: str) -> None:
    before = host.show("chat", "NRestarts")
    server = host.server("chat")
    pid = {
        "client": host.show("chat", "MainPID"),
        "server": server,
        "engine": host.sh(f"pgrep -P {server} | head -1").strip(),
    }[victim]
    host.sh(f"kill -9 {pid}")
    host.until(f"[ $(systemctl show -P NRestarts vllm@chat) -gt {before} ]")
    host.wait(8000, "key-2")
    assert host.left() == "vllm-chat"
    assert host.server("chat") != server


def test_a_stop_drains_and_leaves_no_container(host: Host) -> None:
    host.sh("systemctl stop vllm@chat")
    assert host.show("chat", "Result") == "success"
    assert host.show("chat", "ExecMainStatus") == "0"
    assert host.left() == ""


def test_a_stop_while_it_loads_ends_by_force_and_leaves_no_container(host: Host) -> None:
    """SIGTERM has no effect before the server is up.

    systemd gives the removal of the container the same time as the stop, so it is not a short one.
    """
    slow = {**CHAT, "env": {"ASCEND_SIM_DELAY": "600"}}
    status, _changed, output = host.play([slow])
    assert status == 0, output
    host.until("journalctl -u vllm@chat -o cat -n 30 | grep -q 'checkpoint shards:   0%'")
    host.sh(
        "mkdir -p /run/systemd/system/vllm@chat.service.d;"
        " printf '[Service]\\nTimeoutStopSec=15\\n' > /run/systemd/system/vllm@chat.service.d/zz.conf;"
        " systemctl daemon-reload"
    )
    began = time.monotonic()
    host.sh("systemctl stop vllm@chat")
    assert time.monotonic() - began > 14
    assert host.show("chat", "Result") == "timeout"
    assert host.left() == ""
    assert host.sh("pgrep -f '[v]llm serve'", check=False) == ""
    host.sh("rm -r /run/systemd/system/vllm@chat.service.d; systemctl daemon-reload")


def test_an_archive_with_another_image_is_refused(host: Host) -> None:
    other = "sha256:" + "1" * 64
    status, _changed, output = host.play([CHAT], vllm_runtime_image=other)
    text = re.sub(r"\s+", " ", output)
    assert status != 0
    assert f"/srv/engine.tar does not have {other}" in text


def test_an_image_of_another_engine_is_refused(host: Host) -> None:
    status, _changed, output = host.play([CHAT], vllm_service_engine_version="0.13.0")
    assert status != 0
    text = re.sub(r"\s+", " ", output)
    assert "has vLLM 0.18.0, and configuration is written for 0.13.0" in text


def test_a_tag_is_warned_about_and_no_engine_is_refused(host: Host) -> None:
    _status, _changed, output = host.play(
        [CHAT], "--check", vllm_runtime_image="localhost/engine:one"
    )
    assert "localhost/engine:one is a tag" in output
    status, _changed, output = host.play([CHAT], vllm_runtime_container_engine="docker")
    assert status != 0
    assert "docker cannot be run on this host" in re.sub(r"\s+", " ", output)


def test_an_engine_that_does_not_answer_is_not_taken_for_a_missing_image(host: Host) -> None:
    """As the client of docker does whose daemon is down; in check mode too."""
    host.sh(
        "printf '#!/bin/sh\\necho \"Cannot connect to the Docker daemon\" >&2\\nexit 1\\n'"
        " > /usr/local/bin/docker; chmod 755 /usr/local/bin/docker"
    )
    try:
        status, _changed, output = host.play(
            [CHAT], "--check", vllm_runtime_container_engine="docker"
        )
    finally:
        host.sh("rm /usr/local/bin/docker")
    text = re.sub(r"\s+", " ", output)
    assert status != 0
    assert "docker cannot be run on this host" in text
    assert "Cannot connect to the Docker daemon" in text
    assert "would be loaded" not in text


def test_a_missing_folder_of_the_host_is_named_and_not_made(host: Host) -> None:
    status, _changed, output = host.play(
        [CHAT], vllm_service_container_mounts=["/usr", "/usr/local/dcmi-gone"]
    )
    assert status == 0, output
    host.until("journalctl -u vllm@chat -o cat -n 50 | grep -q /usr/local/dcmi-gone")
    assert host.sh("ls -d /usr/local/dcmi-gone", check=False) == ""


def test_a_service_that_goes_takes_its_container_along(host: Host) -> None:
    status, _changed, output = host.play([{**CHAT, "api_key": "key-2"}])
    assert status == 0, output
    host.wait(8000, "key-2")
    status, _changed, output = host.play([])
    assert status == 0, output
    assert host.left() == ""
    assert host.sh("ls /etc/vllm") == ""
