# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A config.json with figures that cannot be is read, or rejected by an error of ours, in time."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host.configurations import (
    configuration,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.completeness import inspect
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.shape import read_configuration

REAL = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 5120,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 17408,
    "max_position_embeddings": 40960,
    "vocab_size": 151936,
}
MORE = ("rope_scaling", "quantization_config", "text_config", "layer_types", "num_experts")
VALUES: list[Any] = [None, -1, 0, 10**9, 10**30, 1e308, float("inf"), float("nan"), "x", "1e400"]
VALUES += [True, [], {}, [[]] * 5, {"a": {"b": [1]}}]


def test_figures_that_cannot_be(tmp_path: Path) -> None:
    seed = int(time.time())
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _number in range(500):
        keys = chance.sample([*REAL, *MORE], chance.randint(1, 3))
        config = {**REAL, **{key: chance.choice(VALUES) for key in keys}}
        (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
        begin = time.monotonic()
        with contextlib.suppress(AscendError):
            read_configuration(tmp_path)
        assert time.monotonic() - begin < 5, (seed, config)
        configuration(Path("/"), str(tmp_path))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"hidden_size": 1e400}', '{"a":' * 500 + "1" + "}" * 500, "\0", "9" * 9999],
)
def test_files_that_cannot_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(AscendError, match=r"config\.json"):
        read_configuration(tmp_path)
    assert configuration(Path("/"), str(tmp_path)) is None
    assert any("config.json" in fault for fault in inspect(str(tmp_path)).faults)


def test_a_pipe_in_place_of_each_file_of_a_model(tmp_path: Path) -> None:
    names = ("config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json")
    for name in (*names, "pytorch_model.bin"):
        os.mkfifo(tmp_path / name)
    begin = time.monotonic()
    with pytest.raises(AscendError, match="it is not a file"):
        read_configuration(tmp_path)
    assert configuration(Path("/"), str(tmp_path)) is None
    faults = inspect(str(tmp_path)).faults
    assert any("config.json" in fault and "not a file" in fault for fault in faults), faults
    assert time.monotonic() - begin < 10
