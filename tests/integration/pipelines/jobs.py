# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of GitHub Actions and GitLab CI, run on this machine as far as the example uses them.

What an example uses and this does not know is an error, and not left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class Job:
    """What came of a job. artifacts: by name their text; summary: what the page of the run shows."""

    ok: bool = True
    output: str = ""
    summary: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)


def run(
    words: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """A command without a terminal, with all that it prints in one text."""
    return subprocess.run(
        words,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def shell(script: str, options: str, cwd: Path, env: Mapping[str, str], job: Job) -> bool:
    done = run(["bash", "--noprofile", "--norc", *options.split(), "-c", script], cwd, env)
    job.output += done.stdout
    return done.returncode == 0


def checkout(origin: Path, ref: str, depth: int, place: Path) -> None:
    """A clone as services make it: the commit of a ref with `depth` generations; 0 is all."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    shallow = [f"--depth={depth}"] if depth else []
    for words in (
        ["init", "-q"],
        ["fetch", "-q", *shallow, origin.as_uri(), ref],
        ["checkout", "-q", "--detach", "FETCH_HEAD"],
    ):
        subprocess.run(["git", *words], cwd=place, check=True)


def github(
    workflow: Path,
    origin: Path,
    place: Path,
    env: Mapping[str, str],
    values: Mapping[str, str],
) -> Job:
    """Run the one job of a workflow. values: what its expressions refer to (`secrets.NAME`, ...)."""
    [described] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    job, temporary = Job(), place.with_suffix(".temp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    exported, summary = temporary / "env", temporary / "summary"
    exported.touch()
    summary.touch()

    def rendered(mapping: Mapping[str, Any]) -> dict[str, str]:
        return {
            name: EXPRESSION.sub(lambda found: values[found[1]], str(value))
            for name, value in mapping.items()
        }

    shared = {
        **env,
        "CI": "true",
        "GITHUB_ENV": str(exported),
        "GITHUB_STEP_SUMMARY": str(summary),
        "RUNNER_TEMP": str(temporary),
        **rendered(described.get("env", {})),
    }
    for step in described["steps"]:
        if not _wanted(step.get("if", "success()"), job.ok, values):
            continue
        given = step.get("with", {})
        action = step.get("uses", "")
        if action.startswith("actions/checkout@"):
            checkout(origin, env["GITHUB_REF"], int(given.get("fetch-depth", 1)), place)
        elif action.startswith("actions/setup-python@"):
            continue  # the Python of this test's environment
        elif action.startswith("actions/upload-artifact@"):
            path = place / given["path"]
            if path.exists():
                job.artifacts[given["path"]] = path.read_text(encoding="utf-8")
            elif given.get("if-no-files-found") != "ignore":
                job.ok = False
        else:
            more = dict(line.split("=", 1) for line in exported.read_text().splitlines())
            own = {**shared, **more, **rendered(step.get("env", {}))}
            job.ok = shell(step["run"], "-e", place, own, job) and job.ok
    job.summary = summary.read_text(encoding="utf-8")
    return job


def _wanted(condition: str, ok: bool, values: Mapping[str, str]) -> bool:
    found = EXPRESSION.fullmatch(condition)
    for term in (found[1] if found else condition).split(" && "):
        if term == "success()":
            holds = ok
        elif term in ("always()", "!cancelled()"):
            holds = True
        else:
            left, right = term.split(" == ")
            holds = values[left] == values[right]
        if not holds:
            return False
    return True


def gitlab(described: Path, name: str, origin: Path, place: Path, env: Mapping[str, str]) -> Job:
    """Run a job of .gitlab-ci.yml. Its variables have to include those that its rules read."""
    jobs = yaml.safe_load(described.read_text(encoding="utf-8"))
    own = {**jobs["default"], **jobs.get(jobs[name].get("extends"), {}), **jobs[name]}
    assert any(_rule(rule["if"], env) for rule in own["rules"]), f"no rule runs {name}"
    variables = {**env, "CI": "true", **own.get("variables", {})}
    job = Job()
    checkout(origin, env["CI_COMMIT_SHA"], int(variables.get("GIT_DEPTH", 20)), place)
    script = "\n".join([*own["before_script"], *own["script"]])
    job.ok = shell(script, "-eo pipefail", place, variables, job)
    # It changes nothing of the job's status.
    shell("\n".join(own.get("after_script", [])), "-eo pipefail", place, variables, job)
    for path in own["artifacts"]["paths"]:
        if (job.ok or own["artifacts"]["when"] == "always") and (place / path).exists():
            job.artifacts[path] = (place / path).read_text(encoding="utf-8")
    return job


def _rule(condition: str, env: Mapping[str, str]) -> bool:
    def value(word: str) -> str:
        return env.get(word[1:], "") if word.startswith("$") else word.strip('"')

    return all(
        value(left) == value(right)
        for left, right in (term.split(" == ") for term in condition.split(" && "))
    )
