# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a model as far as reading them is cheap."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._host.weight_files import weight_files


def model(root: Path, host: str, config: str = "{}", size: int = 10) -> Path:
    top = root / host / "model"
    (top / ".cache").mkdir(parents=True)
    (top / "sub").mkdir()
    (top / "config.json").write_text(config)
    (top / "model.safetensors").write_bytes(bytes(size))
    (top / "sub" / "part.bin").write_bytes(bytes(3))
    (top / "README.md").write_text(host)
    (top / ".cache" / "stamp.json").write_text(host)
    (top / ".inferops-ascend.json").write_text(host)
    return root / host


def test_equal_weights_are_equal_and_what_no_engine_reads_does_not_count(tmp_path: Path) -> None:
    one, two = (weight_files(model(tmp_path, host), "/model") for host in ("h1", "h2"))
    assert one == two
    assert set(one or {}) == {"config.json", "model.safetensors", "sub/part.bin"}
    assert (one or {})["model.safetensors"] == "10 bytes"


def test_another_text_of_the_same_size_and_another_size_are_told(tmp_path: Path) -> None:
    one = weight_files(model(tmp_path, "h1", '{"a": 1}'), "/model") or {}
    two = weight_files(model(tmp_path, "h2", '{"a": 2}', 11), "/model") or {}
    assert one["config.json"] != two["config.json"]
    assert two["model.safetensors"] == "11 bytes"


def test_a_directory_without_weights_has_none(tmp_path: Path) -> None:
    assert weight_files(tmp_path, "/model") is None
