# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few calls of the APIs of GitHub and GitLab that the example's jobs send, over HTTP."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "a-token-of-the-service"
COMMENTS = r"/repos/acme/fleet/issues/7/comments|/api/v4/projects/42/merge_requests/7/notes"
COMMENT = r"(?:/repos/acme/fleet/issues/comments|/api/v4/projects/42/merge_requests/7/notes)/(\d+)"
ISSUES = r"/repos/acme/fleet/issues|/api/v4/projects/42/issues"
ISSUE = rf"(?:{ISSUES})/(\d+)"
LONGEST = 65536  # GitHub's limit for a comment


class Service(ThreadingHTTPServer):
    """Comments of request 7 and issues of one repository."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.comments: list[dict[str, Any]] = [
            {"id": 900 + number, "body": f"A comment of somebody, {number}"}
            for number in range(120)
        ]
        self.issues: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ours(self) -> list[str]:
        """The texts of comments that people did not write."""
        return [each["body"] for each in self.comments if not each["body"].startswith("A comment")]

    @property
    def open(self) -> list[dict[str, Any]]:
        return [each for each in self.issues if each["state"] == "open"]


class Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: a test shows what it asserts."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = json.loads(self.rfile.read(length)) if length else {}
        github = self.path.startswith("/repos/")
        name, token = ("Authorization", f"Bearer {TOKEN}") if github else ("PRIVATE-TOKEN", TOKEN)
        if self.headers.get(name) != token:
            status, answer = 401, {"message": "Bad credentials"}
        elif len(content.get("body") or "") > LONGEST:
            status, answer = 422, {"message": "Validation Failed"}
        else:
            status, answer = self._find(method, content, github)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _find(self, method: str, content: dict[str, Any], github: bool) -> tuple[int, Any]:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        change = "PATCH" if github else "PUT"
        store = self.server
        if re.fullmatch(COMMENTS, address.path):
            if method == "GET":
                return 200, page(store.comments, query)
            if method == "POST":
                store.comments.append({"id": 1 + len(store.comments), "body": content["body"]})
                return 201, store.comments[-1]
        elif (found := re.fullmatch(COMMENT, address.path)) and method == change:
            comment = next(each for each in store.comments if each["id"] == int(found[1]))
            comment.update(content)
            return 200, comment
        elif re.fullmatch(ISSUES, address.path):
            if method == "GET":
                expected = {"state": "open" if github else "opened", "labels": "vllm-drift"}
                fitting = query.items() >= expected.items()
                return 200, page(store.open, query) if fitting else []
            if method == "POST" and content["labels"] in (["vllm-drift"], "vllm-drift"):
                number = 1 + len(store.issues)
                named = {"number": number, "iid": number, "state": "open"}
                store.issues.append({**named, **content})
                return 201, store.issues[-1]
        elif (found := re.fullmatch(ISSUE, address.path)) and method == change:
            issue = store.issues[int(found[1]) - 1]
            issue.update(content)
            if content.get("state_event") == "close":
                issue["state"] = "closed"
            return 200, issue
        return 404, {"message": f"Not Found: {method} {self.path}"}


def page(entries: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
    size, number = int(query.get("per_page", "20")), int(query.get("page", "1"))
    return entries[size * (number - 1) : size * number]


@contextmanager
def serving() -> Iterator[Service]:
    service = Service()
    threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield service
    finally:
        service.shutdown()
        service.server_close()
