# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The texts that the role's templates place: of the template unit, and of each placed service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import (
    environment_file,
    service_environment,
    service_secrets,
    unit_word,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import (
    kind_of,
    plain,
    whole_number,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.names import slug
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import container, engine

# What a placed service does not carry, because it travels as a fact: the request has it.
PRIVATE = ("env", "api_key", "secret_env")


@dataclass(frozen=True)
class UnitSettings:
    """How services of a host are run: the role's variables `vllm_service_*` by the same names."""

    engine_version: str
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
    services: Sequence[Mapping[str, Any]], requests: Sequence[object], settings: UnitSettings
) -> list[dict[str, Any]]:
    """Placed services with what their requests keep private, and with `texts` for the templates.

    Raises AscendError for a service that cannot be written as it is asked for, and for a request
    with private keys that belongs to no service.
    """
    found = []
    for service in joined(services, requests):
        if service.get("state") != "absent":
            service["texts"] = service_texts(service, settings)
        found.append(service)
    return found


def service_texts(service: Mapping[str, Any], settings: UnitSettings) -> dict[str, Any]:
    """{config, secrets} of a placed service, and {command} or {environment} by how it is run."""
    config = engine.engine_config(
        service,
        settings.engine_version,
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


def joined(
    services: Sequence[Mapping[str, Any]], requests: Sequence[object]
) -> list[dict[str, Any]]:
    """Each service with the private keys of its request."""
    found = [dict(service) for service in services]
    for request in requests:
        if not isinstance(request, Mapping):
            continue
        private = {key: request[key] for key in PRIVATE if request.get(key) is not None}
        if not private or request.get("state") == "absent":
            continue
        for service in found:
            if _is_of(service, request):
                service.update(private)
                break
        else:
            named = request.get("name") or request.get("model")
            raise AscendError(
                f"the request {named!r} has {', '.join(private)} and belongs to none of the placed"
                " services. Give it a `name`."
            )
    return found


def _is_of(service: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether a placed service was made of a request, which may be without a name."""
    name, by_model = service.get("name"), slug(str(service.get("model")))
    asked = request.get("name")
    if asked is not None:
        return bool(asked == name or (asked == service.get("model") and by_model == name))
    if by_model != name:
        return False
    wanted = str(request.get("model")).strip().lower()
    known = [service.get(key) for key in ("model", "huggingface", "modelscope")]
    texts = [text.lower() for text in known if isinstance(text, str)]
    return wanted in texts or wanted.split("/")[-1] in [text.split("/")[-1] for text in texts]
