# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook `capacity` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "data" / "npu-smi"
A2, A3, DUO = "atlas-800i-a2-64g", "atlas-800i-a3", "atlas-300i-duo-96g"


def capacity(
    folder: Path, hosts: dict[str, Any] | None, *options: str, **variables: Any
) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "inferops.ascend.capacity"]
    if hosts is not None:
        (folder / "inventory.json").write_text(
            json.dumps({"all": {"children": {"ascend": {"hosts": hosts}}}}), encoding="utf-8"
        )
        command += ["-i", "inventory.json"]
    for name, value in variables.items():
        command += ["-e", value if name == "raw" else json.dumps({f"capacity_{name}": value})]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, cwd=folder
    )


def report(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that the last task shows."""
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout[done.stdout.index("TASK [Show the capacity]") :]
    lines: list[str] = json.loads(text[text.index("=> {") + 3 : text.rindex("}\n") + 1])["msg"]
    return lines


def test_the_models_of_a_fleet_without_contact_to_any_host(tmp_path: Path) -> None:
    # Addresses that nothing answers at: whoever contacts one fails.
    hosts = {
        "npu-01": {"ascend_host_profile": A2, "ansible_host": "192.0.2.1"},
        "npu-02": {"ascend_host_profile": "{{ kind }}", "kind": A2, "ansible_host": "192.0.2.2"},
        "npu-03": {"ascend_host_profile": DUO, "vllm_service_engine_version": "0.23.0"},
        "npu-04": {},
    }
    done = capacity(
        tmp_path, hosts, raw="capacity_models=Qwen3-14B,no-such-model capacity_json=all.json"
    )
    lines = report(done)
    assert lines[0].startswith(f"{A2}: 2 hosts (npu-01, npu-02), 8 cards of 64 GB, engine")
    assert any(line.startswith("Qwen3-14B ") and " measured " in line for line in lines)
    assert any(
        line.startswith(f"{DUO}: 1 host (npu-03), cards of 48 GB, engine 0.23") for line in lines
    )
    assert any("'no-such-model'" in line for line in lines)
    assert any(line.startswith("npu-04 is left out") for line in lines)
    written = json.loads((tmp_path / "all.json").read_text("utf-8"))
    assert [(r["asked"], r["profile"], r["basis"]) for r in written["rows"]] == [
        ("Qwen3-14B", A2, "measured"),
        ("no-such-model", A2, None),
        ("Qwen3-14B", DUO, "estimated"),
        ("no-such-model", DUO, None),
    ]
    assert "changed=1" in done.stdout
    # A limit leaves out other hosts; in check mode nothing is written.
    limited = capacity(
        tmp_path,
        hosts,
        "--limit",
        "npu-03",
        "--check",
        "--diff",
        models="Qwen3-14B",
        json="all.json",
    )
    assert report(limited)[0].startswith(DUO)
    assert "changed=1" in limited.stdout
    assert '-      "name": "atlas-800i-a2-64g",' in limited.stdout
    assert json.loads((tmp_path / "all.json").read_text("utf-8")) == written
    again = capacity(
        tmp_path, hosts, raw="capacity_models=Qwen3-14B,no-such-model capacity_json=all.json"
    )
    assert "changed=0" in again.stdout


def test_every_row_of_the_tables_for_a_profile_without_an_inventory(tmp_path: Path) -> None:
    lines = report(capacity(tmp_path, None, profiles=[A2]))
    assert sum(" measured " in line and not line.startswith("-") for line in lines) == 61
    assert any("61 measured" in line for line in lines)
    wrong = capacity(tmp_path, None, profiles="a2")
    assert wrong.returncode == 2
    assert "There is no hardware profile 'a2' (capacity_profiles)" in wrong.stdout + wrong.stderr
    neither = capacity(tmp_path, None)
    assert neither.returncode == 2
    assert "-e capacity_profiles=" in neither.stdout + neither.stderr


def test_hosts_that_are_asked_show_the_cards_they_have(tmp_path: Path) -> None:
    npu_smi = tmp_path / "npu-smi"
    npu_smi.write_text(
        f'#!/bin/sh\ncase "$*" in info) cat {DATA}/a3-16-dies-info.txt;;'
        f" *-m) cat {DATA}/a3-16-dies-m.txt;; *) exit 1;; esac\n",
        encoding="utf-8",
    )
    npu_smi.chmod(0o755)
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "ascend_host_npu_smi": str(npu_smi),
    }
    hosts = {
        "npu-01": {**local, "ascend_host_profile": A2},
        "npu-02": {**local, "ascend_host_npu_smi": "/no/npu-smi", "ascend_host_profile": A2},
        "npu-03": {"ansible_host": "192.0.2.1", "ansible_timeout": 1, "ascend_host_profile": A2},
    }
    lines = report(capacity(tmp_path, hosts, contact=True, models=["Qwen3-235B-A22B"]))
    text = "\n".join(lines)
    assert lines[0].startswith(f"{A3}: 1 host (npu-01), 16 cards of 64 GB, engine")
    assert "read from the host" in " ".join(lines[:2])
    # A single such host suffices for it.
    assert "it takes" not in text
    assert "npu-02 is left out: it could not be asked for its cards" in text
    assert "npu-03 is left out: it could not be asked for its cards" in text
