# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the example's ci/notify.py tells people, by either service."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .api import LONGEST, TOKEN, Service, serving
from .fleet import github_variables, gitlab_variables

Notify = Callable[[str, str | None], None]

SAME: dict[str, Any] = {"ok": True, "results": []}
DIFFERS: dict[str, Any] = {
    "ok": False,
    "results": [
        {"host": "npu-01", "ok": True, "state": "ok", "services": [], "findings": []},
        {
            "host": "npu-02",
            "ok": False,
            "state": "differs",
            "services": [
                {
                    "name": "chat",
                    "findings": [{"message": "it is stopped.", "advice": "Run deploy."}],
                }
            ],
            "findings": [{"message": "card 6 is in use.", "advice": None}],
        },
    ],
}


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as service:
        yield service


@pytest.fixture(params=["GitHub", "GitLab"])
def notify(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path, service: Service
) -> Notify:
    script = repository / "examples" / "repository" / "ci" / "notify.py"
    if request.param == "GitHub":
        env = github_variables(service.url)
        env |= {"GITHUB_REF": "refs/pull/7/merge", "GITHUB_TOKEN": TOKEN}
    else:
        env = gitlab_variables(service.url)

    def run(what: str, text: str | None) -> None:
        path = tmp_path / "report"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text, encoding="utf-8")
        subprocess.run([sys.executable, str(script), what, str(path)], env=env, check=True)

    return run


def test_drift_has_one_issue_as_long_as_it_lasts(notify: Notify, service: Service) -> None:
    notify("drift", json.dumps(SAME))
    assert service.issues == []
    notify("drift", json.dumps(DIFFERS))
    notify("drift", json.dumps(DIFFERS))
    [issue] = service.open
    text = issue.get("body") or issue["description"]
    assert "### npu-02: differs" in text
    assert "- chat: it is stopped. Run deploy." in text
    assert "- the host: card 6 is in use." in text
    assert "npu-01" not in text
    notify("drift", json.dumps(SAME))
    assert service.open == []


def test_a_comparison_that_did_not_end_has_an_issue_too(notify: Notify, service: Service) -> None:
    notify("drift", None)
    [issue] = service.open
    assert "4711" in (issue.get("body") or issue["description"]), "the job that has the log"


def test_a_request_has_one_comment_with_the_last_text(notify: Notify, service: Service) -> None:
    notify("comment", "The first plan")
    notify("comment", "The second plan")
    [comment] = service.ours
    assert comment.endswith("The second plan")


def test_a_long_comment_is_cut_and_says_so(notify: Notify, service: Service) -> None:
    notify("comment", "x" * (LONGEST + 1))
    [comment] = service.ours
    assert comment.endswith("(cut off; the job has all of it)")


@pytest.mark.parametrize(
    ("token", "words"),
    [(None, "GITLAB_TOKEN is not set"), ("another", "401")],
    ids=["missing", "wrong"],
)
def test_a_token_that_does_not_work_is_an_error_of_one_line(
    repository: Path, tmp_path: Path, service: Service, token: str | None, words: str
) -> None:
    env = gitlab_variables(service.url)
    env.pop("GITLAB_TOKEN")
    if token:
        env["GITLAB_TOKEN"] = token
    script = repository / "examples" / "repository" / "ci" / "notify.py"
    run = subprocess.run(
        [sys.executable, str(script), "drift", str(tmp_path / "none")],
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert words in run.stderr
    assert len(run.stderr.splitlines()) == 1
