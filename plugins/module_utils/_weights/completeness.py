# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A directory of a model's weights: whether it is complete, found without reading the weights themselves."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from typing import Any, BinaryIO, NamedTuple

from .._base import reading
from .._base.errors import HostError

# What all files of ours begin with; none of them is part of a model.
OWN = ".inferops-"
# The limit of the safetensors library: MAX_HEADER_SIZE in safetensors/src/tensor.rs.
MAX_HEADER = 100_000_000
MAX_JSON = 200_000_000

# Each of them alone lets transformers or vLLM make a tokenizer (the names that their loaders ask for).
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "vocab.json",
    "tekken.json",
)
_TIKTOKEN = re.compile(r".*\.tiktoken$|^tokenizer\.model\.v\d+$")
# Publishers pad the two numbers as they like: 00001-of-00008, 00001-of-000163, 1-of-61.
_SHARD = re.compile(r"^(.+)-(\d+)-of-(\d+)(\.\w+)$")
# The files that vLLM reads for it (get_sentence_transformer_tokenizer_config).
_SENTENCE_CONFIG = re.compile(
    r"sentence_[a-z-]*bert[a-z-]*_config\.json$|sentence_xlnet_config\.json$"
)
# What vllm-ascend reads of a quantization by ModelSlim, by this very name
# (AscendQuantConfig.get_config_filenames, MODELSLIM_CONFIG_FILENAME).
QUANT_DESCRIPTION = "quant_model_description.json"
# Beside the weights, what the engine reads: configuration, tokenizer, code and templates.
_SMALL = (".json", ".model", ".txt", ".tiktoken", ".py", ".jinja")
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class Contents(NamedTuple):
    """What a directory contains.

    Attributes:
        exists: whether there is a directory with anything in it.
        faults: what keeps it from being complete, one sentence each; empty if it is complete.
        files: {relative path: bytes} of the files that make the model.
        config: config.json, None where it cannot be read.
        max_seq_length: of sentence-transformers' own file, in tokens.
        quant_description: whether ModelSlim's description of a quantization is there, by the name
            that vllm-ascend reads.
    """

    exists: bool
    faults: list[str]
    files: dict[str, int]
    config: Any = None
    max_seq_length: Any = None
    quant_description: bool = False


def gigabytes(count: float) -> str:
    """Bytes as people read them: `29.5 GB` (10^9), or MB or kB below that."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{int(count)} bytes"


def read_json(path: str) -> Any:
    """Return a JSON file's content. Raises HostError where it is none, OSError where it cannot be read."""
    try:
        data = reading.read_bytes(path, MAX_JSON)
    except reading.OutOfBounds as error:
        raise HostError(f"{path} cannot be read: {error}") from None
    try:
        return reading.parse_json(data.decode("utf-8"))
    except ValueError as error:
        if data.startswith(_LFS_POINTER):
            raise HostError(_pointer(os.path.basename(path))) from None
        raise HostError(f"{os.path.basename(path)} is not JSON ({error})") from None


def _opened(path: str) -> BinaryIO:
    try:
        return reading.open_regular(path)
    except reading.OutOfBounds as error:
        raise HostError(f"{os.path.basename(path)} cannot be read: {error}") from None


def safetensors_header(path: str) -> dict[str, Any]:
    """Return the tensors that a file's header lists, after comparing the file's length with it.

    The format: 8 bytes with the header's length (little endian), the header as JSON, the tensors
    without gaps (safetensors, README of the repository, "Format"). Raises HostError.
    """
    name = os.path.basename(path)
    size = os.path.getsize(path)
    with _opened(path) as handle:
        start = handle.read(8)
        if start == _LFS_POINTER[:8]:
            raise HostError(_pointer(name))
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if length < 2 or length > MAX_HEADER:
            raise HostError(f"{name} is not a safetensors file ({gigabytes(size)})")
        raw = handle.read(length)
    if len(raw) < length:
        raise HostError(f"{name} is cut off: it ends within its header, at {size} bytes")
    try:
        header = reading.parse_json(raw.decode("utf-8"))
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        end = max([int(each["data_offsets"][1]) for each in tensors.values()] or [0])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
        raise HostError(f"{name} has a header that cannot be read") from None
    expected = 8 + length + end
    if size < expected:
        raise HostError(
            f"{name} is cut off: it has {size} of the {expected} bytes that its header promises"
            f" ({gigabytes(expected - size)} are missing)"
        )
    if size > expected:
        raise HostError(
            f"{name} has {size} bytes where its header promises {expected}; something else was"
            " written to it"
        )
    return tensors


def torch_fault(path: str) -> str | None:
    """Tell what is wrong with a file that `torch.save` wrote, as far as its ends show it."""
    name, size = os.path.basename(path), os.path.getsize(path)
    with _opened(path) as handle:
        start = handle.read(8)
    if start == _LFS_POINTER[:8]:
        return _pointer(name)
    if size == 0:
        return f"{name} is empty"
    # torch.save writes a ZIP archive since PyTorch 1.6; its directory is at its end.
    if start[:4] == b"PK\x03\x04" and not zipfile.is_zipfile(path):
        return f"{name} is cut off: its end is missing ({gigabytes(size)} are there)"
    return None


def inspect(directory: str) -> Contents:
    """Check whether a directory has a complete model: configuration, tokenizer and every shard.

    Of the weights it reads headers and sizes only. Raises OSError where the directory cannot be read.
    """
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return Contents(False, [f"{directory} is not there"], {})
    if not names:
        return Contents(False, [f"{directory} is empty"], {})
    return _Inspection(directory, names).contents()


class _Inspection:
    """What is found in a directory, file by file."""

    def __init__(self, directory: str, names: list[str]) -> None:
        self.directory = directory
        self.names = names
        self.faults: list[str] = []
        self.files: dict[str, int] = {}

    def path(self, *names: str) -> str:
        return os.path.join(self.directory, *names)

    def contents(self) -> Contents:
        names, faults = self.names, self.faults
        config = self._config()
        if not any(_is_tokenizer(name) for name in names):
            faults.append("no tokenizer is there (" + ", ".join(TOKENIZERS[:4]) + ", ...)")
        for name in names:
            if name.endswith(_SMALL) and name[0] != "." and not os.path.isdir(self.path(name)):
                fault = self._small_fault(name)
                if fault is None:
                    self.files[name] = os.path.getsize(self.path(name))
                elif name != "config.json" and not name.endswith(".index.json"):
                    # Of these two it is reported where they are read.
                    faults.append(fault)
        self._weights()
        if os.path.isdir(self.path("snapshots")) and "config.json" not in names:
            snapshots = os.listdir(self.path("snapshots"))
            snapshot = snapshots[0] if len(snapshots) == 1 else "COMMIT"
            faults.append(
                "it is a cache of Hugging Face, whose model is one directory further down:"
                f" {self.path('snapshots', snapshot)}"
            )
        # Downloads by other tools that were not finished.
        if "._____temp" in names and os.listdir(self.path("._____temp")):
            faults.append("._____temp has parts of a download by ModelScope's own tool")
        cache = self.path(".cache", "huggingface", "download")
        if os.path.isdir(cache) and any(n.endswith(".incomplete") for n in os.listdir(cache)):
            faults.append(".cache/huggingface has parts of a download by Hugging Face's own tool")
        described = QUANT_DESCRIPTION in names
        return Contents(True, faults, self.files, config, self._max_seq_length(), described)

    def _small_fault(self, name: str) -> str | None:
        """What is wrong with a small file: a link to nothing, empty, or a pointer of Git LFS."""
        try:
            with _opened(self.path(name)) as handle:
                start = handle.read(len(_LFS_POINTER))
        except HostError as error:
            return str(error)
        except FileNotFoundError:
            return f"{name} is a link to {os.readlink(self.path(name))}, which is not there"
        if start == _LFS_POINTER:
            return _pointer(name)
        if not start and (_is_tokenizer(name) or name.endswith("_config.json")):
            return f"{name} is empty"
        return None

    def _config(self) -> Any:
        fault: str | None = "config.json is missing"
        if "config.json" in self.names:
            try:
                config = read_json(self.path("config.json"))
                if isinstance(config, dict):
                    return config
                fault = "config.json is not a mapping"
            except FileNotFoundError:
                fault = self._small_fault("config.json")
            except HostError as error:
                fault = str(error)
        self.faults.append(str(fault))
        return None

    def _max_seq_length(self) -> int | None:
        for name in filter(_SENTENCE_CONFIG.match, self.names):
            try:
                value = read_json(self.path(name)).get("max_seq_length")
            except (HostError, OSError, AttributeError):
                return None
            return value if isinstance(value, int) else None
        return None

    def _weights(self) -> None:
        """Find what has the weights, as vLLM's loader does: safetensors before PyTorch's own files."""
        for ending, preferred, pattern in (
            (".safetensors", "model.safetensors", r"[^.].*\.safetensors$"),
            # training_args.bin and the like are no weights.
            (".bin", "pytorch_model.bin", r"(pytorch_)?model.*\.bin$"),
        ):
            indexes = [name for name in self.names if name.endswith(ending + ".index.json")]
            if preferred + ".index.json" in indexes:
                indexes = [preferred + ".index.json"]
            for index in indexes:
                self._indexed(index)
            shards = [name for name in self.names if re.match(pattern, name)]
            if not indexes and shards:
                self._unindexed(shards)
            if indexes or shards:
                return
        self.faults.append(
            "no weights are there (*.safetensors, or pytorch_model*.bin with or without an index)"
        )

    def _indexed(self, index: str) -> None:
        try:
            content = read_json(self.path(index))
            wanted: dict[str, list[str]] = {}
            for tensor, shard in content["weight_map"].items():
                if not isinstance(shard, str) or os.path.basename(shard) != shard:
                    raise HostError(f"{index} names the shard {shard!r}, which is not a file name")
                wanted.setdefault(shard, []).append(tensor)
        except (HostError, OSError) as error:
            self.faults.append(str(error))
            return
        except (KeyError, TypeError, AttributeError):
            self.faults.append(f"{index} has no weight_map")
            return
        if not wanted:
            self.faults.append(f"{index} lists no weights")
        missing = []
        for shard, listed in sorted(wanted.items()):
            if not os.path.isfile(self.path(shard)):
                missing.append(shard)
                continue
            tensors = self._shard(shard)
            lost = [each for each in listed if tensors is not None and each not in tensors]
            if lost:
                self.faults.append(
                    f"{shard} lacks {len(lost)} of the {len(listed)} tensors that {index}"
                    f" says are in it, such as {lost[0]}: it belongs to another version"
                )
        self._missing(missing, len(wanted), index)

    def _unindexed(self, shards: list[str]) -> None:
        absent: list[str] = []
        total = 0
        series: dict[tuple[str, str, str], dict[int, str]] = {}
        for shard in shards:
            self._shard(shard)
            match = _SHARD.match(shard)
            if match:
                stem, number, count, ending = match.groups()
                series.setdefault((stem, count, ending), {})[int(number)] = number
        for (stem, count, ending), there in series.items():
            total += int(count)
            width = min(len(number) for number in there.values())
            absent += [
                f"{stem}-{str(number).zfill(width)}-of-{count}{ending}"
                for number in range(1, min(int(count), 10_000) + 1)
                if number not in there
            ]
        self._missing(absent, total, "its files' names")

    def _shard(self, shard: str) -> dict[str, Any] | None:
        try:
            self.files[shard] = os.path.getsize(self.path(shard))
            if shard.endswith(".safetensors"):
                return safetensors_header(self.path(shard))
            fault = torch_fault(self.path(shard))
        except (HostError, OSError) as error:
            fault = str(error)
        self.faults += [fault] if fault else []
        return None

    def _missing(self, missing: list[str], total: int, by: str) -> None:
        if missing:
            listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            self.faults.append(f"{len(missing)} of {total} shards are missing by {by}: {listed}")


def _is_tokenizer(name: str) -> bool:
    return name in TOKENIZERS or bool(_TIKTOKEN.match(name))


def _pointer(name: str) -> str:
    return (
        f"{name} is a pointer of Git LFS, not the file itself: it was cloned without git-lfs (run"
        " 'git lfs pull' in the directory)"
    )
