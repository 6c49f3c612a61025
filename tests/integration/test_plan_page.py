# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a plan in a real Chromium: what a reader sees, without a script and with it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.views import html

from .chromium import Chromium, chromium

# Models with their cards, of the published table.
MODELS = (
    ("Qwen2.5-72B", 4),
    ("Qwen3-14B", 1),
    ("Qwen3-32B", 2),
    ("bge-large-zh-v1.5", 1),
    ("DeepSeek-R1-Distill-Qwen-14B", 1),
    ("QwQ-32B", 2),
    ("Llama3-8B", 1),
    ("GLM-4-9B", 1),
)


def service(name: str, model: str, cards: range, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "model": model,
        "kind": "generate",
        "cards": list(cards),
        "port": 8000,
        "max_model_len": 32768,
        "basis": "measured",
        "table": "ascend-64gb",
        "row": "24",
        "state": "started",
        "given": False,
        "cluster": None,
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


def spot(name: str, cards: range) -> dict[str, Any]:
    return {"host": name, "cards": list(cards)}


FOUR = {
    "hosts": [
        host(
            "npu-01",
            service("chat", "Qwen2.5-72B", range(4)),
            service("coder", "Qwen3-32B", range(4, 6), port=8001),
            service("deepseek-r1-distill-qwen-14b", "DeepSeek-R1-Distill-Qwen-14B", range(6, 7)),
            excluded=[7],
        ),
        host(
            "npu-02.rack-7.hall-b.example.com",
            service("chat", "Qwen2.5-72B", range(4)),
            service("qwen3-14b", "Qwen3-14B", range(4, 5)),
            service(
                "qwen3-30b-a3b",
                "Qwen3-30B-A3B",
                range(6, 8),
                max_model_len=65536,
                basis="estimated",
            ),
        ),
        host(
            "npu-03",
            service(
                "mine",
                "DeepSeek-R1-Distill-Llama-70B",
                range(4, 8),
                max_model_len=24576,
                basis="calibrated",
                state="stopped",
                given=True,
            ),
            given=True,
        ),
        host(
            "npu-a3",
            service("qwen3-235b", "Qwen3-235B-A22B", range(16)),
            cards=16,
            profile="atlas-800i-a3",
        ),
    ],
    "changes": [
        {
            "service": "coder",
            "before": spot("npu-02.rack-7.hall-b.example.com", range(4, 6)),
            "after": spot("npu-01", range(4, 6)),
        },
        {"service": "old", "before": spot("npu-03", range(2)), "after": None},
    ],
}
HOSTS = [each["name"] for each in FOUR["hosts"]]


def thousand() -> dict[str, Any]:
    """1,000 hosts of 8 cards, filled with the table's mix of sizes."""
    hosts = []
    for number in range(1000):
        services: list[dict[str, Any]] = []
        start = 0
        for step in range(len(MODELS)):
            model, cards = MODELS[(number + step * 3) % len(MODELS)]
            if start + cards <= 8 - number % 3:
                services.append(service(model.lower(), model, range(start, start + cards)))
                start += cards
        hosts.append(host(f"npu-{number:04}", *services))
    added = [
        {
            "service": each["services"][0]["name"],
            "before": None,
            "after": spot(each["name"], range(1)),
        }
        for each in hosts[::20]
    ]
    return {"hosts": hosts, "changes": added}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    files = {}
    for name, plan in (("four", FOUR), ("thousand", thousand())):
        files[name] = folder / f"{name}.html"
        files[name].write_text(html(plan), encoding="utf-8")
    return files


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser: Chromium, files: dict[str, Path]) -> Chromium:
    """The page of four hosts, on a desk, in light."""
    browser.scripts(True)
    browser.scheme("light")
    browser.size(1280)
    browser.open(files["four"])
    return browser


def shown(page: Chromium) -> list[str]:
    """Names of the hosts that are to be seen."""
    return list(
        page.evaluate(
            "[...document.querySelectorAll('#hosts > li')].filter(e => e.checkVisibility())"
            ".map(e => e.querySelector('h3').textContent)"
        )
    )


def marked(page: Chromium) -> list[str]:
    return list(
        page.evaluate("[...document.querySelectorAll('#hosts .hit b')].map(e => e.textContent)")
    )


def focused(page: Chromium) -> str:
    return str(page.evaluate("document.activeElement.innerText || document.activeElement.id"))


def visible(page: Chromium, selector: str) -> bool:
    return bool(page.evaluate(f"document.querySelector({json.dumps(selector)}).checkVisibility()"))


def problems(page: Chromium) -> list[str]:
    """What the browser logged: errors of the script, and violations of the policy."""
    page.evaluate("0")
    logged = [event["entry"]["text"] for event in page.happened("Log.entryAdded")]
    thrown = [
        event["exceptionDetails"]["text"] for event in page.happened("Runtime.exceptionThrown")
    ]
    return logged + thrown


# --- the network, and what comes from the inventory -----------------------------------------------


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", asked
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.mark.parametrize("name", ["four", "thousand"])
def test_the_page_asks_nothing_of_the_network_and_logs_nothing(
    page: Chromium, files: dict[str, Path], name: str
) -> None:
    page.open(files[name])
    assert problems(page) == []
    asked = {event["request"]["url"] for event in page.happened("Network.requestWillBeSent")}
    assert asked == {files[name].as_uri()}


def test_the_policy_forbids_the_network_even_to_its_own_script(
    page: Chromium, server: tuple[str, list[str]]
) -> None:
    address, asked = server
    page.evaluate(
        f"const image = new Image(); image.src = '{address}/image'; document.body.append(image);"
        f"fetch('{address}/fetch').catch(() => {{}}); const frame = document.createElement('iframe');"
        f"frame.src = '{address}/frame'; document.body.append(frame);"
        f"const link = document.createElement('link'); link.rel = 'stylesheet';"
        f"link.href = '{address}/style'; document.head.append(link); 0"
    )
    page.evaluate("new Promise(done => setTimeout(done, 500))", wait=True)
    assert asked == []
    assert len(problems(page)) >= 4


def test_names_from_the_inventory_run_nothing(
    page: Chromium, tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    address, asked = server
    evil = (
        f"</p></style><script>window.owned = 1</script><img src='{address}/x' onerror=owned=1>"
        f'" onfocus="owned=1" autofocus x="{{{{ 7 * 7 }}}}'
    )
    plan = {
        "hosts": [
            host(
                evil, service(evil, evil, range(2), basis=evil, table=evil, row=evil), profile=evil
            )
        ],
        "changes": [
            {"service": evil, "before": spot(evil, range(1)), "after": spot(evil, range(2))}
        ],
    }
    path = tmp_path / "evil.html"
    path.write_text(html(plan), encoding="utf-8")
    page.open(path)
    assert shown(page) == [evil]
    assert page.evaluate("document.querySelector('#hosts b').textContent") == evil
    assert page.evaluate("window.owned === undefined && !document.querySelector('img')")
    page.press("/")
    page.type("{{ 7")
    assert shown(page) == [evil]
    assert problems(page) == []
    assert asked == []


# --- without a script -----------------------------------------------------------------------------


def test_all_is_read_without_a_script(page: Chromium, files: dict[str, Path]) -> None:
    page.scripts(False)
    page.open(files["four"])
    text = page.evaluate("document.body.innerText")
    for each in FOUR["hosts"]:
        for word in (each["name"], each["profile"], *(s["name"] for s in each["services"])):
            assert word in text
    for word in ("32768", "\u25cf measured", "\u25d0 calibrated", "\u25cb estimated", "port 8001"):
        assert word in text
    for word in ("moved", "removed", "excluded", "free", "by hand", "stopped"):
        assert word in text
    # What needs the script is not there.
    assert not visible(page, "#q")
    assert not visible(page, "#show")
    assert not visible(page, "#keys")
    assert page.evaluate("document.querySelectorAll('button').length") == 0


def test_a_long_fleet_starts_as_an_overview_and_gives_detail_without_a_script(
    page: Chromium, files: dict[str, Path]
) -> None:
    page.scripts(False)
    page.open(files["thousand"])
    height = "document.querySelector('#hosts > li p').getBoundingClientRect().height"
    letter = "getComputedStyle(document.querySelector('#hosts i'), '::before').content"
    assert page.evaluate(height) <= 1
    assert page.evaluate(letter) == '"E"'
    # Also what is far below is text that a reader, or a program, can take from the page.
    assert page.evaluate("document.body.innerText").count("npu-0") >= 1000
    page.click("label:has(#detail)")
    assert page.evaluate(height) > 20
    assert page.evaluate("document.querySelector('#hosts > li p').innerText").startswith(
        "qwen2.5-72b"
    )


# --- search and filters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed, hosts, services",
    [
        ("chat", HOSTS[:2], ["chat", "chat"]),
        ("NPU-03", ["npu-03"], []),
        ("qwen3-235b-a22b", ["npu-a3"], ["qwen3-235b"]),
        ("rack-7 chat", [HOSTS[1]], ["chat"]),
        ("npu-a3 chat", [], []),
        ("atlas-800i-a3", ["npu-a3"], []),
    ],
)
def test_search_narrows_to_services_models_and_hosts(
    page: Chromium, typed: str, hosts: list[str], services: list[str]
) -> None:
    page.click("#q")
    page.type(typed)
    assert shown(page) == hosts
    assert marked(page) == services
    assert page.evaluate("document.getElementById('found').textContent").startswith(
        f"{len(hosts)} of 4 hosts"
    )
    assert visible(page, "#none") is (not hosts)


@pytest.mark.parametrize(
    "value, hosts",
    [
        ("changed", HOSTS[:3]),
        ("free", HOSTS[1:3]),
        ("out", HOSTS[:1]),
        ("estimated", HOSTS[1:2]),
        ("off", ["npu-03"]),
        ("hand", ["npu-03"]),
        ("", HOSTS),
    ],
)
def test_filters(page: Chromium, value: str, hosts: list[str]) -> None:
    page.evaluate(
        f"const show = document.getElementById('show'); show.value = '{value}';"
        "show.dispatchEvent(new Event('change'))"
    )
    assert shown(page) == hosts


def test_a_model_of_the_legend_filters(page: Chromium) -> None:
    button = "#models li:nth-child(3) button"
    assert page.evaluate(f"document.querySelector('{button} b').textContent") == "Qwen2.5-72B"
    page.click(button)
    assert shown(page) == HOSTS[:2]
    assert marked(page) == ["chat", "chat"]
    assert page.evaluate(f"document.querySelector('{button}').ariaPressed") == "true"
    page.click(button)
    assert shown(page) == HOSTS


def test_a_click_on_a_service_finds_all_of_it_and_a_change_leads_to_a_hidden_host(
    page: Chromium,
) -> None:
    page.click("#hosts li li b")
    assert shown(page) == HOSTS[:2]
    page.evaluate("document.querySelector('a[href=\"#h2\"]').click()")
    page.evaluate("new Promise(done => setTimeout(done, 100))", wait=True)
    assert shown(page) == HOSTS


# --- keys -----------------------------------------------------------------------------------------


def test_keys_search_walk_and_clear(page: Chromium) -> None:
    page.press("/")
    assert focused(page) == "q"
    page.type("chat")
    assert shown(page) == HOSTS[:2]
    page.press("Tab")
    assert focused(page).startswith("all hosts")
    page.press("Tab")
    assert "chat" in focused(page)
    page.press("ArrowRight")
    assert "coder" in focused(page)
    page.press("ArrowDown")
    assert "qwen3-14b" in focused(page)
    page.press("ArrowDown")  # the last that the search shows
    assert "qwen3-14b" in focused(page)
    page.press("Enter")
    assert page.evaluate("document.getElementById('q').value") == "qwen3-14b"
    assert shown(page) == [HOSTS[1]]
    page.press("Escape")
    assert shown(page) == HOSTS
    assert page.evaluate("document.getElementById('q').value") == ""
    page.press("End")
    assert "qwen3-235b" in focused(page)
    page.press("Home")
    assert "chat" in focused(page)
    # A slash that is typed into the field stays a slash.
    page.press("/")
    page.press("/")
    assert page.evaluate("document.getElementById('q').value") == "/"


def test_the_tab_key_stops_where_something_can_be_done_and_shows_it(page: Chromium) -> None:
    stops = []
    for _unused in range(40):
        page.press("Tab")
        stop = page.evaluate(
            "(() => { const e = document.activeElement; if (e === document.body) return null;"
            "const ring = getComputedStyle(e.id === 'detail' ? e.closest('label') : e);"
            "const box = e.getBoundingClientRect();"
            "return {what: e.id || e.className || e.tagName, ring: ring.outlineStyle === 'solid' &&"
            " parseFloat(ring.outlineWidth) >= 2, onScreen: box.top >= 0 && box.bottom <= innerHeight + 1}; })()"
        )
        if stop is None:
            break
        stops.append(stop)
    names = [stop["what"] for stop in stops]
    assert names[0] == "skip"
    assert names[-4:-1] == ["detail", "q", "show"]
    assert len(names) < 30, names
    assert [stop for stop in stops if not stop["ring"]] == []
    assert [stop for stop in stops if not stop["onScreen"]] == []


def test_the_overview_tells_what_is_focused(page: Chromium) -> None:
    page.click("label:has(#overview)")
    page.press("/")
    page.press("Tab")
    page.press("Tab")
    page.press("ArrowRight")
    told = page.evaluate("document.getElementById('at').innerText")
    assert told.startswith("npu-01 \u00b7 cards 4-5 \u00b7 coder \u00b7 moved \u00b7 32768")


# --- how it looks ---------------------------------------------------------------------------------

# WCAG 2.2, 1.4.3: relative luminance, and (lighter + 0.05) / (darker + 0.05). Behind a text stands the
# first opaque background of its ancestors; where a pattern is drawn there, its colours count as well.
CONTRAST = r"""
(() => {
  const parse = (text) => [...text.matchAll(/rgba?\(([^)]+)\)/g)].map((m) => m[1].split(/[,\s/]+/).map(Number));
  const luminance = ([r, g, b]) => {
    const [R, G, B] = [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      const pattern = parse(style.backgroundImage).filter((c) => c.length < 4 || c[3] === 1);
      const color = parse(style.backgroundColor)[0];
      if (color && (color.length < 4 || color[3] === 1)) return [...pattern, color];
      if (pattern.length) return [...pattern, ...behind(at.parentElement)];
    }
    return [[255, 255, 255]];
  };
  const found = [];
  const judge = (element, pseudo) => {
    const style = getComputedStyle(element, pseudo);
    if (parseFloat(style.fontSize) === 0) return;
    const front = parse(style.color)[0];
    for (const back of behind(element)) {
      const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x);
      found.push([(a + 0.05) / (b + 0.05), element.tagName + "." + element.className, element.textContent.slice(0, 30)]);
    }
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility() || ["SCRIPT", "OPTION"].includes(element.tagName)) continue;
    if (element.placeholder) judge(element, "::placeholder");
    if ([...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) judge(element);
    const content = getComputedStyle(element, "::before").content;
    if (content !== "none" && content !== '""') judge(element, "::before");
  }
  found.sort((x, y) => x[0] - y[0]);
  return {count: found.length, worst: found.slice(0, 5)};
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(page: Chromium, scheme: str) -> None:
    page.scheme(scheme)
    for view in ("detail", "overview"):
        page.click(f"label:has(#{view})")
        for typed in ("", "chat"):
            page.press("Escape")
            page.press("/")
            page.type(typed)
            measured = page.evaluate(CONTRAST)
            assert measured["count"] > 60
            assert measured["worst"][0][0] >= 4.5, measured["worst"]


def test_dark_is_dark(page: Chromium) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    page.scheme("dark")
    assert page.evaluate(color) != light
    assert max(int(part) for part in page.evaluate(color)[4:-1].split(",")) < 50


# Parts of the words of a block that its box would cut off.
CUT = """
[...document.querySelectorAll('#hosts li li')].flatMap((block) => {
  const box = block.getBoundingClientRect();
  return [...block.querySelectorAll('b, span')].filter((part) => {
    const range = document.createRange();
    range.selectNodeContents(part);
    const text = range.getBoundingClientRect();
    return text.right > box.right + 0.5 || text.bottom > box.bottom + 0.5 || text.left < box.left - 0.5;
  }).map((part) => part.textContent);
})
"""


@pytest.mark.parametrize("width", [1920, 1280, 1101, 900, 768, 390, 320])
def test_nothing_is_cut_off_or_wider_than_the_window(page: Chromium, width: int) -> None:
    page.size(width)
    for view in ("overview", "detail"):
        page.click(f"label:has(#{view})")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            "[...document.querySelectorAll('section')].every(e => e.scrollWidth <= e.clientWidth)"
        )
    assert page.evaluate(CUT) == []


def test_print_leaves_the_tools_out(page: Chromium) -> None:
    page.send("Emulation.setEmulatedMedia", media="print")
    assert not visible(page, "#q")
    assert page.evaluate("document.body.innerText").count("chat") >= 2
    page.send("Emulation.setEmulatedMedia", media="")


# --- a thousand hosts -----------------------------------------------------------------------------


def test_a_thousand_hosts_load_and_answer_at_once(page: Chromium, files: dict[str, Path]) -> None:
    assert files["thousand"].stat().st_size < 800_000
    page.open(files["thousand"])
    assert len(shown(page)) == 1000
    for width in (1280, 390):
        page.size(width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.press("/")
    page.type("npu-0123")
    assert shown(page) == ["npu-0123"]
    page.press("Escape")
    # All of a search, layout included; alone on two cores it takes a tenth of a second.
    spent = page.evaluate(
        "(() => { const start = performance.now(); const q = document.getElementById('q'); q.value = 'glm';"
        "q.dispatchEvent(new Event('input')); document.body.offsetHeight; return performance.now() - start; })()"
    )
    assert spent < 3000
    assert 0 < len(shown(page)) < 1000
    assert set(marked(page)) == {"glm-4-9b"}
