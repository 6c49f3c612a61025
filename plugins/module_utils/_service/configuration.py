# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a service on its host: its configuration and its secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Iterable

from .._base.reading import OutOfBounds, read_text

# Shorter values are replaced as complete words only, or "1" would blacken every line.
_SECRET_LENGTH = 6


def parse_environment_file(text: str) -> dict[str, str]:
    """The variables of a file for `EnvironmentFile=`, as systemd.exec(5) reads it."""
    found: dict[str, str] = {}
    pattern = r'^[ \t]*([A-Za-z_][A-Za-z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^\n]*))'
    for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        name, double, single, bare = match.groups()
        if double is not None:
            found[name] = re.sub(r'\\(["\\`$])', r"\1", double)
        else:
            found[name] = single if single is not None else bare.strip()
    return found


def read_secrets(root: Path, path: str) -> dict[str, str]:
    """The variables of a file of secrets; none where it cannot be read."""
    try:
        return parse_environment_file(read_text(root / path.lstrip("/"), "replace"))
    except (OSError, OutOfBounds):
        return {}


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that takes the values of secrets out of a text."""
    words = {part for value in secrets for part in [value, *value.split("\n")] if part}
    if not words:
        return str
    patterns = [
        re.escape(word) if len(word) >= _SECRET_LENGTH else rf"(?<!\w){re.escape(word)}(?!\w)"
        for word in sorted(words, key=len, reverse=True)
    ]
    pattern = re.compile("|".join(patterns))
    return lambda text: pattern.sub("********", text)


def read_settings(root: Path, path: str) -> dict[str, str]:
    """Top-level `key: value` lines of a configuration that this collection wrote; enough for where it listens."""
    try:
        text = read_text(root / path.lstrip("/"), "replace")
    except (OSError, OutOfBounds):
        return {}
    found = re.findall(r"^([a-z][a-z-]*): *(\S.*)$", text, re.MULTILINE)
    return {key: value.strip().strip("\"'") for key, value in found}
