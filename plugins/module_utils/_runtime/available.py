# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the versions that an environment needs are in its directories of packages or on its indexes.

Only what the installer would surely fail on is a fault: an index that wants a password, or a certificate
that this Python does not know, is left to the installer, which has ways of its own.
"""

from __future__ import annotations

import base64
import glob
import http.client
import os
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Iterable, Mapping, NamedTuple

from .spec import EnvironmentSpec, normal

_PYPI = "https://pypi.org/simple"
_TIMEOUT = 20.0
_MOST = 32 << 20  # bytes of the page of a package; that of torch has some 2 MB
_SETTINGS = ("/etc/uv/uv.toml", "/etc/xdg/uv/uv.toml")


class _Page(NamedTuple):
    """What an index has of a package. `text` None: it is not known. `fault`: it was not reached."""

    text: str | None = None
    fault: str = ""


def faults(spec: EnvironmentSpec, coming: Iterable[str] = ()) -> list[str]:
    """What is missing of the versions in `expect`, a sentence each with the way out.

    coming: names of files that will be copied into the directories before anything is installed.
    """
    names = [os.path.basename(path) for path in _files(spec.find_links)]
    here = "\n".join([*names, *coming])
    wanted = {
        name: version
        for name, version in spec.expect.items()
        if not has(here, name, version) and name not in spec.metadata
    }
    if spec.offline:
        where = ", ".join(spec.find_links) or "no directory"
        return [
            f"{_package(name, version)} is not in {where}, and no index is asked (in the role:"
            f" vllm_runtime_offline). {_others(here, name)}Copy its wheel there, or name another directory"
            " (vllm_runtime_wheels, vllm_runtime_wheels_source)."
            for name, version in wanted.items()
        ]
    environment = {**os.environ, **spec.environment}
    indexes = indexes_of(spec, environment)
    return _asked(wanted, indexes, environment) if indexes else []


def _asked(
    wanted: Mapping[str, str], indexes: Iterable[str], environment: Mapping[str, str]
) -> list[str]:
    found = []
    lost: dict[str, str] = {}
    for name, version in wanted.items():
        pages = {index: page_of(index, name, environment) for index in indexes if index not in lost}
        lost.update({index: page.fault for index, page in pages.items() if page.fault})
        texts = [page.text for page in pages.values()]
        if lost or any(text is None or has(text, name, version) for text in texts):
            continue
        where = ", ".join(map(bare, pages))
        found.append(
            f"{_package(name, version)} is not on {where}. {_others(' '.join(map(str, texts)), name)}Take"
            " another version or index (in the role: vllm_runtime_version, vllm_runtime_index_url), or put"
            " its wheel into vllm_runtime_wheels."
        )
    unreached = [
        f"The package index {bare(index)} cannot be reached from this host: {fault}. Check the network, a"
        " proxy (in the role: vllm_runtime_environment) and vllm_runtime_index_url; or bring the wheels"
        " (vllm_runtime_wheels_source, vllm_runtime_offline)."
        for index, fault in lost.items()
    ]
    return unreached + found


def _package(name: str, version: str) -> str:
    return f"{name} {version}"


def _files(directories: Iterable[str]) -> Iterable[str]:
    for directory in directories:
        yield from glob.glob(os.path.join(glob.escape(directory), "*"))


def _pattern(name: str, version: str) -> str:
    """Finds the names of a version's files, in a page of an index too."""
    distribution = "[-_.]+".join(map(re.escape, normal(name).split("-")))
    return rf"(?i)(?<![\w.-]){distribution}-{version}"


def has(text: str, name: str, version: str) -> bool:
    """Whether a text has the name of a wheel or source archive of a version, or of a build of it."""
    build = "" if "+" in version else r"(?:(?:\+|%2B)[\w.]+)?"
    exact = re.escape(version).replace(r"\+", r"(?:\+|%2B)")
    return bool(re.search(_pattern(name, exact) + build + r"(?:-|\.tar\.|\.zip)", text))


def _others(text: str, name: str) -> str:
    """The versions of a package that a text has, the last in it first, as a sentence."""
    found = re.findall(
        _pattern(name, r"(\d[\w.]*?(?:(?:\+|%2B)[\w.]+?)?)(?:-|\.tar\.|\.zip)"), text
    )
    versions = list(dict.fromkeys(each.replace("%2B", "+") for each in reversed(found)))
    return f"It has {', '.join(versions[:4])}. " if versions else ""


def indexes_of(spec: EnvironmentSpec, environment: Mapping[str, str]) -> list[str]:
    """The addresses of the indexes; none where the installer has them from a file of settings."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
    first = spec.index_url or next((environment[n] for n in names if environment.get(n)), "")
    if not first and any(map(os.path.exists, _SETTINGS)):
        return []
    more = " ".join(environment.get(n, "") for n in ("UV_INDEX", "UV_EXTRA_INDEX_URL"))
    extra = [each.split("=", 1)[-1] for each in more.split()] if not spec.extra_index_urls else []
    urls = [first or _PYPI, *spec.extra_index_urls, *extra]
    return urls if all(url.startswith(("http://", "https://")) for url in urls) else []


def bare(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")
    )


def page_of(index: str, name: str, environment: Mapping[str, str]) -> _Page:
    """What an index has of a package, as PEP 503 has it."""
    parts = urllib.parse.urlsplit(index)
    request = urllib.request.Request(f"{bare(index).rstrip('/')}/{normal(name)}/")
    if parts.username:
        user = urllib.parse.unquote(parts.username)
        password = urllib.parse.unquote(parts.password or "")
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    proxies = _proxies(parts.hostname or "", environment)
    if not proxies.get(parts.scheme, "http:").startswith("http"):
        return _Page()  # SOCKS, which Python alone does not speak
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            return _Page(answer.read(_MOST).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        return _Page("" if error.code == 404 else None)
    except urllib.error.URLError as error:
        reason = error.reason
        return _Page() if isinstance(reason, ssl.SSLError) else _Page(fault=_words(reason))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _Page() if isinstance(error, ssl.SSLError) else _Page(fault=_words(error))


def _words(error: object) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _proxies(host: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The proxies that variables name, which are not those of this process, by the scheme of an address."""
    known = {key.lower(): value for key, value in environment.items() if value}
    bypass = [each.strip().lstrip(".") for each in known.get("no_proxy", "").split(",")]
    if any(each == "*" or host == each or host.endswith(f".{each}") for each in bypass if each):
        return {}
    every = {each: known.get("all_proxy", "") for each in ("http", "https")}
    every.update({each: known[f"{each}_proxy"] for each in every if f"{each}_proxy" in known})
    return {each: address for each, address in every.items() if address}
