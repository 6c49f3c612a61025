# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of a host say, with the defaults of the roles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import role_defaults
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.variables import (
    PLACEMENT_VARIABLES,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import (
    Settings,
)

ROLES = Path(__file__).parents[4] / "roles"
WRONG = {
    "bool": "perhaps",
    "int": "many",
    "float": "soon",
    "list": 4,
    "dict": ["a"],
    "choices": "other",
}


def settings(**variables: Any) -> Settings:
    return Settings(variables.get)


def test_the_defaults_are_those_of_the_roles() -> None:
    bare = settings()
    assert bare.engine_version == role_defaults("vllm_service")["vllm_service_engine_version"]
    assert bare.ports().base == role_defaults("vllm_service")["vllm_service_port_base"]
    assert (bare.method, bare.user, bare.groups) == ("venv", "", ("HwHiAiUser",))
    assert bare.services is None
    assert bare.profile is None


@pytest.mark.parametrize("role", ["ascend_host", "vllm_service"])
def test_no_default_is_a_template_that_only_a_role_could_render(role: str) -> None:
    assert "{{" not in str(dict(role_defaults(role)))


@pytest.mark.parametrize("name", PLACEMENT_VARIABLES)
def test_what_decides_a_placement_is_a_variable_of_a_role(name: str) -> None:
    roles = ("ascend_host", "vllm_service", "vllm_runtime", "vllm_weights")
    assert name == "ascend_model_tables" or any(name in role_defaults(role) for role in roles)


def test_what_is_not_set_follows_from_the_profile_or_another_variable() -> None:
    a3 = settings(
        ascend_host_profile="atlas-800i-a3",
        ascend_host_excluded_cards=[3],
        ascend_model_tables=["mine.yml"],
        vllm_runtime_method="container",
        vllm_runtime_image="local/vllm:1",
        vllm_service_user="inference",
    )
    assert (a3.declared_cards, a3.cards_per_board, a3.card_memory_gb) == (16, 2, 64)
    assert (a3.excluded_cards, a3.tables) == ((3,), ("mine.yml",))
    assert (a3.in_containers, a3.container_image, a3.user) == (True, "local/vllm:1", "inference")
    # In containers engine and CANN are in the image, so the host is not checked for them.
    assert (a3.checked_version, a3.checked_executable, a3.checked_scripts) == (None, None, ())


def test_the_nearer_variable_wins() -> None:
    both = settings(
        ascend_host_profile="atlas-800i-a3",
        vllm_service_cards=4,
        vllm_service_excluded_cards=[],
        ascend_host_excluded_cards=[3],
        vllm_service_method="venv",
        vllm_runtime_method="container",
        ascend_host_user="watch",
    )
    assert (both.declared_cards, both.excluded_cards, both.method) == (4, (), "venv")
    assert both.user == "watch"


def test_the_environment_of_all_services_says_whether_any_length_starts() -> None:
    assert not settings().lookup.any_length
    assert not settings(vllm_service_env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": 0}).lookup.any_length
    assert settings(vllm_service_env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": 1}).lookup.any_length


@pytest.mark.parametrize(
    ("name", "value", "attribute"),
    [
        ("ascend_host_profile", "atlas-900", "profile"),
        ("ascend_host_profile", ["a"], "profile"),
        ("ascend_host_excluded_cards", "3", "excluded_cards"),
        ("vllm_service_cards_per_board", 3, "cards_per_board"),
        ("vllm_service_unavailable_cards", [1], "unavailable_cards"),
        ("vllm_service_instances", 4, "services"),
        ("ascend_model_tables", {"a": 1}, "tables"),
        ("vllm_service_estimate", "perhaps", "lookup"),
        ("vllm_runtime_method", "rpm", "method"),
        ("vllm_service_container_engine", "lxc", "container_engine"),
        ("ascend_host_timeout", "soon", "timeout"),
        ("ascend_host_timeout", 0, "timeout"),
        ("ascend_host_checks", ["disk"], "checks"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_variable(
    name: str, value: object, attribute: str
) -> None:
    with pytest.raises(AscendError) as caught:
        getattr(settings(**{name: value}), attribute)
    told = str(caught.value)
    assert name in told or name == "vllm_runtime_method" and "vllm_service_method" in told


def specified() -> list[tuple[str, object]]:
    """Each option of the roles whose specification rejects values, with such a value."""
    found: list[tuple[str, object]] = []
    for role in ("ascend_host", "vllm_service"):
        text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
        for name, spec in yaml.safe_load(text)["argument_specs"]["main"]["options"].items():
            kind = "choices" if "choices" in spec else spec["type"]
            found += [(name, WRONG[kind])] if kind in WRONG else []
            found += [(name, ["x"])] if spec.get("elements") == "int" else []
    return found


@pytest.mark.parametrize(("name", "value"), specified())
def test_what_the_roles_specify_is_checked_before_contact_without_ansible(
    name: str, value: object
) -> None:
    """The playbook deploy leaves out Ansible's validation, which renders all variables for it."""
    with pytest.raises(AscendError, match=name):
        settings(**{name: value}).check()


def test_the_defaults_of_the_roles_pass() -> None:
    settings().check()


def test_the_fingerprint_knows_requests_and_placement_but_no_secret() -> None:
    request = {"model": "Qwen3-14B", "api_key": "one", "env": {"A": 1}}
    first = settings(vllm_service_instances=[request], vllm_service_port_base=8000)
    other = settings(vllm_service_instances=[{**request, "api_key": "two", "env": {}}])
    assert first.fingerprint == other.fingerprint
    for changed in (
        {"vllm_service_instances": [{**request, "port": 9000}]},
        {"vllm_service_instances": [request], "vllm_service_port_base": 9000},
        {"vllm_service_instances": [request], "ascend_host_excluded_cards": [1]},
    ):
        assert settings(**changed).fingerprint != first.fingerprint
