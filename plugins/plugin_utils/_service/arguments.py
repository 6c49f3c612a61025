# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A service's `args`, read as the options of a vLLM version."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Union

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json

from .._base.errors import AscendError
from .._base.values import bad_character, kind_of, plain, whole_number
from . import engine_names
from .literal import check_option
from .options import EngineOptions, Option

Scalar = Union[str, int, float, bool]

# Options that a request sets, not `args`, and how.
MANAGED = {
    "model": "the request's `path`, or the directory of weights and the model's hub id",
    "port": "the request's `port`",
    "host": "the role variable vllm_service_host",
    "tensor-parallel-size": "the request's `tensor_parallel_size`",
    "pipeline-parallel-size": "the request's `pipeline_parallel_size`",
    "max-model-len": "the request's `max_model_len`",
    "gpu-memory-utilization": "the request's `gpu_memory_utilization`",
    "api-key": "the request's `api_key`, which is written to a file that only root reads",
    "config": "the role, which writes that file",
    "shutdown-timeout": "the role variable vllm_service_shutdown_timeout, which the unit's stop"
    " timeout follows",
}

# Converters of vLLM that read JSON; other values go in as text.
JSON_TYPES = ("loads", "parse_dataclass", "union_dict_and_str")
NUMBER_TYPES = ("int", "float", "human_readable_int", "human_readable_int_or_auto")
HUMAN_INT = re.compile(r"\d+|\d+(\.\d+)?[kmgt]|\d+[KMGT]")


def read_args(
    service: Mapping[str, Any], engine: EngineOptions, who: str
) -> dict[str, Scalar | list[Scalar] | None]:
    """The options that `args` set, each as it is written to the file; None: left out.

    Raises AscendError, beginning with `who`, for what this version could not read.
    """
    given = plain(service.get("args") or {}, f"{who}, args")
    if not isinstance(given, dict):
        raise AscendError(f"{who}: args is {kind_of(given)}; a mapping of vLLM options is needed.")
    given = engine_names.translate(given, engine.options, service.get("kind"), who)
    result: dict[str, Scalar | list[Scalar] | None] = {}
    written: dict[str, str] = {}
    for key, value in given.items():
        name = key.replace("_", "-")
        option = engine.find(name, key, who)
        if option.name in MANAGED:
            raise AscendError(
                f"{who}: args may not set {name}. It is set by {MANAGED[option.name]}."
            )
        if option.name in written:
            raise AscendError(
                f"{who}: args set {option.name} twice, as {written[option.name]!r} and {key!r}."
                " Leave one of them out."
            )
        written[option.name] = key
        label = f"{who}, args, {key}"
        if value is None:
            result[option.name] = None
        elif option.flag:
            result.update(_flag(option, name, value, label))
        else:
            result.update(_value(option, value, engine, label))
    return result


def _flag(option: Option, name: str, value: object, label: str) -> dict[str, Scalar]:
    if not isinstance(value, bool):
        raise AscendError(
            f"{label} is {kind_of(value)}; it is a switch. Write true or false, without quotes"
            " (from a template: with `| bool`)."
        )
    wanted = value if name == option.name else not value
    if wanted:
        return {option.name: True}
    # vLLM drops `key: false`, so a switch that is on by default would stay on.
    return {option.negative: True} if option.negative else {}


def _value(
    option: Option, value: object, engine: EngineOptions, label: str
) -> dict[str, Scalar | list[Scalar]]:
    if isinstance(value, bool):
        if option.type == "bool":
            # argparse's bool(): every text but the empty one is true.
            return {option.name: "True" if value else ""}
        if option.bare and value:
            return {option.name: True}
        raise AscendError(
            f"{label} is a boolean; it takes a value. Write it between quotes if the word itself is"
            " meant, or write null to leave the option out."
        )
    if option.name == "hf-token":
        raise AscendError(
            f"{label}: a secret does not belong in a file that others can read. Write HF_TOKEN in"
            " the request's `secret_env`."
        )
    if isinstance(value, list) and not (option.type in JSON_TYPES and not option.many):
        return {option.name: several(option, value, engine, label)}
    return {option.name: _one(option, value, label, alone=True)}


def several(
    option: Option, value: list[Any], engine: EngineOptions, label: str
) -> Scalar | list[Scalar]:
    if not value:
        raise AscendError(f"{label} is an empty list. Write null to leave the option out.")
    if len(value) > 1 and not option.many:
        raise AscendError(
            f"{label} is a list of {len(value)}; it takes one value. Write a list that is meant"
            " as JSON between quotes."
        )
    items = [_one(option, item, f"{label}, item {n}") for n, item in enumerate(value, 1)]
    if len(items) == 1:
        return items[0]
    if engine.joins_lists:
        raise AscendError(
            f"{label} is a list of {len(items)}; vLLM {engine.version} makes one text of a list in"
            " its configuration file. Give one value, or use vLLM 0.11.0 or newer."
        )
    return items


def _one(option: Option, value: object, label: str, alone: bool = False) -> Scalar:
    """One value as it is written, checked as far as the option list allows; alone: not of a list."""
    if isinstance(value, (dict, list)):
        return _structure(option, value, label)
    if value is None or isinstance(value, bool):
        raise AscendError(f"{label} is {kind_of(value)}; a text or a number is needed.")
    scalar: Scalar = value if isinstance(value, (int, float)) else text_of(value, label)
    if scalar in option.empty:
        return scalar
    if isinstance(scalar, str):
        check_option(option, scalar, label, alone)
    if option.type == "int":
        number = whole_number(str(scalar).removeprefix("-"))
        if number is None or isinstance(scalar, float):
            raise AscendError(f"{label} is {value!r}; an integer is needed.")
        scalar = -number if str(scalar).startswith("-") else number
    elif option.type == "float":
        try:
            scalar = scalar if isinstance(scalar, int) else float(scalar)
        except ValueError:
            raise AscendError(f"{label} is {value!r}; a number is needed.") from None
        if isinstance(scalar, float) and not math.isfinite(scalar):
            raise AscendError(f"{label} is {value!r}; a number is needed.")
    elif option.type in ("human_readable_int", "human_readable_int_or_auto"):
        text = str(scalar)
        auto = option.type.endswith("auto") and text in ("auto", "-1")
        if not auto and not HUMAN_INT.fullmatch(text):
            raise AscendError(
                f"{label} is {value!r}; an integer is needed, or one with a suffix (k is 1000,"
                " K is 1024)."
            )
    else:
        _check_json(option, str(scalar), label)
    if (
        option.named
        and not re.match("[^={]+=", str(scalar))
        and not isinstance(engine_names.from_json(scalar), dict)
    ):
        raise AscendError(f"{label} is {value!r}; write NAME=PATH, or a mapping.")
    _check_choice(option, scalar, label)
    # argparse would take it for an option; it accepts only negative integers, and vLLM
    # splits what begins with a dash and has a dot.
    if str(scalar).startswith("-") and not re.fullmatch(r"-\d+", str(scalar)):
        raise AscendError(
            f"{label} is {value!r}; vLLM's configuration file cannot contain a value that begins"
            " with a dash, because it would be read as an option."
        )
    return scalar


def _structure(option: Option, value: dict[str, Any] | list[Any], label: str) -> str:
    """A mapping or a list as JSON, where the option takes it."""
    if option.type in NUMBER_TYPES:
        raise AscendError(f"{label} is {kind_of(value)}; a number is needed.")
    if option.choices:
        raise AscendError(f"{label} is {kind_of(value)}; it can be {_choices(option)}.")
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
    _check_json(option, text, label)
    return text


def _check_json(option: Option, text: str, label: str) -> None:
    """Reject a text that the engine would fail to read as JSON."""
    braces = re.fullmatch(r"(?s)\s*{.*}\s*", text) is not None
    if option.type not in JSON_TYPES or (option.type == "union_dict_and_str" and not braces):
        return
    if option.pairs and not braces:
        level = option.name == "compilation-config" and text in ("0", "1", "2", "3")
        if not (level or (option.type == "loads" and "=" in text)):
            raise AscendError(f"{label} is {text!r}; a mapping is needed.")
        return
    try:
        read = parse_json(text)
    except ValueError as error:
        raise AscendError(f"{label} is not JSON: {error}. Write a mapping or list.") from None
    if option.type == "parse_dataclass" and not isinstance(read, dict):
        raise AscendError(f"{label} is {kind_of(read)}; a mapping is needed.")


def _choices(option: Option) -> str:
    return ", ".join(choice for choice in option.choices if choice != "None")


def _check_choice(option: Option, value: Scalar, label: str) -> None:
    if not option.choices or str(value) in option.choices:
        return
    # A lambda before the choices is vLLM folding case and dashes.
    folded = str(value).lower().replace("-", "_")
    if option.type == "<lambda>" and folded in option.choices:
        return
    raise AscendError(f"{label} is {value!r}; it can be {_choices(option)}.")


def text_of(value: object, label: str) -> str:
    if not isinstance(value, str):
        raise AscendError(f"{label} is {kind_of(value)}; a text is needed.")
    char = bad_character(value)
    if char:
        raise AscendError(
            f"{label} has the character {char}, which no configuration file can contain. Remove it."
        )
    return "".join([value])
