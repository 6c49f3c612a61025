# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of a host's weights: those of a task, those of its variables, and their checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._base.variables import Variables
from .._service.literal import AS_WRITTEN, check_env

HUBS = ("huggingface", "modelscope")
SOURCES = ("local", *HUBS, "rsync", "nfs", "archive")
CHOICE = f"Choose one of {', '.join(SOURCES)}."
# What a model's configuration is compared with a service by: the tensor-parallel size that divides its
# heads, its native context, its quantization, the kind of its architecture, the facts of its name.
CHECKS = ("heads", "context", "quantization", "kind", "model")


@dataclass(frozen=True)
class WeightsOptions:
    """What applies to every service that sets nothing else; `check` has to be called.

    Attributes:
        weights_dir: where models are, by hub id.
        source: one of SOURCES.
        models: {model, service or hub id: source or mapping of jobs.KEYS}.
        location: what rsync or nfs takes a hub id below.
        endpoints: {hub: address}.
        skip: patterns of files to leave out. verify: compare directories made by hand with the hub.
        checks: {code of CHECKS: error, warning or ignore}.
        env: environment of every service.
    """

    weights_dir: str = "/var/lib/vllm/weights"
    source: str = "local"
    models: Mapping[str, Any] = field(default_factory=dict)
    location: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    skip: Sequence[str] = ()
    verify: bool = False
    checks: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises AscendError for a value that cannot be used."""
        if self.source not in SOURCES:
            raise AscendError(
                f"vllm_weights_source is {self.source!r}, which is not a source. {CHOICE}"
            )
        if self.source == "archive":
            raise AscendError(
                "vllm_weights_source is archive, which is a different one for each model. Name it in"
                " `weights` of the service, or in vllm_weights_models."
            )
        for hub, address in self.endpoints.items():
            if hub not in HUBS or not re.match(r"https?://[^/]", str(address)):
                raise AscendError(
                    f"vllm_weights_endpoints has {hub}: {address!r}. Write huggingface or modelscope,"
                    " and an address such as https://hf-mirror.com"
                )
        for code, severity in self.checks.items():
            if code not in CHECKS or severity not in ("error", "warning", "ignore"):
                raise AscendError(
                    f"vllm_weights_checks has {code}: {severity!r}. The checks are"
                    f" {', '.join(CHECKS)}, each error, warning or ignore."
                )


def options_of_host(variables: Variables) -> dict[str, Any]:
    """Options that follow from a host's variables where a task does not give them.

    Raises AscendError for a variable of another kind, and for a secret in `vllm_weights_env`.
    """
    env, packages = map(variables.mapping, ("vllm_weights_env", "vllm_weights_packages"))
    check_env(env, "vllm_weights_env", variables.texts(AS_WRITTEN))
    if packages is None:
        packages = {
            "directory": f"{variables.text('vllm_runtime_root')}/tools",
            "index_url": variables.text("vllm_runtime_index_url"),
            "extra_index_urls": list(variables.texts("vllm_runtime_extra_index_urls")),
            "wheels": variables.text("vllm_runtime_wheels"),
            "offline": variables.flag("vllm_runtime_offline"),
            "environment": variables.mapping("vllm_runtime_environment"),
        }
    return {
        "weights_dir": variables.text("vllm_weights_dir", "vllm_service_weights_dir"),
        "user": variables.text("vllm_weights_user", "vllm_service_user"),
        "groups": list(variables.texts("vllm_weights_groups", "vllm_service_groups")),
        "env": variables.mapping("vllm_service_env") if env is None else env,
        "packages": packages,
    }
