# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host's services are checked: real programs, real sockets, files below a temporary root."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._service import status
from ansible_collections.inferops.ascend.plugins.module_utils._service.journal import phases_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

PHASES = phases_of(causes.phases())
FAILURES = causes.failures()
LIMITS = status.Limits(timeout=2.0, journal_lines=0)


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_program_that_prints_without_end_is_cut_and_ended() -> None:
    begun = time.monotonic()
    assert status.run(["yes", "x"], 20, 1000) == b"x\n" * 500
    assert time.monotonic() - begun < 5


def test_a_program_that_hangs_or_fails_or_is_missing_is_named() -> None:
    for command, timeout, words in (
        (["sleep", "60"], 0.2, "sleep 60 did not end within 0.2 s"),
        (["false"], 5, "false failed with status 1"),
        (["/nowhere/systemctl", "show"], 5, "/nowhere/systemctl cannot be run"),
    ):
        with pytest.raises(HostError, match=words):
            status.run(command, timeout, 100)


def check(
    name: str, root: Path, values: dict[str, str], ports: Any, **request: Any
) -> dict[str, Any]:
    asked = status.StatusRequest(name, **request)
    service = status.ServiceCheck(
        asked, "vllm@.service", values, LIMITS, PHASES, FAILURES, ports, root
    )
    return service.facts(100.0, 1700000000.0)


def test_somebody_else_on_its_port_does_not_make_it_ready(serve: Any, tmp_path: Path) -> None:
    port = serve()
    put(tmp_path, "proc/10/cmdline", "/opt/vllm/bin/vllm\0serve\0")
    values = {"ActiveState": "active", "MainPID": "10"}
    other = {"port": port, "pid": 4, "command": "python3 app.py", "unit": "web.service"}
    found = check("chat", tmp_path, values, {port: other}, port=port)
    assert found["state"] == "starting"
    assert found["http"]["health"] is None
    assert found["http"]["error"] == (
        f"port {port} is in use by python3 app.py (PID 4, unit web.service)"
    )
    own = {**other, "unit": "vllm@chat.service"}
    assert check("chat", tmp_path, values, {port: own}, port=port)["state"] == "ready"


def test_a_strangers_container_on_its_port_is_not_taken_for_the_services_own(
    serve: Any, tmp_path: Path
) -> None:
    """Also where the service itself runs in docker: its own container is known by its unit."""
    port = serve()
    put(tmp_path, "proc/10/cmdline", "/usr/bin/docker\0run\0--rm\0")
    values = {"ActiveState": "active", "MainPID": "10"}
    own = {"port": port, "pid": 4, "command": "vllm", "unit": "vllm@chat.service"}
    assert check("chat", tmp_path, values, {port: own}, port=port)["state"] == "ready"
    stranger = {**own, "unit": f"docker-{'12ab' * 16}.scope"}
    found = check("chat", tmp_path, values, {port: stranger}, port=port)
    assert (found["state"], found["http"]["health"]) == ("starting", None)


def test_a_rank_without_an_api_is_ready_while_it_runs(tmp_path: Path) -> None:
    put(tmp_path, "etc/vllm/chat.yaml", "headless: true\nport: 8000\n")
    found = check("chat", tmp_path, {"ActiveState": "active", "MainPID": "10"}, {})
    assert found["state"] == "ready"
    assert found["headless"] and found["http"]["error"] is None
    assert check("chat", tmp_path, {"ActiveState": "failed"}, {})["state"] == "failed"


def test_port_and_key_come_from_the_services_own_files(serve: Any, tmp_path: Path) -> None:
    port = serve(key='sp"ecial')
    put(tmp_path, "etc/vllm/chat.yaml", f"# managed\nhost: 0.0.0.0\nport: {port}\nmodel: /w\n")
    put(tmp_path, "etc/vllm/chat.env", 'VLLM_API_KEY="sp\\"ecial"\n')
    found = check("chat", tmp_path, {"ActiveState": "active", "MainPID": "10"}, {})
    assert (found["port"], found["state"]) == (port, "ready")
    assert found["http"]["models"] == [{"id": "chat", "max_model_len": 32768}]
    assert "ecial" not in json.dumps(found)
    # A changed key whose service has not been restarted yet: what the process has is right.
    put(tmp_path, "etc/vllm/chat.env", 'VLLM_API_KEY="new-key"\n')
    put(tmp_path, "proc/10/environ", 'VLLM_API_KEY=sp"ecial\0')
    again = check("chat", tmp_path, {"ActiveState": "active", "MainPID": "10"}, {})
    assert again["http"]["error"] is None


def fake_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: str, journal: str = "exit 1"
) -> None:
    """Put a systemctl and a journalctl of our own in place of the real ones."""
    for name, script in (("systemctl", f"cat <<'END'\n{show}\nEND"), ("journalctl", journal)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    real = status.run

    def run(command: Any, timeout: float, limit: int) -> bytes:
        return real([str(tmp_path / command[0]), *command[1:]], timeout, limit)

    monkeypatch.setattr(status, "run", run)


def test_eight_services_that_hang_cost_the_time_of_one(
    mute: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"s{number}" for number in range(8)]
    blocks = [
        f"Id=vllm@{name}.service\nActiveState=active\nMainPID={os.getpid()}" for name in names
    ]
    fake_systemd(tmp_path, monkeypatch, "\n\n".join(blocks))
    limits = status.Limits(timeout=1.0, journal_lines=10)
    requests = [status.StatusRequest(name, mute, "127.0.0.1") for name in names]
    monkeypatch.setattr(status.ServiceCheck, "holder", lambda self: None)  # it is this process
    begun = time.monotonic()
    facts = status.collect(requests, "vllm@.service", limits, PHASES, FAILURES)
    assert time.monotonic() - begun < 4
    assert [service["name"] for service in facts["services"]] == names
    assert {service["state"] for service in facts["services"]} == {"starting"}
    assert all("journalctl" in service["problems"][0] for service in facts["services"])


def journaled(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, str],
    *lines: str,
    kernel: Sequence[str] = (),
) -> dict[str, Any]:
    """What is said of a service whose journal has these lines of its start `one`, and the kernel's those."""
    entries = [{"MESSAGE": line, "_SYSTEMD_INVOCATION_ID": "one"} for line in reversed(lines)]
    text = "\n".join(json.dumps(entry) for entry in entries)
    killed = "\n".join(json.dumps({"MESSAGE": line}) for line in reversed(kernel))
    script = f"""case "$*" in *--dmesg*) cat <<'END'\n{killed}\nEND\n;; *) cat <<'END'\n{text}\nEND\nesac"""
    fake_systemd(tmp_path, monkeypatch, "", script)
    given = {"InvocationID": "one", "ExecMainStartTimestampMonotonic": "1000000", **values}
    limits = status.Limits(timeout=5.0)
    service = status.ServiceCheck(
        status.StatusRequest("chat", 1),
        "vllm@.service",
        given,
        limits,
        PHASES,
        FAILURES,
        {},
        tmp_path,
    )
    return service.facts(100.0, 1700000000.0)


def test_an_exit_status_counts_where_the_process_exited_and_not_where_a_signal_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "2"}
    exited = journaled(tmp_path, monkeypatch, {**values, "ExecMainCode": "1"}, "x")
    assert exited["cause"]["id"] == "bad-option"
    values.update(Result="signal", ExecMainCode="2")  # SIGINT is 2
    assert journaled(tmp_path, monkeypatch, values, "x")["cause"]["id"] == "killed"


def test_the_kernel_tells_which_process_of_the_unit_it_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ActiveState": "failed", "Result": "exit-code", "ExecMainCode": "1"}
    memory = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg="
    slices = "/system.slice/system-vllm.slice/vllm@chat.service,task=VLLM::Worker,pid=4711,uid=990"
    killed = (
        "Out of memory: Killed process 4711 (VLLM::Worker) total-vm:98304000kB, anon-rss:65536000kB"
    )
    line = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': -9}"
    found = journaled(tmp_path, monkeypatch, values, line, kernel=[memory + slices, killed])
    assert found["cause"]["id"] == "oom-kill"
    assert "killed the process VLLM::Worker (4711)" in found["cause"]["cause"]
    other = slices.replace("vllm@chat", "vllm@chat2")
    found = journaled(tmp_path, monkeypatch, values, line, kernel=[memory + other, killed])
    assert found["cause"]["id"] == "engine-killed"


@pytest.mark.parametrize(
    ("values", "lines", "known", "words"),
    [
        (  # what the engine logged when the server was killed is no reason
            {"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"},
            ["ConnectionResetError: [Errno 104] Connection reset by peer", "RuntimeError: Broken"],
            "sigkill",
            "killed by signal 9 (SIGKILL)",
        ),
        (
            {"Result": "core-dump", "ExecMainCode": "3", "ExecMainStatus": "11"},
            ["RuntimeError: operator failed"],
            "unrecognised",
            "killed by signal 11 (SIGSEGV): RuntimeError: operator failed",
        ),
        (
            {"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "15"},
            [],
            "killed",
            "killed by signal 15 (SIGTERM).",
        ),
        ({"Result": "oom-kill", "ExecMainCode": "2", "ExecMainStatus": "9"}, [], "oom-kill", "out-of-memory"),
        (  # the engine's process was killed: the server ends with status 0
            {"Result": "success", "ExecMainCode": "1", "ExecMainStatus": "0"},
            ["(Worker pid=9) ConnectionResetError: [Errno 104] Connection reset by peer", "EngineDeadError: x"],
            "engine-dead",
            "The engine's process ended",
        ),
    ],
)  # fmt: skip
def test_a_signal_is_named_and_not_what_its_victims_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, str],
    lines: list[str],
    known: str,
    words: str,
) -> None:
    if values["ExecMainStatus"] == "9" and values["Result"] == "signal":
        lines = [*lines, "vllm@chat.service: Main process exited, code=killed, status=9/KILL"]
    found = journaled(tmp_path, monkeypatch, {"ActiveState": "failed", **values}, *lines)["cause"]
    assert (found["id"], words in found["cause"]) == (known, True), found["cause"]


def test_a_kill_of_the_start_before_is_named_while_the_next_one_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = [
        ("one", "ConnectionResetError: [Errno 104] Connection reset by peer"),
        ("one", "vllm@chat.service: Main process exited, code=killed, status=9/KILL"),
        ("two", "Starting to load model"),
    ]
    entries = [{"MESSAGE": text, "_SYSTEMD_INVOCATION_ID": name} for name, text in starts]
    text = "\n".join(map(json.dumps, reversed(entries)))
    fake_systemd(tmp_path, monkeypatch, "", f"cat <<'END'\n{text}\nEND")
    values = {"ActiveState": "active", "MainPID": "10", "NRestarts": "1", "InvocationID": "two"}
    request, limits = status.StatusRequest("chat", 1), status.Limits(timeout=5.0)
    service = status.ServiceCheck(
        request, "vllm@.service", values, limits, PHASES, FAILURES, {}, tmp_path
    )
    found = service.facts(100.0, 1700000000.0)["cause"]
    assert (found["id"], found["start"]) == ("sigkill", "previous")


def test_the_start_limit_is_told_besides_what_made_the_starts_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ActiveState": "failed", "Result": "exit-code", "ExecMainCode": "1"}
    limit = "vllm@chat.service: Start request repeated too quickly."
    found = journaled(tmp_path, monkeypatch, values, "KeyError: 'x'", limit)["cause"]
    assert found["cause"].startswith(
        "It ends with an error that this collection does not know: KeyError: 'x'"
    )
    assert "systemd starts it no more (start-limit-hit): it ended too often" in found["cause"]
    assert "run inferops.ascend.deploy, which starts it" in found["advice"]
    values.update(StartLimitBurst="5", StartLimitIntervalUSec="2h")
    found = journaled(tmp_path, monkeypatch, values, "KeyError: 'x'", limit)["cause"]
    assert "(start-limit-hit): it ended 5 times within 2h (StartLimitBurst" in found["cause"]
    values["Result"] = "start-limit-hit"
    found = journaled(tmp_path, monkeypatch, values)["cause"]
    assert found["id"] == "start-limit"


def test_a_server_that_has_served_for_long_and_does_no_more_is_not_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ActiveState": "active", "MainPID": "10"}
    for line in (
        'INFO:     10.0.0.1:5 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
        "INFO [loggers.py:127] Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation",
    ):
        assert journaled(tmp_path, monkeypatch, values, line)["state"] == "unhealthy"


def test_a_journal_that_is_not_kept_or_may_not_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ActiveState": "failed", "Result": "exit-code", "ExecMainCode": "1"}
    found = journaled(tmp_path, monkeypatch, {**values, "InvocationID": "two"}, "of the one before")
    assert found["problems"][0].startswith("the journal has no line of this start")
    assert "recognises no line of its journal" in found["cause"]["cause"]
    told = journaled(tmp_path, monkeypatch, values, "a line")
    assert (told["problems"], told["log"]) == ([], ["a line"])


def test_a_service_whose_turn_comes_later_in_a_boot_is_not_told_of_the_boot_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "etc/vllm/chat.yaml", "port: 1\n")
    values = {"ActiveState": "inactive", "Job": "71", "InvocationID": ""}
    values["ExecMainStartTimestampMonotonic"] = "0"
    found = journaled(tmp_path, monkeypatch, values, "Application startup complete.", "EI0006")
    assert (found["state"], found["phase"], found["cause"]) == ("starting", None, None)


def test_one_part_that_fails_loses_nothing_of_the_rest(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve()
    good, bad = status.StatusRequest("good", port), status.StatusRequest("bad", port)
    show = "Id=vllm@good.service\nActiveState=active\nMainPID=1\n\nId=vllm@bad.service"
    fake_systemd(tmp_path, monkeypatch, show)
    real = status.ServiceCheck.http

    def http(self: Any) -> dict[str, Any]:
        if self.request.name == "bad":
            raise RuntimeError("nobody thought of this")
        self.pid, self.ports = 1, {}
        return real(self)

    def cards(_root: Path) -> dict[str, Any]:
        raise OSError("no npu-smi")

    monkeypatch.setattr(status.ServiceCheck, "http", http)
    facts = status.collect([good, bad], "vllm@.service", LIMITS, PHASES, FAILURES, cards)
    assert [service["state"] for service in facts["services"]] == ["ready", "unknown"]
    assert facts["services"][1]["problems"] == ["RuntimeError: nobody thought of this"]
    assert facts["npu"] is None
    assert facts["problems"] == ["the cards were not read: OSError: no npu-smi"]


def test_without_systemd_the_services_are_unknown_and_the_reason_is_said(tmp_path: Path) -> None:
    """This machine runs none of them, and may run no systemd."""
    facts = status.collect(
        [status.StatusRequest("chat", 1)], "vllm@.service", LIMITS, PHASES, FAILURES, root=tmp_path
    )
    service = facts["services"][0]
    assert service["state"] in ("unknown", "absent")
    assert (service["state"] == "unknown") == bool(facts["problems"])


def test_the_hosts_part_runs_on_the_oldest_python_of_hosts() -> None:
    """No syntax and no module that Python 3.8 does not have."""
    import ast

    for path in Path(str(status.__file__)).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source, feature_version=(3, 8))
        names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        outside = {n.split(".")[0] for n in names} - {"ansible_collections", "__future__"}
        assert outside <= sys.stdlib_module_names
