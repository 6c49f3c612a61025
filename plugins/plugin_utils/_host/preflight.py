# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a host for its services, all at once, before they are placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._model.spec import Spec
from ..settings import Settings
from . import cards, configuration, paths, services, software
from .checks import HostChecks


def check_host(facts: Mapping[str, Any], settings: Settings, specs: Sequence[Spec]) -> HostChecks:
    """Everything that needs no placed services.

    facts: what the module host_info returns. specs: resolved services.
    Raises AscendError for settings of the checks that cannot be used.
    """
    checks = HostChecks(facts, settings, specs)
    cards.check_npu_smi(checks)
    if checks.shown:
        cards.check_profile(checks)
        cards.check_ids(checks)
        cards.check_health(checks)
        cards.check_excluded(checks)
        cards.check_identity(checks)
        cards.check_processes(checks)
        cards.check_memory(checks)
    software.check_driver(checks)
    software.check_access(checks)
    software.check_cann(checks)
    software.check_engine(checks)
    software.check_versions(checks)
    services.check_existing(checks)
    services.check_weights(checks)
    paths.check_paths(checks)
    configuration.check_configurations(checks)
    return checks
