# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in refuses before it serves, in the engine's words."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import ascend_sim
import pytest
import vllm_behaviour
import vllm_config
import vllm_engine
import vllm_service

PROFILES = json.loads((Path(ascend_sim.__file__).parent / "profiles.json").read_text())
QWEN = {"max_position_embeddings": 40960, "num_attention_heads": 40}


@pytest.fixture
def describe(tmp_path: Path, repository: Path) -> Any:
    """The service that `vllm serve MODEL WORDS` describes, with a config.json of its own."""
    table = json.loads((repository / "vars" / "vllm_options.json").read_text())["0.18.0"]

    def make(words: str, config: dict[str, Any] | None = None) -> vllm_service.Service:
        (tmp_path / "config.json").write_text(json.dumps(config or QWEN))
        parser = vllm_config.parser("0.18.0", table)
        return vllm_service.describe(
            "0.18.0", parser.parse_args(["serve", str(tmp_path), *words.split()])
        )

    return make


def test_the_length_is_the_models_own_unless_asked(describe: Any) -> None:
    assert describe("").max_model_len == 40960
    assert describe("--max-model-len auto").max_model_len == 40960
    assert describe("--max-model-len 16K").max_model_len == 16384


def test_a_longer_length_is_refused_and_says_what_the_model_carries(describe: Any) -> None:
    with pytest.raises(
        vllm_behaviour.StartError,
        match=r"User-specified max_model_len \(65536\) is greater than the derived max_model_len "
        r"\(max_position_embeddings=40960.0",
    ):
        describe("--max-model-len 64K")


def test_yarn_or_the_override_carries_a_longer_length(
    describe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    overrides = json.dumps({"rope_scaling": yarn}).replace(" ", "")
    assert describe(f"--max-model-len 128K --hf-overrides {overrides}").max_model_len == 131072
    monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    assert describe("--max-model-len 64K").max_model_len == 65536


def test_heads_that_the_ranks_do_not_divide_are_refused(describe: Any) -> None:
    message = r"Total number of attention heads \(40\) must be divisible by .* size \(3\)"
    with pytest.raises(vllm_behaviour.StartError, match=message):
        describe("--tensor-parallel-size 3")


@pytest.mark.parametrize(
    ("visible", "physical"), [(None, list(range(8))), ("4,5", [4, 5]), ("5,4", [5, 4]), ("", [])]
)
def test_visible_devices_are_logic_ids(
    visible: str | None, physical: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    state = ascend_sim.profile_state(PROFILES, "a2-64g")
    assert [card["phy_id"] for card in vllm_service.visible_cards(state)] == physical


@pytest.mark.parametrize("visible", ["4,7", "0,0", "x", "-1"])
def test_visible_devices_out_of_range_are_refused(
    visible: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
    state = ascend_sim.profile_state(PROFILES, "a2-64g")
    state["cards"] = state["cards"][:4]
    with pytest.raises(vllm_behaviour.StartError) as refused:
        vllm_service.visible_cards(state)
    words = f"set ASCEND_RT_VISIBLE_DEVICES:{visible} error, input data rang[0-4)"
    assert words in str(refused.value)


def test_an_hccl_port_in_use_is_refused(describe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = describe("--tensor-parallel-size 2")
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("HCCL_IF_BASE_PORT", str(port))
        with pytest.raises(vllm_behaviour.StartError, match=rf"EJ0003(.|\n)*port\[{port}\]"):
            vllm_engine.hold_hccl_ports(service)
        assert vllm_engine.hold_hccl_ports(describe("")) == []


def test_behaviour_of_a_service_beats_that_of_its_model_and_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "behaviour.json"
    monkeypatch.setenv("ASCEND_SIM_BEHAVIOUR", str(path))
    path.write_text('{"*": {"delay": 9, "stop": 3}, "chat": {"delay": 7, "fail": "oom"}}')
    assert vllm_behaviour.Behaviour.load(["m"]).delay == 9
    assert vllm_behaviour.Behaviour.load(["m", "chat"]).fail == "oom"
    monkeypatch.setenv("ASCEND_SIM_DELAY", "0.5")
    found = vllm_behaviour.Behaviour.load(["chat"])
    assert (found.delay, found.stop) == (0.5, 3)
    path.write_text('{"*": {"dealy": 9}}')
    with pytest.raises(vllm_behaviour.StartError, match="unknown settings: dealy"):
        vllm_behaviour.Behaviour.load([])


def test_the_failures_are_those_that_users_reported(shared: Path) -> None:
    reported = (shared / "facts" / "failures.md").read_text()
    # Each of these distinguishes its failure in the journal of a real host.
    for kind, words in {
        "oom": "NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.96 GiB total capacity;",
        "kv-cache": "To serve at least one request with the model's max seq len (",
        "kv-cache-old": "is larger than the maximum number of tokens that can be stored in KV",
        "kv-negative": "Available KV cache memory: -0.87 GiB",
        "hccl-timeout": "Getting socket times out",
        "timeout": "Timed out waiting for engines to send initial message on input socket.",
        "used": "dcmi model initialized failed, because the device is used. ret is -8020",
        "driver": "dcmi module initialize failed. ret is -8005",
        "memory": "Free memory on device (8.0/64.0 GiB) on startup is less than desired GPU memory",
        "heads": "Total number of attention heads (32) must be divisible by tensor parallel size (3)",
        "graph": "stream resources are insufficient",
        "hccl": "host nic listen start failed, port[60000]",
        "hccl-listen": "and specific port[16666] fail",
    }.items():
        assert words in vllm_behaviour.FAILURES[kind]
        assert re.sub(r"\s+", " ", words) in re.sub(r"\s+", " ", reported)
