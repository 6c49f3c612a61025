# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A calibration on a host whose engine has a set memory limit, so that the right answer is known."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve

from ..hosts import environment, scenario, started
from ..playbooks import CLEAN, Books

SCENARIO = scenario("calibrate")
MODEL = "our-finetune"
REQUEST = {"model": MODEL, "path": "/srv/our-finetune"}
# The 58 GiB of one card are not enough for the weights; two leave 15.8 GiB, which is for 33264 tokens.
LIMIT = "weights_gib=100 kv_tokens_per_gib=2100 delay=0.5 stop=0"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("calibrate") / "inventory.yml"
    with started(SCENARIO, path, "--host", "h1:a2-64g") as inventory:
        yield inventory


class Site(Books):
    """The host, its variables, and the user's own table."""

    @property
    def table(self) -> Path:
        return self.folder / "our-models.yml"

    @property
    def state(self) -> Path:
        return self.folder / f"our-models.{MODEL}.h1.calibration.json"

    def wants(self, *services: Any, **more: Any) -> None:
        table = {"ascend_model_tables": [str(self.table)]} if self.table.exists() else {}
        self.list_services("h1", *services, **{**table, **more})

    def calibrate(self, *flags: str, **extra: Any) -> Any:
        values = {"vllm_calibrate_model": REQUEST, "vllm_calibrate_longest": "128K"}
        values["vllm_calibrate_table"] = str(self.table)
        values["vllm_calibrate_interval"] = 1
        return self.run("calibrate", *flags, **{**values, **extra})

    def left(self) -> str:
        """What a trial could have left on the host."""
        return self.sh(
            "h1",
            "ls -d /run/vllm-calibrate* /run/systemd/system/vllm-calibrate* 2>/dev/null;"
            " systemctl list-units --all --plain --no-legend 'vllm-calibrate*'; true",
        ).strip()


@pytest.fixture
def site(inventory: Path, tmp_path: Path) -> Iterator[Site]:
    it = Site(SCENARIO, inventory, tmp_path)
    it.sh("h1", f"ascend-sim behaviour {MODEL} {LIMIT}")
    it.wants()
    yield it
    it.sh("h1", CLEAN, check=False)


def row(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(site.table.read_text(encoding="utf-8"))["rows"][0]
    return found


def test_a_calibration_ends_with_a_row_that_the_next_plan_uses(site: Site) -> None:
    private = {**REQUEST, "secret_env": {"HF_TOKEN": "token-of-the-hub"}}
    site.wants({"model": "Qwen3-8B", "name": "chat", "cards": [0]}, private=private)
    assert site.run("deploy").status == 0
    chat = site.sh("h1", "systemctl show -P MainPID vllm@chat")

    ran = site.calibrate("-vvv", vllm_calibrate_model="{{ private }}")
    assert ran.status == 0, ran.output
    assert "token-of-the-hub" not in ran.output
    assert site.sh("h1", "journalctl -q | grep -c token-of-the-hub; true").strip() == "0"
    assert "token-of-the-hub" not in site.table.read_text(encoding="utf-8")
    assert "token-of-the-hub" not in site.state.read_text(encoding="utf-8")
    found = row(site)
    trials = found["calibration"]["trials"]
    assert (found["min_cards"], found["max_model_len"], found["basis"]) == (2, 32768, "calibrated")
    # One card in two starts, two cards in two by the engine's own estimate.
    assert [(each["cards"], each["max_model_len"], each["passed"]) for each in trials] == [
        (1, 131072, False),
        (1, 512, False),
        (2, 131072, False),
        (2, 32768, True),
    ]
    assert found["calibration"]["benchmark"]["completed"] == 4
    assert found["calibration"]["benchmark"]["output_throughput"] > 0
    assert found["calibration"]["profile"] == "atlas-800i-a2-64g"
    drawing = ElementTree.parse(site.folder / found["calibration"]["chart"]).getroot()
    assert drawing.tag.endswith("svg")

    # The service went on, and nothing is left of the trials.
    assert site.sh("h1", "systemctl show -P MainPID vllm@chat") == chat
    assert site.left() == ""

    spec = resolve(MODEL, load_catalogue([str(site.table)]), Options())
    assert (spec.cards, spec.max_model_len) == (2, 32768)
    assert spec.provenance["basis"] == "calibrated"
    (site.folder / "host_vars" / "h1.yml").write_text(
        yaml.safe_dump(
            {
                "ascend_host_profile": "atlas-800i-a2-64g",
                "ascend_model_tables": [str(site.table)],
                "vllm_plan_services": [REQUEST],
            }
        )
    )
    planned = site.run("plan", vllm_plan_adopt_host_vars=True)
    assert planned.status == 0, planned.output
    assert "our-finetune" in planned.output

    again = site.calibrate()
    assert again.status == 0
    assert again.changed("h1") == 0, again.output


def test_check_mode_shows_the_trials_and_starts_none(site: Site) -> None:
    before = site.sh("h1", "ls -R /run/systemd /etc/systemd; journalctl -q -n1 -o cat | wc -l")
    ran = site.calibrate("--check")
    assert ran.status == 0, ran.output
    assert "first trial: 1 card, 131072 tokens" in ran.output
    assert "at most 12 starts" in ran.output
    assert not site.table.exists()
    assert (
        site.sh("h1", "ls -R /run/systemd /etc/systemd; journalctl -q -n1 -o cat | wc -l") == before
    )


def test_a_run_whose_controller_was_killed_is_put_back_and_resumed(site: Site) -> None:
    site.wants({"model": "Qwen3-8B", "name": "chat", "cards": [0]})
    assert site.run("deploy").status == 0
    chat = site.sh("h1", "systemctl show -P MainPID vllm@chat")
    # On four cards 39600 tokens fit: 64K does not start, and the benchmark of 32K hangs.
    limit = "weights_gib=100 kv_tokens_per_gib=300 delay=0.5 stop=0"
    site.sh("h1", f"ascend-sim behaviour {MODEL} {limit} request_seconds=600")
    values = {
        "vllm_calibrate_model": REQUEST,
        "vllm_calibrate_longest": "64K",
        "vllm_calibrate_table": str(site.table),
        # Beside the service there is one such block, which the interrupted trial has.
        "vllm_calibrate_cards": [4],
        "vllm_calibrate_interval": 1,
    }
    command = ["ansible-playbook", "-i", str(site.inventory), "inferops.ascend.calibrate"]
    process = subprocess.Popen(
        [*command, "-e", json.dumps(values)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait(lambda: state(site, "vllm-calibrate-benchmark@our-finetune") == "activating")
    children = descendants(process.pid)
    for pid in (process.pid, *children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    assert state(site, "vllm-calibrate@our-finetune") == "active"
    assert not site.table.exists()
    (known,) = json.loads(site.state.read_text(encoding="utf-8"))["trials"]
    assert (known["max_model_len"], known["passed"]) == (65536, False)

    # At once again: the host ends what was left, and the run goes on with what is known.
    site.sh("h1", f"ascend-sim behaviour {MODEL} request_seconds=0")
    ran = site.run("calibrate", **values)
    assert ran.status == 0, ran.output
    assert "known: 4 cards, 65536 tokens: too large" in ran.output
    assert "trial 1 of" not in ran.output
    assert "trial 2 of" in ran.output
    trials = row(site)["calibration"]["trials"]
    assert [(each["max_model_len"], each["passed"]) for each in trials] == [
        (65536, False),
        (32768, True),
    ]
    assert site.left() == ""
    assert site.sh("h1", "systemctl show -P MainPID vllm@chat") == chat


def test_what_cannot_be_run_is_refused_before_the_account_is_made(site: Site) -> None:
    site.sh("h1", "userdel vllm")
    for wrong, words in (
        ({"vllm_calibrate_model": {"model": MODEL}}, "No table lists the model"),
        ({"vllm_calibrate_cards": [16]}, "16 cards"),
    ):
        ran = site.calibrate(**wrong)
        assert ran.status != 0
        assert words in ran.output
        assert site.sh("h1", "getent passwd vllm; true") == ""
        assert site.left() == ""


@pytest.mark.parametrize("kind", ["embed", "rerank"])
def test_embedding_models_and_rerankers_are_benchmarked_with_prompts_alone(
    site: Site, kind: str
) -> None:
    site.sh(
        "h1", f"ascend-sim behaviour our-{kind} full_tokens=3000 engine_grace=0 delay=0.5 stop=0"
    )
    ran = site.calibrate(
        vllm_calibrate_model={"model": f"our-{kind}", "path": f"/srv/our-{kind}", "kind": kind},
        vllm_calibrate_longest="8K",
        vllm_calibrate_cards=[1],
    )
    assert ran.status == 0, ran.output
    found = row(site)
    assert (found["kind"], found["max_model_len"]) == (kind, 2048)
    figures = found["calibration"]["benchmark"]
    assert figures["completed"] == 4
    assert figures["request_throughput"] > 0
    assert "output_throughput" not in figures
    assert site.left() == ""


def test_what_is_no_question_of_memory_ends_it_and_keeps_the_trials(site: Site) -> None:
    site.sh("h1", f"ascend-sim behaviour {MODEL} weights_gib=40 full_tokens=20000 engine_grace=0")
    ran = site.calibrate(vllm_calibrate_cards=[1])
    assert ran.status == 0, ran.output
    # It starts with 32K, and runs out of memory when a request fills them.
    assert row(site)["max_model_len"] == 16384
    assert site.left() == ""

    site.sh("h1", f"ascend-sim behaviour {MODEL} fail=weights")
    ran = site.calibrate(vllm_calibrate_restart=True)
    assert ran.status != 0
    assert "Fix that and run the calibration again" in ran.output
    assert site.left() == ""
    assert row(site)["max_model_len"] == 16384


def state(site: Site, unit: str) -> str:
    return site.sh("h1", f"systemctl is-active {unit}", check=False).strip()


def wait(what: Any) -> None:
    end = time.monotonic() + 150
    while not what():
        assert time.monotonic() < end, "not within 150 s"
        time.sleep(0.5)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    children = [int(word) for word in done.stdout.split()]
    return [*children, *(each for child in children for each in descendants(child))]
