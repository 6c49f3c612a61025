# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of npu-smi for tests: recorded, written, and mutated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[3] / "data" / "npu-smi"
TABLES = sorted(path.name for path in DATA.glob("*-info.txt"))
TABLE = """\
+---+
| npu-smi 30.1   Version: 30.2 |
+---+
| NPU   Name      | Health  | Power(W)  Temp(C)  Hugepages-Usage(page)|
| Chip            | Bus-Id  | AICore(%)  Memory-Usage(MB)  HBM-Usage(MB) |
+===+
| 5     910B3     | OK      | 91.3  36   0 / 0 |
| 0               | 0000:C1:00.0 | 7  0 / 0  60156/ 65536 |
+===+
| NPU     Chip    | Process id    | Process name | Process memory(MB) |
+===+
| No running processes found in NPU 5 |
+===+
"""


def text_of(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def codes(problems: list[dict[str, str]]) -> list[str]:
    return [problem["code"] for problem in problems]


def facts(card: dict[str, Any], *keys: str) -> tuple[Any, ...]:
    return tuple(card[key] for key in keys)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A table with pieces cut out, doubled, swapped or replaced."""
    text = text_of(draw(st.sampled_from(TABLES)))
    for _change in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["cut", "line", "double", "swap", "insert", "join"]))
        first = draw(st.integers(0, len(text)))
        second = draw(st.integers(first, min(len(text), first + 200)))
        lines = text.split("\n")
        at = draw(st.integers(0, len(lines) - 1))
        if kind == "cut":
            text = text[:first] + text[second:]
        elif kind == "line":
            del lines[at]
            text = "\n".join(lines)
        elif kind == "double":
            text = text[:second] + text[first:]
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
            text = "\n".join(lines)
        elif kind == "insert":
            text = text[:first] + draw(st.text(max_size=12)) + text[first:]
        else:
            text = text.replace(draw(st.sampled_from(" |+/\n0")), "", draw(st.integers(0, 9)))
    return text
