# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several terms of the lookup ``inferops.ascend.model`` at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .._base.errors import AscendError
from .catalogue import Catalogue
from .resolve import Options, memories_text, resolve
from .sharing import shared_positions
from .spec import Spec


def resolve_terms(terms: Sequence[object], catalogue: Catalogue, options: Options) -> list[Spec]:
    """The specs of several terms, in order.

    A term is a name, a request, a list of those (flattened one level), or ``*``, which matches
    every row for the memory.

    Raises AscendError: a term cannot be resolved.
    """
    flat: list[object] = []
    for term in terms:
        flat.extend(term if isinstance(term, (list, tuple)) else [term])
    specs: list[Spec] = []
    sharing = shared_positions(flat)
    for position, term in enumerate(flat):
        if isinstance(term, str) and term.strip() == "*":
            memory = options.card_memory_gb
            rows = list(catalogue.every_row(memory))
            if not rows:
                raise AscendError(
                    f"No table lists cards of {memory:g} GB, so * matches nothing. The tables list"
                    f" {memories_text(catalogue.memories())}."
                )
            specs.extend(resolve(row.model, catalogue, options) for row in rows)
        else:
            alike = replace(options, shares_cards=True) if position in sharing else options
            specs.append(resolve(term, catalogue, alike))
    return specs
