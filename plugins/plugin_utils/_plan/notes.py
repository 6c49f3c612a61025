# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is worth knowing of a plan, beside what it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._model.options import missing_list
from .hosts import Hardware
from .inventory import Inventory, some
from .services import Service


def notes(
    inventory: Inventory,
    services: Mapping[str, Service],
    found: Mapping[str, Hardware],
    seen: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[str]:
    """Profiles that were guessed, hosts that are too small for a service, warnings of specs, and
    versions of the engine whose options are not listed."""
    texts = []
    guessed: dict[str, list[str]] = {}
    for name in sorted(seen):
        profile = found[name].profile if name in found else None
        declared = inventory.variables(name).get("ascend_host_profile")
        if profile and not declared:
            guessed.setdefault(profile, []).append(name)
    for profile, names in guessed.items():
        texts.append(
            f"{some(names)}: no ascend_host_profile is declared. By its cards it is"
            f" {profile}; declare that, and it need not be asked, and can be deployed."
        )
    for version in sorted({hardware.engine_version for hardware in found.values()}):
        missing = missing_list(version)
        if missing:
            texts.append(f"{missing}.")
    messages: dict[str, list[str]] = {}
    for name, service in services.items():
        for kind in sorted(service.refused):
            text = f"not for hosts of {kind}: {service.refused[kind]}"
            messages.setdefault(text, []).append(name)
        for kind in sorted(service.specs):
            for warning in service.specs[kind]["warnings"]:
                messages.setdefault(warning, []).append(name)
    for text, names in messages.items():
        texts.append(f"{', '.join(dict.fromkeys(names))}: {text}")
    return texts
