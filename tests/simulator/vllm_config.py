# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How `vllm serve` of a stated version reads its command line and its configuration file.

The options are those dumped from the real parsers (vars/vllm_options.json); the rules of the file
are those seen with real versions and read in vLLM's own loader (vllm/utils/argparse_utils.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

STAND_IN = "stand-in of the Ascend simulator, not vLLM"
DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def human_readable_int(value: str) -> int:
    """32768, 32k (32000), 32K (32768), 25.6k; no fractions of a binary unit."""
    value = value.strip()
    unit = value[-1:]
    if unit in DECIMAL and re.fullmatch(r"\d+(\.\d+)?", value[:-1]):
        return int(float(value[:-1]) * DECIMAL[unit])
    if unit in BINARY and re.fullmatch(r"\d+(\.\d+)?", value[:-1]):
        if "." in value:
            raise argparse.ArgumentTypeError(
                f"Decimals are not allowed with binary suffixes like {unit}. "
                f"Did you mean to use {value[:-1]}{unit.lower()} instead?"
            )
        return int(value[:-1]) * BINARY[unit]
    return int(value)


def human_readable_int_or_auto(value: str) -> int:
    return -1 if value.strip().lower() in ("-1", "auto") else human_readable_int(value)


def json_value(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"Value {value} cannot be converted.") from error


def json_or_text(value: str) -> Any:
    return json_value(value) if re.match(r"(?s)^\s*{.*}\s*$", value) else value


CONVERTERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "loads": json_value,
    "parse_dataclass": json_value,
    "union_dict_and_str": json_or_text,
    "human_readable_int": human_readable_int,
    "human_readable_int_or_auto": human_readable_int_or_auto,
}


def converter(option: dict[str, Any]) -> Callable[[str], Any]:
    """What reads an option's value; the outer of two says how it fails, and what is no value."""
    outer = option.get("type")
    inner = CONVERTERS.get(option.get("of") or outer or "str", str)
    if outer not in ("_optional_type", "_parse_type"):
        return inner

    def wrapped(value: str) -> Any:
        if outer == "_optional_type" and value in ("", "None"):
            return None
        try:
            return inner(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"Value {value} cannot be converted.") from error

    return wrapped


def add_options(parser: argparse.ArgumentParser, options: dict[str, dict[str, Any]]) -> None:
    for name, option in options.items():
        words: dict[str, Any] = {"default": option.get("default")}
        action = option["action"]
        if action == "BooleanOptionalAction":
            positive = [word for word in option["opts"] if not word.startswith("--no-")]
            parser.add_argument(*positive, action=argparse.BooleanOptionalAction, **words)
            continue
        if action == "_StoreTrueAction":
            parser.add_argument(*option["opts"], action="store_true")
            continue
        convert = converter(option)
        words["type"] = convert
        if isinstance(words["default"], str) and convert is not str:
            # The dump has such a default as Python prints it: no text that can be read again.
            words["default"] = None
        if "nargs" in option:
            words["nargs"] = option["nargs"]
        if option.get("choices"):
            words["choices"] = [
                convert(str(choice)) if convert in (int, float) else choice
                for choice in option["choices"]
            ]
        if action == "_AppendAction":
            words["action"] = "append"
        if not option["opts"]:
            parser.add_argument(name, **words)
        else:
            parser.add_argument(*option["opts"], **words)


class Parser(argparse.ArgumentParser):
    """Options with '_' or '-' alike, and the file of `--config FILE` put before them."""

    version = "0"

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        if words[:1] == ["serve"]:
            words = model_first(self, words)
        if "--config" in words:
            words = pull_config(words, self.version)
        return super().parse_args(nested([dashes(word) for word in words], self.version), namespace)


def dashes(word: str) -> str:
    """`--max_model_len=1` as `--max-model-len=1`; what follows a '.' or '=' is left alone."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    head, dot, tail = name.partition(".")
    return head.replace("_", "-") + dot + tail + equals + value


def nested(words: list[str], version: str) -> list[str]:
    """`--hf-overrides.a.b 1` as `--hf-overrides '{"a": {"b": 1}}'`; 0.9.1 leaves the value a text."""
    plain: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not name.startswith("--") or "." not in name:
            plain.append(word)
            continue
        text = value if equals else next(rest, "")
        leaf: Any = text
        if number(version) >= (0, 10):
            with contextlib.suppress(ValueError):
                leaf = json.loads(text)
        key, *path = name.split(".")
        place = found.setdefault(key, {})
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = leaf
    for key, mapping in found.items():
        plain += [key, json.dumps(mapping)]
    return plain


def model_first(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """`serve --model X ...` as `serve X ...`, which is what the command takes."""
    for index, word in enumerate(words):
        if word == "--model":
            if index + 1 >= len(words) or words[index + 1].startswith("-"):
                parser.error("argument --model: expected one argument")
            return ["serve", words[index + 1], *words[1:index], *words[index + 2 :]]
        if word.startswith("--model="):
            model = word.partition("=")[2]
            return ["serve", model, *words[1:index], *words[index + 1 :]]
    return words


def pull_config(words: list[str], version: str) -> list[str]:
    """The words with the file's options in place of `--config FILE`, before all other options."""
    assert words.count("--config") <= 1, "More than one config file specified!"
    index = words.index("--config")
    if index == len(words) - 1:
        raise ValueError("No config file specified! Please check your command-line arguments.")
    from_file = config_words(words[index + 1], version)
    rest = words[:index] + words[index + 2 :]
    if rest[:1] != ["serve"]:
        return rest[:1] + from_file + rest[1:]
    in_words = len(rest) > 1 and not rest[1].startswith("-")
    if not in_words and "--model" not in from_file:
        raise ValueError(
            "No model specified! Please specify model either as a positional argument or in a "
            "config file."
        )
    if in_words:
        return [*rest[:2], *from_file, *rest[2:]]
    return ["serve", *from_file, *rest[1:]]


def config_words(path: str, version: str) -> list[str]:
    """A configuration file as command-line words, by the rules of a vLLM version."""
    extension = path.split(".")[-1]
    if extension not in ("yaml", "yml"):
        raise ValueError(f"Config file must be of a yaml/yml type. {extension} supplied")
    with Path(path).open(encoding="utf-8") as handle:
        config = yaml.safe_load(handle)
    words: list[str] = []
    # An empty file is None, and fails here as it does in vLLM.
    for key, value in config.items():
        if isinstance(value, bool):
            if value:
                words.append("--" + key)
        elif isinstance(value, list) and number(version) >= (0, 10):
            if value:
                words += ["--" + key, *(str(item) for item in value)]
        elif isinstance(value, dict) and number(version) >= (0, 18):
            words += ["--" + key, json.dumps(value)]
        else:
            words += ["--" + key, str(value)]
    return words


def parser(version: str, options: dict[str, dict[str, Any]]) -> Parser:
    """The command line of `vllm`, with `serve` as the one command of the stand-in."""
    main = Parser(prog="vllm", description=f"vLLM CLI ({STAND_IN})")
    main.version = version
    main.add_argument("-v", "--version", action="version", version=f"{version} ({STAND_IN})")
    commands = main.add_subparsers(required=False, dest="subparser", parser_class=Plain)
    serve = commands.add_parser("serve", help="Launch a local OpenAI-compatible API server.")
    add_options(serve, options)
    return main


class Plain(argparse.ArgumentParser):
    """The parser of a command: plain, the words are prepared by the parser above it."""
