# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup as Ansible loads and calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs

DATA = Path(__file__).resolve().parents[2] / "data"
TABLE = """\
table: mine
conditions: {gpu_memory_utilization: 0.9, card_memory_gb: 64}
rows:
  - {model: Qwen3-14B, min_cards: 2, max_model_len_k: 40}
"""


def lookup(*terms: Any, variables: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    loader = DataLoader()
    templar = Templar(loader=loader, variables=variables or {})
    plugin = lookup_loader.get("inferops.ascend.model", loader=loader, templar=templar)
    return list(plugin.run(list(terms), variables=variables or {}, **options))


def play(folder: Path, tasks: object, **variables: Any) -> subprocess.CompletedProcess[str]:
    book = [{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "play.yml").write_text(json.dumps(book), encoding="utf-8")
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), str(folder / "play.yml")],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
    )


def test_all_rows_of_the_published_table_come_out_equal_to_it() -> None:
    lines = (DATA / "ascend-64gb.tsv").read_text(encoding="utf-8").splitlines()
    published = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(published) == 61
    specs = lookup("*")
    assert [
        [s["provenance"]["row"], s["model"], s["cards"], s["max_model_len"]] for s in specs
    ] == [[int(i), model, int(cards), int(float(k) * 1024)] for i, model, cards, k in published]
    assert {(s["gpu_memory_utilization"], s["card_memory_gb"]) for s in specs} == {(0.95, 64)}
    # One by one they are the same.
    for spec in specs:
        assert lookup(spec["model"]) == [spec]


def test_options_reach_the_tables() -> None:
    def cards(**options: Any) -> object:
        return lookup("QwQ-32B", **options)[0]["cards"]

    assert cards() == 2
    assert cards(card_memory_gb=32) == 4
    assert cards(card_memory_gb="32") == 4
    assert cards(profile="atlas-800i-a2-32g") == 4
    assert cards(profile="atlas-800i-a2-32g", card_memory_gb=64) == 2
    assert lookup("QwQ-32B", gpu_memory_utilization="0.97")[0]["gpu_memory_utilization"] == 0.97
    assert lookup("Qwen3-8B", card_memory_gb=32, estimate="yes")[0]["provenance"]["basis"] == (
        "estimated"
    )
    assert lookup({"model": "Qwen2.5-72B", "cards": 2}, allow_untested=True)[0]["cards"] == 2


def test_a_refusal_is_the_lookups_error_with_the_whole_message(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError) as caught:
        lookup({"model": "Qwen2.5-72B", "cards": 2})
    assert str(caught.value) == (
        "Qwen2.5-72B requests 2 cards; it needs at least 4 of 64 GB (table ascend-64gb, row 24:"
        " 32768 tokens on 4 cards at utilization 0.95). Give it 4 cards, or set allow_untested to"
        " try it."
    )
    with pytest.raises(AnsibleLookupError, match="There is no hardware profile 'nope'"):
        lookup("Qwen3-14B", profile="nope")
    with pytest.raises(AnsibleLookupError, match="'banana'.*, which is not a version"):
        lookup("Qwen3-14B", engine_version="banana")
    with pytest.raises(AnsibleLookupError, match="does not exist"):
        lookup("Qwen3-14B", tables=["/no/such.yml"])
    (tmp_path / "bad.yml").write_text("rows: [\n", encoding="utf-8")
    with pytest.raises(AnsibleLookupError) as caught:
        lookup("Qwen3-14B", tables=[str(tmp_path / "bad.yml")])
    assert str(caught.value).count("bad.yml") == 1


def test_tables_are_found_where_ansible_finds_files(tmp_path: Path) -> None:
    for folder in ("files", "vars", "."):
        where = tmp_path / f"play-{folder}" / folder
        where.mkdir(parents=True)
        (where / "mine.yml").write_text(TABLE, encoding="utf-8")
        variables = {"ansible_search_path": [str(tmp_path / f"play-{folder}")]}
        for tables in ("mine.yml", ["mine.yml"]):
            got = lookup("Qwen3-14B", variables={**variables, "ascend_model_tables": tables})
            assert (got[0]["cards"], got[0]["provenance"]["table"]) == (2, "mine")
            assert lookup("Qwen3-14B", variables=variables, tables=tables) == got


def test_variables_and_templates_of_a_play_come_through(tmp_path: Path) -> None:
    """Terms from variables, with values that are templates, in a real run."""
    folder = tmp_path / "play"
    folder.mkdir()
    (folder / "mine.yml").write_text(TABLE, encoding="utf-8")
    got = play(
        folder,
        [
            {
                "ansible.builtin.copy": {
                    "content": "{{ query('inferops.ascend.model', *services) | to_json }}",
                    "dest": str(folder / "out.json"),
                    "mode": "0600",
                }
            },
            {
                "ansible.builtin.assert": {
                    "that": [
                        "query('inferops.ascend.model', *[]) == []",
                        "query('inferops.ascend.model', services) | length == 2",
                        "lookup('inferops.ascend.model', 'bge-m3').max_model_len == 8192",
                    ]
                }
            },
        ],
        ascend_model_tables=["{{ playbook_dir }}/mine.yml"],
        length="{{ 16 * 1024 }}",
        services=[
            {
                "model": "{{ 'qwen3' }}-14b",
                "max_model_len": "{{ length }}",
                "cards": "{{ 2 }}",
                "env": {"A": "{{ 'b' * 3 }}"},
            },
            {"model": "gone", "state": "absent"},
        ],
    )
    assert got.returncode == 0, got.stdout + got.stderr
    first, second = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert (first["model"], first["cards"], first["max_model_len"]) == ("Qwen3-14B", 2, 16384)
    assert (first["env"], first["provenance"]["table"]) == ({"A": "bbb"}, "mine")
    assert second == {"name": "gone", "model": "gone", "state": "absent", "cards": 0}


def test_a_hub_is_asked_at_the_address_of_the_weights(tmp_path: Path) -> None:
    text = "{{ lookup('inferops.ascend.model', model, estimate=true, hub='modelscope').provenance.basis }}"
    tasks = [{"ansible.builtin.debug": {"msg": text}}]
    with hubs.serving(hubs.Hub(models={"us/Ours-8B": hubs.model()})) as address:
        for model, words in (
            ("us/Ours-8B", '"msg": "estimated"'),
            ("us/None", f"{address} has no model us/None"),
        ):
            mirrors = {"vllm_weights_endpoints": {"modelscope": "{{ at }}"}, "at": address}
            got = play(tmp_path, tasks, model=model, **mirrors)
            assert words in got.stdout + got.stderr, got.stdout


def test_the_documented_examples_run(tmp_path: Path, repository: Path) -> None:
    source = (repository / "plugins/lookup/model.py").read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(source.split("\nfrom pathlib")[0], scope)  # the documentation alone
    examples = yaml.safe_load(scope["EXAMPLES"])
    folder = tmp_path / "play"
    folder.mkdir()
    got = play(folder, examples)
    assert got.returncode == 0, got.stdout + got.stderr
    assert f"ok={len(examples)} " in got.stdout
    assert "Qwen3-Coder-480B-A35B: 65536 tokens on 32 cards" in got.stdout
