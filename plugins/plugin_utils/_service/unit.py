# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The texts that the role's templates place: of the template unit, and of each placed service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from .._base import data
from .._base.errors import AscendError
from .._base.systemd import environment_file, service_environment, service_secrets, unit_word
from .._base.values import kind_of, plain, whole_number
from . import container, engine
from .payload import Payload, build

_TEMPLATES = data.ROOT / "roles" / "vllm_service" / "templates"
# The files of services, as the action systemd_instances takes them.
FILES: Mapping[str, Any] = {
    "unit": "vllm@.service",
    "files": [
        {
            "src": str(_TEMPLATES / "vllm@.service.j2"),
            "dest": "/etc/systemd/system/vllm@.service",
        }
    ],
    "instance_files": [
        {
            "src": str(_TEMPLATES / "placement.conf.j2"),
            "dest": "/etc/systemd/system/vllm@%i.service.d/placement.conf",
        },
        {"src": str(_TEMPLATES / "config.yaml.j2"), "dest": "/etc/vllm/%i.yaml"},
        {"src": str(_TEMPLATES / "secret.env.j2"), "dest": "/etc/vllm/%i.env", "secret": True},
    ],
}
# What a placed service does not carry, because it travels as a fact: the request has it.
PRIVATE = ("env", "api_key", "secret_env")


@dataclass(frozen=True)
class UnitSettings:
    """How services of a host are run: the role's variables `vllm_service_*` by the same names.

    options_version: the version whose option list counts, no variable of its own.
    """

    engine_version: str
    options_version: str
    executable: str
    weights_dir: str
    host: str
    env: Mapping[str, Any]
    method: str
    container_engine: str
    container_image: str
    container_executable: str
    container_mounts: Sequence[str]
    container_options: Sequence[str]
    user: str
    groups: Sequence[str]
    cann_scripts: Sequence[str]
    library_path: Sequence[str]
    shared_devices: Sequence[str]
    start_timeout: int
    shutdown_timeout: int
    restart_delay: int
    start_limit_burst: int
    start_limit_interval: int

    @classmethod
    def of(cls, variables: Mapping[str, object]) -> UnitSettings:
        """From all variables `vllm_service_*` of the fields; AscendError for one of another kind."""
        values: dict[str, Any] = {}
        for each in fields(cls):
            name = f"vllm_service_{each.name}"
            value = plain(variables[name], name)
            if each.type == "int":
                number = whole_number(value)
                if number is None:
                    raise AscendError(f"{name} is {value!r}; an integer is needed.")
                value = number
            elif each.type == "Sequence[str]" and not isinstance(value, list):
                raise AscendError(f"{name} is {kind_of(value)}; a list is needed.")
            elif each.name == "env" and not isinstance(value, dict):
                raise AscendError(f"{name} is {kind_of(value)}; a mapping is needed.")
            values[each.name] = value
        return cls(**values)

    @property
    def contained(self) -> bool:
        """Whether services run in containers."""
        return self.method == "container"

    def container(self) -> container.Container:
        """How containers are run."""
        return container.Container(
            engine=self.container_engine,
            image=self.container_image,
            program=self.container_executable,
            scripts=self.cann_scripts,
            devices=self.shared_devices,
            mounts=self.container_mounts,
            weights_dir=self.weights_dir,
            options=self.container_options,
            environment=self.env,
            managed={
                "PYTHONUNBUFFERED": 1,
                "VLLM_ENGINE_READY_TIMEOUT_S": self.start_timeout,
            },
        )

    def texts(self) -> dict[str, Any]:
        """The variable `unit` of the templates."""
        found: dict[str, Any] = {
            "container": self.contained,
            "version": unit_word(self.engine_version),
            "start_timeout": self.start_timeout,
            "stop_timeout": self.shutdown_timeout + 30,
            "restart_delay": self.restart_delay,
            "start_limit_burst": self.start_limit_burst,
            "start_limit_interval": self.start_limit_interval,
        }
        if self.contained:
            docker = self.container_engine == "docker"
            remove = "docker rm --force" if docker else "podman rm --force --ignore --time 0"
            return {
                **found,
                "docker": docker,
                "image": unit_word(self.container_image),
                "remove": f"{remove} vllm-%i",
            }
        return {
            **found,
            "user": unit_word(self.user),
            "groups": " ".join(map(unit_word, self.groups)),
            "executable": unit_word(self.executable),
            "library_path": ":".join(map(unit_word, self.library_path)),
            "cann_scripts": " ".join(map(unit_word, self.cann_scripts)),
            "devices": [unit_word(device) for device in self.shared_devices],
        }


def instances(
    services: Iterable[Mapping[str, Any]], settings: UnitSettings
) -> list[dict[str, Any]]:
    """Placed services with `texts` for the templates.

    Raises AscendError for a service that cannot be written as it is asked for.
    """
    return [
        dict(service)
        if service.get("state") == "absent"
        else {**service, "texts": service_texts(service, settings)}
        for service in services
    ]


def payload(placed: Sequence[Mapping[str, Any]], settings: UnitSettings) -> Payload:
    """The files of what `instances` returned. Raises AscendError as `build` does."""
    shared = {"unit": settings.texts()}
    return build(
        FILES["unit"],
        placed,
        FILES["files"],
        FILES["instance_files"],
        lambda path, variables: _render(path, {**shared, **variables}),
    )


def _render(path: str, variables: Mapping[str, Any]) -> str:
    text = template(path).render(variables)
    return text if text.endswith("\n") else text + "\n"


@lru_cache(maxsize=None)
def template(path: str) -> jinja2.Template:
    """A template with the options that Ansible sets; compiling it takes longer than rendering it."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(Path(path).read_text(encoding="utf-8"))


def service_texts(service: Mapping[str, Any], settings: UnitSettings) -> dict[str, Any]:
    """{config, secrets} of a placed service, and {command} or {environment} by how it is run."""
    config = engine.engine_config(
        service,
        settings.options_version,
        host=settings.host,
        weights_dir=settings.weights_dir,
        shutdown_timeout=settings.shutdown_timeout,
    )
    found: dict[str, Any] = {
        "config": engine.engine_yaml(config),
        "secrets": environment_file(service_secrets(service)),
    }
    if settings.contained:
        words = container.arguments(service, settings.container())
        return {**found, "command": container.exec_words(words)}
    env = service.get("env") or {}
    if isinstance(env, Mapping):
        env = {**settings.env, **env}
    return {**found, "environment": service_environment({**service, "env": env})}
