# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What went wrong with a request, told without a library's classes; and patience with it.

Runs beside `hub_client` in the environment of a hub's client too, and imports nothing of the collection.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from typing import Any, Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

TRIES = 6
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONNECTION = re.compile(r"Connect|Timeout|Protocol|SSL|Network|Proxy|ReadError|Incomplete|Chunked")


class WrongSize(Exception):
    """A server sends another number of bytes than its listing says."""


# -- patience --------------------------------------------------------------------------------------


def patient(work: Callable[[], Any], asked: str, so_far: Callable[[], int] = lambda: 0) -> Any:
    """Do it again after a failure that may pass, as long as each try gets further."""
    failures, before = 0, so_far()
    while True:
        try:
            return work()
        except Exception as error:
            fault = describe(error, asked)
            now = so_far()
            failures = 1 if now > before else failures + 1
            before = max(before, now)
            if not fault.pop("passing", False) or failures >= TRIES:
                raise
            time.sleep(waiting_time(headers_of(error), failures))


def waiting_time(headers: Any, attempt: int) -> float:
    """Seconds before the next try: as the server asks, up to five minutes, else 1, 2, 4 ... 30."""
    asked = str(headers.get("Retry-After") or "").strip()
    if asked.isdigit():
        return float(min(int(asked), 300))
    # `"api";r=0;t=46`: the end of the window in seconds (Hugging Face, draft-ietf-httpapi-ratelimit).
    window = re.search(r"r=0\b.*?t=(\d+)", headers.get("RateLimit") or "")
    if window:
        return float(min(int(window.group(1)) + 1, 300))
    return float(min(2 ** (attempt - 1), 30))


# -- what went wrong -------------------------------------------------------------------------------


def describe(error: BaseException, asked: str) -> dict[str, Any]:
    """An error as the other side puts it into words; `passing`: whether a later try may succeed."""
    chain = list(_chain(error))
    if isinstance(error, WrongSize) or "Consistency check failed" in str(error):
        return {"kind": "size", "asked": bare_url(asked)}
    for each in chain:
        status = _status(each)
        if status:
            headers = headers_of(each)
            url = str(_response(each, "url") or getattr(each, "url", None) or asked)
            elsewhere = host_of(url) != host_of(asked)
            return {
                "kind": "http",
                "asked": bare_url(asked),
                "url": bare_url(url),
                "status": status,
                "reason": str(
                    _response(each, "reason", "reason_phrase")
                    or getattr(each, "reason", None)
                    or ""
                ),
                "code": headers.get("X-Error-Code") or "",
                "message": headers.get("X-Error-Message") or _message(each),
                # Elsewhere, a signed address may have expired; the hub gives another one.
                "passing": status in PASSING or elsewhere,
            }
    for each in chain:
        if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return {"kind": "disk", "errno": each.errno, "file": str(each.filename or "")}
    certificates = [each for each in chain if isinstance(each, ssl.SSLCertVerificationError)]
    if certificates or "CERTIFICATE_VERIFY_FAILED" in str(error):
        reason = certificates[0].verify_message if certificates else str(error)
        return {"kind": "certificate", "asked": bare_url(asked), "reason": reason}
    unknown = [each for each in chain if isinstance(each, socket.gaierror)]
    if unknown or any(
        isinstance(each, (ConnectionError, socket.timeout))
        or _CONNECTION.search(type(each).__name__)
        for each in chain
    ):
        system = [each for each in chain if isinstance(each, OSError) and each.errno]
        return {
            "kind": "unreachable",
            "asked": bare_url(asked),
            "reason": one_line(str((unknown or system or [error])[-1])),
            # Only "try again" of a name server may pass; an unknown name does not.
            "passing": not unknown or unknown[0].args[:1] == (socket.EAI_AGAIN,),
        }
    if any("JSONDecode" in type(each).__name__ for each in chain):
        return {"kind": "json", "asked": bare_url(asked), "reason": str(error)[:200]}
    return {"kind": "other", "reason": one_line(f"{type(error).__name__}: {error}")[:500]}


def headers_of(error: BaseException) -> Any:
    """The headers of the answer that an error is about."""
    for each in _chain(error):
        headers = _response(each, "headers") or getattr(each, "headers", None)
        if headers is not None:
            return headers
    return {}


def bare_url(url: str) -> str:
    """An address for messages: without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def one_line(text: str) -> str:
    """A text without the queries of its addresses, and on one line."""
    return " ".join(re.sub(r"\?[^\s'\")]+", "", text).split())


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            yield each
            waiting += [getattr(each, "reason", None), each.__cause__, each.__context__]
            waiting += [arg for arg in each.args if isinstance(arg, BaseException)]


def _response(error: BaseException, *names: str) -> Any:
    response = getattr(error, "response", None)
    found = (getattr(response, name, None) for name in names)
    return next((each for each in found if each is not None), None)


def _status(error: BaseException) -> int:
    # `code`: of urllib, which reads archives.
    status = _response(error, "status_code")
    status = status or getattr(error, "status_code", None) or getattr(error, "code", None)
    return status if isinstance(status, int) and status >= 400 else 0


def _message(error: BaseException) -> str:
    body = getattr(error, "response_body", None)
    return str(body.get("Message") or "") if isinstance(body, dict) else ""


def host_of(url: str) -> str:
    """The server of an address, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]
