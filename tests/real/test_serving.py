# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM on a real systemd host, installed and deployed by `site`, served and broken.

The cards are simulated and the models tiny; the engine, its start, its words and its failures are
real. The tests share one host and follow each other.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import vllm_metrics
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve
from integration.hosts import scenario, started
from integration.playbooks import Books

from .compiler import INSTALL, MOUNT
from .engines import SERVING, models, python, wheels

pytestmark = pytest.mark.hosts

SCENARIO = scenario("real-vllm")
TABLE = Path(__file__).parent / "tiny-models.yml"
KEY = "key-of-the-decoder"
HOST = {
    "ascend_model_tables": [str(TABLE)],
    "vllm_service_engine_version": SERVING,
    "vllm_runtime_device": "cpu",
    "vllm_runtime_wheels": "/srv/wheels",
    "vllm_runtime_offline": True,
    # Three servers share two cores: none is bound to a core, each computes on one thread.
    "vllm_service_env": {
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    },
}
# One of the three compiles, which takes longer than all else of its start.
EAGER = {"enforce-eager": True}
SMALL = {"kv-cache-memory-bytes": "64M", **EAGER}
DECODER = {
    "model": "tiny-decoder",
    "path": "/var/lib/vllm/weights/tiny-decoder",
    "weights": {"source": "nfs", "location": "/srv/models/tiny-decoder"},
    "api_key": KEY,
    "args": SMALL,
}
EMBEDDING = {"model": "tiny-embedding", "path": "/srv/models/tiny-embedding"}
RERANKER = {"model": "tiny-reranker", "path": "/srv/models/tiny-reranker", "args": EAGER}
SERVICES = [DECODER, EMBEDDING, RERANKER]
PORTS = {"tiny-decoder": 8000, "tiny-embedding": 8001, "tiny-reranker": 8002}


class Host:
    """The host, its playbooks, and its servers as a client sees them."""

    def __init__(self, books: Books) -> None:
        self.books = books
        hosts = yaml.safe_load(books.inventory.read_text())["all"]["hosts"]
        self.address = hosts["h1"]["ansible_host"]

    def sh(self, script: str) -> str:
        return self.books.sh("h1", script)

    def wants(self, *more: dict[str, Any], **variables: Any) -> None:
        """Write the host's variables: the three services, and more."""
        self.books.list_services("h1", *SERVICES, *more, **{**HOST, **variables})

    def ask(self, port: int, path: str, body: Any = None, key: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}:{port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def unit(self, name: str) -> dict[str, str]:
        """The unit's ActiveState, SubState, NRestarts, ExecMainStatus and MainPID."""
        names = "ActiveState,SubState,NRestarts,ExecMainStatus,MainPID"
        lines = self.sh(f"systemctl show vllm@{name} -p {names}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait(self, what: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(1)

    def diagnose(self) -> dict[str, dict[str, Any]]:
        """What `diagnose` says, by service."""
        ran = self.books.run("diagnose", vllm_diagnose_format="json")
        assert ran.status == 0, ran.output
        found = ran.output[ran.output.index("{\n") :]
        data, _end = json.JSONDecoder().raw_decode(found)
        return {each["name"]: each for each in data["msg"]["services"]}

    def failed(self, *names: str) -> dict[str, dict[str, Any]]:
        """Start services that cannot serve, and return what is said of each when it has ended."""
        # systemd counts the starts since the last reset.
        units = " ".join(f"vllm@{name}" for name in names)
        self.sh(f"systemctl reset-failed {units} 2>/dev/null; systemctl start {units}")

        def ended() -> bool:
            states = [self.unit(name) for name in names]
            return all(
                state["ActiveState"] == "failed" or int(state["NRestarts"]) > 0 for state in states
            )

        self.wait(ended, 400)
        found = self.diagnose()
        self.sh(f"systemctl stop {units}")
        return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("real")
    folders = {"wheels": wheels(), "models": models()}
    mounts = [word for name, path in folders.items() for word in ("--mount", f"{path}:/srv/{name}")]
    mounts += ["--mount", MOUNT]
    with started(SCENARIO, folder / "up.yml", "--host", "h1:a2-64g", *mounts) as inventory:
        books = Books(SCENARIO, inventory, folder)
        books.limit = 1500
        books.sh("h1", INSTALL)
        yield Host(books)


@pytest.fixture(scope="module")
def site(host: Host) -> str:
    """What the first run of `site` on the blank host printed."""
    host.wants()
    begun = time.monotonic()
    ran = host.books.run("site")
    print(f"site took {time.monotonic() - begun:.0f} s")
    assert ran.status == 0, ran.output
    return ran.output


GENERATE = """
import sys
from vllm import LLM, SamplingParams

if __name__ == "__main__":
    engine = LLM(model=sys.argv[1], enforce_eager=True, max_model_len=512)
    engine.generate(["each host"], SamplingParams(max_tokens=5, ignore_eos=True))
"""


@pytest.fixture(scope="module")
def generates(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip on a machine on which the engine dies at its first token without this collection too."""
    program = tmp_path_factory.mktemp("generate") / "generate.py"
    program.write_text(GENERATE, encoding="utf-8")
    done = subprocess.run(
        [python(SERVING), program, models() / "tiny-decoder"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={"VLLM_CPU_KVCACHE_SPACE": "1", "PATH": "/usr/bin:/bin"},
    )
    if done.returncode != 0 and "died unexpectedly" in done.stdout + done.stderr:
        pytest.skip(
            f"the worker of vLLM {SERVING} for CPUs dies on this machine at its first token"
        )


def families(text: str) -> set[tuple[str, str]]:
    """(name, kind) of each metric in an answer of /metrics, without the times of their creation."""
    found = set(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    return {(name, kind) for name, kind in found if not name.endswith("_created")}


def spec(model: str) -> dict[str, Any]:
    return resolve(model, load_catalogue([str(TABLE)]), Options()).as_dict()


def test_site_installs_the_engine_and_waits_until_all_serve(site: str, host: Host) -> None:
    assert "ready after" in site
    assert host.sh("readlink /opt/vllm/current").strip() == SERVING
    assert f"{SERVING}+cpu" in host.sh("/opt/vllm/current/bin/vllm --version 2>/dev/null")
    name = "tiny-decoder"
    assert not host.sh(f"diff -r -x '.*' /srv/models/{name} /var/lib/vllm/weights/{name}")


@pytest.mark.usefixtures("site")
def test_a_second_run_changes_nothing(host: Host) -> None:
    before = {name: host.unit(name)["MainPID"] for name in PORTS}
    ran = host.books.run("site")
    assert ran.status == 0, ran.output
    assert ran.changed("h1") == 0, ran.output
    assert {name: host.unit(name)["MainPID"] for name in PORTS} == before


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("model", PORTS)
def test_a_server_has_the_length_of_its_spec(host: Host, model: str) -> None:
    key = KEY if model == "tiny-decoder" else None
    served = host.ask(PORTS[model], "/v1/models", key=key)["data"]
    assert [each["id"] for each in served] == [model]
    assert served[0]["max_model_len"] == spec(model)["max_model_len"]


@pytest.mark.usefixtures("site", "generates")
def test_the_decoder_completes_for_those_who_have_its_key(host: Host) -> None:
    body = {"model": "tiny-decoder", "prompt": "each host", "max_tokens": 5, "temperature": 0}
    answer = host.ask(8000, "/v1/completions", {**body, "ignore_eos": True}, KEY)
    assert answer["usage"]["completion_tokens"] == 5
    assert answer["choices"][0]["finish_reason"] == "length"
    chat = {"model": "tiny-decoder", "messages": [{"role": "user", "content": "host"}]}
    answer = host.ask(8000, "/v1/chat/completions", {**chat, "max_tokens": 2}, KEY)
    assert answer["choices"][0]["message"]["role"] == "assistant"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        host.ask(8000, "/v1/completions", body, "another key")
    assert KEY not in host.sh("journalctl -u vllm@tiny-decoder --no-pager -o cat")


@pytest.mark.usefixtures("site")
def test_the_stand_in_has_the_metrics_of_the_engine(host: Host) -> None:
    text = host.sh("curl -sf localhost:8000/metrics")
    found = families(text)
    # Estimates of the hardware, and what libraries of the engine add for themselves.
    found = {each for each in found if each[0].startswith("vllm:") and "_per_gpu_" not in each[0]}
    ours = vllm_metrics.Meter(SERVING, "tiny-decoder").text({})
    assert families(ours) - {("http_requests_total", "counter")} == found
    buckets = r'vllm:(?:time_to_first|inter_token|e2e)\w+_bucket\{.*le="(.+?)"'
    assert re.findall(buckets, ours) == re.findall(buckets, text)


@pytest.mark.usefixtures("site")
def test_the_embedding_model_embeds(host: Host) -> None:
    body = {"model": "tiny-embedding", "input": ["every service has one port", "cards"]}
    vectors = [each["embedding"] for each in host.ask(8001, "/v1/embeddings", body)["data"]]
    assert [len(vector) for vector in vectors] == [64, 64]
    assert all(math.isfinite(number) for vector in vectors for number in vector)
    assert vectors[0] != vectors[1]


@pytest.mark.usefixtures("site")
def test_the_engine_has_compiled_and_is_confined(host: Host) -> None:
    unit = "vllm@tiny-embedding"
    assert host.sh(f"find $(systemctl show -P WorkingDirectory {unit})/.cache/vllm -name '*.so'")
    told = host.sh(f"systemd-analyze security --no-pager {unit}").splitlines()[-1]
    assert float(told.rpartition(": ")[2].split()[0]) <= 2.5, told


@pytest.mark.usefixtures("site")
def test_the_reranker_scores(host: Host) -> None:
    documents = ["each host carries cards", "one port"]
    body = {"model": "tiny-reranker", "text_1": "the cards", "text_2": documents}
    scores = [each["score"] for each in host.ask(8002, "/score", body)["data"]]
    assert len(scores) == 2 and all(math.isfinite(score) for score in scores)
    body = {"model": "tiny-reranker", "query": "the cards", "documents": documents}
    ranked = host.ask(8002, "/rerank", body)["results"]
    assert [each["relevance_score"] for each in ranked] == sorted(scores, reverse=True)


@pytest.mark.usefixtures("site")
def test_weights_refuses_a_length_beyond_the_models_own(host: Host) -> None:
    """The engine would say the same after a minute."""
    host.wants({**DECODER, "name": "long", "max_model_len": "4K"}, vllm_service_allow_untested=True)
    ran = host.books.run("weights")
    assert ran.status != 0
    assert "4096" in ran.output and "2048" in ran.output, ran.output


@pytest.mark.usefixtures("site")
def test_deploy_ends_red_with_the_length_that_the_engine_derives(host: Host) -> None:
    host.wants({**DECODER, "name": "long", "max_model_len": "4K"}, vllm_service_allow_untested=True)
    ran = host.books.run("deploy")
    assert ran.status != 0
    assert "max_model_len 4096 is more than the 2048 of the model" in ran.output, ran.output
    assert "Set max_model_len: 2048 on service long" in ran.output
    found = host.diagnose()
    assert found["long"]["cause"]["id"] == "length-above-model"
    assert all(found[name]["state"] == "ready" for name in PORTS)


# Services that differ from the first one in a name and in what cannot work.
BROKEN = [
    {"name": "crowded", "port": 8100, "args": SMALL},
    {"name": "typo", "args": SMALL},
    {"name": "heads", "args": SMALL},
    {"name": "tight", "args": {"kv-cache-memory-bytes": "128K", **EAGER}},
    {"name": "greedy", "gpu_memory_utilization": 1.0, "args": EAGER},
]


@pytest.fixture(scope="module")
def broken(host: Host, site: str) -> None:
    host.wants(*({**DECODER, **each, "state": "stopped"} for each in BROKEN))
    ran = host.books.run("deploy")
    assert ran.status == 0, ran.output


@pytest.mark.usefixtures("broken")
def test_mistakes_in_the_file_are_named(host: Host) -> None:
    """Deploy would not write these files, nor start on a port that is taken."""
    host.sh("systemd-run --quiet --unit squatter python3 -m http.server 8100")
    host.sh("echo 'no-such-flag: 3' >> /etc/vllm/typo.yaml")
    host.sh("sed -i 's/^tensor-parallel-size: 1/tensor-parallel-size: 3/' /etc/vllm/heads.yaml")
    found = host.failed("crowded", "typo", "heads")
    host.sh("systemctl stop squatter")
    causes = {name: found[name]["cause"] for name in ("crowded", "typo", "heads")}
    assert causes["crowded"]["id"] == "port"
    assert "Port 8100 is taken by" in causes["crowded"]["cause"]
    assert "squatter.service" in causes["crowded"]["cause"]
    assert causes["typo"]["cause"] == "This version of vLLM does not know --no-such-flag."
    # No other start would mend it.
    assert found["typo"]["state"] == "failed" and not causes["typo"]["retry"]
    assert "4 attention heads" in causes["heads"]["cause"], causes["heads"]


@pytest.mark.usefixtures("broken")
def test_too_little_memory_is_named_with_the_length_that_fits(host: Host) -> None:
    found = host.failed("tight", "greedy")
    assert found["tight"]["cause"]["id"] == "kv-cache"
    fits = int(found["tight"]["cause"]["values"]["tokens_fit"])
    assert 0 < fits < 2048
    assert f"Set max_model_len: {fits} or less" in found["tight"]["cause"]["advice"]
    assert found["greedy"]["cause"]["id"] == "cpu-memory-taken"
    assert "gpu_memory_utilization 1.0" in found["greedy"]["cause"]["cause"]


@pytest.mark.usefixtures("site")
def test_a_killed_engine_comes_back(host: Host) -> None:
    """The server ends with status 0 when its engine is gone, and is started all the same."""
    host.wants()
    before = host.unit("tiny-decoder")
    host.sh(
        "for pid in $(cat $(find /sys/fs/cgroup/systemd -path '*vllm@tiny-decoder.service/cgroup.procs'));"
        " do grep -q '^VLLM::EngineCor' /proc/$pid/comm && kill -9 $pid; done; exit 0"
    )
    # After the main process systemd ends what is left of the others.
    host.wait(lambda: host.unit("tiny-decoder")["SubState"] == "auto-restart", 60)
    assert host.unit("tiny-decoder")["ExecMainStatus"] == "0"
    found = host.diagnose()["tiny-decoder"]
    assert found["state"] in ("restarting", "starting")
    assert (
        found["cause"]["cause"]
        == "The engine's process ended, and this collection recognises none of the lines before as the reason."
    )
    assert "somebody killed the process, or the kernel did" in found["cause"]["advice"]
    ran = host.books.run("ready")
    assert ran.status == 0, ran.output
    after = host.unit("tiny-decoder")
    assert int(after["NRestarts"]) == int(before["NRestarts"]) + 1
    assert host.ask(8000, "/v1/models", key=KEY)["data"][0]["max_model_len"] == 2048
