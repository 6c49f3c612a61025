# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values by the argument specs of the roles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import role_defaults
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.specs import (
    fault,
    meant,
    options,
)


def test_the_variables_of_playbooks_fit_their_schema(repository: Path) -> None:
    data = yaml.safe_load((repository / "vars/playbook_variables.yml").read_text("utf-8"))
    schema = json.loads(
        (repository / "vars/schemas/playbook_variables.schema.json").read_text("utf-8")
    )
    jsonschema.Draft202012Validator(schema).validate(data)


def test_what_the_roles_default_to_is_right(repository: Path) -> None:
    values = {
        name: value
        for role in (repository / "roles").iterdir()
        for name, value in role_defaults(role.name).items()
        if value not in (None, "") and "{{" not in str(value) and name in options()
    }
    assert len(values) > 80
    assert [text for text in (fault(name, value) for name, value in values.items()) if text] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vllm_service_port_base", "8000"),
        ("vllm_service_wait", "no"),
        ("vllm_service_groups", "video,render"),
        ("vllm_service_engine_version", 0.9),
        ("vllm_calibrate_longest", {"any": "thing"}),
    ],
)
def test_what_ansible_converts_is_right(name: str, value: Any) -> None:
    assert fault(name, value) is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("vllm_service_port_base", "eight", "is 'eight'; an integer is needed."),
        ("vllm_service_env", "A", "is 'A'; a mapping is needed."),
        ("vllm_service_user", ["a"], "is a list; a text is needed."),
        ("vllm_service_restart", "soon", "is 'soon'; write now or deferred."),
        ("vllm_gateway_tls", "on", "is 'on'; write self-signed, files or none."),
        ("vllm_gateway_keys", ["x y"], "has items of another type; a list of mappings is needed."),
        ("vllm_gateway_keys", [{"nam": "a"}], "is not valid: missing required arguments: name"),
        ("vllm_weights_huggingface_token", ["hf_secret"], "is a list; a text is needed."),
        ("vllm_status_format", "xml", "is 'xml'; write text or json."),
    ],
)
def test_what_is_wrong_is_told_without_secrets(name: str, value: Any, words: str) -> None:
    found = fault(name, value)
    assert found is not None
    assert found.startswith(f"{name} {words}")
    assert "hf_secret" not in found


def test_a_name_is_meant_only_where_it_is_near_one() -> None:
    assert meant("vllm_service_instnaces") == "vllm_service_instances"
    assert meant("vllm_servce_instances") == "vllm_service_instances"
    for name in ("vllm_service_instances", "vllm_service_instances_chat", "vllm_service_x", "port"):
        assert meant(name) is None
