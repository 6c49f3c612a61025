# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads an archive from a web server, and continues where the connection broke off."""

from __future__ import annotations

import base64
import os
import re
import ssl
import urllib.parse
import urllib.request
from typing import Any, Callable

from .._base.errors import HostError
from .faults import WrongSize, bare_url, patient

TIMEOUT = 60
BLOCK = 1 << 20


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows 308 too (Python before 3.11 does not), and never from https to http."""

    def http_error_308(self, *given: Any) -> Any:
        return self.http_error_302(*given)

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        after = urllib.parse.urlsplit(newurl)
        if req.full_url.startswith("https:") and after.scheme != "https":
            raise HostError(
                f"{bare_url(req.full_url)} redirects to {after.scheme}://{after.netloc}, without"
                " encryption; that is not followed"
            )
        return super().redirect_request(req, fp, 302 if code == 308 else code, msg, headers, newurl)


def head(url: str) -> Any:
    """The headers of an address. Raises urllib's and http.client's errors."""
    with patient(lambda: _open(url), url) as answer:
        return answer.headers


def download(url: str, partial: str, size: int, seen: Callable[[int], None]) -> None:
    """Download to `partial`, after what is there of it; `seen` is told of each number of bytes."""

    def so_far() -> int:
        return os.path.getsize(partial) if os.path.exists(partial) else 0

    def work() -> None:
        with open(partial, "ab", buffering=0) as handle:
            at = handle.tell()
            with _open(url, at) as answer:
                given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range") or "")
                if at and (not given or int(given.group(1)) != at):
                    # The server does not support ranges and sends the file from its beginning.
                    handle.truncate(0)
                    seen(-at)
                block = answer.read1(BLOCK)
                while block:
                    handle.write(block)
                    seen(len(block))
                    block = answer.read1(BLOCK)
            if handle.tell() < size:
                raise ConnectionError("the server ends its answer too early")
            os.fsync(handle.fileno())
        if so_far() != size:
            raise WrongSize

    if so_far() > size:
        os.truncate(partial, 0)
    seen(so_far())
    if so_far() < size:
        patient(work, url, so_far)


def _open(url: str, start: int = 0) -> Any:
    parts = urllib.parse.urlsplit(url)
    user, ignored, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(
        urllib.parse.urlunsplit(parts._replace(netloc=host)),
        # A packed answer would have neither the length nor the ranges of the file.
        headers={"Accept-Encoding": "identity", "User-Agent": "inferops-ascend"},
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
    if user:
        pair = urllib.parse.unquote(user).encode("utf-8")
        # For this server alone, not for one that it redirects to.
        word = "Basic " + base64.b64encode(pair).decode("ascii")
        request.add_unredirected_header("Authorization", word)
    opener = urllib.request.OpenerDirector()
    # Named one by one: no file: or ftp: address is opened, whoever gives it.
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=TIMEOUT)
