# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters inferops.ascend.preflight, weight_folders and card_table, thin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import card_table as table
from ansible_collections.inferops.ascend.plugins.plugin_utils._host import preflight as checks
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.options import PreflightOptions
from ansible_collections.inferops.ascend.plugins.plugin_utils._model import profiles
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.paths import (
    weights_directory,
)

_RESOLVING = ("requests", "placement", "tables", "estimate", "allow_untested")


def preflight(
    facts: Mapping[str, Any],
    profile: str | None = None,
    specs: Sequence[Mapping[str, Any]] = (),
    host: str = "this host",
    stops: bool = True,
    **options: Any,
) -> dict[str, Any]:
    """`preflight.check` as plain data, with Ansible's error."""
    unknown = sorted(set(options) - set(PreflightOptions.__dataclass_fields__) - set(_RESOLVING))
    if unknown:
        raise AnsibleFilterError(f"preflight has no option {unknown[0]}")
    try:
        declared = profiles.profile(profile) if profile else None
        resolving = {key: options[key] for key in _RESOLVING if options.get(key) is not None}
        chosen = PreflightOptions.from_dict({**options, "specs": specs})
        report = checks.check(facts, declared, chosen, **resolving)
        return report.as_dict(str(host), stops=bool(stops))
    except AscendError as error:
        raise AnsibleFilterError(str(error)) from error


def weight_folders(specs: Sequence[Mapping[str, Any]], weights_dir: str) -> list[str]:
    """Folders of the weights of present services, each once."""
    folders = [
        weights_directory(spec, weights_dir) for spec in specs if spec.get("state") != "absent"
    ]
    return list(dict.fromkeys(folder for folder in folders if folder))


def card_table(facts: Mapping[str, Any]) -> list[str]:
    """`table.lines`."""
    return table.lines(facts)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filter functions by name."""
        return {
            "preflight": preflight,
            "weight_folders": weight_folders,
            "card_table": card_table,
        }
