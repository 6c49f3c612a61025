# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How services of a host are run, and the texts of their template unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from .._base import data
from .._base.errors import AscendError
from .._base.systemd import unit_word
from .._base.values import kind_of, plain, whole_number
from .._base.variables import seconds
from .._place.names import account_name
from .hardening import hardening_lines

_TEMPLATES = data.ROOT / "roles" / "vllm_service" / "templates"
# The files of services, as the action systemd_instances takes them.
FILES: Mapping[str, Any] = {
    "unit": "vllm@.service",
    "files": [
        {
            "src": str(_TEMPLATES / "vllm@.service.j2"),
            "dest": "/etc/systemd/system/vllm@.service",
        },
        {"src": str(_TEMPLATES / "start.sh.j2"), "dest": "/usr/local/libexec/inferops/start"},
    ],
    "instance_files": [
        {
            "src": str(_TEMPLATES / "placement.conf.j2"),
            "dest": "/etc/systemd/system/vllm@%i.service.d/placement.conf",
        },
        {"src": str(_TEMPLATES / "config.yaml.j2"), "dest": "/etc/vllm/%i.yaml"},
        {"src": str(_TEMPLATES / "secret.env.j2"), "dest": "/etc/vllm/%i.env", "secret": True},
        # Written for members of a service over several hosts alone: empty files are left out.
        {"src": str(_TEMPLATES / "group.json.j2"), "dest": "/etc/vllm/%i.group.json"},
        {
            "src": str(_TEMPLATES / "group.py.j2"),
            "dest": "/usr/local/libexec/inferops/group-%i",
        },
        # Likewise of services that share cards.
        {
            "src": str(_TEMPLATES / "turn.py.j2"),
            "dest": "/usr/local/libexec/inferops/turn-%i",
        },
    ],
    "state_directory": "/var/lib/vllm-services/%i",
}
# What a placed service does not carry, because it travels as a fact: the request has it.
PRIVATE = ("env", "api_key", "secret_env")
# Of instances made by hand and of calibrations, where each service has a user to itself: that of no service.
USER = "vllm"
_LOST_AFTER_MIN = 1.0  # seconds
# Of a number that may not be 0; none may be below.
_LEAST = {"start_timeout": 1}


def refusal(instance: str) -> str:
    """A line of shell that ends a service which start.sh found on other cards than it was placed on."""
    reason = f"/run/inferops-start/{instance}"
    return f"[ ! -s {reason} ] || {{ cat {reason} >&2; exit 78; }};"


@dataclass(frozen=True)
class UnitSettings:
    """How services of a host are run: the role's variables `vllm_service_*` by the same names.

    user: of all services; empty where each has one to itself.
    options_version: the version whose option list counts, no variable of its own. hardening: lines of
    the unit, made from the variable's mapping.
    """

    engine_version: str
    options_version: str
    executable: str
    weights_dir: str
    host: str
    env: Mapping[str, Any]
    env_as_written: Sequence[str]
    method: str
    container_engine: str
    container_image: str
    container_executable: str
    container_mounts: Sequence[str]
    container_image_paths: Sequence[str]
    container_options: Sequence[str]
    user: str
    groups: Sequence[str]
    hardening: tuple[str, ...]
    cann_scripts: Sequence[str]
    library_path: Sequence[str]
    shared_devices: Sequence[str]
    start_timeout: int
    device_timeout: int
    shutdown_timeout: int
    restart_delay: int
    start_limit_burst: int
    start_limit_interval: int
    cluster_python: str
    cluster_secret: str
    cluster_lost_after: float

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
                least = _LEAST.get(each.name, 0)
                if number < least:
                    raise AscendError(f"{name} is {number}; at least {least} is needed.")
                value = number
            elif each.type == "float":
                value = seconds(value, name)
                if value < _LOST_AFTER_MIN:
                    raise AscendError(
                        f"{name} is {value:g}; at least {_LOST_AFTER_MIN:g} second is needed. A"
                        " host that is busy for so long would count as lost."
                    )
            elif each.type == "str" and not isinstance(value, str):
                raise AscendError(
                    f"{name} is {kind_of(value)}; a text is needed: write it between quotes."
                )
            elif each.type == "Sequence[str]" and not isinstance(value, list):
                raise AscendError(f"{name} is {kind_of(value)}; a list is needed.")
            elif each.name in ("env", "hardening") and not isinstance(value, dict):
                raise AscendError(f"{name} is {kind_of(value)}; a mapping is needed.")
            if each.name == "hardening":
                value = hardening_lines(value)
            values[each.name] = value
        return cls(**values)

    @property
    def contained(self) -> bool:
        """Whether services run in containers."""
        return self.method == "container"

    def user_of(self, service: str) -> str:
        """The account of the host as which a service's processes run."""
        return unit_word(self.user or account_name(service))

    def removal(self, name: str) -> list[str]:
        """The command that removes the container of a service, if there is one."""
        if self.container_engine == "docker":
            return ["docker", "rm", "--force", f"vllm-{name}"]
        return ["podman", "rm", "--force", "--ignore", "--time", "0", f"vllm-{name}"]

    def texts(self) -> dict[str, Any]:
        """The variable `unit` of the templates."""
        found: dict[str, Any] = {
            "container": self.contained,
            "version": unit_word(self.engine_version),
            # The wait for device nodes ends first, and tells why.
            "start_timeout": max(self.start_timeout, self.device_timeout + 60),
            "engine_timeout": self.start_timeout,
            "device_timeout": self.device_timeout,
            "stop_timeout": self.shutdown_timeout + 30,
            "restart_delay": self.restart_delay,
            "start_limit_burst": self.start_limit_burst,
            "start_limit_interval": self.start_limit_interval,
        }
        if self.contained:
            return {
                **found,
                "docker": self.container_engine == "docker",
                "image": unit_word(self.container_image),
                "remove": " ".join(self.removal("%i")),
            }
        return {
            **found,
            # Of an instance made by hand; others have it in their placement.conf.
            "user": unit_word(self.user or USER),
            "groups": " ".join(map(unit_word, self.groups)),
            "executable": unit_word(self.executable),
            "library_path": ":".join(map(unit_word, self.library_path)),
            "refusal": refusal("%i") if self.device_timeout else "",
            "load_cann": "".join(
                f"{line} \\\n".replace("$", "$$")
                for line in load_cann(self.cann_scripts, "%i", ": install")
            ),
            "hardening": self.hardening,
            "devices": [unit_word(device) for device in self.shared_devices],
        }


def load_cann(scripts: Sequence[str], instance: str, missing: str) -> list[str]:
    """Lines of shell that read CANN's environment from its scripts.

    missing: what to say of a script that is missing, up to the names of what installs it.
    """
    words = " ".join(map(unit_word, scripts))
    text = f"vllm@{instance}: $script is missing or not readable{missing} CANN and NNAL, or set"
    text += " vllm_service_cann_scripts"
    return [
        # In a function, because NNAL's script looks at its caller's arguments.
        'load() { . "$script"; };',
        f"    for script in {words}; do",
        f'        [ -r "$script" ] || {{ echo "{text}" >&2; exit 78; }};',
        "        load;",
        "    done;",
    ]
