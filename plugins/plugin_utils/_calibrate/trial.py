# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A trial: what is served and benchmarked, and its files, from the texts of a service's own files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._calibrate.trial import FILES

from .._base.errors import AscendError
from .._base.systemd import unit_word
from .._model.catalogue import Catalogue
from .._model.options import engine_number, number
from .._model.resolve import Options, resolve
from .._model.spec import Spec
from .._place.names import slug
from .._service import causes
from .._service.container import exec_words, program
from .._service.services import service_texts, template
from .._service.unit import FILES as SERVICE_FILES
from .._service.unit import USER, UnitSettings
from .search import Step

_DAY = 86400
# Random tokens make a text that has a few more when it is read again, and a tokenizer may add some of
# its own. What exceeds the context is refused by the server, by 0.11 also where only the answer does.
_RESERVE = 16
# What the unit of a service runs; the benchmark runs in the same environment.
_SERVE = f"serve --config {FILES}/%i.yaml"
# Containers of trials; a service of the host may have the name of the model.
_CONTAINER = "vllm-calibrate-"
# What the unit of the benchmark does not have of the server's.
_OF_THE_SERVER = (
    *("Restart", "RestartSec", "RestartPreventExitStatus", "TimeoutStartSec"),
    *("ExecStartPre", "ExecStopPost"),
)
_DATASETS = {
    "embed": "--backend openai-embeddings --endpoint /v1/embeddings --dataset-name random",
    "rerank": "--backend vllm-rerank --endpoint /v1/rerank --dataset-name random-rerank",
}
# The last versions of vLLM whose `vllm bench serve` is known to have no such benchmark.
_WITHOUT = {"embed": "0.9.1", "rerank": "0.11.0"}


@dataclass(frozen=True)
class Benchmark:
    """The static benchmark: how many prompts, and how many tokens each answer has at most."""

    prompts: int
    output_tokens: int

    def lengths(self, context: int) -> tuple[int, int]:
        """(input, output) tokens of a request that fills a context, but for a small reserve."""
        output = min(self.output_tokens, context // 2)
        return context - output - _reserve(context), output

    def words(self, service: Mapping[str, Any], model: str) -> list[str]:
        """The arguments of `vllm bench serve` for a placed service. model: directory of its weights."""
        name, length = str(service["name"]), int(service["max_model_len"])
        kind = str(service.get("kind"))
        words = f"--base-url http://127.0.0.1:{service['port']} --model {unit_word(model)}".split()
        words += ["--served-model-name", unit_word(name)]
        if kind in _DATASETS:
            tokens = length - _reserve(length)
            words += [*_DATASETS[kind].split(), "--random-input-len", str(tokens)]
            words += ["--percentile-metrics", "e2el"]
        else:
            tokens, output = self.lengths(length)
            words += f"--dataset-name random --random-input-len {tokens}".split()
            words += f"--random-output-len {output} --ignore-eos".split()
            words += ["--percentile-metrics", "ttft,tpot,e2el"]
        if (service.get("args") or {}).get("trust-remote-code"):
            words.append("--trust-remote-code")
        words += ["--metric-percentiles", "99", "--num-prompts", str(self.prompts)]
        return [
            *words,
            *("--disable-tqdm", "--save-result", "--result-dir", "."),
            *("--result-filename", f"{name}.json"),
        ]


def require_benchmark(kind: str, version: str) -> None:
    """Raise AscendError where the engine has no benchmark for a kind of model."""
    without = _WITHOUT.get(kind)
    if without and engine_number(version) <= number(without):
        raise AscendError(
            f"vllm bench serve of vLLM {version} has no benchmark for models of kind {kind}, which a"
            f" calibration needs. Versions after {without} have one."
        )


def _reserve(context: int) -> int:
    return min(_RESERVE, context // 16)


def spec_of(request: Mapping[str, Any], step: Step, catalogue: Catalogue, options: Options) -> Spec:
    """The spec of a trial, whatever limits the tables state for its model.

    request: as for a service, without `cards` and `max_model_len`. One of a model that nobody lists
    needs `path`. Raises AscendError.
    """
    model = str(request["model"])
    wanted = {
        **request,
        "name": trial_name(model),
        "cards": step.cards,
        "max_model_len": step.length,
    }
    known = catalogue.find(model) or request.get("huggingface") or request.get("modelscope")
    if not known and not request.get("path"):
        raise AscendError(
            f"No table lists the model {model}. Give the directory of its weights on the host:"
            f" {{model: {model}, path: /absolute/path}}."
        )
    return resolve(wanted, catalogue, replace(options, allow_untested=True, estimate=True))


def trial_name(model: str) -> str:
    """The name of a model's trials, by which it is also served."""
    return slug(model.rsplit("/", 1)[-1])[:63].strip("-._")


def module_trial(
    service: Mapping[str, Any],
    unit: UnitSettings,
    benchmark: Benchmark,
    timeouts: Mapping[str, float],
    npu_smi: str | None,
) -> dict[str, Any]:
    """The option `trial` of the module vllm_trial for a placed service.

    timeouts: seconds for `start_timeout` and `benchmark_timeout`. Raises AscendError for what cannot be
    written.
    """
    # A server that has ended waits to be restarted for longer than a trial lasts, by which it is seen
    # as failed also where it exits 0; the limit of starts then keeps it down.
    unit = replace(
        unit,
        user=unit.user or USER,
        host="127.0.0.1",
        shutdown_timeout=0,
        restart_delay=_DAY,
        device_timeout=0,
        start_limit_burst=1,
        start_limit_interval=10 * _DAY,
    )
    name = str(service["name"])
    service = {**service, "served_model_name": name, "user": unit.user_of(name)}
    texts = service_texts(service, unit)
    variables = {
        "unit": unit.texts(),
        "instance": {**service, "texts": texts},
        "instance_digest": "calibration",
        "secret_digest": "calibration",
    }
    # What follows is of services over several hosts. A trial takes the cards as they are numbered now.
    shared, placement, config, secrets = (
        _moved(template(each["src"]).render(variables))
        for each in (SERVICE_FILES["files"][0], *SERVICE_FILES["instance_files"][:3])
    )
    seconds = int(sum(timeouts.values())) + 600
    words = benchmark.words(service, _value(config, "model"))
    settings = f"[Service]\nRuntimeMaxSec={seconds}\n"
    benchmark_placement = placement = placement.replace(
        "@INFEROPS_PROGRAM@", unit_word(unit.executable)
    )
    if unit.contained:
        placement = placement.replace(f"--name=vllm-{name} ", f"--name={_CONTAINER}{name} ")
        benchmark_placement = f"[Service]\nExecStart={_inside(name, unit, words)}\n"
    return {
        "name": service["name"],
        "user": service["user"],
        "port": service["port"],
        "cards": list(service["cards"]),
        "server": shared.replace("[Service]\n", settings, 1),
        "benchmark": _benchmark_unit(shared, words),
        "placement": placement,
        "benchmark_placement": benchmark_placement,
        "config": config,
        "secrets": secrets,
        **timeouts,
        "npu_smi": npu_smi,
        "phases": causes.phases(),
        "failures": causes.failures(),
    }


def _moved(text: str) -> str:
    """A file of a service with the directories and the containers of trials in place of the services'."""
    text = text.replace("/etc/vllm/", f"{FILES}/").replace("vllm-services/", "vllm-calibrate/")
    return text.replace(" vllm-%i\n", f" {_CONTAINER}%i\n")


def _inside(name: str, unit: UnitSettings, words: Sequence[str]) -> str:
    """The command that runs the benchmark in the container of the server."""
    script = program(name, unit, " ".join(["bench serve", *words]))
    client = [unit.container_engine, "exec", f"{_CONTAINER}{name}", "/bin/bash", "-c", script]
    return exec_words(client)


def _benchmark_unit(server: str, words: Sequence[str]) -> str:
    lines = []
    for line in server.split("\n"):
        key = line.partition("=")[0]
        if key in _OF_THE_SERVER:
            continue
        lines.append(line)
        if line == "[Service]":
            lines.append("TimeoutStartSec=infinity")
    text = "\n".join(lines).replace("Type=exec\n", "Type=oneshot\n")
    return text.replace(_SERVE, " ".join(["bench serve", *words]))


def _value(config: str, key: str) -> str:
    return next(line[len(key) + 2 :] for line in config.split("\n") if line.startswith(f"{key}: "))
