# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else the example defines: syntax of its pipelines, a hook, ansible-pull, an execution environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .fleet import KEY, Fleet


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [("github-workflows", ".github/workflows/*.yml"), ("gitlab-ci", ".gitlab-ci.yml")],
)
def test_pipelines_are_as_their_services_define_them(
    repository: Path, schema: str, pattern: str
) -> None:
    files = sorted(map(str, (repository / "examples" / "repository").glob(pattern)))
    check = ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert files
    assert done.returncode == 0, done.stdout


def test_a_commit_without_its_plan_is_rejected(fleet: Fleet) -> None:
    fleet.git("config", "user.name", "A User")
    fleet.git("config", "user.email", "user@example.com")
    fleet.install()
    assert fleet.run("pre-commit", "install").returncode == 0
    fleet.add_model("Qwen3-32B")
    commit = ("git", "commit", "--all", "-m", "Serve Qwen3-32B")
    stale = fleet.run(*commit)
    assert stale.returncode != 0
    assert "stale for 1 host: npu-01" in stale.stdout
    assert fleet.run("ansible-playbook", "inferops.ascend.plan").returncode == 0
    planned = fleet.run(*commit)
    assert planned.returncode == 0, planned.stdout


def test_ansible_pull_takes_the_services_of_its_host_alone(fleet: Fleet) -> None:
    """On this machine, which has no cards: it is compared with what npu-01 needs, and not changed."""
    fleet.install()
    place = str(fleet.root / "pulled")
    pull = ["ansible-pull", "--check", "-U", fleet.origin.as_uri(), "-C", "main", "-d", place]
    python = f"ansible_python_interpreter={sys.executable}"
    done = fleet.run(*pull, "-l", "npu-01", "-e", python, VLLM_KEY=KEY)
    assert done.returncode != 0
    assert "Preflight of npu-01" in done.stdout, done.stdout
    assert "npu-02" not in done.stdout.partition("PLAY [")[2]


def test_an_execution_environment_gets_what_the_collection_needs(fleet: Fleet) -> None:
    fleet.install()
    found = fleet.run("ansible-builder", "introspect", str(fleet.runner / ".ansible/collections"))
    assert found.returncode == 0, found.stdout
    needs = yaml.safe_load(found.stdout.partition("---")[2])
    assert any(each.startswith("jsonschema") for each in needs["python"])
    for package in ("openssh-clients", "git", "rsync"):
        assert any(each.startswith(f"{package} [platform:rpm]") for each in needs["system"])


def test_the_image_of_an_execution_environment_can_be_described(
    repository: Path, tmp_path: Path
) -> None:
    example = repository / "examples" / "repository"
    create = ["ansible-builder", "create", "--context", str(tmp_path)]
    done = subprocess.run(create, cwd=example, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "Containerfile").exists()
    installed = yaml.safe_load((tmp_path / "_build" / "requirements.yml").read_text())
    assert installed == yaml.safe_load((example / "requirements.yml").read_text())
