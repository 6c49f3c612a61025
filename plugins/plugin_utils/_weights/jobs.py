# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where each service's weights come from: one job for each directory, and how far it is."""

from __future__ import annotations

import difflib
import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._weights.faults import bare_url

from .._base.errors import AscendError
from .._base.values import kind_of, plain
from .._service.engine import weights_directory
from .._service.status import duration
from .options import CHOICE, HUBS, SOURCES, WeightsOptions

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


def jobs_of(specs: Iterable[object], options: WeightsOptions) -> list[dict[str, Any]]:
    """What each directory needs that these services read, each once.

    A job has the fields of `jobs.Job` of the host without a token, and `services` (names) and `src`
    (an archive on the controller).

    Raises AscendError that names the service.
    """
    options.check()
    jobs: dict[str, dict[str, Any]] = {}
    for given in specs:
        if not isinstance(given, Mapping):
            raise AscendError(
                f"a service is {kind_of(given)}, not one that the lookup gave: resolve the requests"
                " with query('inferops.ascend.model', ...)."
            )
        if given.get("state") == "absent":
            continue
        job = _Weights(plain(given, f"service {given.get('name')}"), options).job()
        known = jobs.setdefault(job["directory"], job)
        if known is job:
            continue
        differ = [key for key in job if key not in ("services", "model") and job[key] != known[key]]
        if differ:
            raise AscendError(
                f"the services {known['services'][0]} and {job['services'][0]} share the weights in"
                f" {job['directory']}, and give them a different {differ[0]} each"
                f" ({_shown(known[differ[0]])} and {_shown(job[differ[0]])}). Give both the same, or"
                " give one of them a separate `path`."
            )
        known["services"] += job["services"]
    return list(jobs.values())


def _shown(value: Any) -> str:
    return bare_url(value) if isinstance(value, str) and "://" in value else str(value or "none")


class _Weights:
    """The weights of one service. `entry`: what its `weights` and vllm_weights_models set."""

    def __init__(self, spec: Mapping[str, Any], options: WeightsOptions) -> None:
        self.spec = spec
        self.options = options
        self.entry = self._entry()
        self.source = self._source()

    def _error(self, text: str) -> AscendError:
        return AscendError(f"service {self.spec.get('name')}: {text}")

    def _text(self, key: str) -> str:
        return str(self.entry.get(key) or "")

    def job(self) -> dict[str, Any]:
        unread = [key for key in self.entry if key not in ("source", *_READ[self.source])]
        if unread:
            raise self._error(
                f"its weights come from {self.source}, which does not read {unread[0]}. Leave it out,"
                " or name another source."
            )
        job = {
            "directory": self._directory(),
            "model": str(self.spec.get("model")),
            "services": [str(self.spec.get("name"))],
            "source": self.source,
            "id": "",
            "revision": "",
            "endpoint": "",
            "location": "",
            "sha256": self._text("sha256").lower(),
            "skip": [*self.options.skip, *self.entry.get("skip", ())],
            "verify": self.entry.get("verify", self.options.verify),
            "memory": "",
            "src": self._text("src"),
        }
        if self.source in HUBS:
            job.update(id=self._hub_id(), revision=self._text("revision"))
            job["endpoint"] = str(self.options.endpoints.get(self.source) or "")
            words = "\0".join(str(job[key]) for key in ("directory", "id", "revision"))
            job["memory"] = f"{MEMORY}/{hashlib.sha256(words.encode()).hexdigest()[:32]}.json"
        elif self.source in ("rsync", "nfs"):
            job["location"] = self._location()
        elif self.source == "archive":
            job["location"] = self._archive(job["src"], job["sha256"])
        return job

    def _directory(self) -> str:
        directory = weights_directory(self.spec, self.options.weights_dir)
        if directory is None:
            raise self._error(
                f"no hub id is known for {self.spec.get('model')}, so its weights have no directory."
                " State where they are: path: /absolute/path/on/the/host"
            )
        if not directory.startswith("/") or ".." in directory.split("/"):
            raise self._error(f"{directory!r} is not an absolute path for its weights.")
        # The same directory in another spelling would be fetched twice.
        directory = "/" + posixpath.normpath(directory).lstrip("/")
        if directory == "/":
            raise self._error("its weights cannot be the root directory of the host.")
        return directory

    def _entry(self) -> dict[str, Any]:
        """The service's `weights` over the entry of vllm_weights_models; an empty one if neither is."""
        names = ("model", "name", "huggingface", "modelscope")
        names_here = {str(self.spec.get(key)).lower() for key in names if self.spec.get(key)}
        found: dict[str, Any] = {}
        for key, value in self.options.models.items():
            if str(key).lower() in names_here:
                found.update(_mapping(value, f"vllm_weights_models, {key}"))
        if self.spec.get("weights") is None:
            return found
        entry = _mapping(self.spec["weights"], f"service {self.spec.get('name')}, weights")
        if entry.get("source", found.get("source")) != found.get("source"):
            return entry
        return {**found, **entry}

    def _source(self) -> str:
        if "source" in self.entry:
            return str(self.entry["source"])
        if "src" in self.entry or "sha256" in self.entry:
            return "archive"
        given = [key for key in ("id", "revision", "location") if self.entry.get(key)]
        # A separate path has other weights than the hub's, unless a source is stated.
        source = "local" if self.spec.get("path") and not given else self.options.source
        if source == "local" and given:
            raise self._error(
                f"its weights have {given[0]} and no source, and vllm_weights_source is local, so"
                " nothing is fetched. Write weights:"
                f" {{source: ..., {given[0]}: {self.entry[given[0]]}}}."
            )
        return source

    def _hub_id(self) -> str:
        hub = str(self.entry.get("id") or self.spec.get(self.source) or "")
        if not hub:
            raise self._error(
                f"no id of {self.spec.get('model')} on {self.source} is known. Name it, as in"
                f" weights: {{source: {self.source}, id: OWNER/NAME}}"
            )
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", hub, re.ASCII):
            raise self._error(f"the hub id {hub!r} is not valid. Write OWNER/NAME.")
        return hub

    def _location(self) -> str:
        location = self._text("location")
        if not location:
            spec = self.spec
            hub = self.entry.get("id") or spec.get("huggingface") or spec.get("modelscope")
            if not self.options.location or not hub:
                raise self._error(
                    f"{self.source} needs to know where the weights are. Set vllm_weights_location to"
                    " the directory above the hub ids, or name this model's directory, as in"
                    f" weights: {{source: {self.source}, location: /mnt/models/Qwen/Qwen3-14B}}"
                )
            location = f"{self.options.location.rstrip('/')}/{hub}"
        if self.source == "nfs" and not location.startswith("/"):
            raise self._error(
                f"{location!r} is not an absolute path on the host. nfs copies from where a share is"
                " mounted; use rsync for another machine."
            )
        if self.source == "rsync" and re.match(r"-|.*[\n\0]", location, re.DOTALL):
            raise self._error(f"{location!r} is not a source that rsync can read.")
        return location

    def _archive(self, src: str, sha256: str) -> str:
        location = self._text("location")
        if bool(location) == bool(src):
            raise self._error(
                "an archive needs either location (a path on the host, or an http or https address)"
                " or src (a path on the controller)."
            )
        if location and not re.match(r"https?://|/", location):
            raise self._error(
                f"{location!r} is neither an absolute path on the host nor an address. A file on the"
                " controller is given by src."
            )
        packed = re.search(r"\.(zip|7z|rar|zst|tzst|lz4)$", bare_url(location or src))
        if packed:
            raise self._error(
                f"a {packed.group(1)} is not unpacked here. Pack the model as a tar, plain or with"
                " gz, bz2 or xz; weights hardly become smaller, so plain is the fastest."
            )
        if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise self._error(f"sha256 is {sha256!r}; 64 hexadecimal digits are needed.")
        return location


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
        raise AscendError(f"{where}: there is no source {entry['source']!r}. {CHOICE}")
    for key in ("id", "revision", "location", "src", "sha256"):
        if key in entry and not isinstance(entry[key], str):
            # A revision such as 1e10 or a hash of digits alone is a number to YAML.
            raise AscendError(f"{where}: {key} is {kind_of(entry[key])}: write it in quotes.")
    if "skip" in entry:
        entry["skip"] = [entry["skip"]] if isinstance(entry["skip"], str) else entry["skip"]
        texts = isinstance(entry["skip"], list) and all(isinstance(x, str) for x in entry["skip"])
        if not texts:
            raise AscendError(f"{where}: skip has to be a list of patterns, such as ['assets/*'].")
    if "verify" in entry:
        # A template gives a text in ansible-core before 2.19.
        truth = {"true": True, "yes": True, "false": False, "no": False}
        verify = truth.get(str(entry["verify"]).lower())
        if verify is None:
            raise AscendError(f"{where}: verify is {entry['verify']!r}. Write true or false.")
        entry["verify"] = verify
    return entry


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
