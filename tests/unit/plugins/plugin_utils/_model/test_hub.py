# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model that nothing else tells of, estimated from what a hub on loopback says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model import hub as reading
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.hub import Hub
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

from .resolving import rejection, spec
from .test_unlisted import GQA

ID = "us/Ours-8B"
SHARDS = {f"model-{n:05d}-of-00002.safetensors": b"x" * 3000 for n in (1, 2)}
FILES = {"config.json": json.dumps(GQA).encode(), **SHARDS, "consolidated.safetensors": b"x" * 9000}
NAMES = ("huggingface", "modelscope")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    reading._answer.cache_clear()


@pytest.fixture
def server() -> Iterator[hubs.Hub]:
    hub = hubs.Hub(models={ID: dict(FILES)})
    # Sizes as the hub lists them; the files themselves are never asked for.
    hub.listed = _sized
    with hubs.serving(hub):
        yield hub


def _sized(entry: dict[str, Any]) -> dict[str, Any]:
    if not str(entry.get("rfilename") or entry.get("Path")).endswith(".safetensors"):
        return entry
    return {**entry, "size": 8 * 10**9, "Size": 8 * 10**9}


def hub_of(server: hubs.Hub, name: str = "huggingface", **more: Any) -> Hub:
    return Hub(name, dict.fromkeys(NAMES, server.address), **more)


@pytest.mark.parametrize("name", NAMES)
def test_configuration_and_size_of_the_weights_are_read(server: hubs.Hub, name: str) -> None:
    got = spec(ID, estimate=True, hub=hub_of(server, name))
    assert (got["cards"], got["max_model_len"], got["huggingface"]) == (1, 131072, ID)
    assert got["provenance"]["basis"] == "estimated"
    assert got["provenance"]["estimate"]["weights_gib"] == 14.9
    title = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}[name]
    assert got["warnings"][0].startswith(
        f"estimated, never run: {ID} on cards of 64 GB follows from its config.json on {title}, 14.9"
    )
    assert not any("safetensors" in path for path in server.files_asked())


def test_a_hub_is_asked_once(server: hubs.Hub, tmp_path: Path) -> None:
    """Also by another process of the run, which has the directory alone."""
    for length in (4096, 8192):
        spec({"model": ID, "max_model_len": length}, estimate=True, hub=hub_of(server))
    assert len(server.asked) == 2
    for number in (4, 4):
        reading._answer.cache_clear()
        spec(ID, estimate=True, hub=hub_of(server, scratch=tmp_path))
        assert len(server.asked) == number


def test_the_hub_of_the_id_that_a_request_names_counts(server: hubs.Hub) -> None:
    request = {"model": "Ours", "modelscope": ID}
    got = spec(request, estimate=True, hub=hub_of(server, "huggingface"))
    assert "its config.json on ModelScope" in got["warnings"][0]


def test_nothing_is_asked_where_something_is_known(server: hubs.Hub) -> None:
    hub = hub_of(server)
    spec("Qwen3-14B", estimate=True, hub=hub)
    spec("Qwen/Qwen3-32B-FP8", estimate=True, hub=hub)
    own = {"model": ID, "huggingface": ID, "cards": 2, "max_model_len": 4096}
    assert spec(own, estimate=True, hub=hub)["provenance"]["basis"] == "requested"
    for request in ({"model": ID, "path": "/data/ours"}, "Ours-8B"):
        assert "No table lists the model" in rejection(request, estimate=True, hub=hub)
    assert "No table lists the model" in rejection(ID, hub=hub)
    assert server.asked == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_is_rejected_with_the_ways_out(server: hubs.Hub, name: str) -> None:
    text = rejection("us/None-8B", estimate=True, hub=hub_of(server, name))
    assert f"us/None-8B cannot be estimated: {server.address} has no model us/None-8B" in text
    assert f"vllm_weights_{name}_token" in text
    assert "Name its config.json on the controller in config, or give path" in text
    del server.models[ID]["config.json"]
    assert "has no config.json" in rejection(ID, estimate=True, hub=hub_of(server, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_token_is_sent_to_the_hub_alone(server: hubs.Hub, name: str) -> None:
    server.token = "sesame"
    server.models[ID]["config.json"] = json.dumps({**GQA, "_note": "x" * 3000}).encode()
    storage = hubs.Hub(models=server.models)
    with hubs.serving(storage, "127.0.0.2") as server.storage:
        hub = hub_of(server, name, tokens={name: "sesame"})
        assert spec(ID, estimate=True, hub=hub)["cards"] == 1
    assert [each.authorization for each in storage.asked] == (
        [None] if name == "huggingface" else []  # ModelScope redirects nothing
    )
    assert "sesame" not in repr(hub)
    assert "has no model" in rejection("us/Ours-8b", estimate=True, hub=hub_of(server, name))


def test_the_environment_of_the_controller_counts(
    server: hubs.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "sesame"
    monkeypatch.setenv("HF_ENDPOINT", f"{server.address}/")
    monkeypatch.setenv("HF_TOKEN", "sesame")
    assert spec(ID, estimate=True, hub=Hub("huggingface"))["cards"] == 1
    reading._answer.cache_clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(server.asked)
    assert "HF_HUB_OFFLINE is set" in rejection(ID, estimate=True, hub=Hub("huggingface"))
    assert len(server.asked) == asked


def test_no_network_says_what_to_do() -> None:
    hub = Hub("huggingface", {"huggingface": "http://127.0.0.1:1"})
    text = rejection(ID, estimate=True, hub=hub)
    assert "http://127.0.0.1:1 cannot be asked for us/Ours-8B: [Errno 111]" in text
    assert "set vllm_weights_endpoints or HF_ENDPOINT. Name its config.json" in text


@pytest.mark.parametrize(
    "body, words",
    [(b"<html>", "Expecting value"), (b"[]", "not a mapping"), (b" " * 20_000, "more than 10000")],
)
def test_what_is_no_configuration_is_rejected(
    server: hubs.Hub, monkeypatch: pytest.MonkeyPatch, body: bytes, words: str
) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000)
    server.models[ID]["config.json"] = body
    assert words in rejection(ID, estimate=True, hub=hub_of(server))


def test_a_hub_that_sends_too_slowly_is_given_up(
    server: hubs.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 0.2)
    server.pace = 1000.0
    text = rejection(ID, estimate=True, hub=hub_of(server))
    assert "took more than 0.2 seconds" in text


def test_the_description_of_quantised_weights_is_read(server: hubs.Hub) -> None:
    weights = {f"model.layers.{n}.mlp.up_proj.weight": "W8A8" for n in range(4)}
    server.models[ID]["quant_model_description.json"] = json.dumps(weights).encode()
    assert spec(ID, estimate=True, hub=hub_of(server))["cards"] == 1
    assert any("quant_model_description" in path for path in server.files_asked())
