# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host's services are looked at: real programs, real sockets, files below a temporary root."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._service import journal as _vllm_log
from ansible_collections.inferops.ascend.plugins.module_utils._service import status as _vllm_status
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import environment_file
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes
from hypothesis import given
from hypothesis import strategies as st

PHASES = _vllm_log.phases_of(causes.phases())
FAILURES = _vllm_log.failures_of(causes.failures())
WAYS = _vllm_status.Ways(timeout=2.0, journal_lines=0)
MODELS = {"object": "list", "data": [{"id": "chat", "max_model_len": 32768, "root": "/w"}]}


class Engine(BaseHTTPRequestHandler):
    """Answers as a server of vLLM does, or in the ways that tests ask for."""

    protocol_version = "HTTP/1.1"
    health, key, models = 200, "", json.dumps(MODELS)
    silent = threading.Event()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.answer(self.health, "")
        if self.key and self.headers.get("Authorization") != f"Bearer {self.key}":
            return self.answer(401, "{}")
        if self.path == "/v1/models":
            return self.answer(200, self.models)
        return self.answer(404, "")

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[ThreadingHTTPServer] = []

    def make(**behaviour: Any) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Its", (Engine,), behaviour))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


# --- programs ----------------------------------------------------------------------------------


def test_a_program_that_prints_without_end_is_cut_and_ended() -> None:
    begun = time.monotonic()
    assert _vllm_status.run(["yes", "x"], 20, 1000) == b"x\n" * 500
    assert time.monotonic() - begun < 5


def test_a_program_that_hangs_or_fails_or_is_missing_is_named() -> None:
    for command, timeout, words in (
        (["sleep", "60"], 0.2, "sleep 60 did not end within 0.2 s"),
        (["false"], 5, "false failed with status 1"),
        (["/nowhere/systemctl", "show"], 5, "/nowhere/systemctl cannot be run"),
    ):
        with pytest.raises(HostError, match=words):
            _vllm_status.run(command, timeout, 100)


# --- files and secrets -------------------------------------------------------------------------

VALUES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")) | st.just("\n")
)


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,10}", fullmatch=True), VALUES, max_size=4))
def test_what_the_role_writes_into_a_secret_file_is_read_back(values: dict[str, str]) -> None:
    try:
        text = environment_file(values)
    except Exception:  # what the role refuses to write
        return
    assert _vllm_status.parse_environment_file(text) == values


def test_secrets_are_taken_out_of_lines_long_ones_and_short_ones() -> None:
    redact = _vllm_status.redactor({"KEY": "opensesame", "PIN": "12", "CERT": "first line\nsecond"})
    assert redact("api_key=['opensesame'] xopensesamex") == "api_key=['********'] x********x"
    assert redact("pin 12, port 8012, 12 MB") == "pin ********, port 8012, ******** MB"
    assert redact("a first line alone, a second alone") == "a ******** alone, a ******** alone"
    assert _vllm_status.redactor({})("as it is") == "as it is"


# --- HTTP --------------------------------------------------------------------------------------


def test_a_server_that_serves_tells_its_models(serve: Any) -> None:
    answer = _vllm_status.ask(None, serve(), None, 5)
    models = [{"id": "chat", "max_model_len": 32768}]
    assert answer == {"health": 200, "models": models, "error": None}


def test_a_key_is_sent_and_a_wrong_one_is_said_but_not_shown(serve: Any) -> None:
    port = serve(key="right-key")
    assert _vllm_status.ask(None, port, "right-key", 5)["error"] is None
    wrong = _vllm_status.ask(None, port, "wrong-key", 5)
    assert wrong["health"] == 200 and wrong["models"] == []
    assert "/v1/models answers 401" in wrong["error"]
    odd = _vllm_status.ask(None, port, "a\nb: c", 5)  # http.client refuses it, and quotes it
    assert odd["error"] is not None and "b: c" not in odd["error"]


@pytest.mark.parametrize("models", ["", "[]", "{}", '{"data": 3}', '{"data": [{}]}', "\x00"])
def test_an_odd_list_of_models_is_said(serve: Any, models: str) -> None:
    answer = _vllm_status.ask(None, serve(models=models), None, 5)
    assert answer["health"] == 200
    assert answer["models"] == []
    assert "something else than a list of models" in answer["error"]


def test_a_server_that_is_not_well_is_told_by_its_status(serve: Any) -> None:
    answer = _vllm_status.ask(None, serve(health=503), None, 5)
    assert answer == {"health": 503, "models": [], "error": "/health answers 503"}


def test_a_server_that_never_answers_costs_its_time_and_no_more(mute: int) -> None:
    begun = time.monotonic()
    answer = _vllm_status.ask(None, mute, None, 0.5)
    assert time.monotonic() - begun < 3
    assert answer["health"] is None
    assert answer["error"] == f"no answer from port {mute} within 0.5 s"


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1"])
def test_an_answer_in_drops_costs_its_time_and_no_more(first: bytes) -> None:
    def drip(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection:
            connection.sendall(first)
            for _drop in range(100):
                time.sleep(0.1)
                try:
                    connection.sendall(b".")
                except OSError:
                    return

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        begun = time.monotonic()
        answer = _vllm_status.get("127.0.0.1", listener.getsockname()[1], "/health", None, 1.0)
        assert time.monotonic() - begun < 4
    assert answer.status is None
    assert answer.error is not None and "within 1 s" in answer.error


def test_a_port_on_which_nobody_listens_is_said(serve: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = _vllm_status.ask(None, port, None, 5)["error"]
    assert error == f"nothing listens on port {port} yet"


def test_proxies_of_the_environment_are_not_asked(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert _vllm_status.ask(None, serve(), None, 5)["health"] == 200


def test_an_address_of_its_own_is_asked_there() -> None:
    assert _vllm_status.addresses("0.0.0.0") == ["127.0.0.1", "::1"]
    assert _vllm_status.addresses("::") == ["::1", "127.0.0.1"]
    assert _vllm_status.addresses("10.0.0.7") == ["10.0.0.7"]
    assert _vllm_status.addresses("[fd00::7]") == ["fd00::7"]


# --- states ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "health", "served", "written", "state"),
    [
        ({"ActiveState": "active", "MainPID": "4"}, 200, False, True, "ready"),
        ({"ActiveState": "active", "MainPID": "4"}, None, False, True, "starting"),
        ({"ActiveState": "active", "MainPID": "4"}, None, True, True, "unhealthy"),
        ({"ActiveState": "active", "MainPID": "4"}, 503, False, True, "unhealthy"),
        (
            {"ActiveState": "activating", "SubState": "auto-restart"},
            None,
            False,
            True,
            "restarting",
        ),
        ({"ActiveState": "activating", "SubState": "start-pre"}, None, False, True, "starting"),
        ({"ActiveState": "inactive", "Job": "71"}, None, False, True, "starting"),
        ({"ActiveState": "activating", "MainPID": "4"}, None, False, True, "starting"),
        ({"ActiveState": "deactivating", "MainPID": "4"}, None, True, True, "stopping"),
        ({"ActiveState": "failed", "MainPID": "0"}, None, False, True, "failed"),
        ({"ActiveState": "inactive", "MainPID": "0"}, None, False, True, "stopped"),
        ({"ActiveState": "inactive", "LoadState": "masked"}, None, False, True, "stopped"),
        ({"ActiveState": "inactive", "LoadState": "loaded"}, None, False, False, "absent"),
        ({"ActiveState": "inactive", "LoadState": "not-found"}, None, False, True, "absent"),
        ({}, None, False, True, "unknown"),
    ],
)
def test_a_service_in_one_word(
    values: dict[str, str], health: int | None, served: bool, written: bool, state: str
) -> None:
    assert _vllm_status.state_of(values, health, served, written) == state


def test_the_time_of_a_start_is_that_since_it_began_or_that_it_lasted() -> None:
    begun = {"ExecMainStartTimestampMonotonic": "100000000", "MainPID": "7"}
    assert _vllm_status.elapsed(begun, 160.5) == 60.5
    ended = {**begun, "ExecMainExitTimestampMonotonic": "103000000", "MainPID": "0"}
    assert _vllm_status.elapsed(ended, 999.0) == 3.0
    # The end of the start before lies before this one's beginning.
    again = {**begun, "ExecMainExitTimestampMonotonic": "90000000"}
    assert _vllm_status.elapsed(again, 160.5) == 60.5
    assert _vllm_status.elapsed({}, 160.5) is None


# --- processes -----------------------------------------------------------------------------------


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_process_that_wrote_over_its_environment_is_told_by_its_children(tmp_path: Path) -> None:
    put(tmp_path, "proc/10/environ", "VLLM::APIServer\0\0\0")
    put(tmp_path, "proc/11/environ", "INFEROPS_DIGEST=abc\0ASCEND_RT_VISIBLE_DEVICES=4,5\0")
    put(tmp_path, "sys/fs/cgroup/system.slice/vllm@chat.service/cgroup.procs", "10\n11\n")
    found = _vllm_status.environ_of(tmp_path, 10, "/system.slice/vllm@chat.service")
    assert found["INFEROPS_DIGEST"] == "abc"
    assert _vllm_status.cards_of(found) == [4, 5]
    assert _vllm_status.cards_of({}) is None
    assert _vllm_status.cards_of({"ASCEND_RT_VISIBLE_DEVICES": ""}) == []
    assert _vllm_status.cards_of({"ASCEND_RT_VISIBLE_DEVICES": "npu0"}) is None


# --- all together ------------------------------------------------------------------------------


def look(name: str, root: Path, values: dict[str, str], ports: Any, **wish: Any) -> dict[str, Any]:
    asked = _vllm_status.Wish(name, **wish)
    service = _vllm_status.Look(asked, "vllm@.service", values, WAYS, PHASES, FAILURES, ports, root)
    return service.facts(100.0, 1700000000.0)


def test_somebody_else_on_its_port_does_not_make_it_ready(serve: Any, tmp_path: Path) -> None:
    port = serve()
    put(tmp_path, "proc/10/cmdline", "/opt/vllm/bin/vllm\0serve\0")
    values = {"ActiveState": "active", "MainPID": "10"}
    other = {"port": port, "pid": 4, "command": "python3 app.py", "unit": "web.service"}
    found = look("chat", tmp_path, values, {port: other}, port=port)
    assert found["state"] == "starting"
    assert found["http"]["health"] is None
    assert found["http"]["error"] == (
        f"port {port} is held by python3 app.py (PID 4, unit web.service)"
    )
    own = {**other, "unit": "vllm@chat.service"}
    assert look("chat", tmp_path, values, {port: own}, port=port)["state"] == "ready"


def test_a_strangers_container_on_its_port_is_not_taken_for_the_services_own(
    serve: Any, tmp_path: Path
) -> None:
    """Also where the service itself runs in docker: its own container is known by its unit."""
    port = serve()
    put(tmp_path, "proc/10/cmdline", "/usr/bin/docker\0run\0--rm\0")
    values = {"ActiveState": "active", "MainPID": "10"}
    own = {"port": port, "pid": 4, "command": "vllm", "unit": "vllm@chat.service"}
    assert look("chat", tmp_path, values, {port: own}, port=port)["state"] == "ready"
    stranger = {**own, "unit": f"docker-{'12ab' * 16}.scope"}
    found = look("chat", tmp_path, values, {port: stranger}, port=port)
    assert (found["state"], found["http"]["health"]) == ("starting", None)


def test_a_rank_without_an_api_is_ready_while_it_runs(tmp_path: Path) -> None:
    put(tmp_path, "etc/vllm/chat.yaml", "headless: true\nport: 8000\n")
    found = look("chat", tmp_path, {"ActiveState": "active", "MainPID": "10"}, {})
    assert found["state"] == "ready"
    assert found["http"]["error"] == "it is headless: its leader answers for it"
    assert look("chat", tmp_path, {"ActiveState": "failed"}, {})["state"] == "failed"


def test_port_and_key_come_from_the_services_own_files(serve: Any, tmp_path: Path) -> None:
    port = serve(key='sp"ecial')
    put(tmp_path, "etc/vllm/chat.yaml", f"# managed\nhost: 0.0.0.0\nport: {port}\nmodel: /w\n")
    put(tmp_path, "etc/vllm/chat.env", 'VLLM_API_KEY="sp\\"ecial"\n')
    found = look("chat", tmp_path, {"ActiveState": "active", "MainPID": "10"}, {})
    assert (found["port"], found["state"]) == (port, "ready")
    assert found["http"]["models"] == [{"id": "chat", "max_model_len": 32768}]
    assert "ecial" not in json.dumps(found)
    # A changed key whose service has not been restarted yet: what the process has is right.
    put(tmp_path, "etc/vllm/chat.env", 'VLLM_API_KEY="new-key"\n')
    put(tmp_path, "proc/10/environ", 'VLLM_API_KEY=sp"ecial\0')
    again = look("chat", tmp_path, {"ActiveState": "active", "MainPID": "10"}, {})
    assert again["http"]["error"] is None


def fake_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: str, journal: str = "exit 1"
) -> None:
    """Put a systemctl and a journalctl of our own in place of the real ones."""
    for name, script in (("systemctl", f"cat <<'END'\n{show}\nEND"), ("journalctl", journal)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    real = _vllm_status.run

    def run(command: Any, timeout: float, limit: int) -> bytes:
        return real([str(tmp_path / command[0]), *command[1:]], timeout, limit)

    monkeypatch.setattr(_vllm_status, "run", run)


def test_eight_services_that_hang_cost_the_time_of_one(
    mute: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"s{number}" for number in range(8)]
    blocks = [
        f"Id=vllm@{name}.service\nActiveState=active\nMainPID={os.getpid()}" for name in names
    ]
    fake_systemd(tmp_path, monkeypatch, "\n\n".join(blocks))
    ways = _vllm_status.Ways(timeout=1.0, journal_lines=10)
    wishes = [_vllm_status.Wish(name, mute, "127.0.0.1") for name in names]
    monkeypatch.setattr(_vllm_status.Look, "holder", lambda self: None)  # it is this process
    begun = time.monotonic()
    facts = _vllm_status.collect(wishes, "vllm@.service", ways, PHASES, FAILURES)
    assert time.monotonic() - begun < 4
    assert [service["name"] for service in facts["services"]] == names
    assert {service["state"] for service in facts["services"]} == {"starting"}
    assert all("journalctl" in service["problems"][0] for service in facts["services"])


def journaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, str], *lines: str
) -> dict[str, Any]:
    """What is said of a service whose journal has these lines of its start `one`."""
    entries = [{"MESSAGE": line, "_SYSTEMD_INVOCATION_ID": "one"} for line in reversed(lines)]
    text = "\n".join(json.dumps(entry) for entry in entries)
    fake_systemd(tmp_path, monkeypatch, "", f"cat <<'END'\n{text}\nEND")
    given = {"InvocationID": "one", "ExecMainStartTimestampMonotonic": "1000000", **values}
    ways = _vllm_status.Ways(timeout=5.0)
    service = _vllm_status.Look(
        _vllm_status.Wish("chat", 1), "vllm@.service", given, ways, PHASES, FAILURES, {}, tmp_path
    )
    return service.facts(100.0, 1700000000.0)


def test_an_exit_status_counts_where_the_process_exited_and_not_where_a_signal_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "2"}
    exited = journaled(tmp_path, monkeypatch, {**values, "ExecMainCode": "1"}, "x")
    assert exited["cause"]["id"] == "bad-option"
    values.update(Result="signal", ExecMainCode="2")  # SIGINT is 2
    assert journaled(tmp_path, monkeypatch, values, "x")["cause"]["id"] == "ended"


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
    assert "nothing in its journal" in found["cause"]["cause"]
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
    good, bad = _vllm_status.Wish("good", port), _vllm_status.Wish("bad", port)
    show = "Id=vllm@good.service\nActiveState=active\nMainPID=1\n\nId=vllm@bad.service"
    fake_systemd(tmp_path, monkeypatch, show)
    real = _vllm_status.Look.http

    def http(self: Any) -> dict[str, Any]:
        if self.wish.name == "bad":
            raise RuntimeError("nobody thought of this")
        self.pid, self.ports = 1, {}
        return real(self)

    def cards(_root: Path) -> dict[str, Any]:
        raise OSError("no npu-smi")

    monkeypatch.setattr(_vllm_status.Look, "http", http)
    facts = _vllm_status.collect([good, bad], "vllm@.service", WAYS, PHASES, FAILURES, cards)
    assert [service["state"] for service in facts["services"]] == ["ready", "unknown"]
    assert facts["services"][1]["problems"] == ["RuntimeError: nobody thought of this"]
    assert facts["npu"] is None
    assert facts["problems"] == ["the cards were not read: OSError: no npu-smi"]


def test_without_systemd_the_services_are_unknown_and_the_reason_is_said(tmp_path: Path) -> None:
    """This machine runs none of them, and may run no systemd."""
    facts = _vllm_status.collect(
        [_vllm_status.Wish("chat", 1)], "vllm@.service", WAYS, PHASES, FAILURES, root=tmp_path
    )
    service = facts["services"][0]
    assert service["state"] in ("unknown", "absent")
    assert (service["state"] == "unknown") == bool(facts["problems"])


def test_a_name_that_is_none_is_refused() -> None:
    for name in ("../chat", "", "a b", None, 7):
        with pytest.raises(_vllm_status.StatusError, match="is no name of a service"):
            _vllm_status.wishes_of([{"name": name}])
    with pytest.raises(_vllm_status.StatusError, match="service chat: 'x' is no port"):
        _vllm_status.wishes_of([{"name": "chat", "port": "x"}])


def test_the_hosts_part_runs_on_the_oldest_python_of_hosts() -> None:
    """No syntax and no module that Python 3.8 does not have."""
    import ast

    for module in (_vllm_log, _vllm_status):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        tree = ast.parse(source, feature_version=(3, 8))
        names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        outside = {n.split(".")[0] for n in names} - {"ansible_collections", "__future__"}
        assert outside <= sys.stdlib_module_names
