# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placed services as the role's templates write them, and as they should be seen from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from .._base.systemd import environment_file, service_environment, service_secrets
from .container import arguments, exec_words
from .engine import engine_config, engine_yaml
from .group import Group
from .group_files import NO_TEXTS, group_secrets, group_texts, guard_command
from .hardening import writable_lines
from .literal import check_env, env_of_options
from .payload import build
from .turns import sharing_names, turn_command, turn_texts
from .unit import FILES, UnitSettings, refusal


def module_arguments(placed: Sequence[Mapping[str, Any]], settings: UnitSettings) -> dict[str, Any]:
    """The options of the module systemd_instances for placed services.

    Raises AscendError for a service that cannot be written as it is asked for.
    """
    sharing = sharing_names(placed)
    listed = [
        service
        if service.get("state") == "absent"
        else {
            **service,
            "user": settings.user_of(str(service["name"])),
            "texts": service_texts(service, settings, service["name"] in sharing),
        }
        for service in placed
    ]
    shared = {"unit": settings.texts()}
    rendered = build(
        FILES["unit"],
        listed,
        FILES["files"],
        FILES["instance_files"],
        lambda path, variables: _render(path, {**shared, **variables}),
    )
    program = {} if settings.contained else {"INFEROPS_PROGRAM": settings.executable}
    return {
        "unit": FILES["unit"],
        **rendered,
        "process_variables": ["ASCEND_RT_VISIBLE_DEVICES", "HCCL_IF_BASE_PORT"],
        # Each service keeps the program that `current` led to until it is deployed again.
        "process_programs": program,
        "make_users": not settings.user,
        "groups": list(settings.groups),
        "state_directory": FILES["state_directory"],
    }


def _render(path: str, variables: Mapping[str, Any]) -> str:
    text = template(path).render(variables)
    return text if text.endswith("\n") else text + "\n"


@lru_cache(maxsize=None)
def template(path: str) -> jinja2.Template:
    """A template with the options that Ansible sets; compiling it takes longer than rendering it."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(Path(path).read_text(encoding="utf-8"))


def check_envs(service: Mapping[str, Any], settings: UnitSettings) -> None:
    """Reject variables of a request or a service, and of all services, that are not meant literally.

    Raises AscendError, which names the mapping that has the variable, never a value.
    """
    who = service.get("name") or service.get("model")
    for env, what in (
        (settings.env, "vllm_service_env"),
        (env_of_options(settings.container_options), "vllm_service_container_options"),
        (service.get("env"), f"service {who}, env"),
    ):
        check_env(env, what, settings.env_as_written)


def service_texts(
    service: Mapping[str, Any], settings: UnitSettings, shares: bool = False
) -> dict[str, Any]:
    """{config, secrets} of a placed service, and {command} or {environment} by how it is run.

    shares: whether others may have the same cards.
    """
    check_envs(service, settings)
    config = engine_config(
        service,
        settings.options_version,
        host=settings.host,
        weights_dir=settings.weights_dir,
        shutdown_timeout=settings.shutdown_timeout,
    )
    group: Group | None = service.get("group")
    secrets = service_secrets(service)
    found: dict[str, Any] = dict(NO_TEXTS)
    if group is not None:
        found = group_texts(service, group, config, settings)
        secrets.update(group_secrets(settings, str(service["name"])))
    elif shares:
        found.update(turn_texts(service, config, settings))
    found.update(config=engine_yaml(config), secrets=environment_file(secrets))
    env = service.get("env") or {}
    if isinstance(env, Mapping):
        recipe = service.get("recipe_env") or {}
        members = group.environment() if group else {}
        service = {**service, "env": {**members, **recipe, **settings.env, **env}}
    if settings.contained:
        name = str(service["name"])
        words = guard_command(name, settings) if group else []
        words = turn_command(service, config, settings) if shares and not group else words
        if settings.device_timeout:
            words = ["/bin/sh", "-c", f'{refusal(name)} exec "$@"', "sh", *words]
        return {**found, "command": exec_words([*words, *arguments(service, settings)])}
    return {
        **found,
        "environment": service_environment(service),
        "writable": writable_lines(service.get("env") or {}, config),
    }


def expected_services(
    placed: Iterable[Mapping[str, Any]], settings: UnitSettings
) -> list[dict[str, Any]]:
    """What status and /v1/models should report, without secrets.

    Returns {name, model, part (of the cards' memory), state, cards, port, max_model_len (tokens), aliases, hosts, rank} of each service that
    is not absent; aliases are the ids that /v1/models should list, hosts those of a service over several,
    by rank. Raises AscendError as `engine_config`.
    """
    services = []
    for service in placed:
        if service.get("state") == "absent":
            continue
        config = engine_config(service, settings.options_version, weights_dir=settings.weights_dir)
        names = config.get("served-model-name") or config["model"]
        group: Group | None = service.get("group")
        services.append(
            {
                "name": str(service["name"]),
                "model": str(service.get("model") or ""),
                "part": service.get("gpu_memory_utilization"),
                "state": str(service.get("state") or "started"),
                "cards": [int(card) for card in service["cards"]],
                "port": int(service["port"]),
                "max_model_len": config["max-model-len"],
                "aliases": [str(each) for each in names] if isinstance(names, list) else [names],
                "hosts": [member.host for member in group.members] if group else [],
                "rank": group.rank if group else 0,
            }
        )
    return services


def open_to_all(placed: Sequence[Mapping[str, Any]], host: str) -> list[str]:
    """The warning about services that anybody can use who reaches their ports, if there are any.

    host: the address that they listen on, `vllm_service_host`.
    """
    if host not in ("0.0.0.0", "::"):
        return []
    names = [
        str(service.get("name"))
        for service in placed
        if service.get("state", "started") == "started" and service.get("api_key") is None
    ]
    if not names:
        return []
    one = len(names) == 1
    return [
        f"{', '.join(names)} listen{'s' if one else ''} on all addresses without a key: whoever reaches the"
        f" port{'' if one else 's'} can use {'it' if one else 'them'}. Set api_key for {'it' if one else 'them'}, or"
        " vllm_service_host to an address that only clients reach."
    ]
