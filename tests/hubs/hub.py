# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that speaks to clients as Hugging Face and ModelScope do, and tiny models for it.

What was read in the hubs' own clients (huggingface_hub 2.4.0, modelscope 1.26.0 and 1.40.2) and in
answers of the real servers that public repositories quote: commit and files with LFS digests and
git's blob ids, a redirect to a storage server for large files, ModelScope's status 200 for ranges.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import tarfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS_FROM = 2000


def safetensors(tensors: dict[str, int], fill: bytes = b"\x01") -> bytes:
    """Return a file of float32 tensors, {name: bytes}."""
    header, at = {}, 0
    for name, size in tensors.items():
        header[name] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + (fill * at)[:at]


def torch_file(size: int) -> bytes:
    """Return what torch.save's files look like from outside: a ZIP archive."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02." + b"\0" * size)
    return target.getvalue()


def config(**values: Any) -> dict[str, Any]:
    """Return a config.json of a decoder with 40 heads and 40960 tokens, as Qwen3-14B has."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "num_hidden_layers": 40,
        "hidden_size": 5120,
        "intermediate_size": 17408,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        **values,
    }


def model(shards: int = 3, shard_bytes: int = 40_000, **values: Any) -> dict[str, bytes]:
    """Return the files of a complete model."""
    names = [f"model-{n:05d}-of-{shards:05d}.safetensors" for n in range(1, shards + 1)]
    files = {
        name: safetensors({f"layer.{n}.weight": shard_bytes}, bytes([n + 1]))
        for n, name in enumerate(names)
    }
    index = {
        "metadata": {"total_size": shards * shard_bytes},
        "weight_map": {f"layer.{n}.weight": name for n, name in enumerate(names)},
    }
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    files["config.json"] = json.dumps(config(**values)).encode()
    files["tokenizer.json"] = b'{"version": "1.0"}'
    files["tokenizer_config.json"] = b"{}"
    files["README.md"] = b"# A model\n"
    files[".gitattributes"] = b"*.safetensors filter=lfs\n"
    return files


def tar_of(files: dict[str, bytes], top: str = "Some-Model/", mode: str = "w:gz") -> bytes:
    """Return an archive of files below one directory."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Asked:
    """One request as it came."""

    path: str
    range: str | None
    authorization: str | None
    cookie: str | None
    host: str


@dataclass
class Hub:
    """What the server has and how it misbehaves.

    Attributes:
        models: {id: {path: bytes}}. archives: {path of the URL: bytes}.
        token: needed for everything if set. gated: ids that nobody may read yet.
        storage: base address of the storage that large files are redirected to; None for here.
        listed: changes a listing's entry before it is sent.
        fault: called with (handler, path of the repository or URL, first byte); returns True if it
            has answered itself.
        pace: bytes per second of a file's body; None for as fast as it goes.
        asked: every request.
    """

    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    archives: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None
    gated: set[str] = field(default_factory=set)
    storage: str | None = None
    listed: Callable[[dict[str, Any]], dict[str, Any]] = lambda entry: entry
    fault: Callable[[Handler, str, int], bool] = lambda handler, path, first: False
    pace: float | None = None
    ranges: bool = True
    asked: list[Asked] = field(default_factory=list)
    address: str = ""

    def files_asked(self) -> list[str]:
        """Paths of requests for files, listings left out."""
        return [
            each.path for each in self.asked if not re.search(r"/revision/|/files\?", each.path)
        ]


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server.hub
        hub.asked.append(
            Asked(
                self.path,
                self.headers.get("Range"),
                self.headers.get("Authorization"),
                self.headers.get("Cookie"),
                self.headers.get("Host", ""),
            )
        )
        parts = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(parts.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        if path in hub.archives:
            self.file(hub.archives[path], path)
        elif path.startswith("/storage/"):
            owner, name, rest = path.split("/", 4)[2:]
            self.file(hub.models[f"{owner}/{name}"][rest], rest)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", path):
            self.huggingface_list(*match.groups())
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.huggingface_file(*match.groups())
        elif match := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo(/files)?", path):
            self.modelscope(match.group(1), bool(match.group(2)), query)
        else:
            self.json({"error": "Not Found"}, 404)

    # -- Hugging Face ------------------------------------------------------------------------------

    def huggingface_list(self, name: str, revision: str) -> None:
        hub = self.server.hub
        if hub.fault(self, f"listing:{name}", 0):
            return None
        files = hub.models.get(name)
        if files is None or (
            hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}"
        ):
            # The hub says the same of what is not there and of what one may not see.
            return self.json({"error": "Invalid username or password."}, 401)
        if revision not in ("main", "v1", COMMIT):
            return self.json({"error": "x"}, 404, {"X-Error-Code": "RevisionNotFound"})
        siblings: list[dict[str, Any]] = []
        for path, data in files.items():
            entry: dict[str, Any] = {"blobId": git_blob(data), "size": len(data)}
            if len(data) >= LFS_FROM:
                pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\n"
                entry["blobId"] = git_blob(pointer.encode())
                entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(hub.listed({**entry, "rfilename": path}))
        return self.json({"id": name, "sha": COMMIT, "siblings": siblings, "tags": []})

    def huggingface_file(self, name: str, revision: str, path: str) -> None:
        hub = self.server.hub
        files = hub.models.get(name, {})
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.json({"error": "x"}, 401)
        if name in hub.gated:
            return self.json(
                {"error": "x"},
                403,
                {
                    "X-Error-Code": "GatedRepo",
                    "X-Error-Message": f"Access to model {name} is restricted.",
                },
            )
        if path not in files or revision not in ("main", COMMIT):
            return self.json({"error": "x"}, 404, {"X-Error-Code": "EntryNotFound"})
        data = files[path]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{git_blob(data)}"'}
        if len(data) < LFS_FROM:
            return self.file(data, path, headers)
        base = hub.storage if hub.storage is not None else hub.address
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(data)),
            "X-Linked-ETag": f'"{sha256(data)}"',
            "Location": f"{base}/storage/{name}/{urllib.parse.quote(path)}?Signature=secret-signature",
        }
        return self.answer(b"", 302, headers)

    # -- ModelScope --------------------------------------------------------------------------------

    def modelscope(self, name: str, listing: bool, query: dict[str, str]) -> None:
        hub = self.server.hub
        if hub.fault(self, f"modelscope:{name}", 0):
            return None
        files = hub.models.get(name)
        cookie = f"m_session_id={hub.token}"
        if files is None or (hub.token and self.headers.get("Cookie") != cookie):
            message = {
                "Code": 10010205001,
                "Message": "not found or no permission",
                "Success": False,
            }
            return self.json(message, 404)
        if query.get("Revision") not in ("master", "v1"):
            return self.json(
                {"Code": 10010205002, "Message": "revision not found", "Success": False}
            )
        if not listing:
            path = query.get("FilePath", "")
            if path not in files:
                return self.json({"Code": 10010205003, "Message": "no file"}, 404)
            return self.file(files[path], path, status_of_range=200)
        entries: list[dict[str, Any]] = []
        for folder in sorted({path.rpartition("/")[0] for path in files} - {""}):
            entries.append(
                {"Name": folder, "Path": folder, "Type": "tree", "Size": 0, "Sha256": ""}
            )
        for path, data in files.items():
            entry = {
                "Name": path.rpartition("/")[2],
                "Path": path,
                "Type": "blob",
                "Mode": "33188",
                "Size": len(data),
                "Sha256": sha256(data),
                "IsLFS": len(data) >= LFS_FROM,
                "Revision": COMMIT,
                "InCheck": False,
            }
            entries.append(hub.listed(entry))
        return self.json(
            {"Code": 200, "Data": {"Files": entries}, "Message": "success", "Success": True}
        )

    # -- answers -----------------------------------------------------------------------------------

    def json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.answer(data, status, {"Content-Type": "application/json", **(headers or {})})

    def file(
        self,
        data: bytes,
        path: str,
        headers: dict[str, str] | None = None,
        status_of_range: int = 206,
    ) -> None:
        hub = self.server.hub
        wanted = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range") or "")
        first = int(wanted.group(1)) if wanted and hub.ranges else 0
        if hub.fault(self, path, first):
            return None
        headers = {"Content-Type": "application/octet-stream", **(headers or {})}
        if not wanted or not hub.ranges:
            return self.answer(data, 200, headers)
        if first >= len(data):
            return self.answer(b"", 416, {"Content-Range": f"bytes */{len(data)}"})
        last = min(int(wanted.group(2) or len(data) - 1), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return self.answer(data[first : last + 1], status_of_range, headers)

    def answer(
        self,
        data: bytes,
        status: int = 200,
        headers: dict[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        """Answer; `cut`: break the connection off after so many bytes of the body."""
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = data if cut is None else data[:cut]
        pace = self.server.hub.pace
        step = max(1, int(pace / 20)) if pace else max(1, len(body))
        try:
            for at in range(0, len(body), step):
                self.wfile.write(body[at : at + step])
                if pace:
                    time.sleep(0.05)
        except OSError:
            self.close_connection = True
            return
        if cut is not None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.close()


class Server(ThreadingHTTPServer):
    """Serves one Hub."""

    daemon_threads = True

    def __init__(self, hub: Hub, address: str, port: int = 0) -> None:
        self.hub = hub
        super().__init__((address, port), Handler)
        hub.address = f"http://{address}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving(hub: Hub, address: str = "127.0.0.1") -> Iterator[str]:
    """Serve a hub on an address of this machine; give its URL."""
    server = Server(hub, address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub.address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
