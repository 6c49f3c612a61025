# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role vllm_service sends to a host, byte for byte.

A difference in a digest means that every user's services restart at the next deploy: change the
recorded files (RECORD=1 in the environment) only with a changelog fragment that announces it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader as plugins
from ansible.template import Templar

from .tasks import with_blocks

try:
    from ansible.template import trust_as_template

    def unsafe(value: str) -> str:
        return value
except (
    ImportError
):  # ansible-core before 2.19 trusts every template but what is marked with !unsafe
    from ansible.utils.unsafe_proxy import wrap_var as unsafe

    def trust_as_template(value: str) -> str:
        return value


ROLE = Path(__file__).parents[3] / "roles" / "vllm_service"
RECORDED = Path(__file__).parents[1] / "data" / "rendered"

REQUESTS: list[Any] = [
    "Qwen3-14B",
    {
        "model": "Qwen/Qwen2.5-72B-Instruct",
        "name": "chat",
        "max_model_len": "16K",
        "args": {"enable-prefix-caching": False, "hf-overrides": {"rope_scaling": {"factor": 4.0}}},
        "env": {
            "OMP_NUM_THREADS": 10,
            "SHARED": None,
            "ODD": unsafe('100% "two"\n$HOME \\ {{ braces }}'),
        },
        "secret_env": {"HF_TOKEN": 'to$k"en\\'},
        "api_key": "a-key-of-the-test",
        "allow_untested": True,
    },
    {"model": "qwen3-8b", "state": "stopped", "path": "/data/qwen", "port": 8100, "cards": [1]},
    {"model": "Qwen3-0.6B", "name": "gone", "state": "absent"},
]
COMMON = {
    "ascend_host_profile": "atlas-800i-a2-64g",
    "vllm_service_instances": REQUESTS,
    "vllm_service_env": {"SHARED": "to all", "VLLM_LOGGING_LEVEL": "INFO"},
    "vllm_service_env_as_written": ["ODD"],
    "vllm_service_shutdown_timeout": 90,
}
CASES: dict[str, dict[str, Any]] = {
    "venv": {"vllm_service_groups": ["HwHiAiUser", "video"]},
    "podman": {
        "vllm_service_method": "container",
        "vllm_service_container_image": "quay.io/ascend/vllm-ascend@sha256:" + "0" * 64,
        "vllm_service_engine_version": "0.11.0",
    },
    "docker": {
        "vllm_service_method": "container",
        "vllm_service_container_engine": "docker",
        "vllm_service_container_image": "local/vllm:1",
        "vllm_service_container_mounts": ["/data:/models:rw"],
        "vllm_service_start_timeout": "1800",
    },
}


def trusted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def load(path: Path) -> Any:
    return trusted(yaml.safe_load(path.read_text(encoding="utf-8")))


def sent(monkeypatch: pytest.MonkeyPatch, **variables: Any) -> dict[str, Any]:
    """The module's arguments as the role has them sent."""
    values = load(ROLE / "defaults" / "main.yml")
    values.update(COMMON, omit="(left out)", **variables)
    name = "inferops.ascend.vllm_services"
    task = next(each for each in with_blocks(load(ROLE / "tasks" / "main.yml")) if name in each)
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    templar = Templar(loader=loader, variables=values)
    arguments = templar.template(task[name])
    caught: list[dict[str, Any]] = []

    def execute(self: object, **given: Any) -> dict[str, Any]:
        caught.append(given["module_args"])
        return {}

    class Task(SimpleNamespace):
        def copy(self) -> Any:
            return Task(**vars(self))

        def get_search_path(self) -> list[str]:
            return [str(ROLE)]

    action = plugins.action_loader.get(
        name,
        task=Task(args=arguments, async_val=0, check_mode=False, diff=False, _role=None),
        connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir="/there")),
        play_context=SimpleNamespace(),
        loader=loader,
        templar=templar,
        shared_loader_obj=plugins,
    )
    monkeypatch.setattr("ansible.plugins.action.ActionBase._execute_module", execute)
    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda self, *_args, **_given: {})
    action.run(task_vars=values)
    assert len(caught) == 1
    return caught[0]


@pytest.mark.parametrize("case", CASES)
def test_files_and_digests_are_as_recorded(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = sent(monkeypatch, **CASES[case])
    files = {**arguments["contents"], **arguments["secret_contents"]}
    found = {
        "digests": dict(arguments["digests"]),
        "secret_digests": dict(arguments["secret_digests"]),
        "files": {path: str(text).split("\n") for path, text in files.items()},
    }
    recorded = RECORDED / f"{case}.json"
    if os.environ.get("RECORD"):
        recorded.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert found == json.loads(recorded.read_text(encoding="utf-8"))
    assert sorted(found["digests"]) == ["chat", "qwen3-14b", "qwen3-8b"]
    # No secret but in the files for root.
    assert "a-key-of-the-test" not in json.dumps(
        {**arguments, "secret_contents": None}, default=str
    )
