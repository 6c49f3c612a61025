# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a plan in a real Chromium: the network, no script, and how it is displayed."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.html import (
    html,
)

from .chromium import Chromium
from .pages import FOUR, host, problems, service, shown, spot, visible


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
