# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gives the plan what Ansible knows of the hosts, and hands back what came of it."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.lock import locked
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.output import (
    check_writable,
    write_json,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.words import WIDTH, wrap
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import Catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan import outcome
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.directory import LOCK
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.files import diffs
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.html import (
    html,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.inventory import (
    Problem,
    TaggedValue,
    is_template,
    some,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.markdown import (
    markdown,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.result import (
    PlanRejected,
    PlanSettings,
    Run,
    page,
    short,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.run import (
    Planning,
    directories_of,
    existing_directories,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.terminal import (
    card_map,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    catalogue_of,
    hosts_matching,
    located,
    raw_variables,
    trust_as_template,
)

try:
    from ansible.template import is_trusted_as_template
except ImportError:  # ansible-core before 2.19 marks what is not to be rendered instead
    from ansible.utils.unsafe_proxy import AnsibleUnsafe

    def is_trusted_as_template(value: object) -> bool:
        return not isinstance(value, AnsibleUnsafe)


ARGUMENTS = {
    "hosts": {"type": "str", "default": ""},
    "output": {"type": "str", "default": ""},
    "repack": {"type": "bool", "default": False},
    "locked": {"type": "bool", "default": False},
    "adopt_host_vars": {"type": "bool", "default": False},
    "lock_timeout": {"type": "float", "default": 60},
    "markdown": {"type": "str", "default": ""},
    "html": {"type": "str", "default": ""},
    "json": {"type": "str", "default": ""},
    "facts": {"type": "list", "elements": "dict", "default": []},
    "return_plan": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        self._supports_async = False
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        check = bool(self._task.check_mode)
        settings = PlanSettings(
            output=given["output"],
            repack=given["repack"],
            adopt=given["adopt_host_vars"],
            check=check,
            extensions=tuple(C.YAML_FILENAME_EXTENSIONS),
        )
        try:
            for path in (given["json"], given["markdown"], given["html"]):
                if path:
                    check_writable(path)
            _reject_limit(task_vars)
            seen = _seen(given["facts"])
            with contextlib.ExitStack() as locks:
                if not (check or given["locked"]):
                    self._lock(locks, task_vars, given)
                return {**result, **self._plan(settings, seen, given, task_vars)}
        except AscendError as error:
            failure = _failure(error)
            if given["json"]:
                try:
                    write_json(
                        given["json"], outcome.failed(error, settings, locked=given["locked"])
                    )
                except AscendError as unwritten:
                    if str(unwritten) != str(error):
                        failure["msg"] += f" {unwritten}"
            return {**result, **failure}

    def _lock(
        self,
        locks: contextlib.ExitStack,
        task_vars: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> None:
        """Keep other plans out of the directories that this one reads and writes, until it has ended."""
        sources = task_vars.get("ansible_inventory_sources") or ()
        for base in directories_of(sources, given["output"]):
            timeout, report = given["lock_timeout"], self._display.display
            locks.enter_context(locked(base, LOCK, "planning", timeout, report))

    def _plan(
        self,
        settings: PlanSettings,
        seen: Mapping[str, Sequence[Mapping[str, Any]]],
        given: Mapping[str, Any],
        task_vars: dict[str, Any],
    ) -> dict[str, Any]:
        sources = task_vars.get("ansible_inventory_sources") or ()
        directories = existing_directories(sources, settings.output)
        world = _World(self, task_vars)
        world.leave_out(
            each.path for directory in directories.values() for each in directory.plans.values()
        )
        run = Planning(world, settings, directories).run(world.hosts(given["hosts"]), seen)
        if run.ask:
            return {"changed": False, "ask": run.ask}
        return self._finish(run, given, task_vars)

    def _finish(
        self, run: Run, given: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        changes = run.all_changes
        stale = given["locked"] and changes
        result: dict[str, Any] = {
            "changed": bool(changes),
            "ask": [],
            "files": [str(change.path) for change in changes],
            "hosts_changed": run.changed_hosts,
        }
        if self._task.diff:
            result["diff"] = diffs(changes)
        if not (self._task.check_mode or given["locked"]):
            run.apply()
        for path, make in ((given["markdown"], _markdown), (given["html"], html)):
            if path:
                text = make(run.plan)
                changed, before = page(path, text, run.plan, check=self._task.check_mode)
                result["changed"] = result["changed"] or changed
                if changed and self._task.diff:
                    header = {"before_header": path, "after_header": path}
                    if make is html:
                        result["diff"].append({"prepared": f"write {path}\n"})
                    else:
                        result["diff"].append({**header, "before": before, "after": text})
        if given["json"]:
            # Also in check mode: it is about this run, and nothing that the run is for.
            write_json(given["json"], outcome.planned(run, locked=given["locked"]))
        if stale:
            return {"failed": True, "changed": False, "msg": _stale(run, given, task_vars)}
        if run.warnings:
            result["warnings"] = run.warnings
        result["report"] = [
            *(line for note in short(run.notes) for line in wrap(note, then="  ")),
            *card_map(run.plan, WIDTH),
            "",
            *(line for each in run.files() for line in wrap(each, then="  ")),
        ]
        if given["return_plan"]:
            result["plan"] = run.plan
        return result


def _stale(run: Run, given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> str:
    names = run.changed_hosts
    return (
        f"The written plan is stale for {len(names)} host{'s' if len(names) > 1 else ''}:"
        f" {some(names, 20)}. Run {_command(given, task_vars)}, review the change"
        " (--check --diff shows it) and commit it. host_vars was left as it is."
    )


def _failure(error: AscendError) -> dict[str, Any]:
    """The result of a task that failed; without what caused the error, which is in its text."""
    if not isinstance(error, PlanRejected):
        return {"failed": True, "msg": str(error)}
    count = len(error.problems)
    alone = f" {error.problems[0]}" if count == 1 else ""
    return {
        "failed": True,
        "msg": f"The plan has {count} problem{'s' if count > 1 else ''}, and nothing was"
        f" written.{alone}",
        "problems": error.problems,
        "unplaced": error.unplaced,
        # The problems on a line each, not as one long one.
        "_ansible_verbose_always": True,
    }


def _markdown(plan: Mapping[str, Any]) -> str:
    # Room for the stamp under what a page may have.
    return markdown(plan, 65000)


def _reject_limit(task_vars: Mapping[str, Any]) -> None:
    limit = task_vars.get("ansible_limit")
    if limit:
        raise AscendError(
            f"--limit {limit} is set, and a plan is for a complete group: with some of its hosts out of"
            " sight their services would be placed a second time. Leave it out; to plan a group,"
            " name it (-e ascend_hosts=GROUP), to keep a service to some hosts, give it `hosts`."
        )


def _command(given: Mapping[str, Any], task_vars: Mapping[str, Any]) -> str:
    """The command that writes the plan for the same hosts into the same directory."""
    default = "ascend" if "ascend" in task_vars["groups"] else "all"
    hosts = "" if given["hosts"] == default else given["hosts"]
    variables = {"ascend_hosts": hosts, "vllm_plan_output": given["output"]}
    sources = [
        os.path.relpath(source) if os.path.exists(source) else source
        for source in task_vars.get("ansible_inventory_sources") or ()
    ]
    return shlex.join(
        [
            "ansible-playbook",
            "inferops.ascend.plan",
            *(word for source in sources for word in ("-i", source)),
            *(
                word
                for name, value in variables.items()
                if value
                for word in ("-e", f"{name}={shlex.quote(value)}")
            ),
        ]
    )


def _seen(facts: Iterable[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Cards by host, of what a loop over hosts registered."""
    seen = {}
    failed = []
    for each in facts:
        host = str(each.get("item"))
        npu = each.get("npu") or each
        cards = npu.get("cards") if isinstance(npu, Mapping) else None
        if not cards:
            problems = npu.get("problems") or [] if isinstance(npu, Mapping) else []
            causes = [each.get("msg"), *(problem.get("message") for problem in problems)]
            cause = next((str(word) for word in causes if word), "no cards")
            failed.append(
                Problem(
                    f"it could not be asked for its cards ({cause}), which its variables do not say."
                    " Set ascend_host_profile (and vllm_service_cards where the profile leaves their"
                    " number open), or see to the host. If it has no cards, set vllm_plan_services for"
                    " a group of those that have, and not for all hosts.",
                    (host,),
                )
            )
        else:
            seen[host] = [dict(card) for card in cards]
    if failed:
        raise PlanRejected(failed)
    return seen


class _World:
    """Ansible's variables, templates, patterns and files, as the plan wants them."""

    def __init__(self, action: ActionModule, task_vars: dict[str, Any]) -> None:
        self._action = action
        self._vars = task_vars
        self._hostvars = task_vars["hostvars"]
        self._groups: Mapping[str, Sequence[str]] = task_vars["groups"]
        self._raw: dict[str, Mapping[str, Any]] = {}
        self._templars: dict[str, Any] = {}
        self._catalogues: dict[tuple[str, ...], Catalogue | AscendError] = {}
        self.sources: Sequence[str] = list(
            map(str, task_vars.get("ansible_inventory_sources") or ())
        )
        self.known = frozenset(map(str, self._groups.get("all", ())))

    def leave_out(self, paths: Iterable[Path]) -> None:
        """Have variables read as if these files were empty.

        So a value that somebody wrote by hand shows also where the plan's file hides it; and the
        plan, which reads its own files itself, does not wait for Ansible to read a thousand.
        """
        cache = getattr(self._action._loader, "_FILE_CACHE", None)
        if not isinstance(cache, dict):
            raise AscendError(
                "This version of ansible-core keeps what it reads in another way than those that"
                " the collection knows (2.17 to 2.21). Use one of them for the plan."
            )
        cache.update((str(path), {}) for path in paths)

    def hosts(self, pattern: str) -> list[str]:
        if not pattern:
            return [str(host) for host in self._vars["ansible_play_hosts_all"]]
        return sorted(self.matching(pattern))

    def variables(self, host: str) -> Mapping[str, Any]:
        found = self._raw.get(host)
        if found is None:
            found = self._raw[host] = raw_variables(self._hostvars, host)
        return found

    def render(self, host: str, text: str) -> object:
        if host not in self._templars:
            available = {**self.variables(host), "hostvars": self._hostvars}
            # One at a time: a list is rendered for a host after the other.
            self._templars = {
                host: self._action._templar.copy_with_new_env(available_variables=available)
            }
        try:
            return self._templars[host].template(trust_as_template(text))
        except AnsibleError as error:
            raise AscendError(f"{text} cannot be rendered: {error}") from error

    def tagged_value(self, value: object) -> TaggedValue | None:
        ciphertext = getattr(value, "_ciphertext", None)
        if ciphertext is not None:
            text = ciphertext.decode() if isinstance(ciphertext, bytes) else str(ciphertext)
            return TaggedValue("!vault", text)
        if isinstance(value, str) and is_template(value) and not is_trusted_as_template(value):
            return TaggedValue("!unsafe", "".join([value]))
        return None

    def matching(self, pattern: str) -> frozenset[str]:
        if pattern in self.known and pattern not in self._groups:
            return frozenset((pattern,))
        return hosts_matching(self._action, self._groups, pattern)

    def catalogue(self, tables: Sequence[str]) -> Catalogue:
        key = tuple(tables)
        if key not in self._catalogues:
            try:
                self._catalogues[key] = catalogue_of(self._action, list(tables))
            except AscendError as error:
                self._catalogues[key] = error
        found = self._catalogues[key]
        if isinstance(found, AscendError):
            raise AscendError(str(found))
        return found

    def load(self, path: Path) -> object:
        try:
            return self._action._loader.load_from_file(str(path))
        except AnsibleError as error:
            raise AscendError(located(error)) from error
