# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents show works as they show it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.names import (
    account_name,
    service_name,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings


def blocks(path: Path) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


HOME = re.compile(r"https://github\.com/inferops/ascend/(?:blob|tree)/main/([^)#\s]+)")
COMMAND = re.compile(r"ansible-playbook\b[^\n]*?\binferops\.ascend\.(\w+)")
VARIABLE = re.compile(r"\b(?:ascend|capacity|vllm)_\w*[a-z0-9]\b")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def test_every_link_leads_somewhere(repository: Path) -> None:
    pages = [
        *repository.glob("*.md"),
        *repository.glob("docs/**/*.md"),
        *repository.glob("roles/*/*.md"),
    ]
    dead = [
        f"{page.relative_to(repository)}: {link}"
        for page in pages
        for root, pattern in ((repository, HOME), (page.parent, LINK))
        for link in pattern.findall(page.read_text(encoding="utf-8"))
        if not (root / link).exists()
    ]
    assert not dead


def test_the_first_page_has_no_link_that_only_works_in_the_repository(repository: Path) -> None:
    assert not LINK.findall((repository / "README.md").read_text(encoding="utf-8"))


def test_every_playbook_that_a_document_runs_is_there(repository: Path) -> None:
    playbooks = {path.stem for path in (repository / "playbooks").glob("*.yml")}
    pages = [repository / "README.md", *repository.glob("docs/**/*.md")]
    unknown = {
        f"{page.relative_to(repository)}: {name}"
        for page in pages
        for name in COMMAND.findall(page.read_text(encoding="utf-8"))
        if name not in playbooks
    }
    assert not unknown


def test_every_variable_that_a_document_names_is_there(repository: Path) -> None:
    parts = ("plugins", "roles", "playbooks", "vars")
    files = (path for part in parts for path in (repository / part).glob("**/*"))
    code = "".join(
        path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".yml", ".j2")
    )
    known = {*re.findall(r"\w+", code), "ascend_direct_transport"}  # the last is a library
    unknown = {
        f"{page.relative_to(repository)}: {name}"
        for page in [repository / "README.md", *repository.glob("docs/**/*.md")]
        for name in VARIABLE.findall(page.read_text(encoding="utf-8"))
        if name not in known
    }
    assert not unknown


def test_every_playbook_has_its_part_on_the_page(repository: Path) -> None:
    text = (repository / "docs" / "playbooks.md").read_text(encoding="utf-8")
    playbooks = {path.stem for path in (repository / "playbooks").glob("*.yml")}
    # The first part of other playbooks, which does nothing by itself.
    assert set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE)) == playbooks - {"choose_hosts"}


def test_defaults_of_the_group_reach_every_module(repository: Path) -> None:
    runtime = yaml.safe_load((repository / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    modules = sorted(path.stem for path in (repository / "plugins" / "modules").glob("*.py"))
    assert runtime["action_groups"]["all"] == modules


def test_the_table_of_your_own_is_read(repository: Path, tmp_path: Path) -> None:
    text = next(block for block in blocks(repository / "docs" / "tables.md") if "rows:" in block)
    file = tmp_path / "our-models.yml"
    file.write_text(text, encoding="utf-8")
    catalogue = load_catalogue([str(file)])
    assert resolve("our-finetune", catalogue, Options()).max_model_len == 49152
    assert resolve("Qwen3-14B", catalogue, Options()).provenance["table"] == "our-models"


def test_the_inventory_of_the_readme_resolves(repository: Path) -> None:
    smallest, more = (yaml.safe_load(block) for block in blocks(repository / "README.md")[:2])
    (only,) = smallest["ascend"]["hosts"]["npu-01"]["vllm_service_instances"]
    requests = [only, *more["vllm_service_instances"][1:]]
    specs = resolve_terms(requests, load_catalogue(), Options())
    assert [spec.model for spec in specs] == ["Qwen3-14B", "Qwen2.5-72B", "bge-large-zh-v1.5"]


def test_the_inventory_of_the_first_hour_resolves(repository: Path) -> None:
    inventory = yaml.safe_load(blocks(repository / "docs" / "first-hour.md")[0])
    host = inventory["ascend"]["hosts"]["npu-01"]
    (spec,) = resolve_terms(host["vllm_service_instances"], load_catalogue(), Options())
    (placed,) = place([spec.as_dict()], 8)
    assert (placed["port"], host["ascend_host_profile"]) == (8000, "atlas-800i-a2-64g")


def test_the_services_of_prefill_and_decode_fit_on_a_host(repository: Path) -> None:
    text = next(iter(blocks(repository / "docs" / "disaggregation.md")))
    requests = yaml.safe_load(text)["vllm_service_instances"]
    specs = resolve_terms(requests, load_catalogue(), Options())
    placed = place([spec.as_dict() for spec in specs], 8)
    assert [service["kv_ports"] for service in placed] == [[63000, 63001], [63002, 63003]]


def test_the_entry_of_a_service_over_hosts_is_what_the_model_needs(repository: Path) -> None:
    text = next(iter(blocks(repository / "docs" / "cluster.md")))
    (spec,) = resolve_terms(
        yaml.safe_load(text)["vllm_service_instances"], load_catalogue(), Options()
    )
    (placed,) = place([spec.as_dict()], 8)
    assert (placed["port"], len(placed["cards"])) == (8000, 8)
    assert placed["args"]["enable-expert-parallel"] is True


def test_the_user_of_a_service_has_the_name_that_the_page_tells(repository: Path) -> None:
    text = (repository / "docs" / "unit.md").read_text(encoding="utf-8")
    told = re.search(r"accounts cannot have \(`(\S+)`\).* gets a hash: `(\S+)`", text)
    assert told
    assert account_name(told[1]) == told[2]
    assert service_name({"name": "Qwen2.5-7B", "model": "Qwen2.5-7B"}) == told[1]


def test_services_share_a_card_as_the_page_shows_it(repository: Path) -> None:
    def cards(requests: list[dict[str, object]]) -> list[list[int]]:
        variables = {"ascend_host_profile": "atlas-800i-a2-64g", "vllm_service_instances": requests}
        deployment = Deployment(Settings(variables.get), load_catalogue())
        deployment.check_declared()
        return [list(each.placement.cards) for each in deployment.services]

    first, second = (
        yaml.safe_load(block)["vllm_service_instances"]
        for block in blocks(repository / "docs" / "sharing.md")
    )
    assert cards(first) == cards(second) == [[0], [0]]
    with pytest.raises(AscendError, match="share: true"):
        cards([first[0], second[1]])
    assert cards([first[0], {**second[1], "share": True}]) == [[0], [0]]


FENCED = re.compile(r"^```[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
COMMENT = re.compile(r"(?:^|\s+)#\s.*$", re.MULTILINE)
FIRST_CELL = re.compile(r"^\| ([^|]*`[^|]*) \|", re.MULTILINE)
NAMES = re.compile(r"\b(?:inferops\.ascend\.\w+|(?:ascend|vllm)_\w+)")


def shown(text: str) -> list[str]:
    """What a page shows as code, without the comments in it, which each language has in its words."""
    code = [*FENCED.findall(text), *INDENTED.findall(FENCED.sub("", text))]
    return [COMMENT.sub("", block) for block in code]


CHINESE = sorted(Path(__file__).parents[2].glob("docs/zh/*.md"))


def listed(text: str) -> list[list[str]]:
    """The code in the first cell of each line of a table: checks, messages, playbooks."""
    return [re.findall(r"`[^`]+`", cell) for cell in FIRST_CELL.findall(text)]


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.stem)
def test_a_chinese_page_shows_and_names_what_the_english_one_does(page: Path) -> None:
    docs = page.parents[1]
    original = docs.parent / "README.md" if page.stem == "README" else docs / page.name
    chinese, english = (path.read_text(encoding="utf-8") for path in (page, original))
    assert shown(chinese) == shown(english)
    assert listed(chinese) == listed(english)
    assert set(NAMES.findall(chinese)) == set(NAMES.findall(english))
