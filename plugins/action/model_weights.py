# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides here what each directory needs, has the host download it, and shows how far that is."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.module_utils._weights.faults import bare_url
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import flat, plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import Variables
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.identify import OnHost
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.compatibility import compare
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.jobs import (
    jobs_of,
    progress_line,
    size,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.options import (
    WeightsOptions,
    options_of_host,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostVariables

ARGUMENTS: dict[str, dict[str, Any]] = {
    "services": {"type": "list"},
    "tables": {"type": "list", "elements": "str"},
    "weights_dir": {"type": "str"},
    "source": {"type": "str", "default": "local"},
    "models": {"type": "dict", "default": {}},
    "location": {"type": "str", "default": ""},
    "endpoints": {"type": "dict", "default": {}},
    "skip": {"type": "list", "elements": "str", "default": []},
    "verify": {"type": "bool", "default": False},
    "checks": {"type": "dict", "default": {}},
    "env": {"type": "dict"},
    "interval": {"type": "float", "default": 10},
    "progress": {"type": "bool", "default": True},
    "connections": {"type": "int", "default": 4},
    "user": {"type": "str"},
    "groups": {"type": "list", "elements": "str"},
    "packages": {"type": "dict"},
    "huggingface_token": {"type": "str", "no_log": True},
    "modelscope_token": {"type": "str", "no_log": True},
}
# What the module is given as it is.
_PASSED = ("user", "groups", "connections", "packages", "huggingface_token", "modelscope_token")


class ActionModule(ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        self._task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _result, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        try:
            result.update(self._converge(self._complete(given)))
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        return result

    def _complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options, those that are not given from the host's variables."""
        given = {key: plain(value, key) for key, value in given.items() if value is not None}
        host = HostVariables(self, self._task_vars)
        found: dict[str, Any] = {**options_of_host(Variables(host.read)), **given}
        if not 0 < found["interval"] <= 3600:
            raise AscendError(
                f"interval is {found['interval']}; seconds above 0 and up to 3600 are needed."
            )
        settings = host.settings()
        self._catalogue = host.catalogue(found.get("tables", settings.tables))
        if found.get("services") is None:
            found["services"] = host.read("vllm_weights_services")
        if found["services"] is None:
            # Weights on a host may be all that is known of a model: there is nothing to check then.
            lookup = replace(settings.lookup, on_host=OnHost())
            specs = resolve_terms(flat(settings.instances or []), self._catalogue, lookup)
            found["services"] = [spec.as_dict() for spec in specs]
        return found

    # -- the way through it ------------------------------------------------------------------------

    def _converge(self, given: Mapping[str, Any]) -> dict[str, Any]:
        services = given["services"]
        options = WeightsOptions(**{each.name: given[each.name] for each in fields(WeightsOptions)})
        self._passed = {key: given[key] for key in _PASSED if key in given}
        jobs = jobs_of(services, options)
        for job in jobs:
            if job["src"]:
                job["size"] = self._archive_here(job)
        by_directory = {job["directory"]: job for job in jobs}
        specs = {
            job["directory"]: [
                each
                for each in services
                if each.get("name") in job["services"] and each.get("state") != "absent"
            ]
            for job in jobs
        }

        answer = self._module("check", jobs)
        if answer.get("failed"):
            return answer
        records = answer["records"]
        errors, warnings = self._evaluate(records, specs, options)
        errors += [answer["room"]] if answer["room"] else []
        if errors:
            return _failure(errors, warnings, _outcome(records, by_directory, ()))
        wanted = [each["directory"] for each in records if each["state"] == "fetch"]
        pending = wanted + [each["directory"] for each in records if each["state"] == "verify"]
        writable = [
            each["directory"] for each in records if each["world_writable"] and each["ours"]
        ]
        outcome: dict[str, Any] = {
            "changed": bool(wanted or writable),
            "diff": _diff(records, by_directory),
        }
        if self._task.check_mode or not (pending or writable):
            outcome["weights"] = _outcome(records, by_directory, ())
            return _with(outcome, warnings)

        todo = [
            by_directory[directory]
            for directory in [*pending, *(f for f in writable if f not in pending)]
        ]
        for record in records:
            if record["why"] and record["directory"] in wanted:
                # Something of ours is replaced: whoever changed it by hand is to see why.
                model = by_directory[record["directory"]]["model"]
                self._display_line(
                    f"{model}: fetched again into {record['directory']}: {record['why']}"
                )
        for job in todo:
            if job["src"] and job["directory"] in wanted:
                self._send_archive(job)
        answer = self._module("start", todo)
        if answer.get("failed"):
            return answer
        # Another run may have downloaded it since the check.
        if answer["run"]:
            failed = self._follow(answer["run"], given["interval"], given["progress"])
            errors = [
                f"{by_directory[directory]['model']}: {error}" if error else ""
                for directory, error in failed.items()
            ]
        answer = self._module("check", jobs)
        if answer.get("failed"):
            return answer
        records = answer["records"]
        outcome["weights"] = _outcome(records, by_directory, wanted)
        if not errors:
            errors, more = self._evaluate(records, specs, options)
            warnings += [each for each in more if each not in warnings]
            errors += [
                f"{each['directory']} is still not complete: {each['why'] or each['state']}. Run it again."
                for each in records
                if each["state"] == "fetch"
            ]
        if errors:
            return _failure(errors, warnings, outcome["weights"], changed=bool(wanted))
        return _with(outcome, warnings)

    def _display_line(self, line: str) -> None:
        host = self._task_vars.get("inventory_hostname", "host")
        self._display.display(f"{host}: {line}")

    def _follow(self, run: str, interval: float, show: bool) -> dict[str, str]:
        """Wait for a run's end; return the errors by directory."""
        before: dict[str, tuple[float, int]] = {}
        shown: dict[str, str] = {}
        patience = min(1.0, interval)
        while True:
            answer = self._module("follow", [], run=run, patience=patience)
            if answer.get("failed"):
                raise AscendError(str(answer.get("msg")))
            patience = interval
            now = time.monotonic()
            for directory, state in answer["directories"].items():
                rate = None
                if directory in before and state["done"] > before[directory][1]:
                    rate = (state["done"] - before[directory][1]) / (now - before[directory][0])
                before[directory] = (now, state["done"])
                line = progress_line(state, rate)
                if show and shown.get(directory) != line and state["phase"] != "waiting":
                    self._display_line(line)
                shown[directory] = line
            if answer["finished"] or answer["died"]:
                break
        errors = {directory: state["error"] for directory, state in answer["directories"].items()}
        if answer["died"]:
            lost = "the process that fetched it ended: killed, or out of memory. Run it again"
            for directory, state in answer["directories"].items():
                if state["phase"] not in ("done", "failed"):
                    errors[directory] = f"{lost}; it continues where it was"
        return {directory: error for directory, error in errors.items() if error}

    def _evaluate(
        self, records: list[dict[str, Any]], specs: Mapping[str, Any], options: WeightsOptions
    ) -> tuple[list[str], list[str]]:
        """(errors, warnings) about what the host found and what the models' own configurations have."""
        errors, warnings = [], []
        for record in records:
            if record["state"] == "refused":
                errors.append(record["problem"])
                continue
            if record["world_writable"] and not record["ours"]:
                warnings.append(
                    f"{record['writable']} may be written by everybody on the host: run"
                    f" 'chmod -R o-w {record['directory']}' there."
                )
            if record["note"]:
                warnings.append(record["note"])
            for spec in specs[record["directory"]]:
                match = self._catalogue.find(str(spec.get("model")))
                facts = self._catalogue.facts(match.model) if match else None
                for finding in compare(spec, record, facts, options):
                    (errors if finding.severity == "error" else warnings).append(finding.message)
        return errors, warnings

    # -- the host ----------------------------------------------------------------------------------

    def _module(self, phase: str, jobs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        # The host logs a module's arguments: an address with a password or signature goes by one
        # that it does not log.
        secret = {
            job["directory"]: job["location"]
            for job in jobs
            if "://" in job["location"] and bare_url(job["location"]) != job["location"]
        }
        return dict(
            execute(
                self,
                "inferops.ascend.model_weights",
                {
                    **self._passed,
                    **more,
                    "phase": phase,
                    "jobs": [
                        {
                            **{key: value for key, value in job.items() if key in Job._fields},
                            **({"location": ""} if job["directory"] in secret else {}),
                        }
                        for job in jobs
                    ],
                    "addresses": secret,
                },
                self._task_vars,
            )
        )

    # -- files of the controller ----------------------------------------------------------------

    def _archive_here(self, job: dict[str, Any]) -> int:
        try:
            path = self._find_needle("files", job["src"])
        except AnsibleError:
            path = ""
        if not os.path.isfile(path):
            raise AscendError(
                f"{job['model']}: the archive {job['src']} is not on the controller. Give its"
                " absolute path, or a path below files/ of the playbook."
            )
        job["src"] = path
        return os.path.getsize(path)

    def _send_archive(self, job: dict[str, Any]) -> None:
        if not job["sha256"]:
            # The way to the host is guarded too.
            hasher = hashlib.sha256()
            with open(job["src"], "rb") as handle:
                while block := handle.read(1 << 20):
                    hasher.update(block)
            job["sha256"] = hasher.hexdigest()
        self._display_line(f"{job['model']}: sending {size(job['size'])}")
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "archive.tar")
        job["location"] = self._transfer_file(job["src"], remote)
        job["src"] = ""


def _outcome(
    records: list[dict[str, Any]], jobs: Mapping[str, Any], fetched: Any
) -> list[dict[str, Any]]:
    return [
        {
            "directory": each["directory"],
            "model": jobs[each["directory"]]["model"],
            "services": jobs[each["directory"]]["services"],
            "source": jobs[each["directory"]]["source"],
            "state": each["state"],
            "fetched": each["directory"] in fetched,
            "bytes": each["total"],
            "missing": each["missing"],
            "files": each["files"],
            "commit": each["commit"],
        }
        for each in records
    ]


def _diff(records: list[dict[str, Any]], jobs: Mapping[str, Any]) -> list[dict[str, str]]:
    diffs = []
    for each in records:
        if each["state"] != "fetch":
            continue
        job = jobs[each["directory"]]
        origin = job["id"] or bare_url(job["location"]) or job["src"]
        state = (
            f" at {each['commit'] or job['revision']}" if each["commit"] or job["revision"] else ""
        )
        left = f", {size(each['missing'])} still to come" if each["missing"] < each["total"] else ""
        diffs.append(
            {
                "before_header": each["directory"],
                "after_header": each["directory"],
                "before": f"{each['why']}\n" if each["why"] else "",
                "after": f"{job['model']} from {job['source']} {origin}{state}:"
                f" {size(each['total'])}{left}\n",
            }
        )
    return diffs


def _failure(
    errors: list[str], warnings: list[str], weights: list[dict[str, Any]], changed: bool = False
) -> dict[str, Any]:
    return _with(
        {"failed": True, "changed": changed, "msg": "\n".join(errors), "weights": weights}, warnings
    )


def _with(outcome: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    if warnings:
        outcome["warnings"] = warnings
    return outcome
