# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped data holds what its sources say, and a malformed table is named by file and row."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import (
    Catalogue,
    load_catalogue,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.facts import load_facts
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import (
    load_profiles,
    profile,
)

DATA = Path(__file__).resolve().parents[3] / "data"

FORMAT = (
    "The format is that of the collection's own tables in vars/model_tables; its schema is"
    " vars/schemas/model_table.schema.json."
)
HEAD = "table: mine\nconditions: {gpu_memory_utilization: 0.9, card_memory_gb: 64}\n"


def published_rows() -> list[tuple[int, str, int, float]]:
    lines = (DATA / "ascend-64gb.tsv").read_text(encoding="utf-8").splitlines()
    cells = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(int(i), model, int(cards), float(k)) for i, model, cards, k in cells]


def transcribe(repository: Path) -> Any:
    loader = importlib.machinery.SourceFileLoader(
        "transcribe", str(repository / "tests/tools/transcribe")
    )
    spec = importlib.util.spec_from_loader("transcribe", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def rejection(tmp_path: Path, text: str) -> str:
    """The complaint about a user's table with this text, its path replaced by FILE."""
    file = tmp_path / "mine.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(AscendError) as caught:
        load_catalogue(str(file))
    return str(caught.value).replace(str(file), "FILE")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


# -- the shipped data ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("model_table", "model_tables/*.yml"),
        ("model_facts", "model_facts.yml"),
        ("hardware_profiles", "hardware_profiles.yml"),
        ("version_matrix", "version_matrix.yml"),
    ],
)
def test_every_shipped_file_fits_its_schema(repository: Path, schema: str, files: str) -> None:
    text = (repository / f"vars/schemas/{schema}.schema.json").read_text(encoding="utf-8")
    validator = jsonschema.Draft202012Validator(json.loads(text))
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    paths = list((repository / "vars").glob(files))
    assert paths
    for path in paths:
        validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["model_facts", "hardware_profiles", "version_matrix"])
def test_every_source_that_is_named_is_in_the_registry_and_used(
    repository: Path, name: str
) -> None:
    data = yaml.safe_load((repository / f"vars/{name}.yml").read_text(encoding="utf-8"))
    registry = set(data.pop("source_registry"))

    def named(value: Any, key: str = "") -> set[str]:
        if isinstance(value, dict):
            inner = "sources" if key == "sources" else ""
            return set().union(*(named(v, inner or str(k)) for k, v in value.items()))
        if isinstance(value, list):
            if key in ("sources", "args_sources"):
                return set(value)
            return set().union(set(), *(named(v) for v in value))
        return set()

    assert named(data) == registry


def test_the_shipped_table_is_the_published_one(catalogue: Catalogue) -> None:
    table = catalogue.tables[0]
    assert table.name == "ascend-64gb"
    assert [
        (r.number, r.model, r.min_cards, (r.max_model_len or 0) / 1024) for r in table.rows
    ] == published_rows()
    assert {(r.card_memory_gb, r.gpu_memory_utilization) for r in table.rows} == {(64, 0.95)}
    assert len(table.rows) == 61


def test_the_figures_for_comparison_are_the_documents_own(repository: Path, shared: Path) -> None:
    document = next((shared / "seed").glob("000_*.txt")).read_text(encoding="utf-8")
    assert transcribe(repository).page_rows(document) == published_rows()


def test_the_earlier_table_is_the_earlier_page(catalogue: Catalogue, shared: Path) -> None:
    page = yaml.safe_load(
        next((shared / "seed").glob("second_table*.yml")).read_text(encoding="utf-8")
    )
    wanted = [
        (
            number,
            row["name"],
            memory,
            row[f"gb{memory}"]["min_cards"],
            None if row[f"gb{memory}"]["max_seq_k"] is None else row[f"gb{memory}"]["max_seq_k"],
        )
        for number, row in enumerate(page["rows"], start=1)
        for memory in (32, 64)
    ]
    table = catalogue.tables[1]
    assert [
        (
            r.number,
            r.model,
            r.card_memory_gb,
            r.min_cards,
            r.max_model_len and r.max_model_len / 1024,
        )
        for r in table.rows
    ] == wanted
    assert {r.gpu_memory_utilization for r in table.rows} == {0.9}


def test_the_facts_are_those_that_were_read_off_the_sources(shared: Path) -> None:
    recorded = yaml.safe_load((shared / "facts/model_facts.yml").read_text(encoding="utf-8"))
    facts = load_facts()
    # Those of which the record says that the release has another length.
    released = {"DeepSeek-R1-0528-Qwen3-8B": 131072, "QwQ-32B": 40960}
    for entry in recorded["models"]:
        known = facts[entry["name"]]
        assert (known.kind, list(known.huggingface), list(known.modelscope)) == (
            entry["task"],
            entry["huggingface"],
            entry["modelscope"],
        )
        for name in (
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "runtime_weight_bytes",
        ):
            assert getattr(known, name) == entry[name], (entry["name"], name)
        assert known.native_context == released.get(entry["name"], entry["max_position_embeddings"])
    assert {"DeepSeek-R1-Distill-Qwen-32B", "InternVL2.5-38B"} < set(facts)


def test_every_listed_model_has_facts_and_no_id_stands_for_two_models(
    catalogue: Catalogue,
) -> None:
    facts = load_facts()
    for table in catalogue.tables:
        for row in table.rows:
            found = catalogue.find(row.model)
            assert found is not None
            # Quantised weights are a model of their own, of which the row says what matters.
            quantised = {"modelscope", "num_attention_heads", "native_context"} <= set(row.own)
            assert found.model in facts or quantised, row.model
    for model, known in facts.items():
        for hub_id in known.huggingface + known.modelscope:
            match = catalogue.find(hub_id.upper())
            assert match and (match.model, match.hub_id and match.hub_id.lower()) == (
                model,
                hub_id.lower(),
            )


def test_star_is_the_published_table_for_64_gb_and_the_earlier_one_for_32(
    catalogue: Catalogue,
) -> None:
    assert [row.model for row in catalogue.every_row(64)] == [r[1] for r in published_rows()]
    assert [row.model for row in catalogue.every_row(32)] == [
        "QwQ-32B",
        "qwen2.5-vl-7B",
        "DeepSeek-R1-Distill-Llama-8B",
        "DeepSeek-R1-Distill-Llama-70B",
        "DeepSeek-R1-Distill-Qwen-1.5B",
        "DeepSeek-R1-Distill-Qwen-7B",
        "DeepSeek-R1-Distill-Qwen-14B",
        "DeepSeek-R1-Distill-Qwen-32B",
        "bge-reranker-v2-m3",
    ]
    assert list(catalogue.every_row(24)) == []
    assert list(catalogue.every_row(48)) == []  # only documented
    assert catalogue.memories() == (32, 64)


def test_profiles_give_the_memory_of_a_device() -> None:
    assert {name: p.card_memory_gb for name, p in load_profiles().items()} == {
        "atlas-800i-a2-64g": 64,
        "atlas-800t-a2-64g": 64,
        "atlas-800i-a2-32g": 32,
        "atlas-800i-a3": 64,
        "atlas-800t-a3": 64,
        "atlas-300i-duo-96g": 48,
        "atlas-300i-duo-48g": 24,
        "atlas-950dt": 96,
        "atlas-950pr-128g": 128,
    }
    with pytest.raises(AscendError) as caught:
        profile("atlas-900")
    assert str(caught.value) == (
        "There is no hardware profile 'atlas-900'. Set ascend_host_profile to one of atlas-800i-a2-64g,"
        " atlas-800t-a2-64g, atlas-800i-a2-32g, atlas-800i-a3, atlas-800t-a3, atlas-300i-duo-96g,"
        " atlas-300i-duo-48g, atlas-950dt, atlas-950pr-128g."
    )


# -- a user's own table ----------------------------------------------------------------------------


def test_a_users_row_goes_before_a_shipped_one_and_keeps_the_known_spelling(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.yml"
    file.write_text(
        HEAD
        + "updated: 2026-01-31\nbasis: calibrated\nrows:\n"
        + "  - {model: qwen3-14b, min_cards: 2, max_model_len: 40000}\n"
        + "  - {model: Our-7B, min_cards: 1, max_model_len_k: 0.5, kind: embed,"
        + " huggingface: us/our-7b, num_attention_heads: 28, native_context: 4096}\n",
        encoding="utf-8",
    )
    catalogue = load_catalogue([file])
    first = catalogue.rows("Qwen3-14B")[0]
    assert (first.table, first.number, first.max_model_len, first.updated, first.basis) == (
        "mine",
        1,
        40000,
        "2026-01-31",
        "calibrated",
    )
    found = catalogue.find("qwen3-14b")
    assert found is not None and found.model == "Qwen3-14B"
    match = catalogue.find("US/Our-7B")
    assert match and match.model == "Our-7B"
    facts = catalogue.facts("Our-7B")
    assert (facts.kind, facts.num_attention_heads, facts.native_context) == ("embed", 28, 4096)
    # First of all, once, and 40000 tokens in place of the shipped row.
    models = [row.model for row in catalogue.every_row(64)]
    assert models[:2] == ["qwen3-14b", "Our-7B"]
    assert "Qwen3-14B" not in models
    assert len(models) == 62


def test_of_two_rows_for_a_model_the_earlier_tells_its_facts(tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    row = "  - {model: Our-7B, min_cards: 1, max_model_len: 8, card_memory_gb: %d, %s}\n"
    file.write_text(
        f"{HEAD}rows:\n"
        + row % (64, "native_context: 4096")
        + row % (32, "native_context: 2048, kind: rerank"),
        encoding="utf-8",
    )
    facts = load_catalogue([file]).facts("our-7b")
    assert (facts.native_context, facts.kind) == (4096, "rerank")


def test_a_shipped_table_can_be_put_first_by_its_file_name() -> None:
    tables = load_catalogue(["ascend-vllm-0.7.2.yml"]).tables
    assert [table.name for table in tables] == [
        "ascend-vllm-0.7.2",
        "ascend-64gb",
        "vllm-ascend-tutorials",
    ]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{model: A, min_cards: two, max_model_len: 1}", "the field `min_cards` is 'two', which is not an integer"),
        ("{model: A, min_cards: true, max_model_len: 1}", "the field `min_cards` is True, which is not an integer"),
        ("{model: A, min_cards: 0, max_model_len: 1}", "the field `min_cards` is 0, which is less than 1"),
        ("{model: A, min_cards: 1}", "one of the fields `max_model_len_k` and `max_model_len` is needed, and not both"),
        ("{model: A, min_cards: 1, max_model_len: 1, max_model_len_k: 1}", "one of the fields `max_model_len_k` and `max_model_len` is needed, and not both"),
        ("{model: A, max_model_len: 1}", "the field `min_cards` is missing"),
        ("{model: A, min_cards: 1, max_model_len_k: 0.3}", "the field `max_model_len_k` is 0.3, which times 1024 is not an integer number of tokens"),
        ("{model: A, min_cards: 1, max_model_len_k: .nan}", "the field `max_model_len_k` is nan, which times 1024 is not an integer number of tokens"),
        ("{model: A, min_cards: 1, max_model_len: 8, gpu_memory_utilization: 1.5}", "the field `gpu_memory_utilization` is 1.5, which is more than 1"),
        ("{model: A, min_cards: 1, max_model_len: 8, card_memory_gb: .inf}", "the field `card_memory_gb` is inf, which is not a number"),
        ("{model: A, min_cards: 1, max_model_len: 8, kind: chat}", "the field `kind` is 'chat', which is none of generate, multimodal, embed, rerank"),
        ("{model: A, supported: false, min_cards: 1}", "the field `min_cards` is not valid in a row with `supported: false`"),
        ("{model: '*', min_cards: 1, max_model_len: 8}", "the field `model` is '*', which is not a valid name of a model"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_named_by_file_row_and_field(
    tmp_path: Path, row: str, complaint: str
) -> None:
    good = "  - {row: 7, model: Z, min_cards: 1, max_model_len: 8}\n"
    message = rejection(tmp_path, f"{HEAD}rows:\n{good}  - {row}\n")
    model = "*" if "'*'" in row else "A"
    assert message == f"The model table FILE, row 2 ({model}): {complaint}. {FORMAT}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "The model table FILE is empty."),
        ("# nothing\n", "The model table FILE is empty."),
        ("- a\n", "The model table FILE is a list; a mapping with the fields `table` and `rows` is needed."),
        ("Qwen3-14B\n", "The model table FILE is a string; a mapping with the fields `table` and `rows` is needed."),
        ("table: [\n", "The model table FILE, line 2 is not YAML: did not find expected node content."),
        ("rows: []\n", "The model table FILE: the field `table` is missing."),
        (HEAD + "rows: []\n", "The model table FILE: the field `rows` is [], which is empty."),
        (HEAD + "rows: {a: 1}\n", "The model table FILE: the field `rows` is {'a': 1}, which is not a list."),
        (HEAD + "rows: [Qwen3-14B]\n", "The model table FILE, row 1: it is 'Qwen3-14B', which is not a mapping."),
        (HEAD + "rows: [{min_cards: 1, max_model_len: 8}]\n", "The model table FILE, row 1: the field `model` is missing."),
        (
            "table: my table\nrows: [{model: A, min_cards: 1, max_model_len: 8}]\n",
            "The model table FILE: the field `table` is 'my table', which may have letters, digits, dots, dashes and underscores only.",
        ),
        (
            "table: mine\nrows: [{model: A, min_cards: 1, max_model_len: 8}]\n",
            "The model table FILE, row 1 (A): the field `card_memory_gb` is missing, in the row and in `conditions`.",
        ),
        (
            HEAD + "rows:\n  - {model: A, min_cards: 1, max_model_len: 8}\n  - {model: a, min_cards: 2, max_model_len: 9}\n",
            "The model table FILE, row 2 (a): row 1 has the same model and card_memory_gb (64); keep one of them.",
        ),
    ],
)  # fmt: skip
def test_a_malformed_table_is_named_by_file(tmp_path: Path, text: str, complaint: str) -> None:
    assert rejection(tmp_path, text) == f"{complaint} {FORMAT}"


def test_an_unknown_field_is_named_with_those_there_are(tmp_path: Path) -> None:
    message = rejection(
        tmp_path, HEAD + "rows:\n  - {model: A, min_card: 1, min_cards: 1, max_model_len: 8}\n"
    )
    assert message == (
        "The model table FILE, row 1 (A): there is no field `min_card`; the fields are args,"
        " basis, calibration,"
        " card_memory_gb, gpu_memory_utilization, huggingface, kind, max_model_len,"
        " max_model_len_k, min_cards, model, modelscope, native_context, notes,"
        f" num_attention_heads, num_key_value_heads, row, supported, warning. {FORMAT}"
    )


def test_two_tables_of_one_name_are_rejected(tmp_path: Path) -> None:
    text = HEAD.replace("mine", "ascend-64gb")
    message = rejection(tmp_path, text + "rows: [{model: A, min_cards: 1, max_model_len: 8}]\n")
    assert message.startswith("The model tables FILE and ")
    assert message.endswith(
        "vars/model_tables/ascend-64gb.yml are both named 'ascend-64gb'. Give one of them another"
        " name in its field `table`."
    )


def test_what_is_no_list_of_files_is_rejected(tmp_path: Path) -> None:
    def complaint(tables: object) -> str:
        with pytest.raises(AscendError) as caught:
            load_catalogue(tables)
        return str(caught.value)

    assert complaint({"a": 1}) == (
        "The model tables (ascend_model_tables) are {'a': 1}, which is not a list of paths."
        " Write a list, as in ascend_model_tables: [files/my-models.yml]."
    )
    assert complaint([3]) == (
        "The model tables (ascend_model_tables) contain 3, which is not a path. Write a list of"
        " paths, as in ascend_model_tables: [files/my-models.yml]."
    )
    missing = tmp_path / "missing.yml"
    assert complaint(str(missing)) == (
        f"The model table '{missing}' (ascend_model_tables) does not exist. Give an absolute path,"
        " or one relative to the playbook or its files/ or vars/."
    )
    assert complaint([str(tmp_path)]) == (
        f"The model table {tmp_path} (ascend_model_tables) is a directory. Name the files in it,"
        " one by one."
    )
