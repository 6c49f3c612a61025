# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A calibration of the real vLLM on a real systemd host: its answer is the engine's own limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.hosts import scenario, started
from integration.playbooks import Books

from .engines import SERVING, models, wheels

pytestmark = pytest.mark.hosts

SCENARIO = scenario("real-calibration")
MODEL = "our-tiny"
HOST = {
    "vllm_service_engine_version": SERVING,
    "vllm_runtime_device": "cpu",
    "vllm_runtime_wheels": "/srv/wheels",
    "vllm_runtime_offline": True,
}
REQUEST = {
    "model": MODEL,
    "path": "/srv/models/tiny-decoder",
    # So small a KV cache that the model's 2048 tokens do not fit.
    "args": {"kv-cache-memory-bytes": "640K", "enforce-eager": True},
    "env": {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    },
}


class Site:
    """The host with the engine, and the user's table."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.table = books.folder / "our-models.yml"

    def calibrate(self, longest: int, request: Any = None) -> dict[str, Any]:
        """The row that a calibration up to this length ends with."""
        request = request or REQUEST
        ran = self.books.run(
            "calibrate",
            vllm_calibrate_model=request,
            vllm_calibrate_cards=[1],
            vllm_calibrate_longest=longest,
            vllm_calibrate_gpu_memory_utilization=0.05,
            vllm_calibrate_prompts=2,
            vllm_calibrate_table=str(self.table),
            vllm_calibrate_restart=True,
        )
        assert ran.status == 0, ran.output
        rows = yaml.safe_load(self.table.read_text(encoding="utf-8"))["rows"]
        found: dict[str, Any] = next(row for row in rows if row["model"] == request["model"])
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("calibration")
    folders = {"wheels": wheels(), "models": models()}
    mounts = [word for name, path in folders.items() for word in ("--mount", f"{path}:/srv/{name}")]
    with started(SCENARIO, folder / "up.yml", "--host", "h1:a2-64g", *mounts) as inventory:
        books = Books(SCENARIO, inventory, folder)
        books.limit = 1500
        books.list_services("h1", **HOST)
        ran = books.run("runtime")
        assert ran.status == 0, ran.output
        yield Site(books)


def test_the_answer_is_the_longest_length_that_the_engine_itself_allows(site: Site) -> None:
    row = site.calibrate(2048)
    trials = row["calibration"]["trials"]
    assert [each["passed"] for each in trials] == [False, True]
    fits = trials[0]["fits"]
    assert row["max_model_len"] == max(length for length in (512, 1024, 2048) if length <= fits)
    assert SERVING in row["calibration"]["engine"]
    assert row["calibration"]["benchmark"]["completed"] == 2

    # That limit itself is carried, and completes requests that fill it.
    row = site.calibrate(fits)
    assert row["max_model_len"] == fits
    assert [each["passed"] for each in row["calibration"]["trials"]] == [True]

    # One more token is too many.
    row = site.calibrate(fits + 1)
    assert row["max_model_len"] < fits + 1
    assert row["calibration"]["trials"][0]["fits"] == fits
    assert "rows" in Path(site.table).read_text(encoding="utf-8")

    site.books.list_services(
        "h1",
        **{**HOST, "ascend_model_tables": [str(site.table)], "vllm_plan_services": [REQUEST]},
    )
    path = site.books.folder / "host_vars" / "h1.yml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    del values["vllm_service_instances"]
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    planned = site.books.run("plan", vllm_plan_adopt_host_vars=True)
    assert planned.status == 0, planned.output
    assert MODEL in planned.output


@pytest.mark.long
@pytest.mark.parametrize(("model", "kind"), [("embedding", "embed"), ("reranker", "rerank")])
def test_a_model_without_answers_completes_prompts_that_fill_its_context(
    site: Site, model: str, kind: str
) -> None:
    request = {
        "model": f"our-{model}",
        "path": f"/srv/models/tiny-{model}",
        "kind": kind,
        "args": {"enforce-eager": True},
        "env": REQUEST["env"],
    }
    row = site.calibrate(512, request)
    assert (row["kind"], row["max_model_len"]) == (kind, 512)
    figures = row["calibration"]["benchmark"]
    assert figures["completed"] == 2
    assert figures["mean_e2el_ms"] > 0
