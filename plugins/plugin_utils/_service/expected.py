# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Placed services as they should be seen from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .engine import engine_config
from .unit import UnitSettings


def expected_services(
    placed: Iterable[Mapping[str, Any]], settings: UnitSettings
) -> list[dict[str, Any]]:
    """What status and /v1/models should report, without secrets.

    Returns {name, state, cards, port, max_model_len (tokens), aliases} of each service that is not
    absent; aliases are the ids that /v1/models should list. Raises AscendError as `engine_config`.
    """
    services = []
    for service in placed:
        if service.get("state") == "absent":
            continue
        config = engine_config(service, settings.options_version, weights_dir=settings.weights_dir)
        names = config.get("served-model-name") or config["model"]
        services.append(
            {
                "name": str(service["name"]),
                "state": str(service.get("state") or "started"),
                "cards": [int(card) for card in service["cards"]],
                "port": int(service["port"]),
                "max_model_len": config["max-model-len"],
                "aliases": [str(each) for each in names] if isinstance(names, list) else [names],
            }
        )
    return services
