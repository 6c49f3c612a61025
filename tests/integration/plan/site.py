# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory as people write it, and the playbook plan run on it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.filter.place import place_filter as place
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import profile
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options as ResolveOptions,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    with_profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms

from ..hosts import environment

FILE = "vllm_service_instances.yml"
PROFILE = "atlas-800i-a2-64g"


@dataclass
class Outcome:
    """One run of ansible-playbook."""

    status: int
    output: str

    @property
    def changed(self) -> bool:
        return any(int(count) for count in re.findall(r"changed=(\d+)", self.output))

    @property
    def words(self) -> str:
        """The output with the escapes of JSON undone and lines joined, also those of a list."""
        joined = re.sub(r'",\n\s+"', " ", self.output)
        return " ".join(joined.replace("\\n", " ").replace('\\"', '"').split())


@dataclass
class Site:
    """An inventory in a directory of its own."""

    root: Path
    sources: list[str] = field(default_factory=lambda: ["hosts.yml"])
    profile: str | None = PROFILE

    def write(self, path: str, content: Any) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        file.write_text(text, encoding="utf-8")
        return file

    def group(self, *services: Any, hosts: Any = ("npu-[01:03]",), **variables: Any) -> None:
        """Write hosts.yml: a group that lists services, with hosts by name and variables."""
        named = hosts if isinstance(hosts, dict) else {host: {} for host in hosts}
        common: dict[str, Any] = {"vllm_plan_services": list(services), **variables}
        if self.profile:
            common["ascend_host_profile"] = self.profile
        self.write("hosts.yml", {"ascend": {"hosts": named, "vars": common}})

    def run(self, *command: str, **more: str) -> Outcome:
        done = subprocess.run(
            command,
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**environment(), **more},
        )
        return Outcome(done.returncode, done.stdout + done.stderr)

    def inventory(self) -> list[str]:
        return [word for source in self.sources for word in ("-i", source)]

    def plan(self, *flags: str, env: dict[str, str] | None = None, **variables: Any) -> Outcome:
        extra = ["-e", json.dumps(variables)] if variables else []
        playbook = "inferops.ascend.plan"
        return self.run(
            "ansible-playbook", playbook, *self.inventory(), *extra, *flags, **(env or {})
        )

    def planned(self, *flags: str, **variables: Any) -> Outcome:
        """A run that has to go well."""
        outcome = self.plan(*flags, **variables)
        assert outcome.status == 0, outcome.output
        return outcome

    def refused(self, *flags: str, **variables: Any) -> str:
        """What a run says that has to fail, and to leave everything as it is."""
        before = self.tree()
        outcome = self.plan(*flags, **variables)
        assert outcome.status != 0, outcome.output
        assert self.tree() == before
        return outcome.words

    def tree(self) -> dict[str, str]:
        """Every file below the directory that has the inventory's directory, and its text."""
        return {
            str(path.relative_to(self.root.parent)): (
                os.readlink(path) if path.is_symlink() else path.read_text(encoding="utf-8")
            )
            for path in sorted(self.root.parent.rglob("*"))
            if path.is_symlink() or path.is_file()
        }

    def file(self, host: str, base: str = ".") -> Path:
        return self.root / base / "host_vars" / host / FILE

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob(FILE))
        }

    def variables(self) -> dict[str, dict[str, Any]]:
        """The variables of all hosts as Ansible loads them, templates unrendered."""
        done = subprocess.run(
            ["ansible-inventory", "--list", *self.inventory()],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=True,
            env=environment(),
        )
        hosts: dict[str, dict[str, Any]] = json.loads(done.stdout)["_meta"]["hostvars"]
        return hosts

    def where(self) -> dict[str, dict[str, list[int]]]:
        """The cards of each service by host, as written."""
        return {
            host: {
                each["name"]: each["cards"]
                for each in own["vllm_service_instances"]
                if isinstance(each, dict)
            }
            for host, own in self.variables().items()
            if "vllm_service_instances" in own
        }

    def deployed(self) -> dict[str, dict[str, tuple[list[int], int, int]]]:
        """Cards, port and length of each service by host, as the role vllm_service has them."""
        found = {}
        for host, own in self.variables().items():
            kind = profile(own["ascend_host_profile"])
            specs = resolve_terms(
                own["vllm_service_instances"],
                load_catalogue(),
                with_profile(ResolveOptions(), None, kind.name),
            )
            placed = place(
                [spec.as_dict() for spec in specs],
                kind.cards,
                excluded=own.get("ascend_host_excluded_cards", []),
                block_unit=kind.cards_per_board,
            )
            found[host] = {
                each["name"]: (each["cards"], each["port"], each["max_model_len"])
                for each in placed
            }
        return found
