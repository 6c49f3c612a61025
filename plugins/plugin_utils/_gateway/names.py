# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names by which HAProxy, its metrics and its admin socket know services.

A service of a host is the server `SERVICE:HOST` in each backend that has it, so that who takes it out
of a gateway needs no more than the two names.
"""

from __future__ import annotations

import hashlib
import re

from .._base.values import bad_character

# HAProxy's identifiers (configuration manual, 4.2 and "proxy names").
_OTHER = re.compile(r"[^A-Za-z0-9_.:-]")


def server_name(service: str, host: str) -> str:
    """The name of a service's server. host: in the inventory; of a service over several hosts its leader."""
    return identifier(f"{service}:{host}")


def backend_name(name: str) -> str:
    """The name of the backend of a model. name: one that it is served under."""
    return f"model-{identifier(name)}"


def can_be_found(name: str) -> bool:
    """Whether a name of a model can be in HAProxy's maps, whose lines are a key, a space and a value."""
    return bool(name) and not re.search(r"\s|^#", name) and not bad_character(name)


def identifier(text: str) -> str:
    """A text as HAProxy takes it for a name, different for different texts."""
    cleaned = _OTHER.sub("_", text)
    if cleaned == text:
        return text
    return f"{cleaned}.{hashlib.sha256(text.encode()).hexdigest()[:6]}"
