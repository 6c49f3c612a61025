# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each member of a service over several hosts is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.group import (
    PORTS,
    Group,
    Member,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import service_texts
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.unit import UnitSettings
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

MEMBERS = (Member("h1", "192.0.2.1", "eth0"), Member("h2", "192.0.2.2", "eth1"))
SECRET = "a secret of sixteen"


def service(engine: str, rank: int, **changed: Any) -> dict[str, Any]:
    return {
        "name": "big",
        "model": "Qwen3-235B-A22B",
        "kind": "generate",
        "cards": [0, 1, 2, 3, 4, 5, 6, 7],
        "devices": [],
        "port": 8000,
        "hccl_ports": [61000, 61031],
        "max_model_len": 4096,
        "gpu_memory_utilization": 0.9,
        "tensor_parallel_size": 8,
        "pipeline_parallel_size": 1 if engine == "data_parallel" else 2,
        "data_parallel_size": 2 if engine == "data_parallel" else 1,
        "path": "/data/w",
        "group": Group(engine, rank, MEMBERS, 20000),
        **changed,
    }


def settings(**changed: Any) -> UnitSettings:
    variables = {"vllm_service_cluster_secret": SECRET, **changed}
    return Settings(variables.get).unit


def described(texts: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(texts["group_file"])
    return found


def config(engine: str, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        service_texts(service(engine, rank), settings())["config"]
    )
    return found


def test_ranks_of_data_parallelism_start_at_their_hosts_share() -> None:
    leader, other = config("data_parallel", 0), config("data_parallel", 1)
    for each in (leader, other):
        assert each["data-parallel-size"] == 2
        assert each["data-parallel-size-local"] == 1
        assert each["data-parallel-address"] == "192.0.2.1"
        assert each["data-parallel-rpc-port"] == 20001
    assert "headless" not in leader and "data-parallel-start-rank" not in leader
    assert other["headless"] is True and other["data-parallel-start-rank"] == 1


def test_nodes_of_the_native_executor_are_numbered() -> None:
    leader, other = config("native", 0), config("native", 1)
    assert (leader["nnodes"], leader["node-rank"], other["node-rank"]) == (2, 0, 1)
    assert leader["master-addr"] == other["master-addr"] == "192.0.2.1"
    assert leader["distributed-executor-backend"] == "mp"
    assert "headless" not in leader and other["headless"] is True


def test_a_version_without_the_option_is_told() -> None:
    old = settings(vllm_service_engine_version="0.11.0")
    with pytest.raises(AscendError, match=r"service big spans 2 hosts.*no option "):
        service_texts({**service("native", 0), "args": {}}, old)


def test_every_member_has_its_own_address_in_the_environment() -> None:
    lines = "\n".join(service_texts(service("native", 1), settings())["environment"])
    assert '"HCCL_IF_IP=192.0.2.2"' in lines
    assert '"GLOO_SOCKET_IFNAME=eth1"' in lines
    own = service("native", 1, env={"GLOO_SOCKET_IFNAME": "bond0"})
    assert '"GLOO_SOCKET_IFNAME=bond0"' in "\n".join(service_texts(own, settings())["environment"])


def test_members_have_equal_digests_unless_their_settings_differ() -> None:
    first = described(service_texts(service("native", 0), settings()))
    second = described(service_texts(service("native", 1), settings()))
    assert first["digest"] == second["digest"]
    assert (first["rank"], second["rank"]) == (0, 1)
    for changed in ({"max_model_len": 2048}, {"env": {"VLLM_PP_LAYER_PARTITION": "40,54"}}):
        other = described(service_texts(service("native", 1, **changed), settings()))
        assert other["digest"] != first["digest"]


@pytest.mark.parametrize(("secret", "words"), [("", "is not set"), ("short", "fewer than 16")])
def test_a_service_over_hosts_needs_a_secret(secret: str, words: str) -> None:
    with pytest.raises(AscendError) as caught:
        service_texts(service("native", 0), settings(vllm_service_cluster_secret=secret))
    assert words in str(caught.value) and "openssl rand" in str(caught.value)
    assert not secret or secret not in str(caught.value)


def test_the_secret_is_in_the_secret_file_alone() -> None:
    texts = service_texts(service("native", 0), settings())
    assert SECRET in texts.pop("secrets")
    assert SECRET not in str(texts)


def test_ray_runs_beside_the_engine_of_the_leader_and_alone_elsewhere() -> None:
    leader = described(service_texts(service("ray", 0), settings()))
    other = described(service_texts(service("ray", 1), settings()))
    assert not leader["only_commands"] and other["only_commands"]
    words = leader["commands"][0]
    assert "--head" in words and '--resources={"NPU":8}' in words
    ports = {
        int(word.partition("=")[2])
        for command in (words, other["commands"][0])
        for word in command
        if "port=" in word
    }
    assert min(ports) > 20001 and max(ports) == 20000 + PORTS - 1
    assert "--address=192.0.2.1:" in " ".join(other["commands"][0])


def test_the_engine_and_ray_s_workers_are_told_the_cluster_of_the_service() -> None:
    """Two clusters may run on a host, and none has its session where Ray searches for one."""
    leader, other = (service_texts(service("ray", rank), settings()) for rank in (0, 1))
    port = next(
        word.removeprefix("--port=")
        for word in described(leader)["commands"][0]
        if word.startswith("--port=")
    )
    for texts in (leader, other):
        assert f'Environment="RAY_ADDRESS=192.0.2.1:{port}"' in texts["environment"]
    assert f"--address=192.0.2.1:{port}" in described(other)["commands"][0]


def test_ray_is_that_of_the_engine_s_environment(tmp_path: Path) -> None:
    (tmp_path / "ray").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n', encoding="utf-8")
    (tmp_path / "ray").chmod(0o755)
    command = described(service_texts(service("ray", 0), settings()))["commands"][0]
    environment = {"INFEROPS_PROGRAM": f"{tmp_path}/vllm", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    program, *words = ran.stdout.splitlines()
    assert program == f"{tmp_path}/ray"
    assert words[0] == "start" and '--resources={"NPU":8}' in words


def test_a_container_has_the_guard_before_its_client() -> None:
    contained = settings(
        vllm_service_method="container",
        vllm_service_container_image="quay.io/ascend/vllm-ascend@sha256:" + "0" * 64,
        vllm_service_container_engine="podman",
    )
    texts = service_texts(service("native", 0), contained)
    guard = "/usr/bin/python3 /usr/local/libexec/inferops/group-big /etc/vllm/big.group.json --"
    assert f" sh {guard} /bin/sh -c" in texts["command"]
    assert described(texts)["cleanup"][:2] == ["podman", "rm"]


def test_a_service_of_one_host_has_no_file_of_a_group() -> None:
    alone = service("native", 0)
    del alone["group"]
    texts = service_texts(alone, settings(vllm_service_cluster_secret=""))
    assert (texts["group"], texts["group_file"], texts["guard"]) == ([], "", "")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"secret": 1234567890123456}, "cluster_secret is a number; a text is needed"),
        ({"secret": "sechzehn-zeichen-ä"}, "has characters that are not ASCII"),
        ({"lost_after": 0}, "cluster_lost_after is 0; at least 1 second"),
        ({"lost_after": 0.5}, "cluster_lost_after is 0.5; at least 1 second"),
        ({"python": 3.8}, "cluster_python is a number; a text is needed"),
    ],
)
def test_variables_with_which_no_guard_could_start_are_rejected(
    changed: dict[str, Any], words: str
) -> None:
    variables = {f"vllm_service_cluster_{name}": value for name, value in changed.items()}
    with pytest.raises(AscendError) as caught:
        service_texts(service("native", 0), settings(**variables))
    assert words in str(caught.value)
    assert str(changed.get("secret", "-")) not in str(caught.value).replace("cluster_secret", "")


def test_what_is_a_host_s_alone_may_differ_between_members() -> None:
    env = {"HCCL_LOGIC_SUPERPOD_ID": "1", "HCCL_SOCKET_IFNAME": "bond1", "OMP_NUM_THREADS": 1}
    first = described(service_texts(service("native", 0, env=env), settings()))
    other = {**env, "HCCL_LOGIC_SUPERPOD_ID": "2", "HCCL_SOCKET_IFNAME": "bond2"}
    second = described(service_texts(service("native", 1, env=other), settings()))
    assert first["digest"] == second["digest"]
    other["OMP_NUM_THREADS"] = 2
    third = described(service_texts(service("native", 1, env=other), settings()))
    assert first["digest"] != third["digest"]
