# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real argument parsers, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .engines import (
    HERE,
    EnginesError,
    python,
)


class Parser:
    """The real parser of one version, in a process of its own; see vllm_parser.py."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._folder = tempfile.TemporaryDirectory()
        self._errors = Path(self._folder.name, "errors")
        command = ["nice", "-n", "5", str(python(version)), str(HERE / "vllm_parser.py")]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )

    def _ask(self, question: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            tail = "\n".join(self._errors.read_text().splitlines()[-12:])
            raise EnginesError(f"the parser of vLLM {self.version} ended:\n{tail}")
        return json.loads(line)

    def options(self) -> dict[str, dict[str, Any]]:
        """The options of `vllm serve`, by first long form."""
        found: dict[str, dict[str, Any]] = self._ask({"dump": True})["options"]
        return found

    def parse(self, words: Sequence[str]) -> dict[str, Any]:
        """What `vllm WORDS` reads: `status`, `error`, `values`."""
        answer: dict[str, Any] = self._ask({"words": list(words)})
        return answer

    def benchmark(self, words: Sequence[str]) -> dict[str, Any]:
        """The same of `vllm bench serve WORDS`."""
        answer: dict[str, Any] = self._ask({"benchmark": list(words)})
        return answer

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._folder.cleanup()
