# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module host_info is asked for before a deployment."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ._base.errors import AscendError
from ._host.configuration import is_unlisted
from ._host.paths import path_options
from ._service.engine import weights_directory
from .deployment import Deployment
from .settings import Settings

# Options of the module host_info, and the settings that they are.
_HOST_OPTIONS = {
    "npu_smi": "npu_smi",
    "timeout": "timeout",
    "user": "user",
    "files": "checked_scripts",
    "executable": "checked_executable",
    "weights_dir": "weights_dir",
}


def host_options(settings: Settings, deployment: Deployment | None) -> dict[str, Any]:
    """The options of the module host_info.

    deployment: of the host; None where there is none, because a variable cannot be used. Then the
    settings that can be used count. Raises AscendError otherwise.
    """
    found: dict[str, Any] = {}
    for option, name in _HOST_OPTIONS.items():
        with suppress(*([] if deployment else [AscendError])):
            value = getattr(settings, name)
            found[option] = list(value) if isinstance(value, tuple) else value
    if deployment:
        models: dict[str, bool] = {}  # directories, and whether a service there is unlisted
        for spec in deployment.specs:
            directory = weights_directory(spec.as_dict(), settings.weights_dir)
            if spec.state != "absent" and directory:
                models[directory] = models.get(directory, False) or is_unlisted(spec)
        found.update(models=list(models), **path_options(deployment.specs, settings))
        shared = _shared_cards(deployment)
        if shared:
            found["shared_cards"] = shared
        unlisted = [directory for directory in models if models[directory]]
        if unlisted:
            found["configurations"] = unlisted
    return {option: value for option, value in found.items() if value not in ("", None)}


def _shared_cards(deployment: Deployment) -> list[int]:
    """Cards that several services get, as far as this is known without the host."""
    placed = [service.placement.cards for service in deployment.services]
    return sorted({card for cards in placed if placed.count(cards) > 1 for card in cards})
