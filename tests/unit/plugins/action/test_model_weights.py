# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action model_weights as Ansible runs it, on this machine as the host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

TABLE = """\
table: mine
conditions: {gpu_memory_utilization: 0.9, card_memory_gb: 64}
rows:
  - {model: Ours-14B, min_cards: 1, max_model_len_k: 16, kind: generate, num_attention_heads: 32}
"""


@pytest.mark.parametrize("given", [True, False], ids=["options", "variables"])
def test_a_model_of_the_users_own_table_is_checked_against_its_facts(
    tmp_path: Path, given: bool
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mine.yml").write_text(TABLE, encoding="utf-8")
    weights = tmp_path / "weights"
    weights.mkdir()
    for name, data in hubs.model().items():
        (weights / name).write_bytes(data)
    request = {"model": "Ours-14B", "path": str(weights)}
    module = {
        "services": "{{ query('inferops.ascend.model', request) }}",
        "tables": "{{ ascend_model_tables }}",
        "user": "root",
    }
    # What a task does not name follows from the host's variables.
    variables = {"vllm_service_instances": [request], "vllm_service_user": "root"}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "request": request,
            "ascend_model_tables": ["files/mine.yml"],
            **({} if given else variables),
        },
        "tasks": [{"name": "Check", "inferops.ascend.model_weights": module if given else {}}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    # Not from the playbook's directory: a relative path is found as the lookup finds it.
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "play.yml")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its weights have 40 attention heads instead of 32" in done.stdout + done.stderr


def test_a_model_that_only_its_weights_tell_of_has_nothing_to_be_checked_against(
    tmp_path: Path,
) -> None:
    for name, data in hubs.model().items():
        (tmp_path / name).write_bytes(data)
    variables = {
        "vllm_service_instances": [{"model": "Ours-14B", "path": str(tmp_path), "kind": "embed"}],
        "vllm_service_estimate": True,
        "vllm_service_user": "root",
    }
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": variables,
        "tasks": [
            {"inferops.ascend.model_weights": {}, "register": "found"},
            {"ansible.builtin.debug": {"var": "found.weights"}},
        ],
    }
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([play]), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), str(book)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"state": "complete"' in done.stdout, done.stdout
