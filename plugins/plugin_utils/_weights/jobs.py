# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where each service's weights come from, and whether they fit what the service asks of them."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._weights.faults import bare_url

from .._base.errors import AscendError
from .._base.values import kind_of, plain
from .._service.paths import weights_directory

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
    "quantization": "the quantization that args ask for",
    "kind": "an architecture of the service's kind",
    "model": "layers and heads of the model of that name",
}


@dataclass(frozen=True)
class WeightsOptions:
    """The role's variables: what holds for every service that says nothing else.

    Attributes:
        weights_dir: where models are, by hub id.
        source: one of SOURCES.
        models: {model, service or hub id: source or mapping of KEYS}.
        location: what rsync or nfs takes a hub id below.
        endpoints: {hub: address}.
        skip: patterns of files to leave out. verify: compare directories made by hand with the hub.
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


# -- what is to be downloaded ----------------------------------------------------------------------


def jobs_of(specs: Iterable[object], options: WeightsOptions) -> list[dict[str, Any]]:
    """What each directory needs, in the order of the services; two services of one model have one job.

    A job has the fields of `jobs.Job` on the host without a token, and `services` (names) and `src`
    (an archive on the controller).

    Raises AscendError that names the service.
    """
    _check(options)
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
        job = _job(spec, options)
        known = jobs.get(job["directory"])
        if known is None:
            jobs[job["directory"]] = job
            continue
        differ = [key for key in job if key not in ("services", "model") and job[key] != known[key]]
        if differ:
            raise AscendError(
                f"the services {known['services'][0]} and {job['services'][0]} share the weights in"
                f" {job['directory']}, and give them a different {differ[0]} each"
                f" ({_told(known[differ[0]])} and {_told(job[differ[0]])}). Give both the same, or"
                " give one of them a separate `path`."
            )
        known["services"] += job["services"]
    return list(jobs.values())


def _told(value: Any) -> str:
    return bare_url(value) if isinstance(value, str) and "://" in value else str(value or "none")


def _job(spec: Mapping[str, Any], options: WeightsOptions) -> dict[str, Any]:
    name = str(spec.get("name"))
    who = f"service {name}"
    directory = weights_directory(spec, options.weights_dir)
    if directory is None:
        raise AscendError(
            f"{who}: no hub id is known for {spec.get('model')}, so its weights have no directory. State"
            " where they are: path: /absolute/path/on/the/host"
        )
    if not directory.startswith("/") or ".." in directory.split("/"):
        raise AscendError(f"{who}: {directory!r} is not an absolute path for its weights.")
    # The same directory in another spelling would be fetched twice.
    directory = "/" + posixpath.normpath(directory).lstrip("/")
    if directory == "/":
        raise AscendError(f"{who}: its weights cannot be the root directory of the host.")
    entry = _entry(spec, options, who)
    source = _source(spec, entry, options, who)
    unread = [key for key in entry if key not in ("source", *_READ[source])]
    if unread:
        raise AscendError(
            f"{who}: its weights come from {source}, which does not read {unread[0]}. Leave it out,"
            " or name another source."
        )
    job = {
        "directory": directory,
        "model": str(spec.get("model")),
        "services": [name],
        "source": source,
        "id": "",
        "revision": "",
        "endpoint": "",
        "location": "",
        "sha256": str(entry.get("sha256") or "").lower(),
        "skip": [*options.skip, *(entry.get("skip") or ())],
        "verify": entry.get("verify", options.verify),
        "memory": "",
        "src": str(entry.get("src") or ""),
    }
    if source in HUBS:
        job.update(_hub(spec, entry, options, source, who))
        digest = hashlib.sha256(f"{job['directory']}\0{job['id']}\0{job['revision']}".encode())
        job["memory"] = f"{MEMORY}/{digest.hexdigest()[:32]}.json"
    elif source in ("rsync", "nfs"):
        job["location"] = _location(spec, entry, options, source, who)
    elif source == "archive":
        _archive(job, entry, who)
    return job


def _entry(spec: Mapping[str, Any], options: WeightsOptions, who: str) -> dict[str, Any]:
    """The service's `weights` over the entry of vllm_weights_models; an empty one if neither is."""
    names = {
        str(spec.get(key)).lower()
        for key in ("model", "name", "huggingface", "modelscope")
        if spec.get(key)
    }
    found: dict[str, Any] = {}
    for key, value in options.models.items():
        if str(key).lower() in names:
            found.update(_mapping(value, f"vllm_weights_models, {key}"))
    if spec.get("weights") is not None:
        entry = _mapping(spec["weights"], f"{who}, weights")
        found = (
            entry
            if entry.get("source", found.get("source")) != found.get("source")
            else {**found, **entry}
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
                f"{where} has the key {key!r}, which is not a valid key."
                + (f" Write {close[0]}." if close else f" Known are {', '.join(KEYS)}.")
            )
    entry = {key: item for key, item in value.items() if item is not None}
    if "source" in entry and entry["source"] not in SOURCES:
        raise AscendError(f"{where}: there is no source {entry['source']!r}. {_choice()}")
    for key in ("id", "revision", "location", "src", "sha256"):
        if key in entry and not isinstance(entry[key], str):
            # A revision such as 1e10 or a hash of digits alone is a number to YAML.
            raise AscendError(f"{where}: {key} is {kind_of(entry[key])}: write it in quotes.")
    if "skip" in entry:
        entry["skip"] = [entry["skip"]] if isinstance(entry["skip"], str) else entry["skip"]
        if not isinstance(entry["skip"], list) or not all(
            isinstance(x, str) for x in entry["skip"]
        ):
            raise AscendError(f"{where}: skip has to be a list of patterns, such as ['assets/*'].")
    if "verify" in entry:
        # A template gives a text in ansible-core before 2.19.
        truth = {"true": True, "yes": True, "false": False, "no": False}
        verify = truth.get(str(entry["verify"]).lower())
        if verify is None:
            raise AscendError(f"{where}: verify is {entry['verify']!r}. Write true or false.")
        entry["verify"] = verify
    return entry


def _source(
    spec: Mapping[str, Any], entry: Mapping[str, Any], options: WeightsOptions, who: str
) -> str:
    if "source" in entry:
        return str(entry["source"])
    if "src" in entry or "sha256" in entry:
        return "archive"
    where = [key for key in ("id", "revision", "location") if entry.get(key)]
    # A separate path has other weights than the hub's, unless a source is stated.
    source = "local" if spec.get("path") and not where else options.source
    if source == "local" and where:
        raise AscendError(
            f"{who}: its weights have {where[0]} and no source, and vllm_weights_source is local,"
            f" so nothing is fetched. Write weights: {{source: ..., {where[0]}: {entry[where[0]]}}}."
        )
    return source


def _hub(
    spec: Mapping[str, Any],
    entry: Mapping[str, Any],
    options: WeightsOptions,
    source: str,
    who: str,
) -> dict[str, Any]:
    hub = entry.get("id") or spec.get(source)
    if not hub:
        raise AscendError(
            f"{who}: no id of {spec.get('model')} on {source} is known. Name it, as in"
            f" weights: {{source: {source}, id: OWNER/NAME}}"
        )
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", str(hub), re.ASCII):
        raise AscendError(f"{who}: the hub id {hub!r} is not valid. Write OWNER/NAME.")
    return {
        "id": str(hub),
        "revision": str(entry.get("revision") or ""),
        "endpoint": str(options.endpoints.get(source) or ""),
    }


def _location(
    spec: Mapping[str, Any],
    entry: Mapping[str, Any],
    options: WeightsOptions,
    source: str,
    who: str,
) -> str:
    location = str(entry.get("location") or "")
    if not location:
        hub = entry.get("id") or spec.get("huggingface") or spec.get("modelscope")
        if not options.location or not hub:
            raise AscendError(
                f"{who}: {source} needs to know where the weights are. Set vllm_weights_location to"
                " the directory above the hub ids, or name this model's directory, as in"
                f" weights: {{source: {source}, location: /mnt/models/Qwen/Qwen3-14B}}"
            )
        location = f"{options.location.rstrip('/')}/{hub}"
    if source == "nfs" and not location.startswith("/"):
        raise AscendError(
            f"{who}: {location!r} is not an absolute path on the host. nfs copies from where a share is"
            " mounted; use rsync for another machine."
        )
    if source == "rsync" and (location.startswith("-") or any(char in location for char in "\n\0")):
        raise AscendError(f"{who}: {location!r} is not a source that rsync can read.")
    return location


def _archive(job: dict[str, Any], entry: Mapping[str, Any], who: str) -> None:
    location = str(entry.get("location") or "")
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


def _check(options: WeightsOptions) -> None:
    if options.source not in SOURCES:
        raise AscendError(
            f"vllm_weights_source is {options.source!r}, which is not a source. {_choice()}"
        )
    if options.source == "archive":
        raise AscendError(
            "vllm_weights_source is archive, which is a different one for each model. Name it in"
            " `weights` of the service, or in vllm_weights_models."
        )
    if not isinstance(options.models, Mapping):
        raise AscendError(
            f"vllm_weights_models is {kind_of(options.models)}; a mapping of models is needed."
        )
    for hub, address in options.endpoints.items():
        if hub not in HUBS or not re.match(r"https?://[^/]", str(address)):
            raise AscendError(
                f"vllm_weights_endpoints has {hub}: {address!r}. Write huggingface or modelscope,"
                " and an address such as https://hf-mirror.com"
            )
    for code, severity in options.checks.items():
        if code not in CHECKS or severity not in ("error", "warning", "ignore"):
            raise AscendError(
                f"vllm_weights_checks has {code}: {severity!r}. The checks are {', '.join(CHECKS)},"
                " each error, warning or ignore."
            )


def _choice() -> str:
    return f"Choose one of {', '.join(SOURCES)}."
