# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lists and downloads models with the hubs' own clients; runs in the environment that has them.

The Python of that environment is sent this file and `faults`, and has nothing else of the collection.
A request is one line of JSON on standard input, the answers are lines of JSON on standard output.
Standard input stays open: where it ends, whoever asked is gone, and so is this process.

Interfaces: huggingface_hub 0.30 to 2.4 (HfApi.model_info, hf_hub_url, http_get) and modelscope 1.26
to 1.40 (HubApi.list_repo_files or get_model_files, http_get_model_file). http_get and
http_get_model_file continue a file at its byte, which hf_hub_download does no longer.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import resource
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable
from urllib.parse import quote, urlsplit

from .faults import WrongSize, explain, patient

ENDPOINTS = {"huggingface": "https://huggingface.co", "modelscope": "https://modelscope.cn"}
# Hugging Face gives no more than 50 GB to one request (MAX_HTTP_DOWNLOAD_SIZE of its client).
SEGMENT = 16 << 30
# What a broken connection loses at most; the client of Hugging Face would lose 10 MB.
CHUNK = 1 << 18
MOST_CONFIG = 10_000_000
# Bytes of memory for all of it: the listing of a model of 1000 files takes some 100 MB with its client.
MOST_MEMORY = 4 << 30


class Stopped(Exception):
    """Another file of the model failed."""


# -- the two hubs ----------------------------------------------------------------------------------


class HuggingFace:
    """A model on Hugging Face or a mirror of it."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.endpoint = (request["endpoint"] or ENDPOINTS["huggingface"]).rstrip("/")
        self.hub = importlib.import_module("huggingface_hub")
        self.download = importlib.import_module("huggingface_hub.file_download")
        utils = importlib.import_module("huggingface_hub.utils")
        utils.disable_progress_bars()
        constants: Any = importlib.import_module("huggingface_hub.constants")
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK
        self.headers = utils.build_hf_headers(token=request["token"] or False)
        # A packed answer would have neither the length nor the ranges of the file.
        self.headers["Accept-Encoding"] = "identity"

    def listing(self) -> tuple[list[dict[str, Any]], str]:
        """The files, and the commit that was listed."""
        api = self.hub.HfApi(endpoint=self.endpoint, token=self.request["token"] or False)
        info = api.model_info(
            self.request["id"], revision=self.request["revision"] or "main", files_metadata=True
        )
        files = []
        for each in info.siblings or ():
            lfs = each.lfs
            if lfs:
                size, digest = lfs["size"], "sha256:{}".format(lfs["sha256"])
            else:
                size, digest = each.size, f"git:{each.blob_id}"
            files.append({"path": each.rfilename, "size": size, "digest": digest})
        return files, str(info.sha or "")

    def url(self, path: str) -> str:
        """The address of a file on the hub itself."""
        return str(
            self.hub.hf_hub_url(
                self.request["id"],
                path,
                revision=self.request["commit"] or self.request["revision"] or "main",
                endpoint=self.endpoint,
            )
        )

    def read(self, path: str, partial: str, size: int, stop: threading.Event) -> None:
        """Download a file to `partial`, after what is there of it."""
        with open(partial, "ab") as handle:
            at = handle.tell()
            if size <= SEGMENT:
                self.download.http_get(
                    self.url(path),
                    _Part(handle, 0, stop),
                    resume_size=at,
                    headers=self.headers,
                    expected_size=size,
                )
                return
            for start in range(at, size, SEGMENT):
                end = min(start + SEGMENT, size)
                self.download.http_get(
                    self.url(path),
                    _Part(handle, start, stop),
                    headers=dict(self.headers, Range=f"bytes={start}-{end - 1}"),
                    expected_size=end - start,
                )


class _Part:
    """A file from one byte on, as http_get writes it; it stops where another file failed."""

    def __init__(self, handle: Any, start: int, stop: threading.Event) -> None:
        self.handle = handle
        self.start = start
        self.stop = stop

    def write(self, data: bytes) -> int:
        if self.stop.is_set():
            raise Stopped
        count = self.handle.write(data)
        # What has come is seen by whoever counts it, and is kept where this process ends.
        self.handle.flush()
        return int(count)

    def tell(self) -> int:
        return int(self.handle.tell()) - self.start

    def seek(self, at: int) -> int:
        return int(self.handle.seek(self.start + at)) - self.start

    def truncate(self) -> int:
        return int(self.handle.truncate())


class ModelScope:
    """A model on ModelScope."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.endpoint = (request["endpoint"] or ENDPOINTS["modelscope"]).rstrip("/")
        self.revision = request["revision"] or "master"
        download: Any = importlib.import_module("modelscope.hub.file_download")
        download.API_FILE_DOWNLOAD_CHUNK_SIZE = CHUNK
        self.download = download
        self.cookies: Any = None
        self.headers = {"Accept-Encoding": "identity"}
        if request["token"]:
            self.headers["Authorization"] = "Bearer {}".format(request["token"])
            # For this server alone, also where it sends us on to a storage.
            self.cookies = importlib.import_module("requests.cookies").RequestsCookieJar()
            host = urlsplit(self.endpoint).hostname
            self.cookies.set("m_session_id", request["token"], domain=host, path="/")

    def listing(self) -> tuple[list[dict[str, Any]], str]:
        """The files; ModelScope names no commit."""
        api_class = importlib.import_module("modelscope.hub.api").HubApi
        if hasattr(api_class, "list_repo_files") or "modelscope_hub" in sys.modules:
            # Since 1.38 get_model_files gives no checksums.
            api = api_class(endpoint=self.endpoint, token=self.request["token"] or None)
            found = api.list_repo_files(
                self.request["id"], "model", revision=self.revision, recursive=True
            )
            entries = [
                {"Path": each.path, "Size": each.size, "Sha256": each.sha256, "Type": each.type}
                for each in found
            ]
        else:
            api = api_class(endpoint=self.endpoint)
            entries = api.get_model_files(
                self.request["id"],
                revision=self.revision,
                recursive=True,
                use_cookies=self.cookies or False,
                headers=dict(self.headers),
            )
        files = []
        for each in entries:
            if each.get("Type") != "tree":
                digest = str(each.get("Sha256") or "").lower()
                files.append(
                    {
                        "path": each["Path"],
                        "size": each["Size"],
                        "digest": f"sha256:{digest}" if digest else "",
                        "stamp": str(each.get("Revision") or ""),
                    }
                )
        return files, ""

    def url(self, path: str) -> str:
        """The address of a file on the hub itself."""
        revision, name = quote(self.revision, safe=""), quote(path, safe="")
        model = self.request["id"]
        return f"{self.endpoint}/api/v1/models/{model}/repo?Revision={revision}&FilePath={name}"

    def read(self, path: str, partial: str, size: int, stop: threading.Event) -> None:
        """Download a file to `partial`, after what is there of it."""
        if stop.is_set():
            raise Stopped
        where, name = os.path.split(os.path.abspath(partial))
        self.download.http_get_model_file(
            self.url(path), where, name, size, self.cookies, self.headers, disable_tqdm=True
        )


# -- requests --------------------------------------------------------------------------------------


def serve(request: dict[str, Any], emit: Callable[[dict[str, Any]], None]) -> None:
    """Answer a request: one `listing`, or `finished` for each file; `fault` where it fails."""
    where = request["endpoint"] or ENDPOINTS[request["source"]]
    hubs: dict[str, Any] = {"huggingface": HuggingFace, "modelscope": ModelScope}
    try:
        hub = hubs[request["source"]](request)
        if request["action"] == "list":
            emit(_list(hub, request, where))
        else:
            _fetch(hub, request, emit)
    except Exception as error:
        asked, size, got = getattr(error, "about", (where, 0, 0))
        model = request["id"]
        fault = explain(error, asked, request["source"], model, request["revision"], size, got)
        emit({"fault": fault._asdict()})


def _list(hub: Any, request: dict[str, Any], where: str) -> dict[str, Any]:
    files, commit = patient(hub.listing, where)
    config = None
    entries = [e for e in files if e["path"] == "config.json" and e["size"] < MOST_CONFIG]
    if entries and request["config"]:
        hub.request = dict(request, commit=commit)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "config.json")
            _read(hub, dict(entries[0], partial=path), threading.Event())
            with open(path, encoding="utf-8", errors="replace") as handle:
                config = handle.read()
    return {"listing": files, "commit": commit, "config": config}


def _fetch(hub: Any, request: dict[str, Any], emit: Callable[..., None]) -> None:
    stop = threading.Event()

    def one(entry: dict[str, Any]) -> None:
        try:
            _read(hub, entry, stop)
        except Stopped:
            return
        except Exception:
            stop.set()
            raise
        emit({"finished": entry["path"]})

    with ThreadPoolExecutor(max_workers=max(1, request["connections"])) as pool:
        futures = [pool.submit(one, each) for each in request["files"]]
    for future in futures:
        future.result()


def _read(hub: Any, entry: dict[str, Any], stop: threading.Event) -> None:
    path, partial, size = entry["path"], entry["partial"], entry["size"]

    def so_far() -> int:
        return os.path.getsize(partial) if os.path.exists(partial) else 0

    def work() -> None:
        if stop.is_set():
            raise Stopped
        if so_far() > size:
            os.truncate(partial, 0)
        try:
            hub.read(path, partial, size, stop)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            # A server that does not end: see `bound`.
            os.truncate(partial, 0)
            raise WrongSize from error
        if so_far() != size:
            raise WrongSize

    try:
        patient(work, hub.url(path), so_far)
    except Exception as error:
        details: Any = error
        details.about = (hub.url(path), size, so_far())
        raise


def bound(request: dict[str, Any]) -> None:
    """Let no answer of a hub take more memory than there may be, or a file be larger than the largest asked for."""
    largest = max([MOST_CONFIG, *(each["size"] for each in request.get("files") or ())])
    for limit, most in ((resource.RLIMIT_FSIZE, largest), (resource.RLIMIT_DATA, MOST_MEMORY)):
        known = [each for each in resource.getrlimit(limit) if each != resource.RLIM_INFINITY]
        least = min([most, *known])
        resource.setrlimit(limit, (least, least))


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.readline())
    bound(request)
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What the clients print is not an answer.
    os.dup2(2, 1)
    lock = threading.Lock()

    def emit(answer: dict[str, Any]) -> None:
        with lock:
            output.write(json.dumps(answer) + "\n")
            output.flush()

    def watch() -> None:
        sys.stdin.read()
        os._exit(3)

    threading.Thread(target=watch, daemon=True).start()
    serve(request, emit)
    output.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
