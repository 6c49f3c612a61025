# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A calibration of an engine in an image, beside a service in a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..hosts import scenario, shell, started
from ..images import MAKE, MOUNTS
from ..playbooks import CLEAN, Books

pytestmark = pytest.mark.hosts

SCENARIO = scenario("calibrate-container")
MODEL = "our-finetune"
REQUEST = {"model": MODEL, "path": "/srv/our-finetune"}


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    folder = tmp_path_factory.mktemp("calibrate")
    with started(SCENARIO, folder / "up.yml", "--host", "h1:a2-64g") as inventory:
        image = shell(SCENARIO, "h1", MAKE).strip().splitlines()[-1]
        shell(SCENARIO, "h1", "mkdir -p /var/lib/vllm/weights /srv/our-finetune")
        books = Books(SCENARIO, inventory, folder)
        books.list_services(
            "h1",
            # By its name, in a container of the name that a trial would have as a service.
            {**REQUEST, "cards": [0], "max_model_len": 4096},
            vllm_runtime_method="container",
            vllm_runtime_image=f"sha256:{image}",
            vllm_runtime_image_archive="/srv/engine.tar",
            vllm_service_container_executable="/opt/engine/vllm",
            vllm_service_container_options=["--shm-size=64m"],
            vllm_service_container_mounts=MOUNTS,
            vllm_service_shutdown_timeout=1,
            vllm_service_env={"ASCEND_SIM_CLAIMS": "/tmp"},
        )
        yield books
        books.sh("h1", CLEAN, check=False)


def test_the_engine_of_an_image_is_calibrated_beside_a_service(books: Books) -> None:
    # One card leaves 48 GiB, which are for 9600 tokens.
    limit = "weights_gib=10 kv_tokens_per_gib=200 delay=0.5 stop=0"
    books.sh("h1", f"ascend-sim behaviour {MODEL} {limit}")
    for book in ("runtime", "deploy"):
        ran = books.run(book)
        assert ran.status == 0, ran.output
    service = books.sh("h1", f"systemctl show -P MainPID vllm@{MODEL}")
    table = Path(books.folder, "our-models.yml")

    ran = books.run(
        "calibrate",
        vllm_calibrate_model=REQUEST,
        vllm_calibrate_longest="16K",
        vllm_calibrate_cards=[1],
        vllm_calibrate_interval=1,
        vllm_calibrate_table=str(table),
    )
    assert ran.status == 0, ran.output
    (row,) = yaml.safe_load(table.read_text(encoding="utf-8"))["rows"]
    found = row["calibration"]
    assert [(each["max_model_len"], each["passed"]) for each in found["trials"]] == [
        (16384, False),
        (8192, True),
    ]
    assert found["benchmark"]["completed"] == 4
    assert found["engine"].startswith("vLLM 0.18.0 in sha256:")
    # The service went on, and nothing is left of the trials.
    assert books.sh("h1", f"systemctl show -P MainPID vllm@{MODEL}") == service
    assert books.sh("h1", "podman ps --all --format '{{.Names}}'").split() == [f"vllm-{MODEL}"]
    assert books.sh("h1", "ls -d /run/vllm-calibrate* /run/systemd/system/vllm-c*; true") == ""
