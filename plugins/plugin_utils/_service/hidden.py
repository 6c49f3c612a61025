# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Directories of the host that a unit hides from its processes, by the directives that confine it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_TRUE = ("yes", "true", "on", "1")
# systemd.exec(5): setting, the values by which it hides, and what it hides.
_HIDDEN_BY = (
    ("PrivateTmp", (*_TRUE, "disconnected"), ("/tmp", "/var/tmp")),
    ("ProtectHome", (*_TRUE, "tmpfs"), ("/home", "/root", "/run/user")),
)
_LISTS = ("InaccessiblePaths", "TemporaryFileSystem")
_SHOWN = ("BindPaths", "BindReadOnlyPaths")


def hidden_directories(lines: Iterable[str]) -> dict[str, str]:
    """The directories that are not the host's for processes of a unit, with the setting that hides each.

    lines: of the unit, NAME=VALUE. What BindPaths and BindReadOnlyPaths show again has an empty text.
    """
    settings: dict[str, list[str]] = {}
    for line in lines:
        name, value = line.split("=", 1)
        settings.setdefault(name, []).append(value.strip())
    found: dict[str, str] = {}
    for name, values, directories in _HIDDEN_BY:
        last = settings.get(name, [""])[-1]
        if last.lower() in values:
            found.update((each, f"{name}={last}") for each in directories)
    for name in _LISTS:
        for path in _paths(settings, name):
            found[path] = f"{name}={path}"
    for name in _SHOWN:
        found.update((path, "") for path in _paths(settings, name))
    return found


def hiding(path: str, hidden: Mapping[str, str]) -> tuple[str, str] | None:
    """The hidden directory that a path is below, with the setting; None where the unit shows it."""
    above = [each for each in hidden if f"{path}/".startswith(f"{each.rstrip('/')}/")]
    nearest = max(above, key=len, default=None)
    return (nearest, hidden[nearest]) if nearest and hidden[nearest] else None


def _paths(settings: Mapping[str, list[str]], name: str) -> list[str]:
    """The paths of a setting, as processes see them: the second of SOURCE:TARGET, without options."""
    found = []
    for word in " ".join(settings.get(name, [])).split():
        parts = word.lstrip("-+").split(":")
        shown = parts[1] if name in _SHOWN and len(parts) > 1 else parts[0]
        found.append(shown)
    return found
