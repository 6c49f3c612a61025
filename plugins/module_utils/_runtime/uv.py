# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""uv, the one installer: how it comes to a host, and how it is called.

Its wheel is an archive with one static program. It is taken from the wheels that are on the host,
else from the package index by the pip of a temporary environment.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
import zipfile
from typing import Iterable, Sequence

from .._base.errors import HostError
from .._base.text import printable
from .interpreters import interpreters
from .spec import EnvironmentSpec, Module, Step

OLDEST = (0, 5)
REQUIREMENT = "uv>={}.{}".format(*OLDEST)
TEMPORARY = ".installing-uv-"
_WHEEL = re.compile(r"uv-([0-9]+(?:\.[0-9]+)*)-.*linux.*\.whl")
_TAIL = 25
_ADVICE = f"python3 -m pip download --only-binary=:all: --no-deps '{REQUIREMENT}'"


def find_wheel(directories: Iterable[str], machine: str) -> str:
    """The newest wheel of uv for a machine such as x86_64; "" where there is none."""
    found: list[tuple[tuple[int, ...], bool, str]] = []
    for directory in directories:
        for path in glob.glob(os.path.join(glob.escape(directory), f"uv-*_{machine}.whl")):
            match = _WHEEL.fullmatch(os.path.basename(path))
            version = tuple(map(int, match.group(1).split("."))) if match else ()
            if version >= OLDEST:
                found.append((version, "manylinux" in path, path))
    return max(found)[2] if found else ""


def unpack(wheel: str, program: str) -> None:
    """Write the program of uv's wheel to its place, completely or not at all."""
    os.makedirs(os.path.dirname(program), mode=0o755, exist_ok=True)
    temporary = f"{program}.{os.getpid()}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
            with archive.open(member) as source, open(temporary, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                os.fchmod(target.fileno(), 0o755)
                os.fsync(target.fileno())
    except (zipfile.BadZipFile, StopIteration) as error:
        raise HostError(
            f"{wheel} is not a valid wheel of uv ({error or 'it has no program'}). Copy it again."
        ) from error
    os.rename(temporary, program)


class Uv:
    """uv on one host. `lock`: a descriptor that everything it starts keeps open."""

    def __init__(self, module: Module, spec: EnvironmentSpec, lock: int | None = None) -> None:
        self.module = module
        self.spec = spec
        self.lock = lock
        self.tools = spec.tools or os.path.join(spec.root, "tools")
        self.program = os.path.join(self.tools, "uv", "bin", "uv")

    def install(self) -> None:
        """Install uv where it is not on the host yet. Raises HostError."""
        if os.access(self.program, os.X_OK):
            return
        machine = os.uname().machine
        wheel = find_wheel(self.spec.find_links, machine)
        if wheel:
            unpack(wheel, self.program)
            return
        if self.spec.offline:
            raise HostError(self._nowhere())
        os.makedirs(self.tools, mode=0o755, exist_ok=True)
        for path in glob.glob(os.path.join(glob.escape(self.tools), TEMPORARY + "*")):
            shutil.rmtree(path)  # a killed run left it
        with tempfile.TemporaryDirectory(dir=self.tools, prefix=TEMPORARY) as directory:
            unpack(self._download(directory, machine), self.program)

    def fault(self, coming: Sequence[str]) -> str:
        """Why uv cannot be installed here, as far as that is known before; "" where nothing prevents it.

        coming: names of files that will be copied into the directories of packages first.
        """
        machine = os.uname().machine
        comes = any(_WHEEL.fullmatch(name) and name.endswith(f"_{machine}.whl") for name in coming)
        if comes or os.access(self.program, os.X_OK) or find_wheel(self.spec.find_links, machine):
            return ""
        return self._nowhere(bool(coming)) if self.spec.offline else ""

    def _nowhere(self, copied: bool = False) -> str:
        """copied: the directories are made by a copy of wheels first."""
        machine = os.uname().machine
        where = ", ".join(self.spec.find_links) if copied else self._directories()
        return (
            f"The installer uv is not on this host, and {where} has no wheel of it "
            f"for {machine}. Download it on such a machine and copy it to the other wheels: {_ADVICE}"
        )

    def _download(self, directory: str, machine: str) -> str:
        """Download uv's wheel from the index; return its path."""
        usable = [each for each in interpreters() if each.venv]
        if not usable:
            raise HostError(
                "The installer uv is not on this host, and no Python here has the module venv, which "
                "is needed to download it. Install it (a package such as python3-venv), or copy "
                f"uv's wheel to the host (in the role: vllm_runtime_wheels): {_ADVICE}"
            )
        self.run([usable[0].path, "-I", "-m", "venv", f"{directory}/pip"], "preparing pip")
        command = [f"{directory}/pip/bin/python3", "-I", "-m", "pip", "download", "--no-input"]
        command += ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", directory]
        self.run([*command, REQUIREMENT], "downloading the installer uv")
        wheel = find_wheel([directory], machine)
        if not wheel:
            raise HostError(f"The index has no wheel of uv for {machine}. {_ADVICE}")
        return wheel

    def make(self, path: str, python: str) -> None:
        """Make an empty environment."""
        command = [self.program, "venv", "--quiet", "--allow-existing", "--python", python, path]
        self.run(command, f"making {path}")

    def add(self, path: str, step: Step, number: int) -> None:
        """Install the packages of a step into the environment at `path`."""
        spec = self.spec
        command = [self.program, "pip", "install", "--python", os.path.join(path, "bin", "python3")]
        # The best version of all indexes, as pip takes it, not the first index that has the name.
        command += ["--compile-bytecode", "--index-strategy", "unsafe-best-match"]
        command += ["--offline", "--no-index"] if spec.offline else []
        replaced = [*step.overrides, *(f"{name}; python_version < '0'" for name in step.exclude)]
        for option, name, lines in (
            ("--override", f".overrides-{number}.txt", replaced),
            ("--constraint", ".constraints.txt", spec.constraints),
        ):
            if lines:
                with open(os.path.join(path, name), "w", encoding="utf-8") as handle:
                    handle.write("\n".join(lines) + "\n")
                command += [option, handle.name]
        for directory in spec.find_links:
            command += ["--find-links", directory]
        what = f"step {number} of {len(spec.steps)} ({' '.join(step.requirements)})"
        self.run([*command, *step.requirements], what, step.environment)

    def run(
        self, command: Sequence[str], what: str, environment: Iterable[tuple[str, str]] = ()
    ) -> str:
        """Run a command with the settings of the index; return its output.

        Addresses go in the environment: they may contain a password, and every user sees the words
        of a process. Raises HostError with the end of its output.
        """
        spec = self.spec
        variables = {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_REQUIRE_VIRTUALENV": "0",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "LC_ALL": "C.UTF-8",
        }
        if not spec.offline:
            extra = " ".join(spec.extra_index_urls)
            for prefix in ("PIP", "UV"):
                if spec.index_url:
                    variables[f"{prefix}_INDEX_URL"] = spec.index_url
                if extra:
                    variables[f"{prefix}_EXTRA_INDEX_URL"] = extra
        variables.update(spec.environment)
        variables.update(environment)
        # What it starts has the lock too: after a kill the next run waits for it.
        descriptors = (self.lock,) if self.lock is not None else None
        status, output, errors = self.module.run_command(
            list(command), environ_update=variables, cwd="/", pass_fds=descriptors
        )
        if status != 0:
            text = printable(f"{output}\n{errors}")
            lines = [line for line in text.splitlines() if line.strip()]
            raise HostError(
                f"{what} failed with status {status}. What was made is removed again, and "
                f"`current` is as it was. {self._advice()} The end of its output:\n"
                + "\n".join("    " + line for line in lines[-_TAIL:])
            )
        return output

    def _directories(self) -> str:
        named = (
            directory if os.path.isdir(directory) else f"{directory} (which is not there)"
            for directory in self.spec.find_links
        )
        return ", ".join(named) or "no directory at all"

    def _advice(self) -> str:
        if self.spec.offline:
            return (
                f"Packages were taken from {self._directories()} and nowhere else: check that every "
                "one is there for this Python and machine (pip download --only-binary=:all: "
                "downloads them)."
            )
        return (
            "Check that the host reaches its package index (in the role: vllm_runtime_index_url)."
        )
