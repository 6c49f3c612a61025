# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the files of a gateway from the services of all hosts, and has a module converge them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import plain
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway import (
    backends,
    files,
    targets,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.gateway import TLS, Gateway
from ansible_collections.inferops.ascend.plugins.plugin_utils._gateway.keys import parse_keys
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import Catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import execute
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_variables import (
    HostAction,
    hosts_matching,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.placed_services import routed_services


class ActionModule(HostAction):
    ARGUMENTS: ClassVar = {
        "services": {"type": "str", "required": True},
        "bind": {"type": "str", "default": "0.0.0.0"},
        "port": {"type": "int", "default": 443},
        "metrics_bind": {"type": "str", "default": "0.0.0.0"},
        "metrics_port": {"type": "int", "default": 8405},
        "tls": {"type": "str", "choices": list(TLS), "default": "self-signed"},
        "certificate": {"type": "str", "default": ""},
        "certificate_key": {"type": "str", "default": ""},
        "names": {"type": "list", "elements": "str", "default": []},
        "keys": {"type": "list", "elements": "dict", "default": [], "no_log": True},
        "backends": {"type": "list", "elements": "dict", "default": [], "no_log": True},
        "affinity": {"type": "list", "elements": "str", "default": []},
        "paths": {"type": "list", "elements": "str", "required": True},
        "max_body_mb": {"type": "int", "default": 4},
        "max_connections": {"type": "int", "default": 1000},
        "receive_timeout": {"type": "int", "default": 60},
        "request_timeout": {"type": "int", "default": 3600},
    }

    def act(self, given: dict[str, Any]) -> dict[str, Any]:
        # Values may be tagged subclasses, and are rendered and compared as plain ones.
        given = plain(given, "the options of vllm_gateway")
        found = [*self._targets(given["services"]), *targets.outside(given["backends"])]
        gateway = Gateway.of(
            given, parse_keys(given["keys"]), backends.backends_of(found, given["affinity"])
        )
        rendered = files.files_of(gateway, self._certificate(given))
        result: dict[str, Any] = execute(
            self,
            "inferops.ascend.vllm_gateway_host",
            {
                "directory": files.DIRECTORY,
                "files": dict(rendered.directory),
                "secrets": dict(rendered.secret),
                "system": dict(rendered.system),
                "digest": rendered.digest,
                "names": self._names(given),
            },
            self.task_vars,
        )
        warned = [*backends.warnings(gateway.backends), *gateway.warnings()]
        if warned:
            result["warnings"] = [*result.get("warnings", []), *warned]
        result["backends"] = [backend.as_dict() for backend in gateway.backends]
        result["report"] = gateway.report(self.variables.host)
        return result

    def _targets(self, pattern: str) -> list[targets.Target]:
        """What the services of the hosts of a pattern are to a gateway."""
        found: list[targets.Target] = []
        catalogues: dict[tuple[str, ...], Catalogue] = {}
        for host in sorted(hosts_matching(self, self.task_vars["groups"], pattern)):
            found += routed_services(self, host, self.task_vars["hostvars"], catalogues)
        return found

    def _certificate(self, given: dict[str, Any]) -> str | None:
        """What vllm_gateway_certificate and its key have, where they are to be used."""
        if given["tls"] != "files":
            return None
        texts = []
        for name in ("certificate", "certificate_key"):
            if not given[name]:
                raise AscendError(
                    f"vllm_gateway_tls is files, and vllm_gateway_{name} is not set. Name a file in PEM"
                    " on the controller."
                )
            try:
                path = self._loader.get_real_file(self._find_needle("files", given[name]))
                texts.append(Path(path).read_text(encoding="utf-8").rstrip("\n") + "\n")
            except (AnsibleError, OSError, UnicodeError) as error:
                raise AscendError(
                    f"vllm_gateway_{name}, {given[name]}, cannot be read: {error}"
                ) from error
        return "".join(texts)

    def _names(self, given: dict[str, Any]) -> list[str]:
        """Names of a certificate that is made on the host; none where it is not."""
        if given["tls"] != "self-signed":
            return []
        return list(dict.fromkeys([*given["names"], self.variables.host, self._address]))

    @property
    def _address(self) -> str:
        return str(self.variables.read("ansible_host") or self.variables.host)
