# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated hosts that are mere directories of this machine, with stand-ins that run on them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import ascend_sim
from ansible_collections.inferops.ascend.tests.ports import free_ports

SIMULATOR = Path(ascend_sim.__file__).parent
PROFILES = json.loads((SIMULATOR / "profiles.json").read_text())
START_RAY = "import sys, standin_ray; sys.exit(standin_ray.main())"
START = "import sys, standin_vllm; sys.exit(standin_vllm.main({version!r}))"


def until(state: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not state():
        assert time.monotonic() < deadline, "the state was not reached"
        time.sleep(0.05)


class Host:
    """An Ascend host whose device nodes are files; `serve` starts a stand-in on it."""

    def __init__(self, directory: Path, options: Path) -> None:
        self.log = directory / "log"
        (directory / "code").mkdir(parents=True)
        for path in SIMULATOR.glob("*.py"):
            (directory / "code" / path.name).symlink_to(path)
        (directory / "code" / "vllm_options.json").symlink_to(options)
        state = ascend_sim.profile_state(PROFILES, "a2-64g")
        (directory / "state.json").write_text(json.dumps(state))
        for name in ("dev", "claims"):
            (directory / name).mkdir()
        for name in (*ascend_sim.COMMON_NODES, *(f"davinci{n}" for n in range(8))):
            (directory / "dev" / name).touch()
        self.port, hccl, *_ranks = free_ports(9)
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(directory / "code"),
            "ASCEND_SIM_STATE": str(directory / "state.json"),
            "ASCEND_SIM_DEV": str(directory / "dev"),
            "ASCEND_SIM_CLAIMS": str(directory / "claims"),
            "ASCEND_SIM_BEHAVIOUR": str(directory / "behaviour.json"),
            "ASCEND_SIM_DELAY": "0.2",
            "ASCEND_SIM_ENGINE_GRACE": "0.2",
            "LD_LIBRARY_PATH": "/driver/lib64:/toolkit/lib64:/atb/lib",
            "ASCEND_TOOLKIT_HOME": "/toolkit",
            "ATB_HOME_PATH": "/atb",
            "HCCL_IF_BASE_PORT": str(hccl),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.others: list[subprocess.Popen[bytes]] = []

    def run(self, code: str, words: list[str], **settings: str) -> subprocess.Popen[bytes]:
        """Run a program of the simulator on this host."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, *words],
                env={**self.environment, **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def serve(self, words: str, version: str = "0.18.0", **settings: str) -> None:
        """Start `vllm serve m WORDS` on this host; the log is that of this start."""
        self.log.unlink(missing_ok=True)
        full = ["serve", "m", "--port", str(self.port), *words.split()]
        self.process = self.run(START.format(version=version), full, **settings)

    def ray(self, words: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start `ray start --block WORDS` on this host."""
        full = ["start", "--block", *words.split()]
        self.others.append(self.run(START_RAY, full, **settings))
        return self.others[-1]

    def engine(self) -> int:
        """The process id of the engine of this host."""
        assert self.process is not None
        pid = self.process.pid
        until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ended(self) -> int:
        """Wait for the end of the stand-in and return its status."""
        assert self.process is not None
        return self.process.wait(60)

    def ask(self, path: str, body: str | None = None, seconds: float = 10) -> tuple[int, str]:
        """(status, text) of the API's answer; (0, '') when it is refused or does not come."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body.encode() if body else None
        )
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as problem:
            return problem.code, problem.read().decode()
        except OSError:
            return 0, ""

    def complete(self, seconds: float = 10) -> int:
        """The status of a completion."""
        return self.ask("/v1/completions", '{"prompt": "a"}', seconds)[0]

    def healthy(self) -> bool:
        return self.ask("/health")[0] == 200

    def ranks(self) -> int:
        """How many ranks of all hosts serve."""
        lines = self.ask("/metrics")[1].splitlines()
        found = [line.split()[1] for line in lines if line.startswith("standin:ranks ")]
        return int(found[0]) if found else 0

    def stop(self) -> None:
        for process in (self.process, *self.others):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
