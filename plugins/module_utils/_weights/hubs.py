# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hubs' own clients: installed each into an environment of its own, and asked there."""

from __future__ import annotations

import inspect
import json
import math
import os
import shutil
import ssl
import sys
import tempfile
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from .._base import process
from .._base.errors import HostError
from .._base.reading import parse_json
from . import faults, hub_client
from .jobs import Job
from .sources import Listing, Transfer, error_of, partial_of, remote_of, selected

REQUIREMENTS = {
    "huggingface": "huggingface_hub>=0.30,<3",
    # Later ones import zoneinfo, which Python 3.8 has not.
    "modelscope": "modelscope>=1.26,<2" if sys.version_info >= (3, 9) else "modelscope>=1.26,<1.29",
}
# Both files by the names that they are imported by, and no other of the collection.
_START = """import json, sys, types
for name, source in json.loads(sys.stdin.readline()).items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""


class Packages(NamedTuple):
    """Where the clients are installed, and where their packages come from."""

    directory: str = "/opt/vllm/tools"
    index_url: str = ""
    extra_index_urls: Sequence[str] = ()
    wheels: str = ""
    offline: bool = False
    environment: Mapping[str, str] = {}


class Clients:
    """The hubs' clients on this host. `keep` false: installed where they are removed again."""

    def __init__(self, packages: Packages, keep: bool = True) -> None:
        self.packages = packages
        self.keep = keep
        self.temporary = ""
        # Read here: the archive that Ansible sent is gone before a detached process ends.
        self.program = {each.__name__: inspect.getsource(each) for each in (faults, hub_client)}

    def close(self) -> None:
        """Remove what was installed for this run alone."""
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)

    def ask(
        self,
        request: dict[str, Any],
        answered: Callable[[Any], None],
        watch: Callable[[], None] = lambda: None,
        lock: tuple[int, ...] = (),
    ) -> None:
        """Have a request answered; `watch` is called at least once a second meanwhile.

        lock: a descriptor that the process shares: it may live on where this process is killed, and
        nobody else is to write then. Raises HostError.
        """
        python = self.install(request["source"])
        rest = b""

        def received(data: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answered(parse_json(line.decode("utf-8")))
            watch()

        given = "".join(f"{json.dumps(each)}\n" for each in (self.program, request)).encode("utf-8")
        with tempfile.TemporaryDirectory(prefix="inferops-ascend-") as home:
            command = [python, "-I", "-c", _START]
            env = _environment(home)
            done = process.run(command, math.inf, env, given=given, received=received, shared=lock)
        if done.status != 0:
            lines = done.errors.strip().splitlines()
            raise HostError(
                f"the client of {request['source']} ended with {done.status}:"
                f" {faults.one_line(' '.join(lines[-2:])) or 'no message'}. To have it installed"
                f" again: rm -rf {os.path.join(self.packages.directory, request['source'])}"
            )

    # -- installing --------------------------------------------------------------------------------

    def install(self, source: str) -> str:
        """Install a hub's client where it is not; return the Python that has it."""
        target = os.path.join(self.packages.directory, source)
        python = os.path.join(target, "bin", "python")
        if os.path.exists(python):
            return python
        if not self.keep:
            self.temporary = self.temporary or tempfile.mkdtemp(prefix="inferops-ascend-")
            target = os.path.join(self.temporary, source)
            python = os.path.join(target, "bin", "python")
            if os.path.exists(python):
                return python
        part = f"{target}.{os.getpid()}"
        os.makedirs(os.path.dirname(part), mode=0o755, exist_ok=True)
        try:
            self._run(source, [sys.executable, "-m", "venv", part])
            pip = [os.path.join(part, "bin", "python"), "-I", "-m", "pip", "install", "--quiet"]
            # The addresses, which may have passwords, are in the environment and not in the command.
            self._run(source, [*pip, "--disable-pip-version-check", REQUIREMENTS[source]])
            try:
                os.rename(part, target)
            except OSError:
                # Another process was faster.
                if not os.path.exists(python):
                    raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return python

    def _run(self, source: str, command: list[str]) -> None:
        given = self.packages
        env = dict(os.environ, LC_ALL="C.UTF-8", PIP_NO_INPUT="1", **given.environment)
        values = {
            "PIP_INDEX_URL": given.index_url,
            "PIP_EXTRA_INDEX_URL": " ".join(given.extra_index_urls),
            "PIP_FIND_LINKS": given.wheels,
            "PIP_NO_INDEX": "1" if given.offline else "",
        }
        env.update({key: value for key, value in values.items() if value})
        done = process.run(command, math.inf, env)
        if done.status != 0:
            lines = (done.text + done.errors).strip().splitlines()
            text = faults.one_line(" ".join(lines[-4:]))
            for url in (given.index_url, *given.extra_index_urls):
                text = text.replace(url, faults.bare_url(url)) if url else text
            version = "{}.{}".format(*sys.version_info)
            raise HostError(
                f"the client of {source} ({REQUIREMENTS[source]}) cannot be installed below"
                f" {given.directory} with {sys.executable} (Python {version}): {text}. It needs the"
                " module venv (Debian: package python3-venv) and either a package index"
                " (vllm_weights_packages: {index_url: ...}) or a directory of wheels for this Python"
                " on the host (vllm_weights_packages: {wheels: ..., offline: true}). Without one,"
                " take the model from an archive, a share or by rsync"
            )


def _environment(home: str) -> dict[str, str]:
    """What the clients see: the play's proxies and certificates, and no account or cache of root's."""
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "HUGGING", "MODELSCOPE_", "PYTHON"))
    }
    paths = ssl.get_default_verify_paths()
    # requests has authorities of its own; those of the host, or of the play, are asked for.
    authorities = env.get("SSL_CERT_FILE") or paths.cafile or ""
    if authorities:
        env.update(SSL_CERT_FILE=authorities, REQUESTS_CA_BUNDLE=authorities)
    env.update(
        HOME=home,
        TMPDIR=home,
        # Seconds without a byte before a connection is given up; the client's own 10 are few for a
        # loaded mirror.
        HF_HUB_DOWNLOAD_TIMEOUT="60",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_IMPLICIT_TOKEN="1",
        INTRA_CLOUD_ACCELERATION="false",
        MODELSCOPE_CACHE=home,
        PYTHONIOENCODING="utf-8",
    )
    return env


class Hub:
    """A model on Hugging Face or ModelScope."""

    in_place = False

    def __init__(self, job: Job, clients: Clients) -> None:
        self.job = job
        self.clients = clients
        self.commit = ""

    def listing(self, config: bool = False) -> Listing:
        """Raises HostError."""
        answers: list[dict[str, Any]] = []
        self._ask({"action": "list", "config": config}, answers.append)
        (answer,) = answers
        files = selected([remote_of(**each) for each in answer["listing"]], self.job.skip)
        if not files:
            at = f" at its revision {self.job.revision!r}" if self.job.revision else ""
            raise HostError(
                f"{self.job.id} has no files that the engine reads{at} on {self.job.source}. Check its"
                " id and revision there"
            )
        text = answer["config"]
        self.commit = answer["commit"]
        return Listing(files, self.commit, None if text is None else text.encode("utf-8"))

    def fetch(self, transfer: Transfer) -> None:
        """Download to the partial names. Raises HostError, OSError."""
        by_path = {each.path: each for each in transfer.files}
        files = [
            {"path": each.path, "partial": partial_of(each), "size": each.size}
            for each in transfer.files
        ]
        request = {"action": "fetch", "files": files, "connections": transfer.connections}
        self._ask(
            request,
            lambda answer: transfer.finished(by_path[answer["finished"]]),
            transfer.watch,
            (transfer.lock,),
        )

    def _ask(
        self, request: dict[str, Any], answered: Callable[[dict[str, Any]], None], *more: Any
    ) -> None:
        def check(answer: dict[str, Any]) -> None:
            if "fault" in answer:
                raise error_of(faults.Fault(**answer["fault"]))
            answered(answer)

        same = ("source", "endpoint", "id", "revision", "token")
        given = {key: getattr(self.job, key) for key in same}
        self.clients.ask({**request, **given, "commit": self.commit}, check, *more)
