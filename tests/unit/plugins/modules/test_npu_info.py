# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it on a host, against a program in the place of npu-smi."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._host import problems
from ansible_collections.inferops.ascend.plugins.modules import npu_info

DATA = Path(__file__).resolve().parents[2] / "data" / "npu-smi"


def script(path: Path, body: str) -> str:
    path.write_text("#!/bin/sh\n" + body, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def run(*extra: str, **options: Any) -> dict[str, Any]:
    """The module's result, from `ansible localhost`."""
    command = ["ansible", "localhost", "-c", "local", "-m", "inferops.ascend.npu_info", *extra]
    done = subprocess.run(
        [*command, "-a", json.dumps(options)], capture_output=True, text=True, check=False
    )
    result: dict[str, Any] = json.loads(done.stdout.partition(" => ")[2])
    # The command line leaves this key out of what it prints.
    return {**result, "failed": done.returncode != 0}


def test_healthy_host(tmp_path: Path) -> None:
    npu_smi = script(
        tmp_path / "npu-smi",
        f'case "$*" in info) cat {DATA}/a3-16-dies-info.txt;; *-m) cat {DATA}/a3-16-dies-m.txt;;'
        " *) exit 1;; esac\n",
    )
    result = run("--check", npu_smi=npu_smi)
    assert result["changed"] is False
    assert result["problems"] == []
    assert result["npu_smi_version"] == "25.3.rc1"
    assert [card["logic_id"] for card in result["cards"]] == list(range(16))
    documented = yaml.safe_load(npu_info.RETURN)
    assert set(result) >= set(documented) - {"advice"}
    assert set(result["cards"][0]) == set(documented["cards"]["contains"])
    process = documented["cards"]["contains"]["processes"]["contains"]
    assert set(result["cards"][0]["processes"][0]) == set(process)


def test_hang_is_an_error_with_advice(tmp_path: Path) -> None:
    npu_smi = script(tmp_path / "npu-smi", "sleep 300\n")
    result = run(npu_smi=npu_smi, timeout=0.5)
    assert result["failed"] is True
    assert [problem["code"] for problem in result["problems"]] == ["npu_smi_timeout"]
    assert "0.5 s" in result["msg"]
    assert result["advice"] in result["msg"]


def test_missing_npu_smi_is_an_error_with_advice() -> None:
    result = run(npu_smi="/nowhere/npu-smi")
    assert result["failed"] is True
    assert "/nowhere/npu-smi" in result["msg"]
    assert "Install the Ascend driver" in result["advice"]
    assert result["cards"] == []


@pytest.mark.parametrize("timeout", [0, -1])
def test_timeout_that_is_no_time(timeout: float) -> None:
    assert "timeout" in run(timeout=timeout)["msg"]


def test_codes_in_the_documentation_exist() -> None:
    text = yaml.safe_load(npu_info.RETURN)["problems"]["contains"]["code"]["description"]
    named = {part.split(")")[0] for part in text.split("V(")[1:]}
    assert named
    assert named <= set(problems.PROBLEMS)
