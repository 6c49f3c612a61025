# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions in directories of wheels and on package indexes."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._runtime import available
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import EnvironmentSpec

EXPECT = {"vllm-ascend": "0.18.0", "torch": "2.9.0"}
PAGES = {
    "/simple/vllm-ascend/": '<a href="x/vllm_ascend-0.18.0-cp311-cp311-manylinux_2_24_aarch64.whl#sha256=1">',
    "/simple/torch/": '<a href="/torch-2.9.0%2Bcpu-cp311-none-any.whl">torch-2.9.0+cpu-cp311-none-any.whl</a>',
    "/old/vllm-ascend/": "vllm_ascend-0.17.0rc1.tar.gz vllm_ascend-0.17.0-py3-none-any.whl",
    "/old/torch/": "torch-2.9.0-py3-none-any.whl",
}


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            guarded = self.path.startswith("/guarded")
            path = self.path.replace("/guarded", "/simple").replace("/closed", "/simple")
            token = base64.b64encode(b"me:p@ss").decode()
            refused = guarded and self.headers["Authorization"] != f"Basic {token}"
            body = PAGES.get(path, "").encode()
            status = 401 if refused or self.path.startswith("/closed") else 200 if body else 404
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def faults(index: str = "", coming: tuple[str, ...] = (), **more: Any) -> list[str]:
    given = {"index_url": index, "expect": EXPECT, "environment": {"no_proxy": "*"}, **more}
    return available.faults(EnvironmentSpec("/opt/vllm", "x", **given), coming)


def test_what_an_index_has_is_no_fault(index: str) -> None:
    assert faults(f"http://{index}/simple") == []
    assert faults(f"http://me:p%40ss@{index}/guarded/") == []


def test_a_version_that_no_index_has_is_named_with_those_there_are(index: str) -> None:
    [found] = faults(f"http://{index}/old")
    assert found.startswith(f"vllm-ascend 0.18.0 is not on http://{index}/old.")
    assert "It has 0.17.0, 0.17.0rc1." in found
    assert faults(f"http://{index}/old", extra_index_urls=(f"http://{index}/simple",)) == []
    assert len(faults(f"http://{index}/none")) == 2


def test_an_index_that_is_not_reached_is_told_once_and_without_its_password() -> None:
    [found] = faults("http://me:p%40ss@127.0.0.1:1/simple")
    assert found.startswith("The package index http://127.0.0.1:1/simple cannot be reached")
    assert "refused" in found and "p@ss" not in found and "p%40ss" not in found


def test_what_is_not_known_is_left_to_the_installer(index: str) -> None:
    assert faults(f"http://{index}/closed") == []
    assert faults("file:///srv/index") == []
    assert faults("http://127.0.0.1:1/a", environment={"all_proxy": "socks5h://127.0.0.1:2"}) == []


def test_wheels_that_are_there_or_come_need_no_index(tmp_path: Path) -> None:
    names = ("vllm_ascend-0.18.0+a2-cp311-cp311-linux_aarch64.whl", "torch-2.9.0-any.whl")
    (tmp_path / names[0]).write_text("", encoding="utf-8")
    given = {"find_links": (str(tmp_path),), "offline": True}
    assert faults(coming=names[1:], **given) == []
    (tmp_path / "torch-2.10.0-any.whl").write_text("", encoding="utf-8")
    [found] = faults(**given)
    assert found.startswith(f"torch 2.9.0 is not in {tmp_path}, and no index is asked")
    assert "It has 2.10.0." in found


def test_the_right_proxy_is_asked(index: str) -> None:
    proxied = {"HTTP_PROXY": f"http://{index}"}
    assert "cannot be reached" in faults("http://127.0.0.1:1/simple")[0]
    # The server answers requests to a proxy with 404, for it knows no whole addresses.
    assert (
        "is not on http://127.0.0.1:1/simple"
        in faults("http://127.0.0.1:1/simple", environment=proxied)[0]
    )
