# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A calibration as an SVG chart: each trial by its length and number of cards, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .._base.words import counted
from .outcome import Ended
from .search import K, Search, Step

_LEFT, _RIGHT, _TOP, _ROW, _FOOT, _WIDTH = 90, 40, 84, 64, 92, 900
_LABEL = 36  # how far labels of the axis are apart at least
_PASSED, _FAILED, _ESTIMATE, _GRID, _INK = "#0072b2", "#d55e00", "#777777", "#dddddd", "#222222"
_STYLE = "font-family:system-ui,sans-serif;font-size:13px"


def in_k(length: int) -> str:
    """A length as tables write it: 32K, 0.5K, 40000."""
    return f"{length / K:g}K" if length % (K // 2) == 0 else str(length)


def chart(
    title: str, subtitle: str, search: Search, trials: Sequence[Ended], answer: Step | None
) -> str:
    """The SVG text. title: what was calibrated. subtitle: on what."""
    low, high = math.log2(search.lengths[0]), math.log2(search.lengths[-1])

    def across(length: float) -> float:
        share = 0.5 if high == low else (math.log2(max(length, 1)) - low) / (high - low)
        return _LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT)

    height = _TOP + _ROW * len(search.cards) + _FOOT
    bottom = height - _FOOT
    found = f"{in_k(answer.length)} on {counted(answer.cards, 'card')}" if answer else "none"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-labelledby="title desc" style="{_STYLE}">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{escape("; ".join(each.line for each in trials))}</desc>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(_LEFT, 28, title, size=17, weight=600),
        _text(_LEFT, 50, subtitle),
    ]
    last = -100.0
    for length in search.lengths:
        x = across(length)
        parts.append(_line(x, _TOP, x, bottom, _GRID))
        end = length == search.lengths[-1]
        if end or not length & (length - 1):
            if end and x - last < _LABEL and len(search.lengths) > 1:
                parts.pop(_label_before(parts))
            parts.append(_text(x, bottom + 18, in_k(length), anchor="middle"))
            last = x
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 38, "max_model_len", "middle"))
    for place, cards in enumerate(search.cards):
        y = _TOP + _ROW * (place + 0.5)
        parts.append(_text(_LEFT - 16, y + 4, counted(cards, "card"), "end"))
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, _GRID))
        for each in trials:
            if each.step.cards == cards:
                parts += _trial(each, across(each.step.length), y, each.step == answer)
                if each.fits:
                    parts.append(
                        _line(
                            across(each.fits), y - 22, across(each.fits), y + 22, _ESTIMATE, "4 3"
                        )
                    )
    y = height - 20
    parts += [
        _dot(_LEFT, y, _PASSED, False),
        _text(_LEFT + 12, y + 4, "started and completed the benchmark"),
        _cross(_LEFT + 300, y),
        _text(_LEFT + 314, y + 4, "too large"),
        _line(_LEFT + 410, y - 8, _LEFT + 410, y + 8, _ESTIMATE, "4 3"),
        _text(_LEFT + 422, y + 4, "the engine's own estimate"),
        _text(_WIDTH - _RIGHT, y + 4, f"result: {found}", "end", weight=600),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _label_before(parts: Sequence[str]) -> int:
    """The place of the last label of the axis, which the longest length's would cover."""
    return max(number for number, part in enumerate(parts) if 'text-anchor="middle"' in part)


def _trial(each: Ended, x: float, y: float, answer: bool) -> list[str]:
    if not each.passed:
        return [_cross(x, y)]
    rate = each.figures.get("output_throughput")
    label = (
        []
        if rate is None
        else [_text(x, y - 14, f"{rate:.0f} tokens/s", "end" if x > 600 else "middle")]
    )
    return [_dot(x, y, _PASSED, answer), *label]


def _dot(x: float, y: float, color: str, ring: bool) -> str:
    around = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10" fill="none" stroke="{color}" stroke-width="2"/>'
    )
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{color}"/>' + (around if ring else "")


def _cross(x: float, y: float) -> str:
    return (
        f'<path d="M{x - 6:.1f} {y - 6:.1f}l12 12m0 -12l-12 12" stroke="{_FAILED}" stroke-width="3"'
        ' fill="none"/>'
    )


def _line(x: float, y: float, to_x: float, to_y: float, color: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{color}"{dashed}/>'


def _text(
    x: float, y: float, text: str, anchor: str = "start", size: int = 13, weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' font-weight="{weight}" fill="{_INK}">{escape(text)}</text>'
    )
