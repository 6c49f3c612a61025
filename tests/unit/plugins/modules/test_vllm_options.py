# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of an installed engine, and how a file of them is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._service.options import (
    python_of,
    read_options,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import (
    facts_of,
    list_of,
    load_options,
    missing_list,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.arguments import read_args
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.options import options_of

# An engine whose parser pairs its switches as vLLM 0.33 does: a form that it takes is hidden.
SERVE = """
import argparse

class EnableDisableAction(argparse.BooleanOptionalAction):
    pass

class Parser(argparse.ArgumentParser):
    def _add_action(self, action):
        action = super()._add_action(action)
        if isinstance(action, EnableDisableAction):
            action.option_strings = action.shown
        return action

class Serve:
    def subparser_init(self, commands):
        serve = commands.add_parser("serve")
        serve.add_argument("model_tag", nargs="?")
        serve.add_argument("--port", "-p", type=int, default=8000)
        for name in ("--host", "--served-model-name"):
            serve.add_argument(name)
        for name in ("--max-model-len", "--tensor-parallel-size"):
            serve.add_argument(name, type=int)
        action = EnableDisableAction(["--enable-chunked-prefill"], "chunked")
        action.shown = ["--enable-chunked-prefill", "--disable-chunked-prefill"]
        action.option_strings = [*action.option_strings, "--disable-chunked-prefill"]
        serve._add_action(action)
        print("noise of the engine")

def cmd_init():
    return [Serve()]
"""


@pytest.fixture
def engine(tmp_path: Path) -> list[str]:
    """The Python of a stand-in for vLLM 0.33.0."""
    files = {
        "vllm/__init__.py": "",
        "vllm/utils/__init__.py": "",
        "vllm/utils/argparse_utils.py": "from vllm.entrypoints.cli.serve import Parser as"
        " FlexibleArgumentParser\n",
        "vllm/entrypoints/__init__.py": "",
        "vllm/entrypoints/cli/__init__.py": "",
        "vllm/entrypoints/cli/serve.py": SERVE,
        "vllm-0.33.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\n"
        "Version: 0.33.0+empty\n",
    }
    for name, text in files.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH={tmp_path}/site exec {sys.executable} "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    return [str(python)]


@pytest.fixture
def file(engine: list[str], tmp_path: Path) -> str:
    """The file of that engine."""
    path = tmp_path / "vllm-options-0.33.0.json"
    path.write_text(json.dumps(read_options(engine, [], 60)), encoding="utf-8")
    return str(path)


def test_the_parser_of_the_engine_is_asked(engine: list[str], tmp_path: Path) -> None:
    script = tmp_path / "set_env.sh"
    script.write_text("echo sourced\n", encoding="utf-8")
    found = read_options(engine, [str(script), "/not/there.sh"], 60)
    assert found["version"] == "0.33.0"
    assert found["options"]["port"] == {
        "opts": ["--port", "-p"],
        "action": "_StoreAction",
        "type": "int",
        "default": 8000,
    }
    assert found["options"]["enable-chunked-prefill"] == {
        "opts": [
            "--enable-chunked-prefill",
            "--no-enable-chunked-prefill",
            "--disable-chunked-prefill",
        ],
        "action": "EnableDisableAction",
    }


def test_an_engine_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="did not print the options of vllm serve .exit 1.: .*vllm"):
        read_options([sys.executable], [], 60)
    with pytest.raises(HostError, match="so no engine is installed there"):
        python_of(str(tmp_path / "vllm"))
    (tmp_path / "vllm").touch()
    with pytest.raises(HostError, match="beside .*vllm there is no python"):
        python_of(str(tmp_path / "vllm"))


def test_the_module_returns_them(engine: list[str]) -> None:
    options = json.dumps({"command": engine})
    words = ["-c", "local", "-m", "inferops.ascend.vllm_options", "-a", options]
    done = subprocess.run(
        ["ansible", "localhost", *words], capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout.partition(" => ")[2])
    assert (found["changed"], found["version"]) == (False, "0.33.0")
    assert "max-model-len" in found["options"]


def test_the_playbook_writes_the_file(engine: list[str], tmp_path: Path) -> None:
    (tmp_path / "vllm").touch()  # beside the stand-in's Python
    output = tmp_path / "list.json"
    variables = {
        "vllm_service_executable": str(tmp_path / "vllm"),
        "vllm_options_output": str(output),
        "ascend_hosts": "localhost",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
    }
    words = ["-i", "localhost,", "-c", "local", "-e", json.dumps(variables)]
    done = subprocess.run(
        ["ansible-playbook", "inferops.ascend.options", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert list_of(str(output)) == "0.33.0"
    assert json.loads(output.read_text("utf-8")) == read_options(engine, [], 60)


def test_a_file_takes_the_place_of_a_shipped_list(file: str) -> None:
    assert (list_of(file), missing_list(file)) == ("0.33.0", None)
    assert "enable-chunked-prefill" in facts_of(file)
    with pytest.raises(AscendError, match="vLLM 0.33.0 does not have"):
        read_args({"args": {"swap-space": 4}}, options_of(file), "service a")


PAIRED = {
    "name in full": ["--enable-x", "--no-enable-x", "--disable-x"],
    "as the action lists them": ["--enable-x", "--disable-x"],
}


@pytest.mark.parametrize("opts", PAIRED.values(), ids=PAIRED)
@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"enable-x": True}, {"enable-x": True}),
        ({"enable_x": False}, {"no-enable-x": True}),
        ({"no-enable-x": True}, {"no-enable-x": True}),
        ({"disable-x": True}, {"no-enable-x": True}),
        ({"disable-x": False}, {"enable-x": True}),
        ({"enable-x": None}, {"enable-x": None}),
    ],
)
def test_paired_switches_are_read_by_each_of_their_names(
    tmp_path: Path, file: str, opts: list[str], given: dict[str, Any], written: dict[str, Any]
) -> None:
    data = json.loads(Path(file).read_text("utf-8"))
    data["options"]["enable-x"] = {"opts": opts, "action": "EnableDisableAction"}
    path = tmp_path / "other.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read_args({"args": given}, options_of(str(path)), "service a") == written
    with pytest.raises(AscendError, match="twice"):
        both = {"enable-x": True, "disable-x": False}
        read_args({"args": both}, options_of(str(path)), "service a")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ("[]", "does not have a version and its options"),
        ('{"version": "newest", "options": {}}', "does not have a version and its options"),
        ('{"version": "0.33.0", "options": {"a": 1}}', "does not have a version and its options"),
        ('{"version": "0.33.0", "options": {}}', "does not have host, port, max-model-len"),
    ],
)
def test_a_file_that_is_no_list_is_rejected(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "list.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(AscendError, match=f"vllm_runtime_row, options: .*list.json .*{why}"):
        options_of(str(path))


def test_a_shipped_list_is_read_as_before() -> None:
    assert facts_of("0.18.0") is load_options()["0.18.0"]
