# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Services that have their cards together with others: what each has to state, and which engines can.

vLLM's option gpu-memory-utilization is documented as a limit of one instance, whatever others use. What
vllm-ascend does is in determine_available_memory of vllm_ascend/worker/worker.py (worker_v1.py up to
0.11.0), read in 0.11.0, 0.13.0, 0.17.0rc1, 0.18.0 and 0.23.0, and of vllm_ascend/_310p/worker_310p.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._base.errors import AscendError
from .options import engine_number
from .profiles import profile as profile_named
from .request import Request

# Release notes of vllm-ascend 0.18.0rc1, pull request 7427.
_OWN_MEMORY_SINCE = (0, 18)


def shared_positions(requests: Sequence[object]) -> frozenset[int]:
    """The positions of requests that name exactly the cards that another one names.

    That is a request to share them, unless one of them says `share: false`.
    """
    named: dict[tuple[object, ...], list[int]] = {}
    for position, request in enumerate(requests):
        if not isinstance(request, Mapping) or request.get("state") == "absent":
            continue
        cards = request.get("cards")
        if isinstance(cards, (list, tuple)) and cards and request.get("share") is not False:
            named.setdefault(tuple(sorted(map(str, cards))), []).append(position)
    return frozenset(n for alike in named.values() if len(alike) > 1 for n in alike)


def check_stated(request: Request, model: str, utilization: float | None) -> None:
    """Raises AscendError for a service that may not share its cards, or does not state its part."""
    if request.share and utilization is None:
        raise AscendError(
            f"{model} has share: true, so its part of the memory of each card has to be stated."
            " Write gpu_memory_utilization beside it, such as 0.3."
        )
    if request.share and request.cluster.hosts:
        raise AscendError(
            f"{model} has share: true and spans several hosts, and such a service takes complete"
            " hosts. Leave share out, or serve it from one host."
        )


def counts_others(model: str, version: str | None, profile: str | None) -> tuple[str, str] | None:
    """(why, way out) where the engine counts the memory of other processes as its part.

    A second service on a card then has less than its part for its KV cache, or nothing.

    version: of vLLM or vllm-ascend; None: not known, and nothing is decided by it.
    """
    if profile and any(chip.startswith("310P") for chip in profile_named(profile).chips):
        return (
            f"{model} shares its cards, and on chips 310P vllm-ascend counts what other processes use"
            " of a chip as used by the service itself (vllm-ascend issue 14274, read up to 0.23.0)",
            "Give it cards that no other service has",
        )
    if version and (engine_number(version) or _OWN_MEMORY_SINCE) < _OWN_MEMORY_SINCE:
        return (
            f"{model} shares its cards, and vllm-ascend before 0.18.0 counts what other processes use"
            f" of a card as used by the service itself, and the version is {version} (vllm-ascend"
            " issues 5917 and 7308)",
            "Take vllm-ascend 0.18.0 or later, or give it cards that no other service has",
        )
    return None
