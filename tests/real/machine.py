# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can run the tests of the real engine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import urllib.request

from .compiler import see_to_compiler
from .engines import (
    PYTHON,
    SERVING,
    TORCH,
    TORCH_INDEX,
    UV,
    EnginesError,
    MissingError,
    cache,
    engine_key,
    environment_key,
    folder_of,
    has_torch,
    host_python,
    matrix_versions,
    run,
    wheel_folders,
    wheels_key,
)

# What the tests take: the scenario serves three models at once, and two environments are asked.
MEMORY_GB = 8
DISK_GB = 6


def see_to_machine() -> None:
    """Raises MissingError where this machine cannot run the tests of the real engine.

    What was downloaded before needs no network. Whatever fails after this is a fault of the tests or
    of what they try.
    """
    host_python()
    see_to_compiler()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if memory < MEMORY_GB:
        raise MissingError(f"this machine has {memory:.0f} GB of memory; {MEMORY_GB} are needed.")
    made_before = [folder_of("wheels", *wheels_key()), folder_of(*engine_key())]
    made_before += [folder_of(*environment_key(each)) for each in (*matrix_versions(), SERVING)]
    if all((folder / ".complete").exists() for folder in made_before):
        return
    free = shutil.disk_usage(cache()).free / 2**30
    if free < DISK_GB:
        raise MissingError(
            f"{cache()} has {free:.1f} GB free; {DISK_GB} are needed. Make room, or set INFEROPS_CACHE"
            " to a folder on another disk."
        )
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
        try:
            run([*words, "--retries", "1", "--dest", folder, UV], f"downloading {UV}")
        except EnginesError as error:
            raise MissingError(
                f"no package index that pip is configured for gives {UV}, so none will give vLLM."
                f" {error}"
            ) from None
    if not has_torch(wheel_folders()):
        try:
            with urllib.request.urlopen(f"{TORCH_INDEX}/torch/", timeout=30):
                pass
        except (OSError, ValueError) as error:
            raise MissingError(
                f"{TORCH} is in no folder of pip's find-links, and {TORCH_INDEX} cannot be reached:"
                f" {error}. Put the wheel for CPython {PYTHON} into a folder, and name it in"
                " PIP_FIND_LINKS."
            ) from None
