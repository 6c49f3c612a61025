# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example repository as somebody uses it: a copy with its origin, and jobs on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import jobs
from .api import TOKEN, Service

REPOSITORY = "acme/fleet"
KEY = "a-key-of-clients"


@dataclass
class Fleet:
    """A clone in `work`, which pushes to `origin`; jobs have `runner` as their home."""

    root: Path
    runner: Path
    service: Service
    ssh_key: str = ""

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def origin(self) -> Path:
        return self.root / "origin.git"

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=A User", "-c", "user.email=user@example.com", *words],
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def start(self, example: Path, tarball: Path) -> None:
        """Copy the example, with the collection from a tarball in place of Galaxy's, and push it."""
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(self.origin)], check=True)
        self.root.mkdir(exist_ok=True)
        shutil.copytree(example, self.work)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", str(self.origin))
        self.write("requirements.yml", {"collections": [{"name": str(tarball), "type": "file"}]})
        self.commit("The first state")
        self.push("main")

    def write(self, path: str, content: Any) -> None:
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        (self.work / path).write_text(text, encoding="utf-8")

    def commit(self, text: str) -> None:
        self.git("add", "--all")
        self.git("commit", "-q", "-m", text)

    def push(self, branch: str) -> None:
        self.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")

    def add_model(self, model: str) -> None:
        path = self.work / "inventory" / "group_vars" / "ascend.yml"
        entry = f'  - model: {model}\n    api_key: "{{{{ vllm_key }}}}"\n'
        path.write_text(path.read_text(encoding="utf-8") + entry, encoding="utf-8")

    def install(self) -> None:
        """Install the collection in the home of the runner."""
        words = ("ansible-galaxy", "collection", "install", "-r", "requirements.yml")
        done = self.run(*words)
        assert done.returncode == 0, done.stdout

    def refuse_connections(self) -> None:
        """Give the hosts an address where nothing listens."""
        path = self.work / "inventory" / "hosts.yml"
        inventory = yaml.safe_load(path.read_text(encoding="utf-8"))
        for host in inventory["ascend"]["hosts"].values():
            host |= {"ansible_host": "127.0.0.1", "ansible_port": 1}
        self.write("inventory/hosts.yml", inventory)
        self.commit("Use addresses that refuse")
        self.push("main")

    def request(self) -> None:
        """What a service makes of a pushed branch: the commit that merges it into main."""
        self.push("change")
        tree = self.git("rev-parse", "HEAD^{tree}")
        main = self.git("ls-remote", "origin", "refs/heads/main").split()[0]
        head = self.git("rev-parse", "HEAD")
        merge = self.git("commit-tree", "-p", main, "-p", head, "-m", "Merge", tree)
        self.git("push", "-q", "--force", "origin", f"{merge}:refs/pull/7/merge")

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command of the user's in the clone."""
        return jobs.run(words, self.work, {**self.environment, **env})

    @property
    def environment(self) -> dict[str, str]:
        """What a runner has: the programs of this test's environment, no settings, no index of packages."""
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.runner),
            "LANG": "C.UTF-8",
            "PIP_NO_INDEX": "1",
        }

    def github(self, workflow: str, fork: bool = False) -> jobs.Job:
        ref = "refs/pull/7/merge" if workflow == "plan" else "refs/heads/main"
        env = {**self.environment, **github_variables(self.service.url), "GITHUB_REF": ref}
        values = {
            "github.token": TOKEN,
            "github.repository": REPOSITORY,
            "github.event.pull_request.head.repo.full_name": "a-fork/fleet" if fork else REPOSITORY,
            "secrets.SSH_KEY": self.ssh_key,
            "secrets.VLLM_KEY": KEY,
        }
        path = self.work / ".github" / "workflows" / f"{workflow}.yml"
        return jobs.github(path, self.origin, self.root / "checkout", env, values)

    def gitlab(self, job: str) -> jobs.Job:
        key = self.root / "key-of-gitlab"
        key.write_text(f"{self.ssh_key}\n", encoding="utf-8")
        key.chmod(0o666)
        sources = {"plan": "merge_request_event", "deploy": "push", "drift": "schedule"}
        env = {
            **self.environment,
            **gitlab_variables(self.service.url),
            "CI_PIPELINE_SOURCE": sources[job],
            "CI_COMMIT_BRANCH": "" if job == "plan" else "main",
            "CI_COMMIT_SHA": self.git("rev-parse", "HEAD"),
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": self.git("merge-base", "origin/main", "HEAD"),
            "SSH_KEY": str(key),
            "VLLM_KEY": KEY,
        }
        path = self.work / ".gitlab-ci.yml"
        return jobs.gitlab(path, job, self.origin, self.root / "checkout", env)


def github_variables(url: str) -> dict[str, str]:
    """What GitHub sets in every job, as far as the example reads it."""
    return {
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": url,
        "GITHUB_SERVER_URL": "https://github.example.com",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "4711",
    }


def gitlab_variables(url: str) -> dict[str, str]:
    """What GitLab sets in every job and in those of a merge request, and the token of the project."""
    return {
        "GITLAB_CI": "true",
        "CI_API_V4_URL": f"{url}/api/v4",
        "CI_DEFAULT_BRANCH": "main",
        "CI_JOB_URL": "https://gitlab.example.com/acme/fleet/-/jobs/4711",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_PROJECT_ID": "42",
        "GITLAB_TOKEN": TOKEN,
    }


def services(text: str) -> dict[str, str]:
    """What a table of the plan's Markdown says was changed: by service its new place."""
    rows = re.findall(r"^\| (?:added|moved) \| `([^`]+)` \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    return dict(rows)
