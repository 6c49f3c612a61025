# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replicas of a service on several hosts, and what is seen of them while their engine changes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from typing import Any

import yaml

from ..hosts import environment, scenario
from ..playbooks import Books, Ran

SCENARIO = scenario("upgrade")
HOSTS = ("h1", "h2", "h3")
OLD, NEW, BAD = "0.13.0", "0.18.0", "0.23.0"
SMALL = "Qwen3-0.6B"
CHAT = {"model": SMALL, "name": "chat", "port": 8000}

# A version that does not find room for its KV cache, where a file says so.
BROKEN = """
import os, sys
sys.path.insert(0, "/usr/local/lib/ascend-sim")
sys.path.append("/usr/lib/python3/dist-packages")
def main():
    if os.path.exists("/etc/no-room"):
        os.environ["ASCEND_SIM_FAIL"] = "kv-cache"
    import standin_vllm
    return standin_vllm.main("0.23.0")
"""
ROLE = """
- hosts: all
  gather_facts: false
  roles:
    - role: inferops.ascend.vllm_service
"""


def blank(books: Books) -> None:
    """Leave the old version alone on the hosts."""
    for host in HOSTS:
        books.sh(host, f"cd /opt/vllm && rm -rf {NEW} {BAD}")


def serve(books: Books, *hosts: str) -> None:
    """Deploy a replica of the service on each of these hosts, and nothing on the others."""
    for host in HOSTS:
        books.list_services(host, *([CHAT] if host in hosts else []))
    done = books.run("deploy")
    assert done.status == 0, done.output


def engine(books: Books, host: str, name: str = "chat") -> str:
    """The version that a service of a host runs, and not only the one that is current."""
    pid = f"$(systemctl show -P MainPID vllm@{name})"
    words = books.sh(host, f"tr '\\0' '\\n' < /proc/{pid}/environ | grep ^INFEROPS_PROGRAM=")
    version = words.strip().partition("/opt/vllm/")[2].partition("/")[0]
    assert version == books.sh(host, "readlink /opt/vllm/current").strip()
    return version


def record(books: Books, host: str) -> dict[str, Any]:
    text = books.sh(host, "cat /var/lib/inferops-ascend/rollout.json 2>/dev/null || echo {}")
    data: dict[str, Any] = json.loads(text)
    return data


class Watch:
    """Asks each replica several times a second; `down` are the sets that were down at a time."""

    def __init__(self, books: Books, *hosts: str) -> None:
        data = yaml.safe_load(books.inventory.read_text())["all"]["hosts"]
        self.addresses = {host: data[host]["ansible_host"] for host in hosts}
        self.down: list[set[str]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _is_down(self, host: str) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.addresses[host]}:8000/health", timeout=5).close()
        except TimeoutError:
            return False  # slow machines; a server that is gone refuses
        except OSError as error:
            return "timed out" not in str(error)
        return False

    def _run(self) -> None:
        while not self._over.wait(0.2):
            found = {host for host in self.addresses if self._is_down(host)}
            if not self.down or found != self.down[-1]:
                self.down.append(found)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def begin(books: Books, book: str, *flags: str, **extra: Any) -> subprocess.Popen[str]:
    """Start a playbook in a process group of its own."""
    command = ["ansible-playbook", "-i", str(books.inventory), f"inferops.ascend.{book}", *flags]
    return subprocess.Popen(
        [*command, "-e", json.dumps(extra)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        start_new_session=True,
    )


def run_play(books: Books, text: str, *flags: str, **extra: Any) -> Ran:
    """Run a play of a user's own."""
    play = books.folder / "play.yml"
    play.write_text(text)
    command = ["ansible-playbook", "-i", str(books.inventory), str(play), *flags]
    done = subprocess.run(
        [*command, "-e", json.dumps(extra)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(),
    )
    return Ran(done.returncode, done.stdout + done.stderr)


def order(ran: Ran) -> list[str]:
    """The lines that say which host comes when."""
    lines = (line.strip().strip('",') for line in ran.output.splitlines())
    return [line for line in lines if line.startswith("wave ")]


def killed_at(books: Books, task: str, nth: int, pause: float = 0.3, **extra: Any) -> None:
    """Run an upgrade, and kill its controller when a task begins for the nth time.

    What the task does on the host goes on; within the pause (seconds) the next task may begin.
    """
    running = begin(books, "upgrade", "--limit", "h1,h2", **extra)
    output = ""
    try:
        assert running.stdout
        for line in running.stdout:
            output += line
            if output.count(f"TASK [{task}") == nth and line.startswith("TASK ["):
                time.sleep(pause)
                break
        else:
            raise AssertionError(f"{task} did not begin {nth} times:\n{output}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


CONVERGE = "inferops.ascend.vllm_service : Converge the vLLM services"
SWITCH = "inferops.ascend.vllm_runtime : Switch to the environment"
