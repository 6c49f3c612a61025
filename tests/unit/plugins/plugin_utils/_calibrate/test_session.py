# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a user writes to the trials, their files and the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.outcome import Ended
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.place import (
    HostNow,
    place_trial,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.search import K, Step
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.session import (
    Calibration,
    calibration_of,
    configuration_directory,
    files_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.trial import (
    module_trial,
    spec_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    ExistingPlacement,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

GIVEN: dict[str, Any] = {
    "model": "Qwen3-14B",
    "cards": [],
    "shortest": "0.5K",
    "longest": "",
    "gpu_memory_utilization": 0.95,
    "prompts": 4,
    "output_tokens": 128,
    "table": "",
    "chart": "",
    "state": "",
}
OURS = {"model": "org/Our_Finetune", "path": "/data/ours", "args": {"trust-remote-code": True}}
FACTS: dict[str, Any] = {
    "engine": {"vllm": "0.18.0", "vllm_ascend": "0.18.0", "torch_npu": None, "python": "3.11"},
    "cann": {"/a/set_env.sh": "8.5.0", "/b/set_env.sh": None},
    "npu": {"driver_version": "25.2.0"},
}
TIMEOUTS = {"start_timeout": 100.0, "benchmark_timeout": 200.0}


def settings(**values: Any) -> Settings:
    known = {"ascend_host_profile": "atlas-800i-a2-64g", **values}
    return Settings(known.get)


def calibration(**given: Any) -> Calibration:
    return calibration_of({**GIVEN, **given}, settings(), load_catalogue())


def now(**existing: ExistingPlacement) -> HostNow:
    cards = [{"logic_id": n, "phy_id": n, "npu_id": n} for n in range(8)]
    return HostNow(cards, {3: "it is unhealthy"}, existing, [8000], [32768, 60999])


def trial(asked: Calibration, step: Step) -> dict[str, Any]:
    spec = spec_of(asked.request, step, load_catalogue(), settings().lookup)
    service = place_trial(spec, now(), settings()).as_dict()
    return module_trial(service, settings().unit, asked.benchmark, TIMEOUTS, None)


def test_a_known_model_is_tried_up_to_its_native_context_on_the_hosts_cards() -> None:
    asked = calibration()
    assert asked.search.cards == (1, 2, 4, 8)
    assert asked.search.lengths[-1] == 40960


def test_cards_that_the_heads_do_not_divide_by_are_left_out_with_the_reason() -> None:
    asked = calibration(cards=[3, 2])
    assert asked.search.cards == (2,)
    assert "not tried on 3 cards" in asked.left_out[0]
    with pytest.raises(AscendError, match="not tried on 3 cards"):
        calibration(cards=[3])


def test_limits_of_the_tables_do_not_count() -> None:
    asked = calibration(model="Qwen2.5-72B", cards=[2], longest="128K")
    assert (asked.search.cards, asked.search.lengths[-1]) == ((2,), 131072)


def test_a_model_of_ones_own_needs_its_path_and_a_longest_length() -> None:
    assert calibration(model=OURS, longest="64K").search.lengths[-1] == 65536
    with pytest.raises(AscendError, match="Set vllm_calibrate_longest"):
        calibration(model=OURS)
    with pytest.raises(AscendError, match="Give the directory of its weights"):
        calibration(model="our-finetune", longest="64K")


def test_the_native_context_is_that_of_the_config_json_beside_the_weights() -> None:
    config = {"model_type": "qwen3", "max_position_embeddings": 32768}
    asked = calibration_of({**GIVEN, "model": OURS}, settings(), load_catalogue(), config)
    assert asked.search.lengths[-1] == 32768
    assert configuration_directory(OURS) == "/data/ours"
    assert configuration_directory("Qwen3-14B") is None
    trials = [Ended(Step(1, 32768), True, 9.0)]
    row = asked.row(Step(1, 32768), trials, asked.conditions(FACTS, settings().unit), "h1", "c.svg")
    assert row["native_context"] == 32768


@pytest.mark.parametrize(
    "given, message",
    [
        ({"model": {"model": "Qwen3-14B", "cards": 2}}, "sets cards, which a calibration chooses"),
        ({"model": {"model": "Qwen3-14B", "api_key": "k"}}, "sets api_key, which a .* no use for"),
        ({"model": []}, "vllm_calibrate_model is a list"),
        ({"cards": ["two"]}, "a list of numbers of cards is needed"),
        ({"cards": [0]}, "a list of numbers of cards is needed"),
        ({"longest": "16k"}, "vllm_calibrate_longest is '16k'"),
        ({"prompts": 0}, "have to be at least 1"),
    ],
)
def test_what_cannot_be_used_is_rejected(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AscendError, match=message):
        calibration(**given)


def test_a_host_without_a_profile_is_rejected() -> None:
    with pytest.raises(AscendError, match="ascend_host_profile is not set"):
        calibration_of(GIVEN, Settings({}.get), load_catalogue())


def test_trials_take_free_cards_beside_the_services() -> None:
    asked = calibration(model=OURS, longest="64K")
    spec = spec_of(asked.request, Step(2, 4096), load_catalogue(), settings().lookup)
    chat = ExistingPlacement((0,), 8001, True)
    idle = ExistingPlacement((4, 5), 8002, False)
    state = now(chat=chat, idle=idle)
    placed = place_trial(spec, state, settings())
    assert placed.placement.cards == (4, 5)
    assert placed.placement.port == 8003
    assert state.describe([7]) == (
        "free cards: 1-2, 4-6; card 0: service chat runs on it; card 3: it is unhealthy"
    )
    with pytest.raises(AscendError, match="service chat runs on it"):
        place_trial(
            spec_of(asked.request, Step(8, 4096), load_catalogue(), settings().lookup),
            state,
            settings(),
        )


def test_server_and_benchmark_run_as_a_service_does_with_files_below_run() -> None:
    found = trial(calibration(model=OURS, longest="64K"), Step(2, 4096))
    assert found["name"] == "our_finetune"
    texts = "".join(str(found[key]) for key in ("server", "benchmark", "placement", "config"))
    assert "/etc/vllm" not in texts
    assert "RuntimeMaxSec=900" in found["server"]
    assert "serve --config /run/vllm-calibrate/%i.yaml" in found["server"]
    assert "Type=oneshot" in found["benchmark"]
    assert "Restart=" not in found["benchmark"]
    line = next(each for each in found["benchmark"].split("\n") if "bench serve" in each)
    for words in (
        "--model /data/ours --served-model-name our_finetune",
        "--random-input-len 3952 --random-output-len 128 --ignore-eos",
        "--trust-remote-code",
        "--num-prompts 4",
        "--result-dir . --result-filename our_finetune.json",
    ):
        assert words in line
    assert "INFEROPS_PROGRAM=/opt/vllm/current/bin/vllm" in found["placement"]
    assert "host: 127.0.0.1" in found["config"]
    assert "max-model-len: 4096" in found["config"]


def test_short_contexts_are_half_prompt_and_half_answer() -> None:
    found = trial(calibration(), Step(1, 200))
    assert "--random-input-len 88 --random-output-len 100" in found["benchmark"]


@pytest.mark.parametrize(
    "model, words",
    [
        ("bge-m3", "--backend openai-embeddings --endpoint /v1/embeddings --dataset-name random"),
        ("bge-reranker-v2-m3", "--backend vllm-rerank --endpoint /v1/rerank"),
    ],
)
def test_embedding_models_and_rerankers_get_prompts_alone(model: str, words: str) -> None:
    found = trial(calibration(model=model), Step(1, 4096))
    assert words in found["benchmark"]
    assert "--random-input-len 4080 --percentile-metrics e2el" in found["benchmark"]


def test_a_trial_in_a_container_is_benchmarked_inside_it() -> None:
    asked = calibration()
    spec = spec_of(asked.request, Step(1, 4096), load_catalogue(), settings().lookup)
    service = place_trial(spec, now(), settings()).as_dict()
    image = "sha256:" + 64 * "a"
    unit = settings(vllm_service_method="container", vllm_runtime_image=image).unit
    found = module_trial(service, unit, asked.benchmark, TIMEOUTS, None)
    # A service of the host may be in a container of the name vllm-qwen3-14b.
    assert "--name=vllm-calibrate-qwen3-14b " in found["placement"]
    assert "--name=vllm-qwen3-14b" not in found["placement"]
    assert "/etc/vllm" not in found["placement"]
    assert found["server"].count("--time 0 vllm-calibrate-%i\n") == 2
    assert "podman exec vllm-calibrate-qwen3-14b " in found["benchmark_placement"]
    assert "bench serve --base-url" in found["benchmark_placement"]
    # The end of the benchmark does not take the server away.
    assert "podman rm" not in found["benchmark"]
    conditions = asked.conditions(FACTS, unit)
    assert conditions["engine"] == f"vLLM 0.18.0 in {image}"
    assert "cann" not in conditions


def test_a_kind_of_model_that_the_engine_cannot_benchmark_is_rejected() -> None:
    reranker = {"model": "bge-reranker-v2-m3"}
    old = settings(vllm_service_engine_version="0.11.0")
    with pytest.raises(AscendError, match=r"of vLLM 0\.11\.0 has no benchmark .* kind rerank"):
        calibration_of({**GIVEN, "model": reranker}, old, load_catalogue())


def test_conditions_name_the_software_and_hide_what_may_be_private() -> None:
    asked = calibration(model={**OURS, "env": {"TOKEN": "hidden"}}, longest="64K")
    found = asked.conditions(FACTS, settings().unit)
    assert "hidden" not in str(found)
    assert (found["driver"], found["cann"]) == ("25.2.0", "8.5.0")
    assert found["engine"].startswith("vllm 0.18.0, vllm-ascend 0.18.0")
    other = calibration(model={**OURS, "env": {"TOKEN": "other"}}, longest="64K")
    assert other.conditions(FACTS, settings().unit) != found


def test_the_row_has_its_conditions_and_every_trial() -> None:
    asked = calibration(model=OURS, longest="64K", cards=[1])
    trials = [
        Ended(Step(1, 65536), False, 9.0, 20_000, "kv-cache", "no room"),
        Ended(Step(1, 16 * K), True, 9.0, figures={"completed": 4.0}),
    ]
    row = asked.row(
        Step(1, 16 * K), trials, asked.conditions(FACTS, settings().unit), "h1", "c.svg"
    )
    assert (row["min_cards"], row["max_model_len"], row["basis"]) == (1, 16384, "calibrated")
    assert row["args"] == {"trust-remote-code": True}
    assert row["calibration"]["benchmark"] == {"completed": 4.0}
    assert [each["passed"] for each in row["calibration"]["trials"]] == [False, True]


def test_the_plan_of_a_run_says_what_is_tried() -> None:
    lines = "\n".join(calibration(cards=[1, 2]).plan([]))
    assert "first trial: 1 card, 40960 tokens" in lines
    assert "then 2 cards" in lines
    assert "at most 7 starts of the engine in all" in lines


def test_files_lie_beside_the_users_table(tmp_path: Path) -> None:
    table, chart, state = files_of(GIVEN, [f"{tmp_path}/ours.yml"], "h1", "Qwen3-14B")
    assert table == tmp_path / "ours.yml"
    assert chart == tmp_path / "ours.qwen3-14b.h1.svg"
    assert state == tmp_path / "ours.qwen3-14b.h1.calibration.json"
    with pytest.raises(AscendError, match="Nothing says which table"):
        files_of(GIVEN, [], "h1", "Qwen3-14B")
