# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files as a version of the real engine reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._service.engine import (
    engine_config,
    engine_yaml,
)

from .parsers import Parser


class Reader:
    """Files and the real parser of one version."""

    def __init__(self, parser: Parser, folder: Path) -> None:
        self.version = parser.version
        self.parser = parser
        self.folder = folder

    def read(self, text: str, words: str = "--config FILE", name: str = "a.yaml") -> dict[str, Any]:
        """`vllm serve WORDS`, with the text of a configuration file put at FILE."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return self.parser.parse(
            ["serve", *(word.replace("FILE", str(path)) for word in words.split())]
        )

    def values(self, service: dict[str, Any]) -> dict[str, Any]:
        """The options that the engine reads of a placed service's file; they must be read."""
        answer = self.read(engine_yaml(engine_config(service, self.version)))
        assert answer["status"] == 0, f"{service['model']}: {answer['error']}"
        found: dict[str, Any] = answer["values"]
        return found
