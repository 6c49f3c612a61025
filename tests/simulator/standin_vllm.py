# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for `vllm` on simulated Ascend hosts: behaves as a service does, computes nothing.

What it imitates, and every setting: README.md beside this file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ascend_sim as sim
import vllm_bench
import vllm_config
from vllm_api import Api
from vllm_behaviour import FAILURES, Behaviour, StartError, error, say
from vllm_engine import engine
from vllm_service import Service, bind, check_environment, describe, visible_cards


def wait_for(ready: int, child: int) -> int | None:
    """None when the engine says it is ready; its exit code, or -signal, when it ended before."""
    if os.read(ready, 1) == b"1":
        return None
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def serve(service: Service, behaviour: Behaviour, listener: socket.socket | None) -> int:
    # Seen with real versions: SIGTERM has no effect until the server is up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ready, told = os.pipe()
    inner = None
    if service.group is not None and listener is not None:
        inner = socket.socket(socket.AF_UNIX)
        inner.bind("")  # a name of the kernel's choice, in no directory
    child = os.fork()
    if child == 0:
        os.close(ready)
        if listener is not None:
            listener.close()
        engine(service, behaviour, told, inner)
    os.close(told)
    to_engine = None
    if inner is not None:
        to_engine = inner.getsockname()
        inner.close()
    status = wait_for(ready, child)
    if status is not None:
        error(
            'Traceback (most recent call last):\n  File "utils.py", line 964, in '
            "wait_for_engine_startup\n"
            "RuntimeError: Engine core initialization failed. See root cause above. "
            f"Failed core proc(s): {{'EngineCore_DP0': {status}}}"
        )
        return 1
    stopping = threading.Event()
    died = threading.Event()

    def watch() -> None:
        os.waitpid(child, 0)
        died.set()
        stopping.set()

    threading.Thread(target=watch, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    api = None
    if listener is not None:
        listener.listen(128)
        api = Api(listener, service, behaviour, child, to_engine)
        threading.Thread(
            target=api.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        ).start()
        say(f"Starting vLLM API server on http://{service.host}:{service.port}")
    print("INFO:     Waiting for application startup.", flush=True)
    print("INFO:     Application startup complete.", flush=True)
    # A signal wakes only the main thread's own calls: wait in short steps.
    while not stopping.wait(0.1):
        pass
    if died.is_set():
        error("AsyncLLM output_handler failed. EngineDeadError: EngineCore encountered an issue.")
        time.sleep(behaviour.engine_grace)
    else:
        drain(service, behaviour, api)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    print("INFO:     Application shutdown complete.", flush=True)
    return 0


def drain(service: Service, behaviour: Behaviour, api: Api | None) -> None:
    print("INFO:     Shutting down", flush=True)
    deadline = time.monotonic() + service.shutdown_timeout
    while api is not None and api.running and time.monotonic() < deadline:
        time.sleep(0.05)
    stop = behaviour.stop
    if stop is None:
        stop = 12.0 if service.headless and service.group and service.group.native else 0.5
    time.sleep(stop)


def banner(service: Service, options: Any, parser: Any) -> None:
    """The first lines; like vLLM's they name every option given, a key among them."""
    usual = vars(parser.parse_args(["serve"]))
    given = {key: value for key, value in vars(options).items() if value != usual.get(key)}
    say(f"{vllm_config.STAND_IN}: it opens cards, holds memory and answers, but computes nothing")
    say(f"vLLM API server version {service.version}")
    say(f"non-default args: {given}")


def main(version: str) -> int:
    words = sys.argv[1:]
    table = json.loads((Path(__file__).parent / "vllm_options.json").read_text())
    if words[:1] in (["serve"], ["bench"]):
        # The platform's plugin is imported before any option is read.
        try:
            check_environment()
        except StartError as problem:
            error(str(problem))
            return 1
    if words[:2] == ["bench", "serve"]:
        return vllm_bench.main(words[2:])
    # A version whose options nobody has listed reads those of the one before.
    listed = sorted((name for name in table if name[0] != "_"), key=vllm_config.number)
    older = [name for name in listed if vllm_config.number(name) <= vllm_config.number(version)]
    parser = vllm_config.parser(version, table[older[-1]])
    options = parser.parse_args(words)
    if options.subparser != "serve":
        parser.print_help()
        return 0
    try:
        service = describe(version, options)
        banner(service, options, parser)
        behaviour = Behaviour.load(service.all_names)
        if behaviour.fail == "port":
            raise StartError(FAILURES["port"])
        listener = None if service.headless else bind(service)
        if not sim.may_use_driver():
            raise StartError(FAILURES["driver"])
        if service.local_world:
            service.visible = visible_cards(sim.load_state())
        if service.local_world > len(service.visible):
            raise StartError(
                f"AssertionError: local_world_size ({service.local_world}) must be less than or "
                f"equal to the number of visible devices ({len(service.visible)})."
            )
        return serve(service, behaviour, listener)
    except StartError as problem:
        error(str(problem))
        return 1
