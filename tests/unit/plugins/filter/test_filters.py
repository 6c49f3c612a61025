# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters as Ansible runs them, on values as its templar hands them over."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.unsafe_proxy import wrap_var

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core before 2.19 trusts every template

    def trust_as_template(value: str) -> str:
        return value


VARIABLES: dict[str, Any] = {
    "base": 8100,
    "specs": [
        {
            "name": trust_as_template("{{ 'ch' ~ 'at' }}"),
            "model": "Qwen3-14B",
            "kind": "generate",
            "huggingface": "Qwen/Qwen3-14B",
            "cards": trust_as_template("{{ 1 + 1 }}"),
            "tensor_parallel_size": 2,
            "pipeline_parallel_size": 1,
            "max_model_len": 32768,
            "gpu_memory_utilization": 0.95,
            "env": {"OMP_NUM_THREADS": trust_as_template("{{ 5 * 2 }}"), "PCT": "5%"},
            "secret_env": {"HF_TOKEN": trust_as_template("{{ 'to$ken' }}")},
            "args": {
                "hf-overrides": {"rope_scaling": {"factor": 4.0}},
                "chat-template": wrap_var("{{ not ours }}"),
            },
        }
    ],
}


def template(expression: str) -> Any:
    templar = Templar(loader=DataLoader(), variables=VARIABLES)
    return templar.template(trust_as_template("{{ " + expression + " }}"))


def test_place() -> None:
    placed = template("specs | inferops.ascend.place(8, [0], port_base=base, block_unit=2)")
    assert placed[0]["name"] == "chat"
    assert placed[0]["cards"] == [2, 3]
    assert placed[0]["devices"] == ["/dev/davinci2", "/dev/davinci3"]
    assert placed[0]["port"] == 8100
    assert placed[0]["env"]["OMP_NUM_THREADS"] in (10, "10")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("specs | inferops.ascend.place(1)", "service chat needs 2 cards, and this host has 1"),
    ],
)
def test_errors_are_ansibles(expression: str, words: str) -> None:
    with pytest.raises(AnsibleError) as caught:
        template(expression)
    assert words in str(caught.value)
