# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What went wrong with a request, in words; and patience with it.

Runs beside `hub_client` in the environment of a hub's client too, and imports nothing of the collection.
No class of a library is named, for it may be any version of it.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from typing import Any, Callable, Iterator, NamedTuple
from urllib.parse import urlsplit, urlunsplit

TRIES = 6
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONNECTION = re.compile(r"Connect|Timeout|Protocol|SSL|Network|Proxy|ReadError|Incomplete|Chunked")
_NAMES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}


class WrongSize(Exception):
    """A server sends another number of bytes than it lists, or bytes without end."""


# -- patience --------------------------------------------------------------------------------------


def patient(work: Callable[[], Any], asked: str, so_far: Callable[[], int] = lambda: 0) -> Any:
    """Do it again after a failure that may pass, as long as each try gets further."""
    failures, before = 0, so_far()
    while True:
        try:
            return work()
        except Exception as error:
            now = so_far()
            failures = 1 if now > before else failures + 1
            before = max(before, now)
            if not explain(error, asked).passing or failures >= TRIES:
                raise
            time.sleep(waiting_time(headers_of(error), failures))


def waiting_time(headers: Any, attempt: int) -> float:
    """Seconds before the next try: as the server asks, up to five minutes, else 1, 2, 4 ... 30."""
    asked = str(headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", asked):
        return float(min(int(asked), 300))
    # `"api";r=0;t=46`: the end of the window in seconds (Hugging Face, draft-ietf-httpapi-ratelimit).
    window = re.search(r"r=0\b.*?t=(\d+)", headers.get("RateLimit") or "")
    if window:
        return float(min(int(window.group(1)) + 1, 300))
    return float(min(2 ** (attempt - 1), 30))


# -- what went wrong -------------------------------------------------------------------------------


class Fault(NamedTuple):
    """What an error means and what to do, or the number and file of an error of the disk.

    passing: whether a later try may succeed.
    """

    text: str = ""
    passing: bool = False
    errno: int = 0
    file: str = ""


def explain(
    error: BaseException,
    asked: str,
    source: str = "",
    model: str = "",
    revision: str = "",
    size: int = 0,
    got: int = 0,
) -> Fault:
    """What an error of a request for the address `asked` means.

    size, got: bytes of the file that it is about, as listed and as they came.
    """
    chain = list(_chain(error))
    where, host = bare_url(asked), host_of(asked)
    if isinstance(error, WrongSize) or "Consistency check failed" in str(error):
        return Fault(
            f"{where} has {got} bytes, where the listing has {size}. If a proxy or mirror is"
            " between, it serves an old or an error page; otherwise run it again"
        )
    for each in chain:
        status = _status(each)
        if status:
            url = str(_response(each, "url") or getattr(each, "url", None) or asked)
            # Elsewhere, a signed address may have expired; the hub gives another one.
            passing = status in PASSING or host_of(url) != host
            text = _http(each, status, bare_url(url), host, source, model, revision)
            return Fault(text, passing)
    for each in chain:
        if isinstance(each, OSError) and each.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return Fault(errno=each.errno, file=str(each.filename or ""))
    certificates = [each for each in chain if isinstance(each, ssl.SSLCertVerificationError)]
    if certificates or "CERTIFICATE_VERIFY_FAILED" in str(error):
        reason = certificates[0].verify_message if certificates else str(error)
        return Fault(
            f"the certificate of {host} is not one that this host trusts ({reason}). If a"
            " proxy or mirror has a certificate of your own authority, add it to the host's"
            " certificates, or name its file as SSL_CERT_FILE in `environment` of the play; if it"
            " has expired, check the host's clock"
        )
    unknown = [each for each in chain if isinstance(each, socket.gaierror)]
    if unknown or any(
        isinstance(each, (ConnectionError, socket.timeout))
        or _CONNECTION.search(type(each).__name__)
        for each in chain
    ):
        system = [each for each in chain if isinstance(each, OSError) and each.errno]
        reason = one_line(str((unknown or system or [error])[-1]))
        return Fault(
            f"{where} cannot be reached from this host ({reason}). Check its network, and"
            " http_proxy, https_proxy and no_proxy in `environment` of the play; a hub can be"
            " replaced by a mirror with vllm_weights_endpoints. What was downloaded is kept, and the"
            " next run continues",
            # Only "try again" of a name server may pass; an unknown name does not.
            not unknown or unknown[0].args[:1] == (socket.EAI_AGAIN,),
        )
    if any("JSONDecode" in type(each).__name__ for each in chain):
        return Fault(
            f"{where} answered with something other than JSON ({str(error)[:200]}). Is it the hub, or"
            " the page of a proxy?"
        )
    reason = one_line(f"{type(error).__name__}: {error}")[:500]
    return Fault(f"{model}: the client of {source} failed: {reason}")


def _http(
    error: BaseException, code: int, url: str, host: str, source: str, model: str, revision: str
) -> str:
    """What a server's answer means."""
    headers = headers_of(error)
    reason = _response(error, "reason", "reason_phrase") or getattr(error, "reason", None) or ""
    word = headers.get("X-Error-Code") or ""
    message = headers.get("X-Error-Message") or _message(error)
    if host_of(url) != host:
        return (
            f"{model}: {host_of(url)}, the storage that {host} redirects to, answers {code}"
            f" {reason}. Check whether a proxy or firewall lets this host read from there"
        )
    if source not in _NAMES:
        advice = (
            "Check the address, and whether the server needs a user and password"
            " (https://USER:PASSWORD@...)"
            if code in (401, 403, 404)
            else "Run it again later"
        )
        return f"{url} answers {code} {reason}. {advice}"
    text = re.sub(r"\s+", " ", message).strip()[:300]
    answer = f"{_NAMES[source]} answers {code}{' ' + word if word else ''}" + (
        f" ({text})" if text else ""
    )
    token = f"vllm_weights_{source}_token"
    page = f"{urlsplit(url).scheme}://{host}{'/models' if source == 'modelscope' else ''}/{model}"
    if word == "GatedRepo" or (code == 403 and source == "huggingface"):
        advice = (
            f"Its owner admits only those who accepted the terms: open {page} with the account whose"
            f" token is in {token}, accept them, and run it again"
        )
    elif word == "RevisionNotFound":
        advice = f"It has no revision {revision!r}: see its branches, tags and commits there"
    elif code in (401, 403):
        advice = (
            f"Either there is no model of this id, or it is private: open {page}, and give a token"
            f" that may read it in {token}"
        )
    elif code in PASSING and code != 429:
        advice = "It did not recover over some tries: run it again later, or use a mirror"
    elif code == 429:
        advice = f"Too many requests from this address: wait, or give a token in {token}"
    elif source == "modelscope" or code == 404:
        advice = (
            f"Check whether {page} is there"
            + (f" and has the revision {revision!r}" if revision else "")
            + f", and whether it needs {token}; another id is given by `weights: {{id: OWNER/NAME}}`"
        )
    else:
        advice = f"Check {url}"
    return f"{model}: {answer}. {advice}"


def headers_of(error: BaseException) -> Any:
    """The headers of the answer that an error is about."""
    for each in _chain(error):
        headers = _response(each, "headers") or getattr(each, "headers", None)
        if headers is not None:
            return headers
    return {}


def bare_url(url: str) -> str:
    """An address for messages: without user, password and query, which may be secret."""
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
