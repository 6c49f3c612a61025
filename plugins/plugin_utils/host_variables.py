# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of one host as Ansible renders them. It and host_python.py know Ansible, and no other file of this layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from ansible import constants
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core before 2.19 trusts every template

    def trust_as_template(value: str) -> str:
        """The value itself."""
        return value


from ._base.data import role_defaults
from ._base.errors import AscendError
from ._base.values import plain
from ._model.catalogue import Catalogue, load_catalogue
from .settings import Settings


class HostVariables:
    """What an action plugin knows of the host that it runs for.

    action: the plugin (`ActionBase`). variables: its `task_vars`.
    """

    def __init__(self, action: Any, variables: Mapping[str, Any]) -> None:
        self._action = action
        self._variables = variables

    @property
    def host(self) -> str:
        """The name in the inventory."""
        return str(self._variables.get("inventory_hostname", "this host"))

    def settings(self) -> Settings:
        # Ansible's directory for this run, which it removes at the end.
        return Settings(self.read, Path(constants.DEFAULT_LOCAL_TMP))

    @cached_property
    def _templar(self) -> Any:
        """Renders with the defaults of the roles too, to which a user's values may refer."""
        variables = {
            name: trust_as_template(value) if isinstance(value, str) else value
            for role in ("vllm_runtime", "ascend_host", "vllm_service")
            for name, value in role_defaults(role).items()
            if value is not None
        }
        variables.update(self._variables)
        return self._action._templar.copy_with_new_env(available_variables=variables)

    def read(self, name: str) -> Any:
        """The variable, rendered and in plain types; None where it is not set.

        Raises AscendError where it cannot be rendered.
        """
        value = self._variables.get(name)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        try:
            return plain(self._templar.template(value), name)
        except AnsibleError as error:
            raise AscendError(f"{name} cannot be rendered: {error}") from error

    def catalogue(self, tables: Sequence[str]) -> Catalogue:
        """The model tables; relative paths are searched as Ansible searches files and vars.

        Raises AscendError for a file that is missing or malformed.
        """
        return catalogue_of(self._action, list(tables))


class CheckedAction(ActionBase):
    """An action whose options are checked.

    A subclass names its ARGUMENTS, as `validate_argument_spec` takes them, and has `act`. What raises
    AscendError there fails the task.
    """

    TRANSFERS_FILES = False
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {}

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._supports_check_mode = True
        self.task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self.validate_argument_spec(argument_spec=self.ARGUMENTS)[1]
        try:
            return {**result, **self.act(given)}
        except AscendError as error:
            return {**result, "failed": True, "msg": str(error)}

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        """The task's result for these options. Raises AscendError."""
        raise NotImplementedError


class HostAction(CheckedAction):
    """One for a host, which works by the host's variables."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self.variables = HostVariables(self, task_vars or {})
        self.settings = self.variables.settings()
        return super().run(tmp, task_vars)


def catalogue_of(action: Any, tables: object) -> Catalogue:
    """The model tables of a task; relative paths are searched as Ansible searches files and vars.

    action: the plugin (`ActionBase`). tables: a path, a list of paths, or None.

    Raises AscendError for a file that is missing or malformed.
    """
    return load_catalogue(tables, partial(find_table, action))


def find_table(action: Any, path: str) -> str | None:
    """Where a table is that a variable names, as Ansible searches files and vars; None: nowhere.

    action: the plugin (`ActionBase`).
    """
    for directory in ("files", "vars"):
        with suppress(AnsibleError):
            return str(action._find_needle(directory, path))
    return path if Path(path).exists() else None


def hosts_matching(
    action: Any, groups: Mapping[str, Sequence[str]], pattern: str
) -> frozenset[str]:
    """Names of the hosts that a pattern of Ansible's matches.

    action: the plugin (`ActionBase`). groups: hosts by group.
    """
    if pattern in groups:
        return frozenset(map(str, groups[pattern]))
    lookup = lookup_loader.get(
        "ansible.builtin.inventory_hostnames", loader=action._loader, templar=action._templar
    )
    return frozenset(map(str, lookup.run([pattern], variables={"groups": groups})))


def run_action(
    action: Any,
    name: str,
    arguments: Mapping[str, Any],
    variables: Mapping[str, Any],
    *,
    check_mode: bool = False,
) -> dict[str, Any]:
    """The result of another action plugin with these arguments, run in place of `action`.

    check_mode: run it in check mode, also where the play is not.
    """
    task = action._task.copy()
    task.args = dict(arguments)
    task.check_mode = check_mode or action._task.check_mode
    other = action._shared_loader_obj.action_loader.get(
        name,
        task=task,
        connection=action._connection,
        play_context=action._play_context,
        loader=action._loader,
        templar=action._templar,
        shared_loader_obj=action._shared_loader_obj,
    )
    # Ansible has `action` alone clean up, which removes nothing but a directory that it made itself.
    if not action._connection._shell.tmpdir and not action._is_pipelining_enabled("new"):
        action._make_tmp_path()
    result: dict[str, Any] = other.run(task_vars=dict(variables))
    return result


def located(error: AnsibleError) -> str:
    """What Ansible says of a file that it cannot read, with the file, which 2.19+ leaves out."""
    each: BaseException | None = error
    while each is not None:
        path, line = (
            getattr(getattr(each, "obj", None), key, None) for key in ("path", "line_num")
        )
        if isinstance(path, str):
            return f"{path}{f', line {line}' if line else ''}: {error}"
        each = each.__cause__ or each.__context__
    return str(error)


def raw_variables(hostvars: Any, host: str) -> Mapping[str, Any]:
    """The variables of a host as they are written. Raises AscendError where Ansible cannot read a file of them."""
    try:
        found: Mapping[str, Any] = hostvars.raw_get(host)
    except AnsibleError as error:
        raise AscendError(f"the variables of {host} cannot be read: {located(error)}") from error
    return found
