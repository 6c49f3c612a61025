# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration and the size of weights on a host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._host.configurations import (
    configuration,
)


def test_the_configuration_is_read_without_labels(tmp_path: Path) -> None:
    at = tmp_path / "data/m"
    assert configuration(tmp_path, "/data/m") is None
    at.mkdir(parents=True)
    for broken in ("", "{", "[]"):
        (at / "config.json").write_text(broken, encoding="utf-8")
        assert configuration(tmp_path, "/data/m") is None
    (at / "config.json").unlink()
    os.mkfifo(str(at / "config.json"))
    assert configuration(tmp_path, "/data/m") is None
    (at / "config.json").unlink()
    given = {"hidden_size": 4, "id2label": {"0": "a"}, "label2id": {"a": 0}}
    (at / "config.json").write_text(json.dumps(given), encoding="utf-8")
    assert configuration(tmp_path, "/data/m") == {
        "config": {"hidden_size": 4},
        "weight_bytes": None,
    }


def test_the_size_is_that_of_the_index_or_of_the_files(tmp_path: Path) -> None:
    def size() -> Any:
        return (configuration(tmp_path, "/") or {})["weight_bytes"]

    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "pytorch_model.bin").write_bytes(b"12")
    assert size() == 2
    (tmp_path / "a.safetensors").write_bytes(b"123")
    (tmp_path / "b.safetensors").write_bytes(b"4567")
    assert size() == 7
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"metadata": {}}', encoding="utf-8")
    assert size() == 7
    index.write_text('{"metadata": {"total_size": 99}}', encoding="utf-8")
    assert size() == 99
