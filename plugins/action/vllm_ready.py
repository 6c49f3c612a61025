# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks the services of a host again and again until they serve, and shows their progress."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as core_version
from ansible.utils.display import Display
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import readiness
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.status import (
    duration,
    module_arguments,
    services_of,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import names_of_awaited
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import HostVariables

display = Display()

ARGUMENTS: dict[str, dict[str, Any]] = {
    "services": {"type": "list", "elements": "raw"},
    "seen": {"type": "list", "elements": "dict", "default": []},
    "unit": {"type": "str", "default": "vllm@.service"},
    "timeout": {"type": "float", "default": 3600},
    "interval": {"type": "float", "default": 10},
    "unreachable_timeout": {"type": "float", "default": 300},
    "question_timeout": {"type": "float", "default": 10},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        self._variables = task_vars or {}
        result = super().run(tmp, task_vars)
        options = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        try:
            _check_times(options)
            services = services_of(self._services(options["services"]), wanted_only=True)
        except AscendError as error:
            raise AnsibleActionFail(str(error)) from error
        self._host = str(self._variables.get("inventory_hostname", "this host"))
        hosts = self._variables.get("ansible_play_hosts_all") or [self._host]
        watch = readiness.Watch(
            self._host,
            [service["name"] for service in services],
            readiness.step_of(len(services) * len(hosts)),
        )
        self._request = {
            "unit": options["unit"],
            "timeout": options["question_timeout"],
            "npu": False,
            "log_lines": 5,
        }
        self._asked = services
        self._limit = readiness.longest_check(
            options["question_timeout"], options["unreachable_timeout"]
        )
        self._begun = time.monotonic()
        self._retries = 0
        watch.has_deployed(options["seen"])
        for line in watch.all_ready(options["seen"]):
            self._show(line)
        failure = self._wait(watch, options) if watch.waiting else None
        result.update(
            changed=False,
            services=watch.results(),
            ready=watch.ready,
            waiting=watch.waiting,
            failed_services=sorted(watch.failed),
            elapsed=round(time.monotonic() - self._begun, 1),
            looks=watch.looks,
            unreachable_looks=self._retries,
        )
        if failure:
            # The module itself failed: its result tells more than what was seen before.
            result.update(failure)
        elif self._task.check_mode:
            not_ready = [*watch.waiting, *watch.failed]
            result["msg"] = (
                "Not ready now: " + ", ".join(not_ready) if not_ready else "All are ready."
            )
        elif watch.failed or watch.waiting:
            result.update(failed=True, msg=watch.message(options["timeout"]))
            if tuple(map(int, core_version.split(".")[:2])) < (2, 19):
                # Before, a callback shows the message of a failure as one line of JSON alone.
                self._show(result["msg"])
        return result

    def _services(self, given: list[Any] | None) -> list[Any]:
        """The services to wait for: those given, else those that the host's variables list."""
        if given is not None:
            return given
        variables = HostVariables(self, self._variables)
        settings = variables.settings()
        return names_of_awaited(
            settings,
            lambda: variables.catalogue(settings.tables),
            self._variables.get("ascend_host_deployment"),
            self._variables.get("ansible_play_hosts_all") or [variables.host],
        )

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._begun

    def _wait(self, watch: readiness.Watch, options: dict[str, Any]) -> dict[str, Any] | None:
        """Check until all are ready, one has failed for good, or the time is over; a failed result if
        the host cannot be contacted."""
        lost: float | None = None  # since when there is no answer
        while True:
            asked = self._waited
            answer, trouble = self._check(watch.waiting)
            if answer is None:
                now = self._waited
                if lost is None:
                    lost = asked
                    self._show(f"{self._host}: no answer, trying again: {_first_line(trouble)}")
                # A host that never answered is not waited for: nothing shows that it will.
                over = now - lost >= options["unreachable_timeout"] or now >= options["timeout"]
                if watch.looks == 0 or self._task.check_mode or over:
                    if watch.looks:
                        away = duration(now - lost)
                        self._show(f"{self._host}: no answer for {away}, no longer waited for")
                    # Nothing can be removed there, and trying would hide what is wrong.
                    self._connection._shell.tmpdir = None
                    if isinstance(trouble, Exception):
                        raise trouble
                    return trouble
                self._retries += 1
                self._reconnect()
            else:
                if lost is not None:
                    self._show(f"{self._host}: answers again after {duration(self._waited - lost)}")
                    lost = None
                for line in watch.update(answer["services"], self._waited):
                    self._show(line)
                for problem in answer.get("problems") or []:
                    display.vv(f"{self._host}: {problem}")
                if watch.failed or not watch.waiting or self._task.check_mode:
                    return None
                if self._waited >= options["timeout"]:
                    return None
            left = options["timeout"] - self._waited
            time.sleep(max(0.1, min(readiness.pause(self._waited, options["interval"]), left)))

    def _check(self, waiting: list[str]) -> tuple[dict[str, Any] | None, Any]:
        """One round trip: the module's result, or None and what went wrong.

        waiting: names of the services that have not shown yet that they complete.
        """
        services = [{**each, "completion": each["name"] in waiting} for each in self._asked]
        try:
            # A host that hangs keeps its connections open, and ssh would wait forever.
            with readiness.at_most(self._limit):
                answer = execute(
                    self,
                    "inferops.ascend.vllm_status",
                    module_arguments({**self._request, "services": services}),
                    self._variables,
                )
        except readiness.LateError:
            return None, AnsibleConnectionFailure(f"no answer within {self._limit:g} s")
        except AnsibleAuthenticationFailure:
            raise
        except AnsibleConnectionFailure as error:
            return None, error
        if answer.get("failed") or "services" not in answer:
            return None, answer
        return answer, None

    def _reconnect(self) -> None:
        # After a reboot neither the connection nor the temporary directory exists any more.
        self._connection._shell.tmpdir = None
        with contextlib.suppress(Exception, readiness.LateError), readiness.at_most(10):
            self._connection.reset()

    def _show(self, line: str) -> None:
        # Beside the results on standard output, which may be JSON.
        display.display(line, stderr=True)


def _check_times(options: dict[str, Any]) -> None:
    """Raises AscendError for a time that nobody can wait for."""
    for name in ("timeout", "interval", "unreachable_timeout", "question_timeout"):
        above = name in ("interval", "question_timeout")
        seconds = options[name]
        if not 0 <= seconds < float("inf") or (above and seconds == 0):
            words = "a number of seconds above 0" if above else "a number of seconds"
            raise AscendError(f"{name} is {seconds:g}; {words} is needed.")


def _first_line(trouble: Any) -> str:
    text = trouble.get("msg", "") if isinstance(trouble, dict) else str(trouble)
    return (text.strip().splitlines() or ["?"])[0]
