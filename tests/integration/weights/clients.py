# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels of the hubs' own clients, for test hosts, which have no network."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).resolve().parents[3] / "requirements-dev.txt"
# Of the Python that test hosts have.
PYTHON = "3.11"


def wheels() -> Path:
    """A directory of them, downloaded once."""
    pins = re.findall(r"^(huggingface_hub|modelscope) == (\S+)", PINS.read_text(), re.M)
    requirements = [f"{name}=={version}" for name, version in pins]
    assert len(requirements) == 2
    key = hashlib.sha256(f"{requirements} {PYTHON}".encode()).hexdigest()[:12]
    directory = Path(os.environ["INFEROPS_CACHE"]) / f"hub-wheels-{key}"
    if not (directory / ".complete").exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        flags = ["--only-binary=:all:", "--python-version", PYTHON, "--dest", str(directory)]
        subprocess.run([*pip, *flags, *requirements], check=True)
        (directory / ".complete").touch()
    return directory
