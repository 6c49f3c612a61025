# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the real parser of `vllm serve`. Runs in an environment of vLLM, of any version from 0.9.1.

Each line of standard input is a question as JSON, each line of standard output its answer:

    {"dump": true}             {"version": str, "options": {name: option}}
    {"words": [word, ...]}     {"status": int, "error": str, "values": {name: value}}
    {"benchmark": [word, ...]} the same of `vllm bench serve`

`words` are what follows `vllm`, or `vllm bench serve`. `status` is the exit status that the program would have had, 0 where
the words were read; `error` is what was printed or raised; `values` are the options as read.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.machinery
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2] / "plugins/module_utils/_service/parser.py"
engine: Any = importlib.machinery.SourceFileLoader("engine_parser", str(SOURCE)).load_module()


def dump(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options in the form of tests/tools/vllm_options.py."""
    return {"version": engine.version(), "options": engine.options_of(parser)}


def parse(program: argparse.ArgumentParser, words: list[str]) -> dict[str, Any]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            read = program.parse_args(words)
    except SystemExit as end:
        return {"status": end.code or 0, "error": printed.getvalue(), "values": {}}
    except Exception as error:  # whatever it is, the program would have ended with a traceback
        return {"status": 1, "error": f"{type(error).__name__}: {error}", "values": {}}
    values = {name: engine.shown(value) for name, value in vars(read).items()}
    return {"status": 0, "error": "", "values": values}


def benchmark(program: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser of `vllm bench serve`."""
    parser = type(program)(prog="vllm bench serve")
    importlib.import_module("vllm.benchmarks.serve").add_cli_args(parser)
    return parser


def main() -> None:
    # vLLM prints where it likes; answers have standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    program, serve = engine.parsers()
    for line in sys.stdin:
        question = json.loads(line)
        if "words" in question:
            answer = parse(program, question["words"])
        elif "benchmark" in question:
            answer = parse(benchmark(program), question["benchmark"])
        else:
            answer = dump(serve)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
