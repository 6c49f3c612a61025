# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Hugging Face and ModelScope have of a model, and HTTP that goes on where it was broken off.

The two hubs' interfaces are those that their own clients use (huggingface_hub 2.4.0: HfApi.model_info,
list_repo_tree, hf_hub_download; modelscope 1.26.0: HubApi.get_model_files, get_file_download_url).
"""

from __future__ import annotations

import base64
import fnmatch
import http.client
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable, Iterator, NamedTuple

from ansible_collections.inferops.ascend.plugins.module_utils._weights.look import (
    OWN,
    WeightsError,
)

ENDPOINTS = {"huggingface": "https://huggingface.co", "modelscope": "https://modelscope.cn"}
# ModelScope's listing has no pages and is cut off here without a word (REPO_FILES_TRUNCATION_LIMIT).
MODELSCOPE_MOST_FILES = 3000
TIMEOUT = 60
TRIES = 6
MOST_JSON = 50_000_000
# Hugging Face gives no more than 50 GB to one plain request (MAX_HTTP_DOWNLOAD_SIZE of its client).
SEGMENT = 16 << 30
BLOCK = 1 << 20
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))

# What vLLM does not read: other frameworks' weights, the original form of the same weights, pictures.
SKIPPED = (
    ".git*",
    "original/*",
    "metal/*",
    "onnx/*",
    "openvino/*",
    "coreml/*",
    "*.onnx",
    "*.onnx_data",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.tflite",
    "*.gguf",
    "*.pdf",
    "*.png",
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.mp4",
)
# PyTorch's own files hold the same weights a second time where there are safetensors; so do Mistral's.
_SECOND = ("pytorch_model*.bin", "pytorch_model*.bin.index.json", "*.pth")
_CONSOLIDATED = ("consolidated*.safetensors", "consolidated*.safetensors.index.json")


class Remote(NamedTuple):
    """One file of a source. `digest` is `sha256:HEX`, `git:HEX` or empty; `size` in bytes.

    stamp: tells states of the file from each other where there is no digest; empty if nothing does.
    """

    path: str
    size: int
    digest: str
    url: str
    stamp: str = ""


class Listing(NamedTuple):
    """What a source has. `commit`: the state that was listed, where the source names it."""

    files: list[Remote]
    commit: str


# -- HTTP ------------------------------------------------------------------------------------------


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows also 308 (Python before 3.11 does not), and takes no token to another server."""

    def http_error_308(self, *given: Any) -> Any:
        return self.http_error_302(*given)

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if before.scheme == "https" and after.scheme != "https":
            raise WeightsError(
                f"{before.netloc} sends us on to {after.scheme}://{after.netloc}, without"
                " encryption; that is not followed"
            )
        # The proxy's password is for the proxy; the handler of proxies adds it where one is asked.
        kept = {k: v for k, v in req.headers.items() if k.lower() != "proxy-authorization"}
        made = urllib.request.Request(newurl, headers=kept, method="GET")
        if (before.scheme, before.netloc) == (after.scheme, after.netloc):
            for key, value in req.unredirected_hdrs.items():
                if key.lower() in ("authorization", "cookie"):
                    made.add_unredirected_header(key, value)
        return made


class Web:
    """HTTP with redirects, proxies of the environment, and tries that end.

    secrets: headers that go to the server that was asked alone. sleep: for tests.
    """

    def __init__(
        self,
        secrets: dict[str, str] | None = None,
        timeout: float = TIMEOUT,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.secrets = secrets or {}
        self.timeout = timeout
        self.sleep = sleep
        # Named one by one: no file: or ftp: address is opened, whoever gives it.
        self.opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
        ):
            self.opener.add_handler(handler)

    def open(self, url: str, headers: dict[str, str] | None = None) -> Any:
        """Send one GET. Raises urllib's and http.client's errors, and WeightsError for an odd address."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise WeightsError(f"{shown(url)} is no http or https address")
        user, ignored, host = parts.netloc.rpartition("@")
        request = urllib.request.Request(
            urllib.parse.urlunsplit(parts._replace(netloc=host)),
            # A packed answer would have neither the length nor the ranges of the file.
            headers=dict(
                {"Accept-Encoding": "identity", "User-Agent": "inferops-ascend"}, **(headers or {})
            ),
        )
        if user:
            pair = urllib.parse.unquote(user).encode("utf-8")
            word = "Basic " + base64.b64encode(pair).decode("ascii")
            request.add_unredirected_header("Authorization", word)
        for key, value in self.secrets.items():
            request.add_unredirected_header(key, value)
        return self.opener.open(request, timeout=self.timeout)

    def patient(self, url: str, headers: dict[str, str] | None = None) -> Any:
        """Send a GET, again after a failure that may pass. Raises HTTPError for one that does not."""
        for attempt in range(1, TRIES + 1):
            try:
                return self.open(url, headers)
            except urllib.error.HTTPError as error:
                if error.code not in _PASSING or attempt == TRIES:
                    raise
                pause = waiting_time(error.headers, attempt)
            except (OSError, http.client.HTTPException) as error:
                if attempt == TRIES or not _may_pass(error):
                    raise unreachable(url, error) from None
                pause = waiting_time({}, attempt)
            self.sleep(pause)
        raise AssertionError("not reached")

    def json(self, url: str) -> tuple[Any, Any]:
        """Get JSON: (content, headers). Raises HTTPError, WeightsError."""
        with self.patient(url, {"Accept": "application/json"}) as answer:
            try:
                data = answer.read(MOST_JSON + 1)
            except (OSError, http.client.HTTPException) as error:
                raise unreachable(url, error) from None
            headers = answer.headers
        try:
            if len(data) > MOST_JSON:
                raise ValueError("more than 50 MB")
            return json.loads(data.decode("utf-8")), headers
        except ValueError as error:
            raise WeightsError(
                f"{shown(url)} answered with something other than JSON ({error}). Is it the hub, or"
                " a proxy's page?"
            ) from None

    def blocks(self, url: str, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
        """Read a file of `size` bytes from `offset` on: pairs of (position, block).

        A position that is not where the last block ended says that the server began anew: it
        does not do ranges. Tries again after failures, as long as each try gets further.
        Raises HTTPError, WeightsError.
        """
        failures = 0
        furthest = offset
        while offset < size:
            before = furthest
            try:
                # Each time from the hub on: the address that it sends us to is signed and ends.
                for position, block in self._segment(url, offset, size):
                    offset = position + len(block)
                    furthest = max(furthest, offset)
                    yield position, block
                if furthest > before:
                    failures = 0
                    continue
                problem: Exception = OSError("the server ends its answer too early")
                pause = waiting_time({}, failures + 1)
            except urllib.error.HTTPError as error:
                # Elsewhere, a signed address may have ended; the hub gives another one.
                if error.code not in _PASSING and _host(error.url) == _host(url):
                    raise
                problem, pause = error, waiting_time(error.headers, failures + 1)
            except (OSError, http.client.HTTPException) as error:
                if not _may_pass(error):
                    raise unreachable(url, error) from None
                problem, pause = error, waiting_time({}, failures + 1)
            # A server without ranges begins anew each time, and may end at the same byte for ever.
            failures = 1 if furthest > before else failures + 1
            if failures >= TRIES:
                if isinstance(problem, urllib.error.HTTPError):
                    raise problem
                raise unreachable(url, problem)
            self.sleep(pause)

    def _segment(self, url: str, offset: int, size: int) -> Iterator[tuple[int, bytes]]:
        headers = {}
        if offset or size > SEGMENT:
            headers["Range"] = f"bytes={offset}-{min(offset + SEGMENT, size) - 1}"
        with self.open(url, headers) as answer:
            # ModelScope answers a range with status 200; what counts is Content-Range.
            given = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range") or "")
            length = answer.headers.get("Content-Length")
            start = int(given.group(1)) if given else 0
            if given and given.group(2) != "*":
                whole: int | None = int(given.group(2))
            elif given or length is None:
                whole = None
            else:
                whole = int(length)
            if whole is not None and whole != size:
                raise WeightsError(
                    f"{shown(url)} has {whole} bytes, where the listing says {size}. If a proxy or"
                    " mirror is between, it serves an old or an error page; otherwise run it again"
                )
            if start not in (0, offset):
                raise WeightsError(
                    f"{shown(url)} was asked from byte {offset} on and answers from byte {start}"
                )
            while start < size:
                # What is there, not a full block: a slow line shows progress, and loses less.
                block = answer.read1(min(BLOCK, size - start))
                if not block:
                    return
                yield start, block
                start += len(block)


def shown(url: str) -> str:
    """An address for messages: without user, password and query, which may hold secrets."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


def unreachable(url: str, error: BaseException) -> WeightsError:
    """Say that a server did not answer, and what to look at."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return WeightsError(
            f"the certificate of {_host(url)} is not one that this host trusts"
            f" ({reason.verify_message}). If a proxy or mirror has one of your own authority, add"
            " that to the host's certificates, or name its file as SSL_CERT_FILE in `environment` of"
            " the play; if it is out of date, look at the host's clock"
        )
    return WeightsError(
        f"{shown(url)} cannot be reached from this host ({reason}). Look at its network, and at"
        " http_proxy, https_proxy and no_proxy in `environment` of the play; a hub can be replaced"
        " by a mirror with vllm_weights_endpoints. What has come is kept, and the next run goes on"
    )


def waiting_time(headers: Any, attempt: int) -> float:
    """Seconds before the next try: the server's own word up to five minutes, else 1, 2, 4 ... 30."""
    given = (headers.get("Retry-After") or "").strip()
    if given.isdigit():
        return float(min(int(given), 300))
    # `"api";r=0;t=46`: the end of the window in seconds (Hugging Face, draft-ietf-httpapi-ratelimit).
    window = re.search(r"r=0\b.*?t=(\d+)", headers.get("RateLimit") or "")
    if window:
        return float(min(int(window.group(1)) + 1, 300))
    return float(min(2 ** (attempt - 1), 30))


def _may_pass(error: BaseException) -> bool:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return False
    if isinstance(reason, socket.gaierror):
        # Only "try again" of a name server may pass; an unknown name does not.
        return reason.errno == socket.EAI_AGAIN
    return True


# -- listings --------------------------------------------------------------------------------------


def huggingface(web: Web, endpoint: str, model: str, revision: str) -> Listing:
    """List a model on Hugging Face or a mirror of it. `revision`: branch, tag or commit; default main.

    Raises WeightsError.
    """
    _check_id(model)
    base = endpoint.rstrip("/")
    asked = urllib.parse.quote(revision or "main", safe="")
    files = []
    try:
        info, ignored = web.json(f"{base}/api/models/{model}/revision/{asked}")
        commit = info.get("sha") if isinstance(info, dict) else None
        if not isinstance(commit, str) or not re.match(r"^[0-9a-f]{40,64}$", commit):
            raise WeightsError(
                f"{shown(base)} names no commit for {model}. Is it an address of Hugging Face's hub?"
            )
        url: str | None = f"{base}/api/models/{model}/tree/{commit}?recursive=true"
        while url:
            page, headers = web.json(url)
            if not isinstance(page, list):
                raise WeightsError(f"{shown(url)} answered with no list of files")
            for entry in page:
                if not isinstance(entry, dict) or entry.get("type") != "file":
                    continue
                path = safe_path(entry.get("path"))
                lfs = entry.get("lfs")
                if isinstance(lfs, dict):
                    size, digest = lfs.get("size"), "sha256:{}".format(lfs.get("oid"))
                else:
                    size, digest = entry.get("size"), "git:{}".format(entry.get("oid"))
                quoted = urllib.parse.quote(path)
                files.append(
                    _remote(path, size, digest, f"{base}/{model}/resolve/{commit}/{quoted}")
                )
            url = _next_page(headers, base)
    except urllib.error.HTTPError as error:
        raise refused(error, "huggingface", model, revision) from None
    return Listing(files, commit)


def modelscope(web: Web, endpoint: str, model: str, revision: str) -> Listing:
    """List a model on ModelScope. `revision`: branch or tag; default master. Raises WeightsError."""
    _check_id(model)
    base = f"{endpoint.rstrip('/')}/api/v1/models/{model}/repo"
    asked = urllib.parse.quote(revision or "master", safe="")
    try:
        answer, ignored = web.json(f"{base}/files?Revision={asked}&Recursive=true")
    except urllib.error.HTTPError as error:
        raise refused(error, "modelscope", model, revision) from None
    if not isinstance(answer, dict) or answer.get("Code") not in (200, None):
        code = answer.get("Code") if isinstance(answer, dict) else answer
        words = answer.get("Message") if isinstance(answer, dict) else ""
        raise WeightsError(
            f"ModelScope refuses the list of {model}: {words} (code {code}). Look whether the model"
            f" and its revision are on {shown(endpoint)}/models/{model}, and whether it needs"
            " vllm_weights_modelscope_token"
        )
    try:
        entries = answer["Data"]["Files"]
        if len(entries) >= MODELSCOPE_MOST_FILES:
            raise WeightsError(
                f"{model} has {MODELSCOPE_MOST_FILES} files or more on ModelScope, which lists no"
                " more than that. Take it from huggingface, or by rsync"
            )
        files = []
        for entry in entries:
            if entry.get("Type") == "tree":
                continue
            path = safe_path(entry.get("Path"))
            digest = str(entry.get("Sha256") or "").lower()
            quoted = urllib.parse.quote(path, safe="")
            files.append(
                _remote(
                    path,
                    entry.get("Size"),
                    f"sha256:{digest}" if digest else "",
                    f"{base}?Revision={asked}&FilePath={quoted}",
                    str(entry.get("Revision") or ""),
                )
            )
    except (KeyError, TypeError, AttributeError):
        raise WeightsError(
            f"{shown(base)}/files answered in a form that is not ModelScope's"
        ) from None
    return Listing(files, "")


def selected(files: list[Remote], skip: tuple[str, ...] = ()) -> list[Remote]:
    """Return the files that the engine reads, without second copies of the same weights.

    `skip`: patterns of paths, as fnmatch has them, beside those of SKIPPED.
    """
    top = [each.path for each in files if "/" not in each.path]
    patterns = list(SKIPPED) + list(skip)
    tensors = [path for path in top if path.endswith(".safetensors")]
    if tensors:
        patterns += _SECOND
    if any(path.startswith("model") for path in tensors):
        patterns += _CONSOLIDATED
    return [
        each
        for each in files
        if not any(fnmatch.fnmatchcase(each.path, pattern) for pattern in patterns)
        and not each.path.rpartition("/")[2].startswith(OWN)
    ]


def safe_path(path: Any) -> str:
    """Return a path of a listing or archive that stays below its folder. Raises WeightsError."""
    parts = path.split("/") if isinstance(path, str) else [""]
    if (
        any(part in ("", ".", "..") for part in parts)
        or any(ord(char) < 32 or char in "\\\x7f" for char in path)
        or any(len(part.encode("utf-8", "surrogatepass")) > 200 for part in parts)
    ):
        raise WeightsError(
            f"the source has a file of the name {path!r}, which is not one that belongs below a"
            " folder. Nothing of it was written; tell its publisher"
        )
    return str(path)


def refused(
    error: urllib.error.HTTPError, source: str, model: str, revision: str = "", asked: str = ""
) -> WeightsError:
    """Turn a hub's answer into what it means and what to do. `asked`: the address on the hub itself."""
    name = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}.get(source, source)
    where = shown(error.url or "")
    code = error.code
    headers: Any = error.headers or {}
    word = headers.get("X-Error-Code") or ""
    told = re.sub(r"\s+", " ", headers.get("X-Error-Message") or "").strip()[:300]
    said = f"{name} answers {code}{' ' + word if word else ''}" + (f" ({told})" if told else "")
    token = f"vllm_weights_{source}_token"
    if asked and _host(asked) != _host(error.url):
        return WeightsError(
            f"{model}: {_host(error.url)}, the storage that {_host(asked)} sends us on to, answers"
            f" {code} {error.reason}. Look whether a proxy or firewall lets this host read from there"
        )
    if source not in ENDPOINTS:
        advice = (
            "Look whether the address is right, and whether the server wants a user and password"
            " (https://USER:PASSWORD@...)"
            if code in (401, 403, 404)
            else "Run it again later"
        )
        return WeightsError(f"{where} answers {code} {error.reason}. {advice}")
    if word == "GatedRepo" or (code == 403 and source == "huggingface"):
        advice = (
            f"Its owner lets in only those who accepted the terms: open {_page(error, model)} with"
            f" the account whose token is in {token}, accept them, and run it again"
        )
    elif word == "RevisionNotFound":
        advice = f"It has no revision {revision!r}: look at its branches, tags and commits there"
    elif code in (401, 403):
        advice = (
            f"Either there is no model of this id, or it is private: look at {_page(error, model)},"
            f" and give a token that may read it in {token}"
        )
    elif code == 404:
        advice = (
            f"Look whether {_page(error, model)} is there"
            + (f" and has the revision {revision!r}" if revision else "")
            + "; another id is given by `weights: {id: OWNER/NAME}`"
        )
    elif code == 429:
        advice = f"Too many requests from this address: wait, or give a token in {token}"
    elif code in _PASSING:
        advice = "It did not get better over some tries: run it again later, or use a mirror"
    else:
        advice = f"Look at {where}"
    return WeightsError(f"{model}: {said}. {advice}")


def _host(url: str | None) -> str:
    return urllib.parse.urlsplit(url or "").netloc.rpartition("@")[2]


def _page(error: urllib.error.HTTPError, model: str) -> str:
    parts = urllib.parse.urlsplit(error.url or "")
    host = _host(error.url)
    models = "/models" if "/api/v1/models/" in parts.path else ""
    return f"{parts.scheme}://{host}{models}/{model}"


def _check_id(model: str) -> None:
    if not re.match(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", model) or ".." in model:
        raise WeightsError(f"{model!r} is no id of a hub. Write OWNER/NAME")


def _remote(path: str, size: Any, digest: str, url: str, stamp: str = "") -> Remote:
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise WeightsError(f"the listing gives {path} the size {size!r}, which is none")
    kind, ignored, value = digest.partition(":")
    length = {"sha256": 64, "git": 40}.get(kind, 0)
    if digest and (len(value) != length or not re.match(r"^[0-9a-f]+$", value)):
        # Another kind of hash cannot be checked here; size and header still are.
        digest = ""
    return Remote(path, size, digest, url, "" if digest else stamp)


def _next_page(headers: Any, base: str) -> str | None:
    match = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', headers.get("Link") or "")
    if not match:
        return None
    url = str(urllib.parse.urljoin(base + "/", match.group(1)))
    # A mirror hands on the hub's own addresses; the token and the proxy are for the mirror.
    here, there = urllib.parse.urlsplit(base), urllib.parse.urlsplit(url)
    if here.netloc == there.netloc:
        return url
    return f"{base}{there.path}?{there.query}"
