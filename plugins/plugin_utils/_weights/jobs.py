# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where each service's weights come from, and whether they fit what the service asks of them."""

from __future__ import annotations

import difflib
import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._weights.faults import bare_url
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of, plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.estimate import (
    tensor_parallel_fault,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import Facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.paths import (
    weights_directory,
)

HUBS = ("huggingface", "modelscope")
SOURCES = ("local", *HUBS, "rsync", "nfs", "archive")
# What of a `weights` each source reads.
_READ: Mapping[str, tuple[str, ...]] = {
    "local": (),
    "huggingface": ("id", "revision", "skip", "verify"),
    "modelscope": ("id", "revision", "skip", "verify"),
    "rsync": ("location", "id", "skip"),
    "nfs": ("location", "id", "skip"),
    "archive": ("location", "src", "sha256"),
}
KEYS = ("source", "id", "revision", "location", "src", "sha256", "skip", "verify")
MEMORY = "/var/lib/inferops-ascend/weights"
CHECKS = {
    "heads": "attention heads that the tensor-parallel size divides",
    "context": "a native context of at least max_model_len",
    "quantization": "the quantisation that args ask for",
    "kind": "an architecture of the service's kind",
    "model": "layers and heads of the model of that name",
}


@dataclass(frozen=True)
class Finding:
    """One way in which weights and request differ. `severity` is error or warning."""

    severity: str
    code: str
    service: str
    message: str


@dataclass(frozen=True)
class Wish:
    """The role's variables: what holds for every service that says nothing else.

    Attributes:
        weights_dir: where models are, by hub id.
        source: one of SOURCES.
        models: {model, service or hub id: source or mapping of KEYS}.
        location: what rsync or nfs takes a hub id below.
        endpoints: {hub: address}.
        skip: patterns of files to leave out. verify: hold folders made by hand against the hub.
        checks: {code of CHECKS: error, warning or ignore}.
        env: environment of every service.
    """

    weights_dir: str = "/var/lib/vllm/weights"
    source: str = "local"
    models: Mapping[str, Any] = field(default_factory=dict)
    location: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    skip: Sequence[str] = ()
    verify: bool = False
    checks: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)


# -- what is to be brought -------------------------------------------------------------------------


def jobs_of(specs: Iterable[Mapping[str, Any]], wish: Wish) -> list[dict[str, Any]]:
    """What each folder needs, in the order of the services; two services of one model have one job.

    A job has the fields of `_weights_sources.Job` without a token, and `services` (names) and `src`
    (an archive on the controller).

    Raises AscendError that names the service.
    """
    _check(wish)
    jobs: dict[str, dict[str, Any]] = {}
    for given in specs:
        if not isinstance(given, Mapping):
            raise AscendError(
                f"a service is {kind_of(given)}, not one that the lookup gave: resolve the requests"
                " with query('inferops.ascend.model', ...)."
            )
        if given.get("state") == "absent":
            continue
        spec = plain(given, f"service {given.get('name')}")
        job = _job(spec, wish)
        known = jobs.get(job["folder"])
        if known is None:
            jobs[job["folder"]] = job
            continue
        differ = [key for key in job if key not in ("services", "model") and job[key] != known[key]]
        if differ:
            raise AscendError(
                f"the services {known['services'][0]} and {job['services'][0]} share the weights in"
                f" {job['folder']}, and give them another {differ[0]} each"
                f" ({_told(known[differ[0]])} and {_told(job[differ[0]])}). Say the same in both, or"
                " give one of them a `path` of its own."
            )
        known["services"] += job["services"]
    return list(jobs.values())


def _told(value: Any) -> str:
    return bare_url(value) if isinstance(value, str) and "://" in value else str(value or "none")


def _job(spec: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
    name = str(spec.get("name"))
    who = f"service {name}"
    folder = weights_directory(spec, wish.weights_dir)
    if folder is None:
        raise AscendError(
            f"{who}: no hub id is known for {spec.get('model')}, so its weights have no folder. Say"
            " where they are: path: /absolute/path/on/the/host"
        )
    if not folder.startswith("/") or ".." in folder.split("/"):
        raise AscendError(f"{who}: {folder!r} is no absolute path for its weights.")
    # The same folder in another spelling would be fetched twice.
    folder = "/" + posixpath.normpath(folder).lstrip("/")
    if folder == "/":
        raise AscendError(f"{who}: its weights cannot be the root folder of the host.")
    own = _own_wish(spec, wish, who)
    source = _source(spec, own, wish, who)
    unread = [key for key in own if key not in ("source", *_READ[source])]
    if unread:
        raise AscendError(
            f"{who}: its weights come from {source}, which has no use for {unread[0]}. Leave it out,"
            " or name another source."
        )
    job = {
        "folder": folder,
        "model": str(spec.get("model")),
        "services": [name],
        "source": source,
        "id": "",
        "revision": "",
        "endpoint": "",
        "location": "",
        "sha256": str(own.get("sha256") or "").lower(),
        "skip": [*wish.skip, *(own.get("skip") or ())],
        "verify": own.get("verify", wish.verify),
        "memory": "",
        "src": str(own.get("src") or ""),
    }
    if source in HUBS:
        job.update(_hub(spec, own, wish, source, who))
        digest = hashlib.sha256(f"{job['folder']}\0{job['id']}\0{job['revision']}".encode())
        job["memory"] = f"{MEMORY}/{digest.hexdigest()[:32]}.json"
    elif source in ("rsync", "nfs"):
        job["location"] = _location(spec, own, wish, source, who)
    elif source == "archive":
        _archive(job, own, who)
    return job


def _own_wish(spec: Mapping[str, Any], wish: Wish, who: str) -> dict[str, Any]:
    """The service's `weights` over the entry of vllm_weights_models; an empty one if neither is."""
    names = {
        str(spec.get(key)).lower()
        for key in ("model", "name", "huggingface", "modelscope")
        if spec.get(key)
    }
    found: dict[str, Any] = {}
    for key, value in wish.models.items():
        if str(key).lower() in names:
            found.update(_mapping(value, f"vllm_weights_models, {key}"))
    if spec.get("weights") is not None:
        own = _mapping(spec["weights"], f"{who}, weights")
        found = (
            own
            if own.get("source", found.get("source")) != found.get("source")
            else {**found, **own}
        )
    return found


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, str):
        value = {"source": value}
    if not isinstance(value, Mapping):
        raise AscendError(
            f"{where} is {kind_of(value)}; a source ({', '.join(SOURCES)}) or a mapping with"
            f" {', '.join(KEYS)} is needed."
        )
    for key in value:
        if key not in KEYS:
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            raise AscendError(
                f"{where} has the key {key!r}, which nothing reads."
                + (f" Write {close[0]}." if close else f" Known are {', '.join(KEYS)}.")
            )
    own = {key: item for key, item in value.items() if item is not None}
    if "source" in own and own["source"] not in SOURCES:
        raise AscendError(f"{where}: there is no source {own['source']!r}. {_choice()}")
    for key in ("id", "revision", "location", "src", "sha256"):
        if key in own and not isinstance(own[key], str):
            # A revision such as 1e10 or a hash of digits alone is a number to YAML.
            raise AscendError(f"{where}: {key} is {kind_of(own[key])}: put it between quotes.")
    if "skip" in own:
        own["skip"] = [own["skip"]] if isinstance(own["skip"], str) else own["skip"]
        if not isinstance(own["skip"], list) or not all(isinstance(x, str) for x in own["skip"]):
            raise AscendError(f"{where}: skip has to be a list of patterns, such as ['assets/*'].")
    if "verify" in own:
        # A template gives a text in ansible-core before 2.19.
        truth = {"true": True, "yes": True, "false": False, "no": False}
        verify = truth.get(str(own["verify"]).lower())
        if verify is None:
            raise AscendError(f"{where}: verify is {own['verify']!r}. Write true or false.")
        own["verify"] = verify
    return own


def _source(spec: Mapping[str, Any], own: Mapping[str, Any], wish: Wish, who: str) -> str:
    if "source" in own:
        return str(own["source"])
    if "src" in own or "sha256" in own:
        return "archive"
    where = [key for key in ("id", "revision", "location") if own.get(key)]
    # A path of one's own is where other weights than the hub's are kept, unless it is said.
    source = "local" if spec.get("path") and not where else wish.source
    if source == "local" and where:
        raise AscendError(
            f"{who}: its weights have {where[0]} and no source, and vllm_weights_source is local,"
            f" so nothing is fetched. Write weights: {{source: ..., {where[0]}: {own[where[0]]}}}."
        )
    return source


def _hub(
    spec: Mapping[str, Any], own: Mapping[str, Any], wish: Wish, source: str, who: str
) -> dict[str, Any]:
    hub = own.get("id") or spec.get(source)
    if not hub:
        raise AscendError(
            f"{who}: no id of {spec.get('model')} on {source} is known. Name it, as in"
            f" weights: {{source: {source}, id: OWNER/NAME}}"
        )
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", str(hub), re.ASCII):
        raise AscendError(f"{who}: the hub id {hub!r} is not one. Write OWNER/NAME.")
    return {
        "id": str(hub),
        "revision": str(own.get("revision") or ""),
        "endpoint": str(wish.endpoints.get(source) or ""),
    }


def _location(
    spec: Mapping[str, Any], own: Mapping[str, Any], wish: Wish, source: str, who: str
) -> str:
    location = str(own.get("location") or "")
    if not location:
        hub = own.get("id") or spec.get("huggingface") or spec.get("modelscope")
        if not wish.location or not hub:
            raise AscendError(
                f"{who}: {source} needs to know where the weights are. Set vllm_weights_location to"
                " the folder above the hub ids, or name this model's own folder, as in"
                f" weights: {{source: {source}, location: /mnt/models/Qwen/Qwen3-14B}}"
            )
        location = f"{wish.location.rstrip('/')}/{hub}"
    if source == "nfs" and not location.startswith("/"):
        raise AscendError(
            f"{who}: {location!r} is no absolute path on the host. nfs copies from where a share is"
            " mounted; use rsync for another machine."
        )
    if source == "rsync" and (location.startswith("-") or any(char in location for char in "\n\0")):
        raise AscendError(f"{who}: {location!r} is nothing that rsync could read from.")
    return location


def _archive(job: dict[str, Any], own: Mapping[str, Any], who: str) -> None:
    location = str(own.get("location") or "")
    if bool(location) == bool(job["src"]):
        raise AscendError(
            f"{who}: an archive needs either location (a path on the host, or an http or https"
            " address) or src (a path on the controller)."
        )
    if location and not re.match(r"https?://|/", location):
        raise AscendError(
            f"{who}: {location!r} is neither an absolute path on the host nor an address. A file on"
            " the controller is given by src."
        )
    packed = re.search(
        r"\.(zip|7z|rar|zst|tzst|lz4)$", posixpath.basename(bare_url(location or job["src"]))
    )
    if packed:
        raise AscendError(
            f"{who}: a {packed.group(1)} is not unpacked here. Pack the model as a tar, plain or with"
            " gz, bz2 or xz; weights hardly become smaller, so plain is the fastest."
        )
    if job["sha256"] and not re.fullmatch(r"[0-9a-f]{64}", job["sha256"]):
        raise AscendError(f"{who}: sha256 is {job['sha256']!r}; 64 hexadecimal digits are needed.")
    job["location"] = location


def _check(wish: Wish) -> None:
    if wish.source not in SOURCES:
        raise AscendError(f"vllm_weights_source is {wish.source!r}, which is none. {_choice()}")
    if wish.source == "archive":
        raise AscendError(
            "vllm_weights_source is archive, which is another one for each model. Name it in"
            " `weights` of the service, or in vllm_weights_models."
        )
    if not isinstance(wish.models, Mapping):
        raise AscendError(
            f"vllm_weights_models is {kind_of(wish.models)}; a mapping of models is needed."
        )
    for hub, address in wish.endpoints.items():
        if hub not in HUBS or not re.match(r"https?://[^/]", str(address)):
            raise AscendError(
                f"vllm_weights_endpoints has {hub}: {address!r}. Write huggingface or modelscope,"
                " and an address such as https://hf-mirror.com"
            )
    for code, severity in wish.checks.items():
        if code not in CHECKS or severity not in ("error", "warning", "ignore"):
            raise AscendError(
                f"vllm_weights_checks has {code}: {severity!r}. The checks are {', '.join(CHECKS)},"
                " each error, warning or ignore."
            )


def _choice() -> str:
    return f"Choose one of {', '.join(SOURCES)}."


# -- whether they fit ------------------------------------------------------------------------------


def judge(
    spec: Mapping[str, Any], weights: Mapping[str, Any], facts: Facts | None, wish: Wish
) -> list[Finding]:
    """Hold a model's own configuration against what a service asks of it.

    weights: a record of `_weights_fetch.look` with `config`, `max_seq_length` and
    `quant_description`. facts: what is known of the model of that name.
    """
    config = weights.get("config")
    if not isinstance(config, Mapping):
        return []
    spec = plain(spec, f"service {spec.get('name')}")
    args = {
        str(k).lower().replace("_", "-").lstrip("-"): v for k, v in (spec.get("args") or {}).items()
    }
    merged = _overridden(config, args)
    text = text_config(merged)
    found = [
        *_heads(spec, text),
        *_context(spec, merged, text, args, weights.get("max_seq_length"), wish),
        *_quantization(args, config, bool(weights.get("quant_description"))),
        *_kind(spec, config),
        *_model(text, facts),
    ]
    name = str(spec.get("name"))
    results = []
    for severity, code, message in found:
        severity = wish.checks.get(code, severity)
        if severity != "ignore":
            results.append(Finding(severity, code, name, f"{name}: {message}"))
    return results


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that speaks of the language model, in whichever place a multimodal one has it."""
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(config.get(key), Mapping):
            return text_config(config[key])
    if isinstance(config.get("thinker_config"), Mapping):
        return text_config(config["thinker_config"])
    return config


_Found = list[tuple[str, str, str]]


def _heads(spec: Mapping[str, Any], text: Mapping[str, Any]) -> _Found:
    size = _number(spec.get("tensor_parallel_size")) or 1
    heads = _first(text, ("num_attention_heads", "n_head", "num_heads"))
    # The names that vLLM looks for (get_total_num_kv_heads).
    kv = _first(text, ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num"))
    facts = Facts(num_attention_heads=heads, num_key_value_heads=kv)
    fault = tensor_parallel_fault(facts, size)
    if fault is None:
        return []
    fit = [n for n in range(1, 65) if tensor_parallel_fault(facts, n) is None]
    return [
        (
            "error",
            "heads",
            f"its weights' config.json does not go with tensor_parallel_size {size}: {fault}. Sizes"
            f" that do are {', '.join(str(n) for n in fit)}: change cards or tensor_parallel_size.",
        )
    ]


def _context(
    spec: Mapping[str, Any],
    config: Mapping[str, Any],
    text: Mapping[str, Any],
    args: Mapping[str, Any],
    sentence_length: Any,
    wish: Wish,
) -> _Found:
    wanted = _number(spec.get("max_model_len"))
    native, key = native_context(config, text, args, sentence_length)
    if not wanted or native is None or wanted <= native:
        return []
    # vLLM lets a longer model_max_length pass, too.
    if (_number(config.get("model_max_length")) or 0) >= wanted:
        return []
    env = {**wish.env, **(spec.get("env") or {})}
    allowed = str(env.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "")).lower() in ("1", "true")
    return [
        (
            "warning" if allowed else "error",
            "context",
            f"max_model_len {wanted} is above the {native} tokens that its weights' config.json"
            f" gives ({key}). Lower max_model_len, or scale it the way that the model's"
            " documentation says, with args: {hf-overrides: {rope_scaling: ..., rope_parameters:"
            " ...}}.",
        )
    ]


def native_context(
    config: Mapping[str, Any],
    text: Mapping[str, Any],
    args: Mapping[str, Any],
    sentence_length: Any = None,
) -> tuple[int | None, str]:
    """The tokens that vLLM derives from a configuration, and what they come from.

    Source: vLLM 0.18.0, derive_max_model_len_and_key and _get_and_verify_max_len. None if the
    configuration names no length; transformers' own defaults are not known here.
    """
    lengths = {
        key: length
        for key in (
            "max_position_embeddings",
            "n_positions",
            "max_seq_len",
            "seq_length",
            "model_max_length",
            "max_target_positions",
            "max_sequence_length",
            "max_seq_length",
            "seq_len",
        )
        if (length := _number(text.get(key)))
    }
    if not lengths:
        return None, ""
    key = min(lengths, key=lambda each: lengths[each])
    native: float = lengths[key]
    if lengths.get("model_max_length"):
        key, native = "model_max_length", lengths["model_max_length"]
    if "gemma3" not in str(config.get("model_type")):
        factor = 1.0
        for rope in _ropes(config, text, args):
            kind = rope.get("rope_type") or rope.get("type")
            if kind in ("su", "longrope", "llama3"):
                continue
            scale = rope.get("factor")
            if isinstance(scale, (int, float)) and not isinstance(scale, bool):
                factor = float(scale)
            if kind == "yarn" and _number(rope.get("original_max_position_embeddings")):
                native = rope["original_max_position_embeddings"]
                key = f"original_max_position_embeddings x YaRN {factor:g}"
        native *= factor
    if _number(sentence_length):
        key, native = "max_seq_length of sentence-transformers", sentence_length
    return int(native), key


def _ropes(
    config: Mapping[str, Any], text: Mapping[str, Any], args: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    given = _json(args.get("rope-scaling"))
    if isinstance(given, Mapping):
        return [given]
    for place in (config, text):
        for key in ("rope_parameters", "rope_scaling"):
            rope = place.get(key)
            if isinstance(rope, Mapping) and rope:
                nested = [each for each in rope.values() if isinstance(each, Mapping)]
                return nested or [rope]
    return []


def _quantization(args: Mapping[str, Any], config: Mapping[str, Any], described: bool) -> _Found:
    asked = args.get("quantization")
    own = config.get("quantization_config") or config.get("compression_config")
    own = own or text_config(config).get("quantization_config")
    method, told = "", ""
    if isinstance(own, Mapping):
        method = str(own.get("quant_method") or "").lower().replace("_", "-")
        # ModelSlim's older form names a type for each tensor, and no method (vllm-ascend issue 633).
        if not method and (config.get("quantize") or own.get("model_quant_type")):
            method, told = "ascend", "quantization_config without a quant_method"
    if described:
        method, told = "ascend", "quant_model_description.json"
    if asked is None:
        if told:
            return [
                (
                    "warning",
                    "quantization",
                    f"its weights were quantised for Ascend by ModelSlim ({told}), and args do not"
                    " say so; versions of vllm-ascend that do not find out need args:"
                    " {quantization: ascend}.",
                )
            ]
        return []
    wanted = str(asked).lower().replace("_", "-")
    if not method:
        return [
            (
                "error",
                "quantization",
                f"args ask for quantization {asked}, and its weights are not quantised (config.json"
                " has no quantization_config, and no quant_model_description.json is there). Take"
                " that out of args, or take the quantised weights.",
            )
        ]
    # vLLM's faster forms of the same: awq-marlin, gptq-marlin.
    if wanted == method or wanted == f"{method}-marlin":
        return []
    # vllm-ascend takes over some methods of others; it has the last word.
    severity = "warning" if wanted == "ascend" else "error"
    return [
        (
            severity,
            "quantization",
            f"args ask for quantization {asked}, and its weights are quantised by {method}. Write"
            f" args: {{quantization: {method}}}, or take other weights.",
        )
    ]


def _kind(spec: Mapping[str, Any], config: Mapping[str, Any]) -> _Found:
    kind = spec.get("kind")
    names = config.get("architectures")
    names = [str(each) for each in names] if isinstance(names, list) else []
    encoders = [
        each
        for each in names
        if re.search(
            r"(Bert|Roberta|RoBERTa)\w*Model$|ForMaskedLM$|ForSequenceClassification$", each
        )
    ]
    if kind in ("generate", "multimodal") and encoders:
        return [
            (
                "error",
                "kind",
                f"it is to generate text, and its weights are a {encoders[0]}, which does not. Look"
                " whether the path and the model's name go together.",
            )
        ]
    parts = ("vision_config", "visual", "audio_config", "thinker_config", "mm_vision_tower")
    if kind == "multimodal" and names and not any(config.get(part) for part in parts):
        return [
            (
                "warning",
                "kind",
                f"it is to take pictures, and its weights ({names[0]}) have no part for them.",
            )
        ]
    return []


def _model(text: Mapping[str, Any], facts: Facts | None) -> _Found:
    if facts is None:
        return []
    differ = []
    for key, aliases, words in (
        ("num_hidden_layers", ("num_layers", "n_layer"), "layers"),
        ("num_attention_heads", ("n_head",), "attention heads"),
    ):
        known = getattr(facts, key)
        here = _first(text, (key, *aliases))
        if known and here and known != here and key not in facts.unverified:
            differ.append(f"{here} {words} instead of {known}")
    if not differ:
        return []
    return [
        (
            "warning",
            "model",
            f"its weights have {' and '.join(differ)}, so they are another model than the one of"
            " that name, and what the table says need not hold for them.",
        )
    ]


def _overridden(config: Mapping[str, Any], args: Mapping[str, Any]) -> Mapping[str, Any]:
    overrides = _json(args.get("hf-overrides"))
    return _merged(config, overrides) if isinstance(overrides, Mapping) else config


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping) and key.endswith("_config")
        result[key] = _merged(old, value) if nested and isinstance(old, Mapping) else value
    return result


def _json(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 10**9:
        return None
    return int(value)


def _first(text: Mapping[str, Any], keys: Sequence[str]) -> int | None:
    return next((number for key in keys if (number := _number(text.get(key)))), None)


# -- words -----------------------------------------------------------------------------------------


def size(count: float) -> str:
    """Bytes as people read them: `29.5 GB` (10^9), or MB below that."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def progress_line(state: Mapping[str, Any], rate: float | None) -> str:
    """One line of how far a model is.

    state: {model, phase, done, total, error}, bytes; rate: bytes per second, None if not known.
    """
    done, total, phase = state["done"], state["total"], state["phase"]
    line = f"{state['model']}: {phase}"
    if phase == "failed":
        return f"{line}: {state['error']}"
    if not total or phase in ("done", "waiting", "listing", "checking"):
        return line
    line += f" {min(100, 100 * done // total)} % ({size(done)} of {size(total)})"
    if rate and done < total:
        line += f", {rate / 1e6:.1f} MB/s, {duration((total - done) / rate)} left"
    return line


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`."""
    whole = int(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
