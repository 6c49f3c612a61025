# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many data-parallel ranks a service runs, by its key and by the engine's options in `args`.

Counted as `EngineArgs.create_engine_config` in vllm/engine/arg_utils.py counts them: an external load
balancer has one rank behind each address, a hybrid one the ranks of a host, otherwise one address
answers for all ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._base.values import shown, whole_number
from .cluster import Cluster
from .options import dashed

SIZE = "data-parallel-size"
_LOCAL = "data-parallel-size-local"
_RANK = "data-parallel-rank"
_EXTERNAL = "data-parallel-external-lb"
_HYBRID = "data-parallel-hybrid-lb"
_CONTEXT = "prefill-context-parallel-size"


@dataclass(frozen=True)
class Ranks:
    """None: not requested.

    Attributes:
        size: data-parallel ranks of all services that belong together.
        here: those of this service, on all its hosts.
        context: prefill-context-parallel size.
        args: the request's options without the size, which the key has.
    """

    size: int | None = None
    here: int | None = None
    context: int = 1
    args: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, key: int | None, args: Mapping[str, Any], cluster: Cluster, model: str) -> Ranks:
        """Raises AscendError for what the engine would reject, or count otherwise than the key."""
        given = {dashed(name): value for name, value in args.items() if value is not None}
        rest = {name: value for name, value in args.items() if dashed(name) != SIZE}
        size = _number(given, SIZE, model)
        if key is not None and size is not None and key != size:
            raise AscendError(
                f"{model} has data_parallel_size {key}, and {SIZE} {size} in args. Leave one of them"
                " out."
            )
        size = key if size is None else size
        balanced = given.get(_RANK) is not None or any(
            given.get(option) is True for option in (_EXTERNAL, _HYBRID)
        )
        cluster.check_args(given, balanced and not cluster.hosts, model)
        context = _number(given, _CONTEXT, model) or 1
        if cluster.hosts:
            for option in (_RANK, _EXTERNAL, _HYBRID, _LOCAL):
                if option in given and given[option] is not False:
                    raise AscendError(
                        f"args of {model} sets {option}, and it spans hosts: each host's ranks follow"
                        " from data_parallel_size. Leave it out."
                    )
            return cls(size, size, context, rest)
        return cls(size, _here(size, given, model), context, rest)


def _here(size: int | None, given: Mapping[str, Any], model: str) -> int | None:
    """The ranks of this service."""
    rank, local = given.get(_RANK), _number(given, _LOCAL, model)
    external = _RANK if rank is not None else _EXTERNAL if given.get(_EXTERNAL) is True else None
    if external and given.get(_HYBRID) is True:
        raise AscendError(f"args of {model} sets both {external} and {_HYBRID}. Leave one out.")
    if external:
        number = whole_number(rank)
        if number is None or not 0 <= number < (size or 1):
            raise AscendError(
                f"args of {model} sets {external}, for an external load balancer: one"
                f" service for each data-parallel rank. Write {_RANK}, this service's from 0 to"
                f" {(size or 1) - 1}, and data_parallel_size, the number of all ranks;"
                f" {_RANK} is {'missing' if rank is None else shown(rank)}."
            )
        if local not in (1, None):
            raise AscendError(
                f"args of {model} sets {external}, so this service is one data-parallel rank, and"
                f" {_LOCAL} {local}. Leave {_LOCAL} out."
            )
        return 1
    if given.get(_HYBRID) is True and local is None:
        raise AscendError(
            f"args of {model} sets {_HYBRID}, which needs {_LOCAL}: the data-parallel ranks of this"
            " service."
        )
    if local is None:
        return size
    if local > (size or 1):
        raise AscendError(
            f"args of {model} sets {_LOCAL} to {local}, and the number of all data-parallel ranks is"
            f" {size or 1}. Set data_parallel_size to that number, at least {local}."
        )
    if local < (size or 1) and given.get(_HYBRID) is not True:
        raise AscendError(
            f"args of {model} sets {_LOCAL} to {local} of {size} data-parallel ranks, so this service"
            " would wait for other hosts. Leave it out to run all ranks here; list several hosts in"
            f" cluster, as the playbook plan writes it, for one service over them; set {_HYBRID} for a"
            " load balancer of your own before the hosts."
        )
    return local


def _number(given: Mapping[str, Any], option: str, model: str) -> int | None:
    if option not in given:
        return None
    number = whole_number(given[option])
    if not number or number < 1:
        raise AscendError(
            f"args of {model} sets {option} to {shown(given[option])}; it is an integer, at least 1."
        )
    return number
