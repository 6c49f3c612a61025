# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which services a removal takes off hosts, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._base.errors import AscendError
from .._base.systemd import INSTANCE_NAME
from .._base.values import kind_of
from .._base.words import wrap
from .._model.catalogue import Catalogue
from .._place.names import slug

ALL = "all"


def names_to_remove(value: object) -> list[str] | None:
    """The names in `chat,embed` or in a list; None for the text `all`.

    Raises AscendError where nothing is named, and for what cannot be a service's name.
    """
    say = (
        "say which services: -e vllm_remove_services=chat,embed, or all for all of this collection"
    )
    if isinstance(value, str):
        if value.strip() == ALL:
            return None
        names = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, (list, tuple)):
        names = list(value)
    elif value is None:
        raise AscendError(f"vllm_remove_services is not set; {say}.")
    else:
        raise AscendError(f"vllm_remove_services is {kind_of(value)}; {say}.")
    for name in names:
        if not isinstance(name, str) or not INSTANCE_NAME.fullmatch(name):
            raise AscendError(f"vllm_remove_services: {name!r} is no name of a service; {say}.")
        if name == ALL and len(names) > 1:
            raise AscendError(f"vllm_remove_services has all beside other names; {say}.")
    if not names:
        raise AscendError(f"vllm_remove_services names no service; {say}.")
    return list(dict.fromkeys("".join([name]) for name in names))


def listed_names(requests: object, catalogue: Catalogue) -> list[str]:
    """Names that a host's variables give to services, as far as they can be read."""
    names = []
    for request in requests if isinstance(requests, (list, tuple)) else ():
        entry = request if isinstance(request, Mapping) else {"model": request}
        if entry.get("state") == "absent":
            continue
        name, model = entry.get("name"), entry.get("model")
        if not isinstance(name, str) and isinstance(model, str):
            match = catalogue.find(model)
            name = slug(match.model if match else model)
        if isinstance(name, str):
            names.append("".join([name]))
    return names


def report(
    host: str,
    names: Sequence[str] | None,
    result: Mapping[str, Any],
    listed: Iterable[str],
    *,
    check: bool = False,
) -> list[str]:
    """Lines that say what a removal did on one host.

    names: as `names_to_remove` gives them. result: of systemd_instances. listed: names of the
    host's variables. check: nothing was done yet.
    """
    found = list(result.get("found", ()))
    gone = found if names is None else [name for name in names if name in found]
    does = "would be removed" if check else "removed"
    lines = [f"{host}: {does}: {', '.join(gone)}." if gone else f"{host}: nothing to remove."]
    for name in names or ():
        if name not in found:
            there = ", ".join(each for each in found if each not in gone) or "none"
            lines.append(
                f"  {name}: there is no such service that this collection made; others of it here:"
                f" {there}."
            )
    again = [name for name in listed if names is None or name in names]
    if again:
        lines.append(
            f"  Still in vllm_service_instances of {host}: {', '.join(again)}. The next deploy"
            " brings them back. Take them out there (where the plan writes it, out of"
            " vllm_plan_services, and plan again), or write state: absent."
        )
    wrapped = []
    for line in lines:
        indent = "  " * line.startswith("  ")
        wrapped += wrap(line, indent, indent + "  ")
    return wrapped
