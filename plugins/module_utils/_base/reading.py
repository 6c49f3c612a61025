# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads files and JSON within bounds: whatever is there, reading ends and takes little memory.

Every file that a user, a hub or a host may have written is read by these functions, on hosts and on
the controller.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, BinaryIO, Union

from .errors import HostError

# The index of the weights of the largest models has some 20 MB; every other file that is read is smaller.
MOST_BYTES = 100_000_000
# Mappings and lists in each other; a configuration has some 10.
DEEPEST = 100
# Digits of an integer: none in use has more, and reading one takes the square of them.
_MOST_DIGITS = 1000
_Path = Union[str, "os.PathLike[str]"]


class OutOfBounds(HostError, ValueError):
    """Something that is not read, because of its kind, its size or its depth.

    The message tells what is wrong without the name of the file, for a caller to add.
    """


def open_regular(path: _Path) -> BinaryIO:
    """Open a file for reading. Raises OutOfBounds for a pipe, device or directory, OSError.

    A pipe is opened without waiting for somebody who writes to it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OutOfBounds("it is not a file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: _Path, most: int = 0) -> bytes:
    """All of a file of at most `most` bytes, by default MOST_BYTES. Raises OutOfBounds, OSError.

    Files of /proc, which have no size, are read too.
    """
    most = most or MOST_BYTES
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OutOfBounds(f"it has more than {most} bytes")
        data = file.read(most + 1)
    if len(data) > most:
        raise OutOfBounds(f"it has more than {most} bytes")
    return data


def read_text(path: _Path, errors: str = "strict", most: int = 0) -> str:
    """The same as text of UTF-8. Raises OutOfBounds, OSError, and ValueError for other bytes."""
    return read_bytes(path, most).decode("utf-8", errors)


def read_json(path: _Path, most: int = 0) -> Any:
    """What a file of JSON contains. Raises OSError and, also for what is not JSON, ValueError."""
    return parse_json(read_bytes(path, most).decode("utf-8"))


def parse_json(text: str | bytes | bytearray) -> Any:
    """What a text of JSON means.

    Infinity and NaN, which configurations of models contain, are read as numbers, but no number that
    becomes infinite by its size (1e400). Raises ValueError for what is not JSON, OutOfBounds for such a
    number and for mappings and lists in each other deeper than DEEPEST.
    """
    try:
        value = json.loads(text, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise _too_deep() from None
    check_depth(value)
    return value


def check_depth(value: object) -> None:
    """Raises OutOfBounds for mappings and lists in each other deeper than DEEPEST."""
    level = [value]
    for _depth in range(DEEPEST):
        # Each once: a value may be in many places, and in itself.
        inner = {
            id(item): item
            for each in level
            for item in _items(each)
            if isinstance(item, (dict, list, tuple))
        }
        if not inner:
            return
        level = list(inner.values())
    raise _too_deep()


def _items(value: object) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _too_deep() -> OutOfBounds:
    return OutOfBounds(f"it has mappings and lists in each other deeper than {DEEPEST} levels")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise OutOfBounds(f"the number {_start(text)} is too large")
    return number


def _int(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise OutOfBounds(f"the number {_start(text)} has more than {_MOST_DIGITS} digits")
    return int(text)


def _start(text: str) -> str:
    return text if len(text) <= 20 else text[:17] + "..."
