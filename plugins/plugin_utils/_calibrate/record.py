# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The trials that were run and under which conditions, kept in a file from which a run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import (
    OutOfBounds,
    parse_json,
    read_text,
)

from .._base.errors import AscendError
from .._base.lock import locked
from .._base.output import write_text
from .outcome import Ended
from .row import with_row

LOCK = ".inferops-calibrate.lock"
_TIMEOUT = 60.0  # seconds; a row is written in much less


def text_of(path: Path) -> str | None:
    """The text of a file of the controller; None where there is none. Raises AscendError."""
    try:
        return read_text(path, "replace")
    except FileNotFoundError:
        return None
    except (OSError, OutOfBounds) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise AscendError(f"{path} cannot be read: {reason}.") from error


def read_record(path: Path, conditions: Mapping[str, Any]) -> tuple[list[Ended], list[str]]:
    """The trials of an earlier run, and the names of conditions that differ from those of now.

    Where one differs its trials do not count, and none are returned. Raises AscendError for a file that
    this did not write.
    """
    text = text_of(path)
    if text is None:
        return [], []
    try:
        data = parse_json(text)
        before = data["conditions"]
        trials = [Ended.from_dict(each) for each in data["trials"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AscendError(
            f"{path} is not the state of a calibration. Move it away, or set vllm_calibrate_state."
        ) from error
    now = json.loads(json.dumps(conditions))
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return ([] if changed else trials), changed


def write_record(path: Path, conditions: Mapping[str, Any], trials: Sequence[Ended]) -> None:
    """Write the file completely or not at all. Raises AscendError."""
    data = {"conditions": conditions, "trials": [each.as_dict() for each in trials]}
    write_text(path, json.dumps(data, indent=1) + "\n")


def write_row(
    table: Path, row: Mapping[str, Any], changed: bool, report: Callable[[str], None]
) -> tuple[str | None, str | None]:
    """Write the row of a calibration into a table, which is made if need be; return its text before and after.

    changed: whether there is something new; if not, an existing table stays as it is. Hosts may be
    calibrated at once: one process at a time reads and writes. report: is told whom it waits for. Raises
    AscendError.
    """
    with locked(table.parent, LOCK, "writing the row of a calibration", _TIMEOUT, report):
        before = text_of(table)
        if before is not None and not changed:
            return before, before
        after = with_row(before, row, table.stem, str(table))
        write_text(table, after)
        return before, after
