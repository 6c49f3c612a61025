# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell people, by the API of GitHub or GitLab, in a job of its pipelines.

ci/notify.py comment FILE   one comment of the pull or merge request has this text
ci/notify.py drift FILE     one issue is open while hosts differ from the inventory, by the JSON of `verify`

Tokens: GITHUB_TOKEN with pull-requests: write, issues: write; GITLAB_TOKEN, a project access token with
the scope api and the role Reporter or higher.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

LABEL = "vllm-drift"
TITLE = "Hosts differ from the inventory"
MARK = "<!-- inferops.ascend -->"
LIMIT = 65000  # characters; GitHub takes 65,536


class GitHub:
    """Comments and issues of a repository at GitHub."""

    body, number, change, closed = "body", "number", "PATCH", {"state": "closed"}

    def __init__(self, env: dict[str, str]) -> None:
        self.root = f"{env['GITHUB_API_URL']}/repos/{env['GITHUB_REPOSITORY']}"
        self.headers = {
            "Authorization": f"Bearer {env['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
        }
        self.job = f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['GITHUB_RUN_ID']}"
        self.issues = f"{self.root}/issues"
        self.open = {"state": "open", "labels": LABEL}
        self.new: dict[str, Any] = {"labels": [LABEL]}
        self.env = env

    @property
    def comments(self) -> str:
        return f"{self.issues}/{self.env['GITHUB_REF'].split('/')[2]}/comments"  # refs/pull/7/merge

    def comment(self, identifier: int) -> str:
        return f"{self.issues}/comments/{identifier}"


class GitLab:
    """Notes and issues of a project at GitLab."""

    body, number, change, closed = "description", "iid", "PUT", {"state_event": "close"}

    def __init__(self, env: dict[str, str]) -> None:
        self.root = f"{env['CI_API_V4_URL']}/projects/{env['CI_PROJECT_ID']}"
        self.headers = {"PRIVATE-TOKEN": env["GITLAB_TOKEN"]}
        self.job = env["CI_JOB_URL"]
        self.issues = f"{self.root}/issues"
        self.open = {"state": "opened", "labels": LABEL}
        self.new: dict[str, Any] = {"labels": LABEL}
        self.env = env

    @property
    def comments(self) -> str:
        return f"{self.root}/merge_requests/{self.env['CI_MERGE_REQUEST_IID']}/notes"

    def comment(self, identifier: int) -> str:
        return f"{self.comments}/{identifier}"


Service = GitHub | GitLab


def call(service: Service, method: str, url: str, content: object = None) -> Any:
    """Send a request, and return what the JSON of the answer has."""
    request = urllib.request.Request(
        url,
        method=method,
        headers={**service.headers, "Content-Type": "application/json"},
        data=None if content is None else json.dumps(content).encode(),
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        reason = error.read(1000).decode(errors="replace")
        sys.exit(
            f"{method} {url}: {error.code} {error.reason} {reason}. Check what the token may do."
        )


def listed(service: Service, url: str, **query: object) -> list[dict[str, Any]]:
    """All entries of a list, page after page."""
    found: list[dict[str, Any]] = []
    page = 1
    while True:
        words = urllib.parse.urlencode({**query, "per_page": 100, "page": page})
        part = call(service, "GET", f"{url}?{words}")
        found += part
        if len(part) < 100:
            return found
        page += 1


def comment(service: Service, text: str) -> None:
    """Write the comment, or change the one that an earlier run wrote."""
    content = {"body": f"{MARK}\n{shortened(text)}"}
    for each in listed(service, service.comments):
        if each["body"].startswith(MARK):
            call(service, service.change, service.comment(each["id"]), content)
            return
    call(service, "POST", service.comments, content)


def drift(service: Service, report: dict[str, Any] | None) -> None:
    """Have one issue open, with the present findings, as long as hosts differ."""
    issues = listed(service, service.issues, **service.open)
    url = f"{service.issues}/{issues[0][service.number]}" if issues else ""
    if report and report["ok"]:
        if url:
            call(service, service.change, url, service.closed)
        return
    text = shortened("\n".join([*lines(report), "", f"Job: {service.job}"]))
    content = {"title": TITLE, service.body: text}
    if url:
        call(service, service.change, url, content)
    else:
        call(service, "POST", service.issues, {**content, **service.new})


def lines(report: dict[str, Any] | None) -> list[str]:
    """What differs, as Markdown, by host and service."""
    if report is None:
        return ["The comparison did not complete; the log of the job has the reason."]
    found = []
    for host in report["results"]:
        if host["ok"]:
            continue
        found += ["", f"### {host['host']}: {host['state']}", ""]
        for name, each in [
            ("the host", host),
            *((service["name"], service) for service in host["services"]),
        ]:
            found += [
                f"- {name}: {finding['message']} {finding.get('advice') or ''}".rstrip()
                for finding in each["findings"]
            ]
    return found


def shortened(text: str) -> str:
    return text if len(text) <= LIMIT else f"{text[:LIMIT]}\n\n(cut off; the job has all of it)"


def main() -> None:
    what, path = sys.argv[1], Path(sys.argv[2])
    env = dict(os.environ)
    try:
        service: Service = GitHub(env) if "GITHUB_ACTIONS" in env else GitLab(env)
    except KeyError as missing:
        sys.exit(
            f"{missing.args[0]} is not set: jobs of GitHub and GitLab have it, and a token has to be given."
        )
    if what == "comment":
        comment(service, path.read_text(encoding="utf-8"))
    elif what == "drift":
        drift(service, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
