# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A placed service to the configuration file that `vllm serve --config FILE` reads.

What vLLM does with the file (`FlexibleArgumentParser.load_config_file` in
vllm/utils/argparse_utils.py): each key becomes the token `--key`, each value `str(value)`; a true
flag is the token alone, a false one is dropped; list items follow each other. The tokens then go
through argparse together with the command line's. What would not arrive as it was written
is rejected here, by the option list of that version in vars/vllm_options.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Union

import yaml

from .._base.errors import AscendError
from .._base.values import plain
from .._place import kv_transfer
from .arguments import Scalar, read_args, several, text_of
from .engine_names import POOLING
from .options import EngineOptions, options_of

Config = dict[str, Union[Scalar, list[Scalar]]]


def engine_config(
    service: Mapping[str, Any],
    version: object,
    *,
    host: str = "0.0.0.0",
    weights_dir: str = "/var/lib/vllm/weights",
    shutdown_timeout: int = 60,
) -> Config:
    """The mapping that becomes /etc/vllm/NAME.yaml, keys sorted.

    `service` is a placed service, `version` one of vLLM or vllm-ascend, by which options are read;
    `shutdown_timeout` (seconds) is written where the version has it.

    The model is `path`, or `weights_dir`/hub id. It is served under the name of the model and, where
    the engine takes several, under the service's. Embedding and reranking get the pooling runner
    unless `args` set `runner`, `convert` or `task`.

    In `args`, null leaves an option out, also one that would be set here; what vLLM renamed gets the
    name that the version has (`engine_names`); a mapping becomes a JSON string, for every version
    takes that; false becomes the `no-` form or nothing.

    Raises AscendError that names service and option.
    """
    engine = options_of(version)
    who = f"service {service.get('name')}"
    user = read_args(service, engine, who)
    if service.get("kv_ports"):
        text = str(user[kv_transfer.OPTION])
        user[kv_transfer.OPTION] = kv_transfer.with_port(text, service)
    ranks = int(service.get("data_parallel_size", 1))
    stages = int(service.get("pipeline_parallel_size", 1))
    config: Config = {
        "model": _model(service, weights_dir, who),
        "host": text_of(host, f"{who}, host"),
        "port": int(service["port"]),
        "max-model-len": int(service["max_model_len"]),
        "gpu-memory-utilization": float(service["gpu_memory_utilization"]),
        "tensor-parallel-size": int(service["tensor_parallel_size"]),
        **({"pipeline-parallel-size": stages} if stages > 1 else {}),
        **({"data-parallel-size": ranks} if ranks > 1 else {}),
        **({"shutdown-timeout": shutdown_timeout} if "shutdown-timeout" in engine.options else {}),
        **_defaults(service, engine, user, who),
    }
    config.update({name: value for name, value in user.items() if value is not None})
    group = service.get("group")
    if group is not None:
        config.update(group.options(service, engine, who))
    return {name: config[name] for name in sorted(config)}


def engine_yaml(config: Mapping[str, Any]) -> str:
    """What `engine_config` returns, as YAML text that `yaml.safe_load` turns into the same mapping.

    One key a line wherever YAML can. The text is ASCII, for vLLM opens the file in the encoding of
    the process's locale.
    """
    return yaml.safe_dump(
        dict(config), default_flow_style=False, sort_keys=True, width=2**20, explicit_start=True
    )


def check_args(service: Mapping[str, Any], version: object) -> None:
    """Reject `args` of a request or a spec that this version of vLLM could not read.

    Likewise `engine_config` rejects them; here it need not be known where the service runs.
    `service` has `args`, and a `name` or a `model` for the message; one that is absent passes.

    Raises AscendError that names service and option.
    """
    if service.get("state") == "absent":
        return
    engine = options_of(version)
    # A request does not have its kind, by which an option's value may be chosen, never rejected.
    known = {**service, "kind": service.get("kind") or "embed"}
    read_args(known, engine, f"service {service.get('name') or service.get('model')}")


def weights_directory(spec: Mapping[str, Any], weights_dir: str) -> str | None:
    """The directory of a spec's weights: its `path`, else by hub id; None if neither is known."""
    if spec.get("path"):
        return str(spec["path"])
    hub_id = spec.get("huggingface") or spec.get("modelscope")
    return f"{weights_dir.rstrip('/')}/{hub_id}" if hub_id else None


def _model(service: Mapping[str, Any], weights_dir: str, who: str) -> str:
    directory, given = weights_directory(service, weights_dir), service.get("path")
    if directory is None:
        raise AscendError(
            f"{who}: no hub id is known for {service.get('model')}, so its weights have no"
            " directory. Name it: path: /absolute/path/on/the/host"
        )
    text = text_of(given or directory, f"{who}, {'path' if given else 'weights'}")
    if given and (text != text.strip() or re.search(r"\$[A-Za-z_{(]", text)):
        raise AscendError(
            f"{who}: path is {text!r}, with an outer blank or a $ that nothing expands. Write the path"
            " as it is on the host."
        )
    if not text.startswith("/"):
        what = f"path is {text!r}" if given else f"vllm_service_weights_dir is {weights_dir!r}"
        raise AscendError(f"{who}: {what}; an absolute path on the host is needed.")
    hub_id = text[len(weights_dir.rstrip("/")) + 1 :]
    if not given and (".." in hub_id.split("/") or hub_id.startswith("/")):
        raise AscendError(f"{who}: {hub_id!r} is not a valid hub id. Write OWNER/NAME.")
    return text


def _defaults(
    service: Mapping[str, Any], engine: EngineOptions, user: Mapping[str, Any], who: str
) -> Config:
    """What `args` may leave out or change: the served names and the runner."""
    result: Config = {}
    asked = plain(service.get("served_model_name"), f"{who}, served_model_name")
    option = engine.options["served-model-name"]
    if asked is not None:
        if "served-model-name" in user:
            raise AscendError(
                f"{who}: served_model_name is set in the request and in args. Leave one out."
            )
        asked = asked if isinstance(asked, list) else [asked]
        if not asked or not all(isinstance(each, str) for each in asked):
            raise AscendError(
                f"{who}: served_model_name has to be a name or a list of names, each a text."
            )
        result["served-model-name"] = several(option, asked, engine, f"{who}, served_model_name")
    elif "served-model-name" not in user:
        names = list(dict.fromkeys([str(service["model"]), str(service["name"])]))
        names = names[:1] if engine.joins_lists else names
        result["served-model-name"] = several(option, names, engine, f"{who}, model")
    pooling = POOLING.get(str(service.get("kind")))
    if pooling and not {"runner", "convert", "task"} & set(user):
        if "runner" in engine.options:
            result["runner"] = "pooling"
        else:
            result["task"] = pooling
    return result
