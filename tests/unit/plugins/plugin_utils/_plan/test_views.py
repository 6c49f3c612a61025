# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a fleet as lines, as Markdown and as a page. A real browser tries the page elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.html import html
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.markdown import markdown
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.terminal import card_map
from hypothesis import given, settings
from hypothesis import strategies as st


def service(name: str, *cards: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "model": "Qwen3-14B",
        "kind": "generate",
        "cards": list(cards),
        "port": 8000,
        "max_model_len": 32768,
        "basis": "measured",
        "table": "ascend-64gb",
        "row": "29",
        "state": "started",
        "given": False,
        "cluster": None,
        "engine": None,
        "sizes": [1, 1, 1],
        **changes,
    }


def host(name: str, *services: dict[str, Any], cards: int = 8, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "profile": "atlas-800i-a2-64g",
        "card_memory_gb": 64,
        "cards": list(range(cards)),
        "excluded": [],
        "given": False,
        "services": list(services),
        **changes,
    }


def plan(*hosts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"hosts": list(hosts), "changes": [], **changes}


def assignment(name: str, *cards: int) -> dict[str, Any]:
    return {"host": name, "cards": list(cards)}


def change(name: str, before: Any, after: Any) -> dict[str, Any]:
    return {"service": name, "before": before, "after": after}


FLEET = plan(
    host("npu-01", service("chat", 0, 1, 2, 3), service("coder", 4, 5), excluded=[7]),
    host("npu-02", service("chat", 0, 1, 2, 3, state="stopped")),
    changes=[
        change("coder", assignment("npu-02", 4, 5), assignment("npu-01", 4, 5)),
        change("chat", None, assignment("npu-02", 0, 1, 2, 3)),
        change("old", assignment("npu-02", 6, 7), None),
    ],
)
SPANNING = {"leader": "a", "hosts": ["a", "b"]}
BIG = service("big", *range(8), cluster={**SPANNING, "rank": 0})
BIG_1 = service("big", *range(8), cluster={**SPANNING, "rank": 1})
NASTY = "<script>alert(1)</script>|`a` @root [x](http://h) \u202e \x1b[31m\n**"


def many(count: int, **changes: Any) -> dict[str, Any]:
    """A fleet of many hosts with a service on each, and a change that adds one of them."""
    hosts = [host(f"npu-{number:04}", service("chat", 0, 1, 2, 3)) for number in range(count)]
    added = [change("chat", None, assignment("npu-0000", 0, 1, 2, 3))]
    return plan(*hosts, **{"changes": added, **changes})


# --- the terminal ---------------------------------------------------------------------------------


def test_a_host_is_a_line_with_a_cell_per_card_and_the_services_in_it() -> None:
    lines = card_map(FLEET)
    assert lines[:3] == [
        "host    0123 4567  services",
        "npu-01  AAAA BB.x  A chat  B >coder",
        "npu-02  AAAA ....  A +chat (stopped)",
    ]
    text = "\n".join(lines)
    assert ". free  x excluded  + added by this plan  > moved here by this plan" in text
    assert "2 hosts, 16 cards: 10 in use, 5 free, 1 excluded" in text
    assert "> coder: npu-02 4-5 -> npu-01 4-5" in text
    assert "- old: npu-02 6-7" in text


def test_a_second_replica_on_a_host_is_marked_and_is_no_service_of_its_own() -> None:
    second = service("chat-2", 1, service="chat")
    added = [
        change("chat", None, assignment("npu-01", 1)),
        change("new", None, assignment("npu-01", 2)),
    ]
    shown = plan(host("npu-01", service("chat", 0), second, service("new", 2)), changes=added)
    lines = card_map(shown)
    assert lines[1] == "npu-01  ABC. ....  A chat  B +chat-2  C +new"
    assert "2 services in 3 instances." in "\n".join(lines)
    long = plan(*(host(f"h{n}", service("chat", 0), second) for n in range(50)))
    assert "| `chat` | `Qwen3-14B` | 1 | 100 |" in markdown(long)


def test_hosts_of_other_card_counts_keep_the_columns() -> None:
    lines = card_map(plan(host("a", service("x", *range(16)), cards=16), host("b", cards=4)))
    assert lines[:3] == [
        "host  0123 4567 8901 2345  services",
        "a     AAAA AAAA AAAA AAAA  A x",
        "b     ....",
    ]


def test_what_spans_hosts_or_was_written_by_hand_says_so() -> None:
    lines = card_map(
        plan(host("a", BIG), host("b", BIG_1), host("c", service("mine", given=True), given=True))
    )
    assert lines[1].endswith("A big (rank 0 of 2)")
    assert lines[2].endswith("A big (rank 1 of 2, leader a)")
    assert lines[3].endswith("(by hand)  - mine (no cards named)")
    assert "2 services" in "\n".join(lines) and "instance" not in "\n".join(lines)


def test_long_names_go_on_below_and_nothing_of_them_is_lost() -> None:
    address = "2001:0db8:85a3:0000:0000:8a2e:0370:7334"
    domain = "npu-0001.rack-12.row-3.hall-b.ai.cluster.example.com"
    model = "deepseek-r1-distill-qwen-14b-with-a-name-of-sixty-three-chars-x"
    lines = card_map(plan(host(address, cards=16), host(domain, service(model, 3), cards=16)))
    assert max(map(len, lines)) <= 80
    names = "".join(line[: lines[0].index("  0")].strip() for line in lines[1:5])
    assert address in names and domain in names
    assert model in "".join(line[lines[0].index("services") :].strip() for line in lines[1:8])


def test_a_card_that_two_want_is_no_cell_of_either() -> None:
    lines = card_map(plan(host("a", service("x", 0, 1), service("y", 1, 9), excluded=[9])))
    assert lines[1].startswith("a     A!.. .... ")
    assert "! conflict" in "\n".join(lines)
    assert "2 in conflict" in "\n".join(lines)


def test_no_hosts_are_said() -> None:
    assert card_map(plan()) == ["No hosts."]


def test_a_terminal_gets_no_control_characters() -> None:
    text = "\n".join(card_map(plan(host(NASTY, service(NASTY, 0)))))
    assert "\x1b" not in text and "\u202e" not in text
    assert "\\x1b" in text and "\\u202e" in text


def test_wide_characters_count_as_two_columns() -> None:
    lines = card_map(plan(host("\u6606\u4ed1-1", service("x", 0)), host("b", service("x", 0))))
    assert lines[1].index("A...") == lines[2].index("A...") - 2


def test_more_services_than_letters_are_all_named() -> None:
    services = [service(f"s{number:02}", number) for number in range(60)]
    lines = card_map(plan(host("a", *services, cards=64)))
    words = " ".join(lines).split()
    assert {each["name"] for each in services} <= set(words)
    # Rows of twenty, each with the id of its first card.
    assert [line[6:8] for line in lines[1:5]] == [" 0", "20", "40", "60"]


cards = st.sets(st.integers(0, 17), max_size=8)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


@given(
    st.lists(
        st.tuples(names, cards, cards, st.integers(0, 18)), max_size=4, unique_by=lambda x: x[0]
    ),
    st.integers(60, 120),
)
@settings(max_examples=60, deadline=None)
def test_any_plan_fits_its_width_and_shows_every_card_once(drawn: Any, width: int) -> None:
    hosts = [
        host(name, service("s", *sorted(used)), excluded=sorted(out), cards=count)
        for name, used, out, count in drawn
    ]
    lines = card_map(plan(*hosts), width)
    for line in lines:
        assert all(char.isprintable() for char in line)
        wide = sum(unicodedata.east_asian_width(char) in "WF" for char in line)
        marks = sum(unicodedata.combining(char) > 0 for char in line)
        assert len(line) + wide - marks <= width
    every = [set(each["cards"]) | set(each["services"][0]["cards"]) for each in hosts]
    total = sum(map(len, every))
    if hosts:
        assert any(f" {total} card" in line for line in lines)
        page = html(plan(*hosts))
        assert page.count("<i>") - page.split('id="hosts"')[0].count("<i>") == total


# --- Markdown -------------------------------------------------------------------------------------


def test_markdown_tells_changes_first_then_the_placement() -> None:
    text = markdown(FLEET)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows == [
        "| change | service | before | after |",
        "| moved | `coder` | `npu-02` 4-5 | `npu-01` 4-5 |",
        "| added | `chat` |  | `npu-02` 0-3 |",
        "| removed | `old` | `npu-02` 6-7 |  |",
        "| host | cards | service | model | max-model-len | basis | port |",
        "| `npu-01` | 0-3 | `chat` | `Qwen3-14B` | 32768 | measured (ascend-64gb row 29) | 8000 |",
        "|  | 4-5 | `coder` | `Qwen3-14B` | 32768 | measured (ascend-64gb row 29) | 8000 |",
        "|  | 6 | *free* |  |  |  |  |",
        "|  | 7 | *excluded* |  |  |  |  |",
        "| `npu-02` | 0-3 | `chat` (stopped) | `Qwen3-14B` | 32768"
        " | measured (ascend-64gb row 29) | 8000 |",
        "|  | 4-7 | *free* |  |  |  |  |",
    ]
    assert "1 added, 1 moved, 1 removed" in text
    assert "<details>" not in text


def test_a_page_of_a_plan_that_changes_nothing_says_so() -> None:
    for text in (markdown(plan(host("a"))), html(plan(host("a")))):
        assert "None: everything stays where it is." in text


def test_names_are_no_markup_for_a_markdown_parser() -> None:
    markdown_it = pytest.importorskip("markdown_it")
    nasty = plan(
        host(NASTY, service(NASTY, 0, model=NASTY, table=NASTY, basis=NASTY)),
        changes=[change(NASTY, assignment(NASTY, 1), assignment(NASTY, 0))],
    )
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(markdown(nasty))
    widths: list[int] = []
    for token in tokens:
        if token.type == "tr_open":
            widths.append(0)
        widths[-1:] = [widths[-1] + (token.type in ("td_open", "th_open"))] if widths else []
    assert widths == [4, 4, 7, 7, 7]
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {child.type for child in inline}
    assert kinds <= {"text", "code_inline", "html_inline", "softbreak", "em_open", "em_close"}
    assert {child.content for child in inline if child.type == "html_inline"} == {
        "<code>",
        "</code>",
    }
    # Emphasis is the word "free" alone.
    assert sum(child.type == "em_open" for child in inline) == 1
    assert "@" not in markdown(nasty)


def test_a_long_fleet_is_folded_and_summed_by_service() -> None:
    text = markdown(many(200), limit=None)
    assert "<details><summary>200 hosts</summary>" in text
    assert "`npu-0199`" in text
    assert (
        "| `chat` | `Qwen3-14B` | 4 | 200 | 32768 | measured (ascend-64gb row 29) |"
        in text.splitlines()
    )


def test_a_comment_takes_what_markdown_gives_and_what_is_left_out_is_said() -> None:
    moved = [
        change(f"s{n}", assignment("npu-0001", 0), assignment("npu-0002", 0)) for n in range(3000)
    ]
    for each in (many(1000), many(1000, changes=moved)):
        text = markdown(each)
        assert len(text) <= 65536
        shown = len(re.findall(r"^\| `npu-", text, re.MULTILINE))
        left = re.findall(r"\*\*([0-9,]+) hosts left out\*\*", text)
        assert shown + int(left[0].replace(",", "")) == 1000
    assert "left out" not in markdown(many(1000), limit=None)


def test_a_first_plan_is_not_told_twice() -> None:
    first = many(50)
    first["changes"] = [
        change("chat", None, assignment(each["name"], 0, 1, 2, 3)) for each in first["hosts"]
    ]
    assert "Everything that this plan places is new." in markdown(first)
    assert "Everything that this plan places is new." in html(first)
    assert card_map(first)[-1].startswith("Changes: 50 added; everything")
    assert "+chat" not in "\n".join(card_map(first))
    # One change fewer, and the list is worth its room.
    del first["changes"][0]
    assert markdown(first).count("| added |") == 49


# --- the page -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a parser finds in a page: elements with attributes, and the texts of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.texts: list[str] = []
        self.inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("style", "script"):
            self.raw[self.inside] = self.raw.get(self.inside, "") + data
        else:
            self.texts.append(data)


def test_the_page_allows_its_own_style_and_script_and_nothing_else() -> None:
    page = Page(html(FLEET))
    policy = next(
        attrs["content"]
        for _tag, attrs in page.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind in ("style", "script"):
        digest = hashlib.sha256(page.raw[kind].encode()).digest()
        assert rules[f"{kind}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert [tag for tag, _attrs in page.elements].count("script") == 1
    for _tag, attrs in page.elements:
        assert not {"src", "style"} & attrs.keys()
        assert not [name for name in attrs if name.startswith("on")]
        assert (attrs.get("href") or "#").startswith(("#", "data:,"))


def test_names_stay_text_in_the_page() -> None:
    nasty = plan(
        host(NASTY, service(NASTY, 0, model=NASTY, table=NASTY, basis=NASTY), profile=NASTY),
        changes=[change(NASTY, assignment(NASTY, 1), assignment(NASTY, 0))],
    )
    mild = plan(
        host("a", service("a", 0, model="a", table="a", basis="a"), profile="a"),
        changes=[change("a", assignment("a", 1), assignment("a", 0))],
    )
    assert Page(html(nasty)).elements == Page(html(mild)).elements
    text = html(nasty)
    assert "\u202e" not in text and "\x1b" not in text


def test_the_page_says_where_each_length_comes_from() -> None:
    text = " ".join(Page(html(FLEET)).texts)
    assert "32768 \u25cf measured, ascend-64gb row 29" in text
    assert "3 instances on 10 cards" in text


def test_the_page_of_no_hosts_and_of_strange_ones() -> None:
    assert "Fleet plan: 0 hosts" in html(plan())
    odd = host("a", service("x", 1, 2, 20), service("y"), service("z", 2), excluded=[4])
    odd.update(cards=[0, 1, 2, 3, 4, 5, 9, 12, 15, 20], profile=None, card_memory_gb=None)
    text = html(plan(odd))
    assert "conflict: wanted twice, or excluded" in text
    assert "no cards named" in text
    assert "continued" in text


@pytest.mark.parametrize(
    "cards, blocks", [(range(16), [16]), (range(4, 12), [4, 4]), (range(12), [8, 4])]
)
def test_a_service_is_one_block_unless_the_rows_of_eight_cut_it(
    cards: range, blocks: list[int]
) -> None:
    text = html(plan(host("a", service("chat", *cards), cards=16)))
    found = re.findall(r'<li class="m0 n\d">((?:<i>\d+</i>)+)', text)
    assert [block.count("<i>") for block in found] == blocks


def test_the_same_plan_gives_the_same_bytes_and_a_thousand_hosts_stay_light() -> None:
    fleet = many(1000)
    page = html(fleet)
    assert page == html(fleet)
    assert page.count("<h3>") == 1000
    assert len(page.encode()) < 500_000
