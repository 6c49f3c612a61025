# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a server's answer means in words, and an error of the disk."""

from __future__ import annotations

import errno
import re
import urllib.parse
from typing import Any

from .._base.errors import HostError
from .faults import PASSING, host_of

_NAMES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}


def explain(
    fault: dict[str, Any], source: str, model: str, revision: str = "", size: int = 0, got: int = 0
) -> Exception:
    """Turn a fault of `faults.describe` into what it means and what to do.

    size, got: bytes of the file that the fault is about, as listed and as they came.
    """
    kind, where = fault["kind"], fault.get("asked", "")
    host = host_of(where)
    if kind == "disk":
        return OSError(fault["errno"], "", fault["file"] or None)
    if kind == "certificate":
        return HostError(
            f"the certificate of {host} is not one that this host trusts ({fault['reason']}). If a"
            " proxy or mirror has a certificate of your own authority, add it to the host's"
            " certificates, or name its file as SSL_CERT_FILE in `environment` of the play; if it"
            " has expired, check the host's clock"
        )
    if kind == "unreachable":
        return HostError(
            f"{where} cannot be reached from this host ({fault['reason']}). Check its network, and"
            " http_proxy, https_proxy and no_proxy in `environment` of the play; a hub can be"
            " replaced by a mirror with vllm_weights_endpoints. What was downloaded is kept, and the"
            " next run continues"
        )
    if kind == "json":
        return HostError(
            f"{where} answered with something other than JSON ({fault['reason']}). Is it the hub, or"
            " the page of a proxy?"
        )
    if kind == "size":
        return HostError(
            f"{where} has {got} bytes, where the listing says {size}. If a proxy or mirror is"
            " between, it serves an old or an error page; otherwise run it again"
        )
    if kind == "http":
        return HostError(_http(fault, source, model, revision, host))
    return HostError(f"{model}: the client of {source} failed: {fault['reason']}")


def _http(fault: dict[str, Any], source: str, model: str, revision: str, host: str) -> str:
    code, word, url = fault["status"], fault["code"], fault["url"]
    if host_of(url) != host:
        return (
            f"{model}: {host_of(url)}, the storage that {host} redirects to, answers {code}"
            f" {fault['reason']}. Check whether a proxy or firewall lets this host read from there"
        )
    if source not in _NAMES:
        advice = (
            "Check the address, and whether the server needs a user and password"
            " (https://USER:PASSWORD@...)"
            if code in (401, 403, 404)
            else "Run it again later"
        )
        return f"{url} answers {code} {fault['reason']}. {advice}"
    text = re.sub(r"\s+", " ", fault["message"]).strip()[:300]
    answer = f"{_NAMES[source]} answers {code}{' ' + word if word else ''}" + (
        f" ({text})" if text else ""
    )
    token = f"vllm_weights_{source}_token"
    parts = urllib.parse.urlsplit(url)
    page = f"{parts.scheme}://{host}{'/models' if source == 'modelscope' else ''}/{model}"
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


def disk_error(error: OSError, model: str, directory: str) -> HostError:
    """What an error of the disk means while a model is written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HostError(
            f"{model}: the disk of {directory}.part is full. Make room, or set"
            " vllm_service_weights_dir to a larger disk; what was downloaded is kept, and the next"
            " run continues"
        )
    if error.errno == errno.EROFS:
        return HostError(
            f"{model}: {error.filename or directory} is on a disk that this host may only read."
            " Download it on the host that may write there, or set vllm_service_weights_dir to"
            " another disk"
        )
    return HostError(f"{model} could not be written: {error}")
