# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts of services, on values as Ansible's templar hands them over."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import (
    module_arguments,
    service_texts,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.unit import UnitSettings

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core before 2.19 trusts every template

    def trust_as_template(value: str) -> str:
        return value


SERVICE: dict[str, Any] = {
    "name": "qwen3-14b",
    "model": "Qwen3-14B",
    "kind": "generate",
    "huggingface": "Qwen/Qwen3-14B",
    "modelscope": "Qwen/Qwen3-14B",
    "cards": [0, 1],
    "devices": ["/dev/davinci0", "/dev/davinci1"],
    "port": 8000,
    "hccl_ports": [61000, 61031],
    "max_model_len": 32768,
    "gpu_memory_utilization": 0.95,
    "tensor_parallel_size": 2,
    "pipeline_parallel_size": 1,
}


def settings(**changed: Any) -> UnitSettings:
    variables: dict[str, Any] = {
        "engine_version": "0.18.0",
        "options_version": "0.18.0",
        "executable": "/opt/vllm/current/bin/vllm",
        "weights_dir": "/w",
        "host": "0.0.0.0",
        "env": {},
        "env_as_written": [],
        "method": "venv",
        "container_engine": "podman",
        "container_image": "",
        "container_executable": "vllm",
        "container_mounts": [],
        "container_image_paths": [],
        "container_options": [],
        "user": "vllm",
        "groups": ["HwHiAiUser"],
        "hardening": {},
        "cann_scripts": [],
        "library_path": [],
        "shared_devices": [],
        "start_timeout": 3600,
        "device_timeout": 600,
        "shutdown_timeout": 90,
        "restart_delay": 15,
        "start_limit_burst": 5,
        "start_limit_interval": 7200,
        "cluster_python": "/usr/bin/python3",
        "cluster_secret": "",
        "cluster_lost_after": 10,
        **changed,
    }
    return UnitSettings.of({f"vllm_service_{name}": value for name, value in variables.items()})


def templated(value: Any) -> Any:
    templar = Templar(loader=DataLoader(), variables={"value": value})
    return templar.template(trust_as_template("{{ value }}"))


def test_values_of_templates_come_out_as_they_are_meant() -> None:
    service = templated(
        {
            **SERVICE,
            "port": trust_as_template("{{ 8000 + 100 }}"),
            "env": {"OMP_NUM_THREADS": trust_as_template("{{ 5 * 2 }}"), "PCT": "5%"},
            "secret_env": {"HF_TOKEN": trust_as_template("{{ 'to$ken' }}")},
            "args": {
                "hf-overrides": {"rope_scaling": {"factor": 4.0}},
                "chat-template": wrap_var("{{ not ours }}"),
            },
        }
    )
    texts = service_texts(service, settings())
    config = yaml.safe_load(texts["config"])
    assert config["model"] == "/w/Qwen/Qwen3-14B"
    assert config["port"] == 8100
    assert config["shutdown-timeout"] == 90
    assert config["hf-overrides"] == '{"rope_scaling":{"factor":4.0}}'
    assert config["chat-template"] == "{{ not ours }}"
    assert texts["environment"] == ['Environment="OMP_NUM_THREADS=10"', 'Environment="PCT=5%%"']
    assert texts["secrets"] == 'HF_TOKEN="to\\$ken"\n'


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"options_version": "0.1"}, "version of vLLM is '0.1'"),
        ({"start_timeout": "soon"}, "vllm_service_start_timeout is 'soon'"),
        ({"start_timeout": 0}, "vllm_service_start_timeout is 0; at least 1 is needed"),
        ({"device_timeout": -5}, "vllm_service_device_timeout is -5; at least 0 is needed"),
        ({"restart_delay": -1}, "vllm_service_restart_delay is -1; at least 0 is needed"),
        ({"groups": "HwHiAiUser"}, "vllm_service_groups is a string; a list is needed"),
        ({"env": []}, "vllm_service_env is a list"),
        ({"env": {"A": True}}, "A is a boolean"),
    ],
)
def test_settings_that_cannot_be_written_are_rejected(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(AscendError) as caught:
        service_texts(SERVICE, settings(**changed))
    assert words in str(caught.value)


def test_a_time_of_zero_is_what_it_is_for() -> None:
    """To wait for nothing is an answer, but for the start."""
    texts = settings(device_timeout=0, shutdown_timeout=0, restart_delay=0).texts()
    assert (texts["device_timeout"], texts["stop_timeout"]) == (0, 30)


def test_a_path_of_the_unit_is_a_plain_word() -> None:
    assert settings().texts()["groups"] == "HwHiAiUser"
    with pytest.raises(AscendError, match="is not valid in a systemd unit"):
        settings(executable="/opt/my vllm").texts()


def test_an_absent_service_has_no_texts() -> None:
    gone = {"name": "gone", "state": "absent", "cards": []}
    arguments = module_arguments([gone], settings())
    assert arguments["instances"] == [gone]
    shared = ["/etc/systemd/system/vllm@.service", "/usr/local/libexec/inferops/start"]
    assert list(arguments["contents"]) == shared
