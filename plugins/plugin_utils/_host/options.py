# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checks of a preflight, and the options that shape them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._base.values import kind_of, whole_number
from .._model import versions

# Every check by its code, and what it compares. The codes are what a user turns off or on.
CHECKS = {
    "npu_smi": "whether npu-smi answers, and completely",
    "profile": "whether a profile is declared",
    "count": "the number of cards against the profile",
    "card_memory": "the memory of a card against the profile",
    "chip": "the name of the chip against the profile",
    "model": "the requests against the memory that the cards really have",
    "ids": "logic and physical ids, and device nodes",
    "health": "the health of cards",
    "excluded": "whether excluded cards are cards of this host",
    "driver": "the driver's files and Driver_Install_Status",
    "access": "groups, and who may open the device nodes",
    "cann": "the set_env.sh scripts of CANN and NNAL",
    "engine": "the engine's program",
    "versions": "engine, CANN and Python against the version matrix",
    "processes": "other processes on cards",
    "memory": "free memory of cards against what services take",
    "mask": "the attention mask of a 310P",
    "placement": "whether all services find cards and ports",
    "ports": "ports of services on which other processes listen",
    "disk": "space for weights that are not there yet",
    "weights": "whether weights are there (off unless asked for)",
}
SEVERITIES = ("error", "warning", "ignore")
OFF_BY_DEFAULT = frozenset(("weights",))


@dataclass(frozen=True)
class PreflightOptions:
    """What a host is checked for, and how strictly.

    Attributes:
        specs: resolved services, as the lookup returns them.
        asked: whether it is known which services there are.
        excluded: logic ids.
        accepted_health: words of npu-smi for a card that may be used.
        checks: {code of CHECKS: error, warning or ignore}, instead of the finding's severity.
        engine_version: of vLLM; None to leave versions alone.
        options_version: the version whose option list counts; None where none does.
        version_row: the user's row of the version matrix, which takes the place of the matrix.
        groups: groups that the services are in. user: the account they run as.
        scripts: set_env.sh of CANN and NNAL. executable: the engine's program.
        weights_dir: where weights are, by hub id.
    """

    specs: Sequence[Mapping[str, Any]] = ()
    asked: bool = True
    excluded: Sequence[int] = ()
    accepted_health: Sequence[str] = ("OK",)
    checks: Mapping[str, str] = field(default_factory=dict)
    engine_version: str | None = None
    options_version: str | None = None
    version_row: versions.VersionRow | None = None
    user: str = "vllm"
    groups: Sequence[str] = ()
    scripts: Sequence[str] = ()
    executable: str | None = None
    weights_dir: str = "/var/lib/vllm/weights"

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> PreflightOptions:
        """Options as variables give them. Raises AscendError that names the variable at fault."""
        checks = options.get("checks") or {}
        if not isinstance(checks, Mapping):
            raise AscendError(
                f"ascend_host_checks is {kind_of(checks)}; a mapping is needed, such as"
                " {health: error, disk: ignore}."
            )
        for code, severity in checks.items():
            if code not in CHECKS:
                raise AscendError(
                    f"ascend_host_checks has {code!r}, which is not a check. Checks are"
                    f" {', '.join(CHECKS)}."
                )
            if severity not in SEVERITIES:
                raise AscendError(
                    f"ascend_host_checks sets {code} to {severity!r}; write one of"
                    f" {', '.join(SEVERITIES)}."
                )
        excluded = []
        for item in options.get("excluded") or ():
            card = whole_number(item)
            if card is None:
                raise AscendError(
                    f"ascend_host_excluded_cards has {item!r}; a list of logic ids is needed."
                )
            excluded.append(card)
        row = options.get("version_row")
        known = {
            key: value
            for key, value in options.items()
            if key in cls.__dataclass_fields__ and value is not None
        }
        known.update(
            checks={str(code): str(severity) for code, severity in checks.items()},
            excluded=excluded,
            version_row=versions.parse(row) if row else None,
        )
        return cls(**known)
