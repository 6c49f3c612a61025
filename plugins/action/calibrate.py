# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the trials of a calibration on a host, and writes the row, the chart and the state."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, ClassVar

from ansible.errors import AnsibleError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import write_text
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import counted
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.chart import chart, in_k
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.outcome import (
    Ended,
    evaluate,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.place import (
    HostNow,
    place_trial,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.record import (
    read_record,
    text_of,
    write_record,
    write_row,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.search import Step
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.session import (
    Calibration,
    calibration_of,
    configuration_directory,
    files_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._calibrate.trial import (
    module_trial,
    spec_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.preflight import check_host
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.readiness import Watch
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_options import host_options
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostAction,
    find_table,
)

ARGUMENTS: dict[str, Any] = {
    "model": {"type": "raw", "required": True},
    "cards": {"type": "raw", "default": []},
    "shortest": {"type": "raw", "default": "0.5K"},
    "longest": {"type": "raw", "default": ""},
    "gpu_memory_utilization": {"type": "float", "default": 0.95},
    "prompts": {"type": "int", "default": 4},
    "output_tokens": {"type": "int", "default": 128},
    "start_timeout": {"type": "float", "default": 1800},
    "benchmark_timeout": {"type": "float", "default": 3600},
    "interval": {"type": "float", "default": 10},
    "lock_timeout": {"type": "float", "default": 180},
    "table": {"type": "str", "default": ""},
    "chart": {"type": "str", "default": ""},
    "state": {"type": "str", "default": ""},
    "restart": {"type": "bool", "default": False},
}


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = ARGUMENTS

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        self._given = given = plain(given, "calibrate")
        settings, variables = self.settings, self.variables
        settings.check()
        # The table that this writes need not be there yet.
        places = {name: find_table(self, name) for name in settings.tables}
        self._catalogue = variables.catalogue([name for name in settings.tables if places[name]])
        directory = configuration_directory(given["model"])
        questions = host_options(settings, None)
        if directory:
            questions["configurations"] = [directory]
        # What an interrupted run left still has its cards, until the host has noticed.
        self._module("vllm_trial", {"phase": "wait", "lock_timeout": given["lock_timeout"]})
        facts = self._module("host_info", questions)
        read = (facts.get("configurations") or {}).get(directory) or {}
        calibration = calibration_of(given, settings, self._catalogue, read.get("config"))
        tables = [places[name] or name for name in settings.tables]
        paths = files_of(given, tables, variables.host, calibration.model)
        self._table, self._chart, self._state = paths
        found = check_host(facts, settings, [])
        report = found.as_dict(variables.host)
        if report["errors"]:
            raise AscendError(report["report"])
        now = HostNow(
            found.cards,
            found.unavailable,
            found.existing,
            [each["port"] for each in facts["ports"]],
            found.ephemeral_ports,
        )
        conditions = calibration.conditions(facts, settings.unit)
        trials, changed = read_record(self._state, conditions)
        if changed:
            self._show(
                f"{self._state} is of other conditions ({', '.join(changed)}): starting again"
            )
        trials = [] if given["restart"] else trials
        step = calibration.search.next_step([each.tried for each in trials])
        if step:  # what cannot be run is refused before it is begun
            self._trial_of(calibration, step, now)
        if self._task.check_mode:
            lines = [*calibration.plan(trials), now.describe(settings.excluded_cards)]
            return {"changed": step is not None, "plan": lines, "trials": _dicts(trials)}
        known = len(trials)
        self._run_trials(calibration, trials, conditions, now)
        return self._finish(calibration, trials, conditions, len(trials) > known)

    def _run_trials(
        self,
        calibration: Calibration,
        trials: list[Ended],
        conditions: dict[str, Any],
        now: HostNow,
    ) -> None:
        search = calibration.search
        most = search.most_starts
        for each in trials:
            self._show(f"known: {each.line}")
        while step := search.next_step([each.tried for each in trials]):
            self._show(
                f"trial {len(trials) + 1} of at most {most}: {counted(step.cards, 'card')},"
                f" {step.length} tokens"
            )
            outcome = self._trial(calibration, step, now)
            trials.append(evaluate(step, outcome, calibration.benchmark.prompts))
            write_record(self._state, conditions, trials)
            self._show(trials[-1].line)

    def _trial(self, calibration: Calibration, step: Step, now: HostNow) -> dict[str, Any]:
        """Run one trial and return its outcome; whatever happens, nothing of it is left running."""
        trial = self._trial_of(calibration, step, now)
        secrets = trial.pop("secrets")  # apart, because options of a module are logged on the host
        lock = {"lock_timeout": self._given["lock_timeout"]}
        start = {"phase": "start", "trial": trial, "secrets": secrets, **lock}
        self._module("vllm_trial", start)
        ended = False
        try:
            outcome = self._follow(str(trial["name"]))
            ended = True
            return outcome
        finally:
            if not ended:
                with contextlib.suppress(AscendError, AnsibleError):
                    self._module("vllm_trial", {"phase": "stop", **lock})

    def _trial_of(self, calibration: Calibration, step: Step, now: HostNow) -> dict[str, Any]:
        """The trial as the host runs it. Raises AscendError where it cannot be run."""
        settings = self.settings
        spec = spec_of(calibration.request, step, self._catalogue, settings.lookup)
        service = place_trial(spec, now, settings).as_dict()
        timeouts = {name: self._given[name] for name in ("start_timeout", "benchmark_timeout")}
        return module_trial(
            service, settings.unit, calibration.benchmark, timeouts, settings.npu_smi or None
        )

    def _follow(self, name: str) -> dict[str, Any]:
        watch = Watch(self.variables.host, [name])
        begun, phase = time.monotonic(), "starting"
        parent = os.getppid()
        while True:
            # This process outlives an ansible-playbook that is killed.
            if os.getppid() != parent:
                raise AscendError("ansible-playbook is gone.")
            state = self._module(
                "vllm_trial", {"phase": "follow", "patience": self._given["interval"]}
            )
            if state["finished"]:
                break
            if state["status"] and not watch.failed:
                for line in watch.update([state["status"]], time.monotonic() - begun):
                    self._display.display(line, stderr=True)
            if state["phase"] != phase and state["phase"] == "benchmark":
                self._show("it serves; the benchmark runs")
            phase = state["phase"]
        if state["error"]:
            raise AscendError(f"{state['error'].rstrip('.')}. The trials before are kept.")
        outcome: dict[str, Any] = state["outcome"]
        return outcome

    def _finish(
        self,
        calibration: Calibration,
        trials: list[Ended],
        conditions: dict[str, Any],
        changed: bool,
    ) -> dict[str, Any]:
        answer = calibration.search.answer([each.tried for each in trials])
        subtitle = (
            f"{conditions['card_memory_gb']:g} GB cards, {conditions['engine']}, utilization"
            f" {conditions['gpu_memory_utilization']:g}"
        )
        drawing = chart(
            f"Calibration of {calibration.model}", subtitle, calibration.search, trials, answer
        )
        if text_of(self._chart) != drawing:
            write_text(self._chart, drawing)
            changed = True
        result = {"trials": _dicts(trials), "chart": str(self._chart), "table": str(self._table)}
        if answer is None:
            raise AscendError(
                f"{calibration.model} carries none of the lengths on"
                f" {' or '.join(map(str, calibration.search.cards))} cards. The last trial:"
                f" {trials[-1].line}. Give it more cards (vllm_calibrate_cards), a shorter"
                f" vllm_calibrate_shortest, or quantized weights. {self._chart} shows all trials."
            )
        row = calibration.row(answer, trials, conditions, self.variables.host, self._chart.name)
        before, after = write_row(self._table, row, changed, self._show)
        if self._task.diff and after != before:
            result["diff"] = {"before": before or "", "after": after}
        self._show(
            f"{calibration.model}: {in_k(answer.length)} ({answer.length} tokens) on"
            f" {counted(answer.cards, 'card')}, in {counted(len(trials), 'start')}; {self._table}"
        )
        return {**result, "changed": changed or before is None, "row": row}

    # -- Ansible --------------------------------------------------------------------------------

    def _module(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = execute(self, f"inferops.ascend.{name}", arguments, self.task_vars)
        if result.get("failed") or result.get("unreachable"):
            raise AscendError(str(result.get("msg", "the module failed")))
        return dict(plain(result, name))

    def _show(self, line: str) -> None:
        self._display.display(f"{self.variables.host}: {line}", stderr=True)


def _dicts(trials: list[Ended]) -> list[dict[str, Any]]:
    return [each.as_dict() for each in trials]
