# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A placed service to the configuration file that `vllm serve --config FILE` reads.

What vLLM does with the file (`FlexibleArgumentParser.load_config_file` in
vllm/utils/argparse_utils.py): each key becomes the token `--key`, each value `str(value)`; a true
flag is the token alone, a false one is dropped; list items follow each other. The tokens then go
through argparse together with the command line's. What could not arrive as it was written is
refused here, by the option list of that version in vars/vllm_options.json.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Union

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import (
    bad_character,
    kind_of,
    plain,
    whole_number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import load_options
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import engine_names

Scalar = Union[str, int, float, bool]
Config = dict[str, Union[Scalar, list[Scalar]]]

# What a request, not `args`, says: the option, and the way to set it.
MANAGED = {
    "model": "the request's `path`, or the folder of weights and the model's hub id",
    "port": "the request's `port`",
    "host": "the role variable vllm_service_host",
    "tensor-parallel-size": "the request's `tensor_parallel_size`",
    "pipeline-parallel-size": "the request's `pipeline_parallel_size`",
    "max-model-len": "the request's `max_model_len`",
    "gpu-memory-utilization": "the request's `gpu_memory_utilization`",
    "api-key": "the request's `api_key`, which goes to a file that only root reads",
    "config": "the role, which writes that very file",
    "shutdown-timeout": "the role variable vllm_service_shutdown_timeout, which the unit's stop"
    " timeout follows",
}

# What an option that a version lacks is called there: (options to use, how), for what cannot be
# written in its names without asking. Only names that the version's own list has are offered.
# --rope-theta: vars/model_facts.yml; guided decoding: https://github.com/vllm-project/vllm/pull/22772
RENAMED: dict[str, tuple[tuple[str, ...], str]] = {
    "rope-theta": (("hf-overrides",), "write `hf-overrides: {rope_parameters: {rope_theta: ...}}`"),
    "disable-log-requests": (("enable-log-requests",), "request logging is off unless asked for"),
    "guided-decoding-backend": (
        ("structured-outputs-config",),
        "write `structured-outputs-config: {backend: ...}`",
    ),
}

# vllm-ascend adds its own method to what vLLM lists (`pre_register_and_update` in
# vllm_ascend/platform.py).
PLUGIN_CHOICES = {"quantization": ("ascend",)}

# Converters of vLLM that read JSON; other values go in as text.
JSON_TYPES = ("loads", "parse_dataclass", "union_dict_and_str")
NUMBER_TYPES = ("int", "float", "human_readable_int", "human_readable_int_or_auto")
HUMAN_INT = re.compile(r"\d+|\d+(\.\d+)?[kmgt]|\d+[KMGT]")


class _Option:
    """One option of one version; `negative` is its `no-` form, if it has one."""

    def __init__(self, name: str, fact: Mapping[str, Any], before_0_11: bool) -> None:
        self.name = name
        action = fact["action"]
        self.negative = f"no-{name}" if f"--no-{name}" in fact["opts"] else None
        self.flag = action in ("_StoreTrueAction", "BooleanOptionalAction")
        self.many = fact.get("nargs") in ("+", "*")
        self.bare = fact.get("nargs") == "?"
        outer = fact.get("type")
        # What converts: `_optional_type` and `_parse_type` wrap it, and the first reads these two
        # as no value, which is hardly ever one of the choices.
        self.type = fact.get("of", outer)
        # NAME=PATH, or JSON
        self.named = action in ("LoRAParserAction", "PromptAdapterParserAction")
        plain = outer == "_optional_type" and not self.named and "choices" not in fact
        self.empty = ("", "None") if plain else ()
        # 0.9.1 also takes `name=number,...` where it reads JSON, and compilation by its level.
        self.pairs = before_0_11 and outer != "loads"
        self.choices = [str(choice) for choice in fact.get("choices", [])]
        if self.choices:
            self.choices += PLUGIN_CHOICES.get(name, ())


class _Version:
    """The options of one vLLM version by every long name, `no-` forms included."""

    def __init__(self, version: str, all_facts: Mapping[str, Any]) -> None:
        facts = all_facts[version]
        self.version = version
        self.others = {
            other: known
            for other, known in all_facts.items()
            if other != version and not other.startswith("_")
        }
        self.options: dict[str, _Option] = {}
        self.short: dict[str, str] = {}
        # 0.9.1 passes str(list) as one value; seen right from 0.11.0 on.
        self.joins_lists = _number(version) < (0, 11)
        for name, fact in facts.items():
            option = _Option(name, fact, self.joins_lists)
            for text in fact["opts"]:
                if text.startswith("--"):
                    self.options[text[2:]] = option
                else:
                    self.short[text[1:]] = name


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _version(version: object, options: Mapping[str, Any]) -> _Version:
    text = version if isinstance(version, str) else str(version)
    # A rebuild (0.23.0.post1) or a local build (0.23.0+empty) has its release's options.
    release = re.sub(r"(\+.*|\.post\d+)+$", "", text.strip().removeprefix("v"))
    if release.startswith("_") or release not in options:
        known = ", ".join(sorted((k for k in options if not k.startswith("_")), key=_number))
        raise AscendError(
            f"the options of vLLM {text!r} are not known here; known are {known}. Choose one of"
            " these versions."
        )
    return _shipped(release) if options is load_options() else _Version(release, options)


@functools.lru_cache(maxsize=None)
def _shipped(release: str) -> _Version:
    """Read once: the plan of a fleet asks for each of its services."""
    return _Version(release, load_options())


def engine_config(
    service: Mapping[str, Any],
    version: object,
    options: Mapping[str, Any] | None = None,
    *,
    host: str = "0.0.0.0",
    weights_dir: str = "/var/lib/vllm/weights",
    shutdown_timeout: int = 60,
) -> Config:
    """The mapping that becomes /etc/vllm/NAME.yaml, keys sorted.

    `service` is a placed service: `name`, `kind`, `model`, `port`, `max_model_len` (tokens),
    `gpu_memory_utilization`, `tensor_parallel_size`, `pipeline_parallel_size`, optionally
    `path` (an absolute path on the host), `huggingface`, `modelscope`, `served_model_name` (a
    string or a list) and `args`. `version`: the vLLM version, one of `options` (by default what
    vars/vllm_options.json holds). `shutdown_timeout`: seconds; written where the version has it.

    The model is `path`, or `weights_dir`/hub id. It is served under its own name and, where the
    engine takes several, under the service's. Embedding and reranking get the pooling runner
    unless `args` say `runner`, `convert` or `task`.

    In `args`, null leaves an option out, also one that would be set here; what vLLM renamed gets the
    name that the version has (`_engine_names`); a mapping becomes a JSON string, for every version
    takes that; false becomes the `no-` form or nothing.

    Raises AscendError that names service and option.
    """
    engine = _version(version, load_options() if options is None else options)
    who = f"service {service.get('name')}"
    if service.get("state") == "absent":
        raise AscendError(f"{who} is absent and has no configuration.")
    user = _read_args(service, engine, who)
    config: Config = {
        "model": _model(service, weights_dir, who),
        "host": _text(host, f"{who}, host"),
        "port": _positive(service, "port", who),
        "max-model-len": _positive(service, "max_model_len", who),
        "gpu-memory-utilization": _utilisation(service, who),
        "tensor-parallel-size": _positive(service, "tensor_parallel_size", who),
    }
    if "pipeline_parallel_size" in service:
        stages = _positive(service, "pipeline_parallel_size", who)
        if stages > 1:
            config["pipeline-parallel-size"] = stages
    if "shutdown-timeout" in engine.options:
        seconds = whole_number(shutdown_timeout)
        if seconds is None:
            raise AscendError(f"the shutdown timeout is {shutdown_timeout!r}; seconds are needed.")
        config["shutdown-timeout"] = seconds
    for name, value in _defaults(service, engine, user, who).items():
        config[name] = value
    _check_data_parallel(service, user, who)
    config.update({name: value for name, value in user.items() if value is not None})
    return {name: config[name] for name in sorted(config)}


def engine_yaml(config: Mapping[str, Any]) -> str:
    """What `engine_config` returns, as YAML text that `yaml.safe_load` turns into the same mapping.

    One key a line wherever YAML can. The text is ASCII, for vLLM opens the file in the encoding of
    the process's locale.
    """
    return yaml.safe_dump(
        dict(config), default_flow_style=False, sort_keys=True, width=2**20, explicit_start=True
    )


def check_args(
    service: Mapping[str, Any], version: object, options: Mapping[str, Any] | None = None
) -> None:
    """Refuse `args` of a request or a spec that this version of vLLM could not read.

    What `engine_config` refuses of them, before it is known where the service runs. `service` has
    `args`, and a `name` or a `model` for the message; one that is absent is not looked at.

    Raises AscendError that names service and option.
    """
    if service.get("state") == "absent":
        return
    engine = _version(version, load_options() if options is None else options)
    # A request does not say its kind, by which an option's value may be chosen, never refused.
    known = {**service, "kind": service.get("kind") or "embed"}
    _read_args(known, engine, f"service {service.get('name') or service.get('model')}")


def _read_args(
    service: Mapping[str, Any], engine: _Version, who: str
) -> dict[str, Scalar | list[Scalar] | None]:
    given = plain(service.get("args") or {}, f"{who}, args")
    if not isinstance(given, dict):
        raise AscendError(f"{who}: args is {kind_of(given)}; a mapping of vLLM options is needed.")
    given = engine_names.translate(given, engine.options, service.get("kind"), who)
    result: dict[str, Scalar | list[Scalar] | None] = {}
    written: dict[str, str] = {}
    for key, value in given.items():
        name = key.replace("_", "-")
        option = _find(name, key, engine, who)
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


def _find(name: str, key: str, engine: _Version, who: str) -> _Option:
    option = engine.options.get(name)
    if option is not None:
        return option
    start = f"{who}: args have the option {key!r}"
    bare = name.lstrip("-")
    if name.startswith("-") and bare in engine.options:
        raise AscendError(f"{start}. Write it without dashes before it: {bare}")
    if bare in engine.short:
        raise AscendError(f"{start}, a short form. Write its long name: {engine.short[bare]}")
    if "." in bare and bare.split(".")[0] in engine.options:
        top, rest = bare.split(".", 1)
        raise AscendError(f"{start}. Write it as a mapping: {top}: {{{rest}: ...}}")
    start += f", which vLLM {engine.version} does not have"
    positive = bare.removeprefix("no-")
    new, how = RENAMED.get(positive, ((), ""))
    if new and all(item in engine.options for item in new):
        raise AscendError(f"{start}. Use {' or '.join(new)} instead: {how}.")
    had = [version for version, known in engine.others.items() if positive in known]
    if had:
        raise AscendError(f"{start}; vLLM {', '.join(had)} have it. Leave it out.")
    near = difflib.get_close_matches(bare, engine.options, n=3, cutoff=0.6)
    near += [item for item in engine.options if bare and item.startswith(bare) and item not in near]
    if near:
        raise AscendError(f"{start}. Did you mean {' or '.join(near[:4])}?")
    raise AscendError(f"{start}, and no other version known here. Check how vLLM spells it.")


def _flag(option: _Option, name: str, value: object, label: str) -> dict[str, Scalar]:
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
    option: _Option, value: object, engine: _Version, label: str
) -> dict[str, Scalar | list[Scalar]]:
    if isinstance(value, bool):
        if option.type == "bool":
            # argparse's bool(): every text but the empty one is true.
            return {option.name: "True" if value else ""}
        if option.bare and value:
            return {option.name: True}
        raise AscendError(
            f"{label} is a boolean; it takes a value. Put it between quotes if the word itself is"
            " meant, or write null to leave the option out."
        )
    if option.name == "hf-token":
        raise AscendError(
            f"{label}: a secret does not belong into a file that others read. Put HF_TOKEN into"
            " the request's `secret_env`."
        )
    if isinstance(value, list) and not (option.type in JSON_TYPES and not option.many):
        return {option.name: _several(option, value, engine, label)}
    return {option.name: _one(option, value, label)}


def _several(
    option: _Option, value: list[Any], engine: _Version, label: str
) -> Scalar | list[Scalar]:
    if not value:
        raise AscendError(f"{label} is an empty list. Write null to leave the option out.")
    if len(value) > 1 and not option.many:
        raise AscendError(
            f"{label} is a list of {len(value)}; it takes one value. A list that is meant as JSON"
            " goes between quotes."
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


def _one(option: _Option, value: object, label: str) -> Scalar:
    """One value as it is written, checked as far as the option list allows."""
    if isinstance(value, (dict, list)):
        return _structure(option, value, label)
    if value is None or isinstance(value, bool):
        raise AscendError(f"{label} is {kind_of(value)}; a text or a number is needed.")
    scalar: Scalar = value if isinstance(value, (int, float)) else _text(value, label)
    if scalar in option.empty:
        return scalar
    if option.type == "int":
        number = whole_number(str(scalar).removeprefix("-"))
        if number is None or isinstance(scalar, float):
            raise AscendError(f"{label} is {value!r}; a whole number is needed.")
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
                f"{label} is {value!r}; a whole number is needed, or one with a suffix (k is 1000,"
                " K is 1024)."
            )
    else:
        _check_json(option, str(scalar), label)
    if option.named and not re.match("[^={]+=", str(scalar)) and not _is_mapping(str(scalar)):
        raise AscendError(f"{label} is {value!r}; write NAME=PATH, or a mapping.")
    _check_choice(option, scalar, label)
    # argparse would take it for an option; it lets only whole negative numbers pass, and vLLM
    # splits what begins with a dash and has a dot.
    if str(scalar).startswith("-") and not re.fullmatch(r"-\d+", str(scalar)):
        raise AscendError(
            f"{label} is {value!r}; vLLM's configuration file cannot carry a value that begins with"
            " a dash, for it would be read as an option."
        )
    return scalar


def _structure(option: _Option, value: dict[str, Any] | list[Any], label: str) -> str:
    """A mapping or a list as JSON, where the option takes it."""
    if option.type in NUMBER_TYPES:
        raise AscendError(f"{label} is {kind_of(value)}; a number is needed.")
    if option.choices:
        raise AscendError(f"{label} is {kind_of(value)}; it can be {_choices(option)}.")
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
    _check_json(option, text, label)
    return text


def _check_json(option: _Option, text: str, label: str) -> None:
    """Refuse a text that the engine would read as JSON and could not."""
    braces = re.fullmatch(r"(?s)\s*{.*}\s*", text) is not None
    if option.type not in JSON_TYPES or (option.type == "union_dict_and_str" and not braces):
        return
    if option.pairs and not braces:
        level = option.name == "compilation-config" and text in ("0", "1", "2", "3")
        if not (level or (option.type == "loads" and "=" in text)):
            raise AscendError(f"{label} is {text!r}; a mapping is needed.")
        return
    try:
        read = json.loads(text)
    except ValueError as error:
        raise AscendError(f"{label} is not JSON: {error}. Write a mapping or list.") from None
    if option.type == "parse_dataclass" and not isinstance(read, dict):
        raise AscendError(f"{label} is {kind_of(read)}; a mapping is needed.")


def _is_mapping(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _choices(option: _Option) -> str:
    return ", ".join(choice for choice in option.choices if choice != "None")


def _check_choice(option: _Option, value: Scalar, label: str) -> None:
    if not option.choices or str(value) in option.choices:
        return
    # A lambda before the choices is vLLM folding case and dashes.
    folded = str(value).lower().replace("-", "_")
    if option.type == "<lambda>" and folded in option.choices:
        return
    raise AscendError(f"{label} is {value!r}; it can be {_choices(option)}.")


def _text(value: object, label: str) -> str:
    if not isinstance(value, str):
        raise AscendError(f"{label} is {kind_of(value)}; a text is needed.")
    char = bad_character(value)
    if char:
        raise AscendError(
            f"{label} has the character {char}, which no configuration file can carry. Take it out."
        )
    return "".join([value])


def _positive(service: Mapping[str, Any], key: str, who: str) -> int:
    number = whole_number(service.get(key))
    if number is None or number < 1:
        raise AscendError(
            f"{who}: {key} is {service.get(key)!r}; a whole number from 1 is needed. Pass what the"
            " filter inferops.ascend.place returns."
        )
    return number


def _utilisation(service: Mapping[str, Any], who: str) -> float:
    value = service.get("gpu_memory_utilization")
    try:
        number = 0.0 if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number <= 1:
        raise AscendError(
            f"{who}: gpu_memory_utilization is {value!r}; a number above 0 and up to 1 is needed."
        )
    return number


def _model(service: Mapping[str, Any], weights_dir: str, who: str) -> str:
    path = service.get("path")
    if path is not None:
        text = _text(path, f"{who}, path")
        if not text.startswith("/"):
            raise AscendError(f"{who}: path is {text!r}; an absolute path on the host is needed.")
        return text
    hub = service.get("huggingface") or service.get("modelscope")
    if not hub:
        raise AscendError(
            f"{who}: no hub id is known for {service.get('model')}, so its weights have no folder."
            " Say where they are: path: /absolute/path/on/the/host"
        )
    if not isinstance(weights_dir, str) or not weights_dir.startswith("/"):
        raise AscendError(
            f"{who}: vllm_service_weights_dir is {weights_dir!r}; an absolute path is needed."
        )
    text = _text(hub, f"{who}, hub id")
    if ".." in text.split("/") or text.startswith("/"):
        raise AscendError(f"{who}: the hub id {text!r} is not one. Write OWNER/NAME.")
    return _text(f"{weights_dir.rstrip('/')}/{text}", f"{who}, weights")


def _defaults(
    service: Mapping[str, Any], engine: _Version, user: Mapping[str, Any], who: str
) -> Config:
    """What `args` may take away or change: the served names and the runner."""
    result: Config = {}
    asked = plain(service.get("served_model_name"), f"{who}, served_model_name")
    option = engine.options["served-model-name"]
    if asked is not None:
        if "served-model-name" in user:
            raise AscendError(
                f"{who}: served_model_name stands in the request and in args. Leave one out."
            )
        asked = asked if isinstance(asked, list) else [asked]
        if not asked or not all(isinstance(each, str) for each in asked):
            raise AscendError(
                f"{who}: served_model_name is to be a name or a list of names, each a text."
            )
        result["served-model-name"] = _several(option, asked, engine, f"{who}, served_model_name")
    elif "served-model-name" not in user:
        names = [str(service[key]) for key in ("model", "name") if service.get(key)]
        names = list(dict.fromkeys(names))[: 1 if engine.joins_lists else 2]
        if names:
            result["served-model-name"] = _several(option, names, engine, f"{who}, model")
    pooling = {"embed": "embed", "rerank": "score"}.get(str(service.get("kind")))
    if pooling and not {"runner", "convert", "task"} & set(user):
        if "runner" in engine.options:
            result["runner"] = "pooling"
        else:
            result["task"] = pooling
    return result


def _check_data_parallel(service: Mapping[str, Any], user: Mapping[str, Any], who: str) -> None:
    """Refuse replicas on this host that its cards cannot hold; the engine fails late and dimly."""
    replicas = user.get("data-parallel-size-local") or user.get("data-parallel-size")
    cards = service.get("cards")
    if not isinstance(replicas, int) or not isinstance(cards, (list, tuple)):
        return
    each = _positive(service, "tensor_parallel_size", who)
    each *= whole_number(service.get("pipeline_parallel_size", 1)) or 1
    if replicas * each > len(cards):
        raise AscendError(
            f"{who}: {replicas} data-parallel replicas of {each} cards each need"
            f" {replicas * each} cards, and it has {len(cards)}. Write several services behind a"
            " proxy, or give it more cards and a smaller tensor_parallel_size."
        )
