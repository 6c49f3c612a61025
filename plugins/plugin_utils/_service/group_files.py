# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that make a unit a member of a service over several hosts (docs/group-protocol.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._service.group_guard import SECRET
from ansible_collections.inferops.ascend.plugins.module_utils._service.group_states import VERSION

from .._base.errors import AscendError
from .._base.systemd import environment_line, unit_word
from .group import GUARD_PORT, SUPER_POD, Group, common_options
from .group_program import group_program
from .unit import UnitSettings

_SECRET_MIN = 16  # characters
# No texts for a service of one host: no file is written then.
NO_TEXTS: Mapping[str, Any] = {
    "group": [],
    "group_file": "",
    "guard": "",
    "shares": False,
    "turn": "",
}


def group_texts(
    service: Mapping[str, Any], group: Group, config: Mapping[str, Any], settings: UnitSettings
) -> dict[str, Any]:
    """{group: lines of the drop-in, group_file, guard: texts of files} of one member.

    config: this member's options of vLLM.
    """
    name = str(service["name"])
    return {
        **NO_TEXTS,
        "group": _unit_lines(name, group, settings),
        "group_file": _group_file(service, group, config, settings),
        "guard": group_program(),
    }


def guard_command(name: str, settings: UnitSettings) -> list[str]:
    """The words before the engine's command."""
    program = f"/usr/local/libexec/inferops/group-{name}"
    return [unit_word(settings.cluster_python), program, f"/etc/vllm/{name}.group.json", "--"]


def group_secrets(settings: UnitSettings, name: str) -> dict[str, str]:
    """The variable by which members of a service recognize each other. Raises AscendError."""
    secret = settings.cluster_secret
    what = ""
    if len(secret) < _SECRET_MIN:
        what = f"has fewer than {_SECRET_MIN} characters" if secret else "is not set"
    elif not secret.isascii():  # the guard reads it in whatever encoding its host has
        what = "has characters that are not ASCII"
    if what:
        raise AscendError(
            f"service {name} spans several hosts, and vllm_service_cluster_secret {what}. Its"
            " members recognize each other by it. Make one with `openssl rand -hex 32`, encrypt it"
            " with `ansible-vault encrypt_string --name vllm_service_cluster_secret`, and give it to"
            " all hosts (group_vars)."
        )
    return {SECRET: secret}


def _unit_lines(name: str, group: Group, settings: UnitSettings) -> list[str]:
    lines = [
        # Whom it waits for is in `systemctl status`.
        "NotifyAccess=main",
        # The guard answers its peers while weights load; it starts the engine at 0.
        "Nice=-5",
    ]
    if not settings.contained:
        lines.append(environment_line("INFEROPS_GUARD", " ".join(guard_command(name, settings))))
        if group.engine == "ray":
            # Ray lets every user write into what is below it.
            lines.append(f"RuntimeDirectory={_ray_directory(name).rpartition('/')[2]}")
            lines.append("RuntimeDirectoryMode=0700")
    return lines


def _ray_directory(name: str) -> str:
    """A short path: names of sockets below it may have 107 characters."""
    return f"/run/ray-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def ray_command(service: Mapping[str, Any], group: Group) -> list[str]:
    """`ray start` on this member, in the foreground."""
    directory = f"{_ray_directory(str(service['name']))}/ray"
    return group.ray_command(len(service["cards"]), directory)


def _group_file(
    service: Mapping[str, Any], group: Group, config: Mapping[str, Any], settings: UnitSettings
) -> str:
    name = str(service["name"])
    members = [{"host": each.host, "address": each.address} for each in group.members]
    commands: Sequence[Sequence[str]] = ()
    if group.engine == "ray" and not settings.contained:
        # The `ray` of the environment that the engine's program is in.
        beside = ["/bin/sh", "-c", 'exec "${INFEROPS_PROGRAM%/*}/$0" "$@"']
        commands = [[*beside, *ray_command(service, group)]]
    env = {**(service.get("recipe_env") or {}), **(service.get("env") or {})}
    apart = {SUPER_POD, *group.environment()}  # what may differ between hosts
    common = {
        "protocol": int(VERSION),
        "service": name,
        "engine": group.engine,
        "version": settings.engine_version,
        "image": settings.container_image if settings.contained else None,
        "env": {key: value for key, value in env.items() if key not in apart},
        "members": members,
        "port": group.port,
        "lost_after": settings.cluster_lost_after,
    }
    if group.engine != "ray":  # else the engine's options are the leader's alone
        common["config"] = common_options(config)
    described = {
        "protocol": int(VERSION),
        "service": name,
        "rank": group.rank,
        "members": members,
        "port": group.port + GUARD_PORT,
        "digest": hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()[:32],
        "beat": min(2.0, settings.cluster_lost_after / 5),
        "lost_after": settings.cluster_lost_after,
        "stop_timeout": settings.shutdown_timeout,
        "commands": commands,
        "only_commands": bool(commands) and not group.leads,
        "cleanup": settings.removal(name) if settings.contained else None,
    }
    return json.dumps(described, indent=2, sort_keys=True)
