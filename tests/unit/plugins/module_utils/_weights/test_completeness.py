# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a directory holds a complete model, in words that say what is missing."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._weights.check import (
    Account,
    unreadable,
    world_writable,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.completeness import inspect
from ansible_collections.inferops.ascend.plugins.module_utils._weights.marker import (
    MARKER,
    read_marker,
    write_marker,
)
from ansible_collections.inferops.ascend.tests.hubs import hub


def put(directory: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    return put(tmp_path / "model", hub.model())


def test_a_complete_model_has_no_faults_and_its_configuration_is_read(complete: Path) -> None:
    found = inspect(str(complete))
    assert found.faults == []
    assert found.config["max_position_embeddings"] == 40960
    assert found.files["model-00002-of-00003.safetensors"] > 40_000


@pytest.mark.parametrize(
    "files",
    [
        {"model.safetensors": hub.safetensors({"a": 400})},
        {"pytorch_model.bin": hub.torch_file(100)},
        {
            "pytorch_model-00001-of-00002.bin": hub.torch_file(100),
            "pytorch_model-00002-of-00002.bin": hub.torch_file(100),
            "pytorch_model.bin.index.json": json.dumps(
                {
                    "weight_map": {
                        "a": "pytorch_model-00001-of-00002.bin",
                        "b": "pytorch_model-00002-of-00002.bin",
                    }
                }
            ).encode(),
        },
    ],
    ids=["one safetensors", "one torch file", "torch shards"],
)
def test_other_forms_of_weights_are_complete_too(tmp_path: Path, files: dict[str, bytes]) -> None:
    put(tmp_path, {**files, "config.json": b"{}", "vocab.txt": b"a\n"})
    assert inspect(str(tmp_path)).faults == []


def cut(name: str, keep: int | None = None) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        path = directory / name
        os.truncate(path, path.stat().st_size - 10 if keep is None else keep)

    return damage


def write(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda directory: put(directory, {name: data}) and None


def link(name: str, to: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).symlink_to(to)

    return damage


def remove(*names: str) -> Callable[[Path], None]:
    def damage(directory: Path) -> None:
        for name in names:
            (directory / name).unlink()

    return damage


SHARD = "model-00002-of-00003.safetensors"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            cut(SHARD),
            f"{SHARD} is cut off: it has 40080 of the 40090 bytes that its header promises (10 bytes",
        ),
        (cut(SHARD, 50), f"{SHARD} is cut off: it ends within its header, at 50 bytes"),
        (cut(SHARD, 0), f"{SHARD} is not a safetensors file (0 bytes)"),
        (write(SHARD, b"<html>" * 99), f"{SHARD} is not a safetensors file"),
        (
            write(SHARD, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
            f"{SHARD} is a pointer of Git LFS, not the file itself",
        ),
        (
            write(SHARD, hub.safetensors({"other.weight": 40_000})),
            f"{SHARD} lacks 1 of the 1 tensors that model.safetensors.index.json says are in it, such as layer.1.weight",
        ),
        (remove(SHARD), f"1 of 3 shards are missing by model.safetensors.index.json: {SHARD}"),
        (
            remove("model.safetensors.index.json", SHARD),
            f"1 of 3 shards are missing by its files' names: {SHARD}",
        ),
        (remove("config.json"), "config.json is missing"),
        (write("config.json", b'{"a": '), "config.json is not JSON"),
        (write("config.json", b"[]"), "config.json is not a mapping"),
        (remove("tokenizer.json"), "no tokenizer is there"),
        (
            write("tokenizer.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
            "tokenizer.json is a pointer of Git LFS, not the file itself",
        ),
        (cut("tokenizer.json", 0), "tokenizer.json is empty"),
        (cut("tokenizer_config.json", 0), "tokenizer_config.json is empty"),
        (
            link("tokenizer.json", "../blobs/0a1b"),
            "tokenizer.json is a link to ../blobs/0a1b, which is not there",
        ),
        (
            link("config.json", "../blobs/0a1b"),
            "config.json is a link to ../blobs/0a1b, which is not there",
        ),
        (
            write("model.safetensors.index.json", b'{"weight_map": {"a": "../../etc/passwd"}}'),
            "not a file name",
        ),
        (write("._____temp/model.part", b"x"), "parts of a download by ModelScope's own tool"),
        (
            write(".cache/huggingface/download/a.incomplete", b"x"),
            "parts of a download by Hugging Face's own tool",
        ),
    ],
)
def test_what_is_missing_is_reported(
    complete: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(complete)
    faults = inspect(str(complete)).faults
    assert len(faults) == 1
    assert says in faults[0]


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (
            ["model-00001-of-000003.safetensors", "model-00003-of-000003.safetensors"],
            "1 of 3 shards are missing by its files' names: model-00002-of-000003.safetensors",
        ),
        (
            [f"model-{n}-of-11.safetensors" for n in (1, 3, 4, 5, 6, 7, 8, 9, 11)],
            "2 of 11 shards are missing by its files' names: model-2-of-11.safetensors,"
            " model-10-of-11.safetensors",
        ),
    ],
)
def test_shards_are_counted_however_their_numbers_are_written(
    tmp_path: Path, there: list[str], missing: str
) -> None:
    shards = {name: hub.safetensors({"a": 40}) for name in there}
    put(tmp_path, {**shards, "config.json": b"{}", "vocab.txt": b"a\n"})
    assert inspect(str(tmp_path)).faults == [missing]


def cache(tmp_path: Path) -> Path:
    """A cache as Hugging Face's client makes it, with one snapshot of links."""
    top = tmp_path / "models--Qwen--Qwen3-14B"
    (top / "snapshots" / "abc").mkdir(parents=True)
    (top / "refs").mkdir()
    for name, data in hub.model().items():
        put(top, {f"blobs/{hub.sha256(data)}": data})
        (top / "snapshots" / "abc" / name).symlink_to(f"../../blobs/{hub.sha256(data)}")
    return top


def test_the_cache_of_the_hubs_own_tool_is_complete_one_directory_further_down(
    tmp_path: Path,
) -> None:
    top = cache(tmp_path)
    assert inspect(str(top / "snapshots" / "abc")).faults == []
    assert f"one directory further down: {top}/snapshots/abc" in inspect(str(top)).faults[-1]


def test_files_behind_links_have_to_be_readable_where_they_are(tmp_path: Path) -> None:
    top = cache(tmp_path)
    directory = str(top / "snapshots" / "abc")
    account = Account("vllm", 4711, [])
    for each in [*top.rglob("*"), top, tmp_path, *tmp_path.parents[:2]]:
        if not each.is_symlink():
            each.chmod(0o755)
    files = inspect(directory).files
    if unreadable(directory, files, account):
        pytest.skip("the temporary directory itself is closed")
    blob = (top / "snapshots" / "abc" / SHARD).resolve()
    blob.chmod(0o600)
    assert unreadable(directory, files, account) == (
        f"vllm cannot read {blob}: run 'chmod -R o+rX {blob}' on the host"
    )
    blob.parent.chmod(0o700)
    assert unreadable(directory, files, account) == (
        f"vllm cannot enter {blob.parent}: run 'chmod o+x {blob.parent}' on the host"
    )


def test_code_of_the_model_has_to_be_readable_too(complete: Path) -> None:
    put(complete, {"modeling_qwen.py": b"pass\n"})
    assert "modeling_qwen.py" in inspect(str(complete)).files


def test_more_than_a_header_promises_is_damage_too(complete: Path) -> None:
    with (complete / SHARD).open("ab") as handle:
        handle.write(b"log line\n")
    assert "something else was written to it" in inspect(str(complete)).faults[0]


def test_a_torch_file_whose_end_is_missing_is_found(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "pytorch_model.bin": hub.torch_file(5000)[:-30],
            "config.json": b"{}",
            "vocab.txt": b"a\n",
        },
    )
    assert inspect(str(tmp_path)).faults == [
        "pytorch_model.bin is cut off: its end is missing (5.1 kB are there)"
    ]


def test_a_header_that_claims_the_world_is_not_read(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "model.safetensors": struct.pack("<Q", 2**62) + b"{}",
            "config.json": b"{}",
            "vocab.txt": b"a\n",
        },
    )
    assert "not a safetensors file" in inspect(str(tmp_path)).faults[0]


def test_a_directory_that_is_not_there_or_empty_is_told_apart(tmp_path: Path) -> None:
    assert inspect(str(tmp_path / "no")).faults == [f"{tmp_path}/no is not there"]
    assert inspect(str(tmp_path)).faults == [f"{tmp_path} is empty"]


def test_looking_at_terabytes_reads_only_headers(tmp_path: Path) -> None:
    """A sparse file of 2 TB: whoever read or hashed it would not come back in a second."""
    size = 2 * 10**12 // 4 * 4
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    ).encode()
    put(
        tmp_path,
        {
            "model.safetensors": struct.pack("<Q", len(header)) + header,
            "config.json": b"{}",
            "vocab.txt": b"a\n",
        },
    )
    os.truncate(tmp_path / "model.safetensors", 8 + len(header) + size)
    assert inspect(str(tmp_path)).faults == []


def test_what_the_service_cannot_read_is_reported_with_the_command(complete: Path) -> None:
    account = Account("vllm", 4711, [4711])
    for directory in [complete, *complete.parents]:
        if directory.stat().st_uid == os.geteuid() and directory.is_relative_to(
            complete.parents[2]
        ):
            directory.chmod(0o755)
    files = inspect(str(complete)).files
    if unreadable(str(complete), files, account):
        pytest.skip("the temporary directory itself is closed")
    (complete / SHARD).chmod(0o600)
    assert unreadable(str(complete), files, account) == (
        f"vllm cannot read {complete / SHARD}: run 'chmod -R o+rX {complete}' on the host"
    )
    assert unreadable(str(complete), files, account._replace(uid=os.geteuid())) == ""
    (complete / SHARD).chmod(0o640)
    assert unreadable(str(complete), files, account._replace(gids=[os.getegid()])) == ""
    complete.chmod(0o700)
    assert unreadable(str(complete), files, account) == (
        f"vllm cannot enter {complete}: run 'chmod o+x {complete}' on the host"
    )


def test_what_everybody_may_write_is_named(complete: Path) -> None:
    files = inspect(str(complete)).files
    assert world_writable(str(complete), files) == ""
    (complete / SHARD).chmod(0o666)
    assert world_writable(str(complete), files) == str(complete / SHARD)


def test_a_marker_of_somebody_else_is_none(complete: Path) -> None:
    (complete / MARKER).write_text('{"files": {}}')
    assert read_marker(str(complete)) is None
    write_marker(str(complete / MARKER), {"files": {}, "source": "nfs"})
    marker = read_marker(str(complete))
    assert marker is not None
    assert marker["source"] == "nfs"
