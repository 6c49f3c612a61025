# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which services are removed from hosts, and the report about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._base.errors import AscendError
from .._base.systemd import INSTANCE_NAME
from .._base.values import parse_names
from .._base.words import wrap
from .._model.catalogue import Catalogue
from .._place.names import slug

ALL = "all"
_VARIABLE = "vllm_remove_services"
_WAY = f"Name the services (-e {_VARIABLE}=chat,embed), or write all for all of this collection."


def names_to_remove(value: object) -> list[str] | None:
    """The names in `chat,embed` or in a list; None for the text `all`.

    Raises AscendError where nothing is named, and for an invalid name of a service.
    """
    if isinstance(value, str) and value.strip() == ALL:
        return None
    names = parse_names(value, _VARIABLE, _WAY)
    for name in names:
        if not isinstance(name, str) or not INSTANCE_NAME.fullmatch(name):
            raise AscendError(f"{_VARIABLE}: {name!r} is not a valid name of a service. {_WAY}")
        if name == ALL and len(names) > 1:
            raise AscendError(f"{_VARIABLE} has all beside other names. {_WAY}")
    return list(dict.fromkeys(names))


def listed_names(requests: object, catalogue: Catalogue) -> list[str]:
    """Names that a host's variables give to services, as far as they can be read."""
    names = []
    for request in requests if isinstance(requests, list) else ():
        entry = request if isinstance(request, Mapping) else {"model": request}
        name, model = entry.get("name"), entry.get("model")
        if not isinstance(name, str) and isinstance(model, str):
            name = slug(catalogue.name_of(model))
        if isinstance(name, str) and entry.get("state") != "absent":
            names.append(name)
    return names


def report(
    host: str,
    names: Sequence[str] | None,
    result: Mapping[str, Any],
    listed: Iterable[str],
    *,
    check: bool = False,
) -> list[str]:
    """What a removal did on one host, in lines.

    names: what `names_to_remove` returned. result: of systemd_instances. listed: names in the
    host's variables. check: nothing was removed yet.
    """
    found = list(result.get("found", ()))
    gone = found if names is None else [name for name in names if name in found]
    does = "would be removed" if check else "removed"
    lines = wrap(f"{host}: {does}: {', '.join(gone)}." if gone else f"{host}: nothing to remove.")
    others = ", ".join(each for each in found if each not in gone) or "none"
    details = [
        f"{name}: there is no such service that this collection made; others of it here: {others}."
        for name in names or ()
        if name not in found
    ]
    again = [name for name in listed if names is None or name in names]
    if again:
        details.append(
            f"Still in vllm_service_instances of {host}: {', '.join(again)}. The next deploy"
            " creates them again. Remove them there (where the plan writes it, from"
            " vllm_plan_services, and plan again), or write state: absent."
        )
    return lines + [line for text in details for line in detail(text)]


def detail(text: str) -> list[str]:
    """A text in lines below that of its host."""
    return wrap(text, "  ", "    ")
