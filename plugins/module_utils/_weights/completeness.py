# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A directory of a model's weights: whether it is complete, found without reading the weights themselves."""

from __future__ import annotations

import json
import os
import re
import struct
import zipfile
from typing import Any, NamedTuple

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
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d+)-of-(?P<count>\d+)(?P<ending>\.\w+)$")
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
    if os.path.getsize(path) > MAX_JSON:
        raise HostError(f"{path} is too large for what it should be")
    with open(path, "rb") as handle:
        data = handle.read()
    try:
        return json.loads(data.decode("utf-8"))
    except ValueError as error:
        if data.startswith(_LFS_POINTER):
            raise HostError(_pointer(os.path.basename(path))) from None
        raise HostError(f"{os.path.basename(path)} is not JSON ({error})") from None


def safetensors_header(path: str) -> dict[str, Any]:
    """Return the tensors that a file's header lists, after holding the file's length against it.

    The format: 8 bytes with the header's length (little endian), the header as JSON, the tensors
    without gaps (safetensors, README of the repository, "Format"). Raises HostError.
    """
    name = os.path.basename(path)
    size = os.path.getsize(path)
    with open(path, "rb") as handle:
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
        header = json.loads(raw.decode("utf-8"))
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        end = max([int(each["data_offsets"][1]) for each in tensors.values()] or [0])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
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
    with open(path, "rb") as handle:
        start = handle.read(8)
    if start == _LFS_POINTER[:8]:
        return _pointer(name)
    if size == 0:
        return f"{name} is empty"
    # torch.save writes a ZIP archive since PyTorch 1.6; its directory stands at its end.
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
    faults: list[str] = []
    files: dict[str, int] = {}
    config = _config(directory, names, faults)
    if not any(_is_tokenizer(name) for name in names):
        faults.append("no tokenizer is there (" + ", ".join(TOKENIZERS[:4]) + ", ...)")
    for name in names:
        path = os.path.join(directory, name)
        if name.endswith(_SMALL) and not name.startswith(".") and not os.path.isdir(path):
            fault = _small_fault(directory, name)
            if fault is None:
                files[name] = os.path.getsize(path)
            elif name != "config.json" and not name.endswith(".index.json"):
                # Of these two it is said where they are read.
                faults.append(fault)
    _weights(directory, names, files, faults)
    if os.path.isdir(os.path.join(directory, "snapshots")) and "config.json" not in names:
        faults.append(_cache_of_hub(directory))
    faults += _under_way(directory, names)
    return Contents(
        True,
        faults,
        files,
        config,
        _max_seq_length(directory, names),
        QUANT_DESCRIPTION in names,
    )


def _is_tokenizer(name: str) -> bool:
    return name in TOKENIZERS or bool(_TIKTOKEN.match(name))


def _small_fault(directory: str, name: str) -> str | None:
    """Tell what is wrong with a small file: a link to nothing, empty, or a pointer of Git LFS."""
    path = os.path.join(directory, name)
    try:
        with open(path, "rb") as handle:
            start = handle.read(len(_LFS_POINTER))
    except FileNotFoundError:
        return f"{name} is a link to {os.readlink(path)}, which is not there"
    if start == _LFS_POINTER:
        return _pointer(name)
    if not start and (_is_tokenizer(name) or name.endswith("_config.json")):
        return f"{name} is empty"
    return None


def _cache_of_hub(directory: str) -> str:
    """State which directory of Hugging Face's cache (models--OWNER--NAME) is the one with the model."""
    snapshots = sorted(os.listdir(os.path.join(directory, "snapshots")))
    shown = snapshots[0] if len(snapshots) == 1 else "COMMIT"
    return (
        "it is a cache of Hugging Face, whose model is one directory further down:"
        f" {os.path.join(directory, 'snapshots', shown)}"
    )


def _config(directory: str, names: list[str], faults: list[str]) -> Any:
    if "config.json" not in names:
        faults.append("config.json is missing")
        return None
    try:
        config = read_json(os.path.join(directory, "config.json"))
    except FileNotFoundError:
        faults.append(str(_small_fault(directory, "config.json")))
        return None
    except HostError as error:
        faults.append(str(error))
        return None
    if not isinstance(config, dict):
        faults.append("config.json is not a mapping")
        return None
    return config


def _max_seq_length(directory: str, names: list[str]) -> int | None:
    # The files that vLLM reads for it (get_sentence_transformer_tokenizer_config).
    for name in names:
        if re.match(
            r"sentence_[a-z-]*bert[a-z-]*_config\.json$|sentence_xlnet_config\.json$", name
        ):
            try:
                value = read_json(os.path.join(directory, name)).get("max_seq_length")
            except (HostError, OSError, AttributeError):
                return None
            return value if isinstance(value, int) else None
    return None


def _weights(directory: str, names: list[str], files: dict[str, int], faults: list[str]) -> None:
    """Find what holds the weights, as vLLM's loader does: safetensors before PyTorch's own files."""
    for ending in (".safetensors", ".bin"):
        indexes = [name for name in names if name.endswith(ending + ".index.json")]
        preferred = {".safetensors": "model.safetensors", ".bin": "pytorch_model.bin"}[ending]
        if preferred + ".index.json" in indexes:
            indexes = [preferred + ".index.json"]
        if indexes:
            for index in indexes:
                _indexed(directory, index, files, faults)
            return
        shards = [name for name in names if name.endswith(ending) and not name.startswith(".")]
        if ending == ".bin":
            # training_args.bin and the like are no weights.
            shards = [name for name in shards if re.match(r"(pytorch_)?model.*\.bin$", name)]
        if shards:
            _unindexed(directory, shards, files, faults)
            return
    faults.append(
        "no weights are there (*.safetensors, or pytorch_model*.bin with or without an index)"
    )


def _indexed(directory: str, index: str, files: dict[str, int], faults: list[str]) -> None:
    try:
        content = read_json(os.path.join(directory, index))
        wanted: dict[str, list[str]] = {}
        for tensor, shard in content["weight_map"].items():
            if not isinstance(shard, str) or os.path.basename(shard) != shard:
                raise HostError(f"{index} names the shard {shard!r}, which is not a file name")
            wanted.setdefault(shard, []).append(tensor)
    except (HostError, OSError) as error:
        faults.append(str(error))
        return
    except (KeyError, TypeError, AttributeError):
        faults.append(f"{index} has no weight_map")
        return
    if not wanted:
        faults.append(f"{index} lists no weights")
    missing = []
    for shard in sorted(wanted):
        path = os.path.join(directory, shard)
        if not os.path.isfile(path):
            missing.append(shard)
            continue
        tensors = _shard(path, shard, files, faults)
        if tensors is not None:
            lost = [tensor for tensor in wanted[shard] if tensor not in tensors]
            if lost:
                faults.append(
                    f"{shard} lacks {len(lost)} of the {len(wanted[shard])} tensors that {index}"
                    f" says are in it, such as {lost[0]}: it belongs to another version"
                )
    if missing:
        faults.append(_missing(missing, len(wanted), index))


def _unindexed(directory: str, shards: list[str], files: dict[str, int], faults: list[str]) -> None:
    for shard in shards:
        _shard(os.path.join(directory, shard), shard, files, faults)
    absent: list[str] = []
    total = 0
    series: dict[tuple[str, str, str], dict[int, str]] = {}
    for shard in shards:
        match = _SHARD.match(shard)
        if match:
            key = (match.group("stem"), match.group("count"), match.group("ending"))
            series.setdefault(key, {})[int(match.group("number"))] = match.group("number")
    for (stem, count, ending), there in series.items():
        total += int(count)
        width = min(len(number) for number in there.values())
        absent += [
            f"{stem}-{str(number).zfill(width)}-of-{count}{ending}"
            for number in range(1, min(int(count), 10_000) + 1)
            if number not in there
        ]
    if absent:
        faults.append(_missing(absent, total, "its files' names"))


def _shard(
    path: str, shard: str, files: dict[str, int], faults: list[str]
) -> dict[str, Any] | None:
    try:
        files[shard] = os.path.getsize(path)
        if shard.endswith(".safetensors"):
            return safetensors_header(path)
        fault = torch_fault(path)
        if fault:
            faults.append(fault)
    except (HostError, OSError) as error:
        faults.append(str(error))
    return None


def _missing(missing: list[str], total: int, by: str) -> str:
    shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return f"{len(missing)} of {total} shards are missing by {by}: {shown}"


def _under_way(directory: str, names: list[str]) -> list[str]:
    """Tell of a download by another tool that was not finished: ModelScope's and Hugging Face's own."""
    found = []
    if "._____temp" in names and os.listdir(os.path.join(directory, "._____temp")):
        found.append("._____temp holds parts of a download by ModelScope's own tool")
    cache = os.path.join(directory, ".cache", "huggingface", "download")
    if os.path.isdir(cache) and any(name.endswith(".incomplete") for name in os.listdir(cache)):
        found.append(".cache/huggingface holds parts of a download by Hugging Face's own tool")
    return found


def _pointer(name: str) -> str:
    return (
        f"{name} is a pointer of Git LFS, not the file itself: it was cloned without git-lfs (run"
        " 'git lfs pull' in the directory)"
    )
