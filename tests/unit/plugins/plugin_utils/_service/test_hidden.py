# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a unit hides of the host from its processes."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.hidden import (
    hidden_directories,
    hiding,
)


@pytest.mark.parametrize(
    ("unit", "path", "setting"),
    [
        ("PrivateTmp=yes", "/tmp/m", "PrivateTmp=yes"),
        ("PrivateTmp=disconnected", "/var/tmp/m", "PrivateTmp=disconnected"),
        ("PrivateTmp=yes\nPrivateTmp=no", "/tmp/m", None),
        ("ProtectHome=read-only", "/home/me/m", None),
        ("ProtectHome=yes", "/root/.cache/m", "ProtectHome=yes"),
        ("ProtectHome=tmpfs", "/home/me/m", "ProtectHome=tmpfs"),
        ("ProtectHome=yes", "/homes/m", None),
        ("ProtectHome=yes\nBindReadOnlyPaths=/home/models", "/home/models/m", None),
        ("ProtectHome=yes\nBindReadOnlyPaths=-/srv/m:/home/models:rbind", "/home/models/m", None),
        ("ProtectHome=yes\nBindPaths=/home/models", "/home/other", "ProtectHome=yes"),
        ("InaccessiblePaths=-/a /b", "/b/m", "InaccessiblePaths=/b"),
        ("TemporaryFileSystem=/data:ro", "/data/m", "TemporaryFileSystem=/data"),
    ],
)
def test_a_path_below_a_hidden_directory_names_the_setting(
    unit: str, path: str, setting: str | None
) -> None:
    found = hiding(path, hidden_directories(unit.splitlines()))
    assert (found[1] if found else None) == setting
