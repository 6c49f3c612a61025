# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a service reads, by its args and env, and what of them its container sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import load_options
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.named_files import (
    files_of,
    mounts,
    on_host,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.unit import UnitSettings
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

FIELD = {
    "model": "Qwen3-32B",
    "path": "/data/Qwen3-32B-w8a8",
    "args": {
        "speculative-config": {
            "method": "eagle3",
            "num_speculative_tokens": 3,
            "model": "/data/eagle",
        },
        "chat-template": "/data/templates/tool.jinja",
        "enable-lora": True,
        "lora-modules": ["sql=/data/l1", "chat=/data/l2"],
    },
    "env": {"MOONCAKE_CONFIG_PATH": "/etc/mooncake.json"},
}


def unit(**variables: Any) -> UnitSettings:
    given = {f"vllm_service_{name}": value for name, value in variables.items()}
    return Settings(given.get).unit


def named(service: dict[str, Any], **variables: Any) -> dict[str, tuple[str, str]]:
    found = files_of({"model": "M", "path": "/m", **service}, unit(**variables))
    return {each.path: (each.kind, each.origin) for each in found if each.origin != "its weights"}


def seen(service: dict[str, Any], **variables: Any) -> list[str]:
    """What a container sees of the host besides the weights."""
    variables = {"container_mounts": [], **variables}
    return [":".join(each) for each in mounts(service, unit(**variables))[1:]]


def test_every_entry_is_well_formed_has_its_sources_and_is_an_option_of_a_version(
    repository: Path,
) -> None:
    data = yaml.safe_load((repository / "vars/named_files.yml").read_text("utf-8"))
    schema = json.loads((repository / "vars/schemas/named_files.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    entries = [*data["options"].values(), *data["env"].values()]
    used = {source for entry in entries for source in entry["sources"]}
    assert used == set(data["source_registry"])
    lists = [options for name, options in load_options().items() if not name.startswith("_")]
    assert [name for name in data["options"] if not any(name in each for each in lists)] == []


def test_what_tutorials_name_in_args_and_env() -> None:
    assert named(FIELD) == {
        "/data/eagle": ("model", "args, speculative-config, model"),
        "/data/templates/tool.jinja": ("file", "args, chat-template"),
        "/data/l1": ("model", "args, lora-modules"),
        "/data/l2": ("model", "args, lora-modules"),
        "/etc/mooncake.json": ("file", "env, MOONCAKE_CONFIG_PATH"),
    }


@pytest.mark.parametrize(
    ("args", "paths"),
    [
        ({"chat_template": "/t.jinja"}, ["/t.jinja"]),
        ({"chat-template": "{{ messages }}"}, []),
        ({"chat-template": "/not\na path"}, []),
        ({"lora-modules": {"name": "a", "path": "/l"}}, ["/l"]),
        ({"lora-modules": '{"name": "a", "path": "/l"}'}, ["/l"]),
        ({"lora-modules": ["a=owner/on-a-hub"]}, []),
        ({"speculative-config": '{"method": "eagle3", "model": "/d"}'}, ["/d"]),
        ({"speculative-config": {"method": "ngram", "num_speculative_tokens": 2}}, []),
        ({"tool-parser-plugin": "/p.py", "reasoning-parser-plugin": "/r.py"}, ["/p.py", "/r.py"]),
        ({"generation-config": "vllm"}, []),
        ({"tokenizer": "/tok", "allowed-local-media-path": "/media"}, ["/tok", "/media"]),
        ({"additional-config": {"eplb_config": {"expert_map_path": "/e.json"}}}, ["/e.json"]),
        (
            {
                "kv-transfer-config": {
                    "kv_connector": "UCMConnector",
                    "kv_role": "kv_both",
                    "kv_connector_extra_config": {"UCM_CONFIG_FILE": "/ucm.yaml"},
                }
            },
            ["/ucm.yaml"],
        ),
    ],
)
def test_only_absolute_paths_of_what_is_read_count(args: dict[str, Any], paths: list[str]) -> None:
    assert list(named({"args": args})) == paths


def test_variables_of_the_service_of_all_services_and_of_a_recipe_count() -> None:
    service = {
        "env": {"RANK_TABLE_FILE": "/own.json", "VLLM_CACHE_ROOT": "/cache"},
        "recipe_env": {"RANK_TABLE_FILE": "/recipe.json", "LD_PRELOAD": "/a.so:/b.so /c.so"},
    }
    found = named(service, env={"YR_CONFIG_PATH": "/yr.json", "RANK_TABLE_FILE": "/all.json"})
    assert [path for path in found if found[path][0] == "file"] == [
        "/own.json",
        "/a.so",
        "/b.so",
        "/c.so",
        "/yr.json",
    ]
    assert found["/cache"] == ("written", "env, VLLM_CACHE_ROOT")
    assert named({"env": {"OTHER": "/o"}})["/o"] == ("unknown", "env, OTHER")


def test_a_container_sees_what_is_named_and_nothing_twice() -> None:
    assert seen(FIELD) == [
        f"{path}:{path}:ro"
        for path in (
            "/data/eagle",
            "/data/l1",
            "/data/l2",
            "/data/templates/tool.jinja",
            "/etc/mooncake.json",
        )
    ]
    assert seen(FIELD, container_mounts=["/data", "/etc/mooncake.json"]) == [
        "/data:/data:ro",
        "/etc/mooncake.json:/etc/mooncake.json:ro",
    ]
    inside = {"path": "/m", "args": {"chat-template": "/m/t.jinja", "tokenizer": "/tok"}}
    assert seen({**inside, "env": {"RANK_TABLE_FILE": "/tok/r.json", "X": "/x"}}) == [
        "/tok:/tok:ro"
    ]


def test_what_is_in_the_image_is_not_mounted_unless_the_user_mounts_it() -> None:
    service = {"path": "/m", "args": {"chat-template": "/vllm-workspace/t.jinja"}}
    assert seen(service) == []
    assert seen(service, container_image_paths=[]) == [
        "/vllm-workspace/t.jinja:/vllm-workspace/t.jinja:ro"
    ]
    settings = unit(container_mounts=["/srv/templates:/vllm-workspace"])
    path = on_host("/vllm-workspace/t.jinja", mounts(service, settings), settings)
    assert path == "/srv/templates/t.jinja"
    settings = unit(container_mounts=[])
    assert on_host("/vllm-workspace/t.jinja", mounts(service, settings), settings) is None


def test_a_path_that_no_unit_can_contain_is_rejected_with_what_names_it() -> None:
    with pytest.raises(AscendError, match="service chat, args, chat-template: '/a, b'"):
        seen({"name": "chat", "path": "/m", "args": {"chat-template": "/a, b"}})
