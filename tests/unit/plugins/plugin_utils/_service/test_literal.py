# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user writes into env and args is taken as it is written, or rejected with the way out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import (
    check_args,
    engine_config,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.literal import check_env
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HF_TOKEN", "hush1234", "secret_env"),
        ("token", "hush1234", "secret_env"),
        ("AWS_SECRET_ACCESS_KEY", "hush1234", "secret_env"),
        ("OPENAI_APIKEY", "hush1234", "secret_env"),
        ("DB_PASSWORD_OLD", "hush1234", "secret_env"),
        ("CLIENT_SECRET", "hush1234", "secret_env"),
        ("HTTPS_PROXY", "http://me:hush1234@proxy:3128", "secret_env"),
        ("REDIS", "redis://:hush1234@cache/0", "secret_env"),
        ("LD_LIBRARY_PATH", "/hush1234:$LD_LIBRARY_PATH", "vllm_service_library_path"),
        ("PATH", "/opt/hush1234:${PATH}", "complete value"),
        ("NOW", "$(date) hush1234", "complete value"),
        ("NAME", " hush1234", "blank"),
        ("NAME", "hush1234\n", "end of a line"),
        ("NAME", "'hush1234'", "quotes"),
        ("NAME", "hush1234 \\", "backslash"),
        ("RANK_TABLE_FILE", "./hush1234", "absolute path"),
        ("RANK_TABLE_FILE", "hush1234.json", "absolute path"),
        ("YR_CONFIG_PATH", "etc/hush1234", "absolute path"),
        ("SSL_CERT_FILE", "~/hush1234", "absolute path"),
    ],
)
def test_what_is_not_meant_literally_is_rejected(name: str, value: str, words: str) -> None:
    with pytest.raises(AscendError) as caught:
        check_env({name: value}, "service chat, env")
    message = str(caught.value)
    assert message.startswith(f"service chat, env: {name} ") and words in message
    assert "hush1234" not in message
    assert f"add {name} to vllm_service_env_as_written" in message
    check_env({name: value}, "service chat, env", [name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EOS_TOKEN", 151645),
        ("USE_MY_KEY", "1"),
        ("LOG_TOKEN", "false"),
        ("KEY_CACHE", "on-disk-1234"),
        ("MAX_TOKENS", "4096 or so"),
        ("HF_TOKEN_PATH", "/run/keys/hf"),
        ("DB_PASSWORD_FILE", "/run/keys/db"),
        ("S3_ACCESS_KEY_ID", "AKIA1234567"),
        ("MONKEY", "bananas12345"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("ENDPOINT", "http://[2001:db8::1]:8080/a@b"),
        ("PATTERN", "^a.*b$"),
        ("PRICE", "5$ or 6"),
        ("WORDS", 'say "a" or "b" twice'),
        ("EMPTY", ""),
        ("QUOTE", "'"),
        ("RANK_TABLE_FILE", "/etc/ranks.json"),
        ("HCCL_SO_PATH", "libhccl.so"),
        ("LD_PRELOAD", "libjemalloc.so.2"),
    ],
)
def test_what_only_looks_so_is_taken(name: str, value: object) -> None:
    check_env({name: value}, "service chat, env")


def message_of(request: dict[str, Any], **variables: Any) -> str:
    values = {
        "ascend_host_profile": "atlas-800i-a2-64g",
        "vllm_service_instances": [{"model": "Qwen3-14B", **request}],
        **variables,
    }
    with pytest.raises(AscendError) as caught:
        Deployment(Settings(values.get), load_catalogue()).check_declared()
    return str(caught.value)


def test_variables_are_checked_before_any_contact() -> None:
    assert "service Qwen3-14B, env: PATH refers to" in message_of({"env": {"PATH": "/opt:$PATH"}})
    shared = message_of({}, vllm_service_env={"MS_TOKEN": "hush1234"})
    assert shared.startswith("vllm_service_env: MS_TOKEN looks like a secret")
    for options in (
        ["--env=MS_TOKEN=hush1234"],
        ["-e", "MS_TOKEN=hush1234"],
        ["-eMS_TOKEN=hush1234"],
    ):
        text = message_of({}, vllm_service_container_options=options)
        assert text.startswith("vllm_service_container_options: MS_TOKEN looks like a secret")
        assert "hush1234" not in text
    values = {
        "ascend_host_profile": "atlas-800i-a2-64g",
        "vllm_service_container_options": ["--env=HF_HOME=/data", "-e", "HTTP_PROXY"],
        "vllm_service_instances": [{"model": "Qwen3-14B", "env": {"MS_TOKEN": "none-needed"}}],
        "vllm_service_env_as_written": ["MS_TOKEN"],
    }
    Deployment(Settings(values.get), load_catalogue()).check_declared()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"reasoning-parser": " deepseek_r1"}, "a blank or the end of a line"),
        ({"tool-call-parser": "hermes\n"}, "a blank or the end of a line"),
        ({"reasoning-parser": "deepseek_r1 --enable-prefix-caching"}, "a line for a shell"),
        ({"reasoning-parser": "deepseek_r1 \\"}, "a line for a shell"),
        ({"reasoning-parser": "'deepseek_r1'"}, "quotes"),
        ({"lora-modules": "a=/data/a b=/data/b"}, "Write a list"),
        ({"allowed-media-domains": "a.example b.example"}, "Write a list"),
        ({"chat-template": "./t.jinja"}, "Write the absolute path"),
        ({"chat-template": "~/t.jinja"}, "Write the absolute path"),
        ({"chat-template": "t.jinja"}, "Write the absolute path"),
        ({"tool-parser-plugin": "plugins/parser.py"}, "Write the absolute path"),
        ({"lora-modules": ["a=/data/a", "b=../b"]}, "Write the absolute path"),
        ({"tokenizer": "~/tokenizer"}, "Write the absolute path"),
    ],
)
def test_values_of_options_are_one_value_each(args: dict[str, Any], words: str) -> None:
    with pytest.raises(AscendError, match=words) as caught:
        check_args({"model": "Qwen3-14B", "args": args}, "0.18.0")
    assert re.match(
        f"service Qwen3-14B, args, {next(iter(args))}(, item 2)? is ", str(caught.value)
    )


@pytest.mark.parametrize(
    "args",
    [
        {"lora-modules": ["a=/data/a", "b=/data/b"]},
        {"lora-modules": {"name": "a", "path": "/data/a"}},
        {"speculative-config": '{"method": "mtp", "num_speculative_tokens": 1}\n'},
        {"chat-template": "{% for m in messages %}{{ m.content }}{% endfor %}\n"},
        {"response-role": "the assistant"},
        {"chat-template": "/data/t.jinja", "tokenizer": "Qwen/Qwen3-14B"},
        {"lora-modules": ["a=owner/adapter"], "generation-config": "vllm"},
    ],
)
def test_values_that_are_meant_so_pass(args: dict[str, Any]) -> None:
    check_args({"model": "Qwen3-14B", "args": args}, "0.18.0")


@pytest.mark.parametrize("path", ["/data/x ", "/data/x\n", "$MODELS/x", "/data/${NAME}"])
def test_a_path_is_taken_literally(path: str) -> None:
    service = {"name": "chat", "model": "Qwen3-14B", "path": path, "max_model_len": 4096}
    with pytest.raises(AscendError, match="outer blank or a \\$ that nothing expands"):
        engine_config({**service, "port": 8000, "cards": [0]}, "0.18.0")


def test_an_id_of_a_hub_has_no_blank() -> None:
    assert "huggingface of Qwen3-14B is ' Qwen/Qwen3-14B'" in message_of(
        {"huggingface": " Qwen/Qwen3-14B"}
    )
