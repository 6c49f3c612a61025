# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of this machine, for what takes an AnsibleModule."""

from __future__ import annotations

import subprocess
from typing import Any


class Local:
    """Commands of this machine, as AnsibleModule runs them."""

    def run_command(self, args: list[str], **_options: Any) -> tuple[int, str, str]:
        done = subprocess.run(args, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr
