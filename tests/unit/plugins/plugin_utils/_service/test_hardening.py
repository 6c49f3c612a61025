# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the confinement of services is changed, and what is rejected."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.hardening import (
    hardening_lines,
    writable_lines,
)


def lines(directive: str, **changes: Any) -> list[str]:
    found = [line.partition("=") for line in hardening_lines(changes)]
    return [value for name, _equals, value in found if name == directive]


def test_the_data_is_well_formed_and_every_default_explained(repository: Path) -> None:
    found = yaml.safe_load((repository / "vars/hardening.yml").read_text("utf-8"))
    schema = json.loads((repository / "vars/schemas/hardening.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(found)
    section = (repository / "docs/unit.md").read_text("utf-8").partition("## Hardening")[2]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)[=`]", section))
    assert set(found["directives"]) <= named


def test_what_old_versions_know_comes_before_what_they_ignore() -> None:
    assert lines("ProtectSystem") == ["full", "strict"]
    # A group that a version does not know must be one that is denied, not one that is allowed.
    assert all(value.startswith("~") for value in lines("SystemCallFilter"))


def test_a_text_replaces_a_list_adds_and_null_leaves_out() -> None:
    assert lines("ProtectHome", ProtectHome=True) == ["yes"]
    assert lines("ProtectSystem", ProtectSystem="full") == ["full"]
    calls = lines("SystemCallFilter")
    added = ["perf_event_open"]
    assert lines("SystemCallFilter", SystemCallFilter=added) == calls + added
    assert lines("ReadWritePaths") == []
    assert lines("ReadWritePaths", ReadWritePaths=["/a", "-/b"]) == ["/a", "-/b"]
    assert lines("ProtectKernelTunables", ProtectKernelTunables=None) == []
    assert lines("CapabilityBoundingSet", CapabilityBoundingSet="CAP_SYS_NICE") == ["CAP_SYS_NICE"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"ProtectKernelTunable": False},
            "vllm_service_hardening has ProtectKernelTunable, which is no directive that it sets. The"
            " closest are ProtectKernelTunables",
        ),
        # It would hide the cards.
        ({"PrivateDevices": True}, "PrivateDevices, which is no directive that it sets"),
        ({"ProtectSystem": "stric"}, "ProtectSystem is 'stric'; it can be no, yes, full, strict"),
        ({"ProtectSystem": ["full"]}, "ProtectSystem is a list, and this directive has one value"),
        # YAML reads 0077 as 63.
        ({"UMask": 0o077}, "UMask is a number; a text is needed"),
        ({"ReadWritePaths": ["/a\nExecStartPre=/x"]}, "systemd would read it in another way"),
        ({"ReadWritePaths": "/a\\"}, "systemd would read it in another way"),
        ({"UMask": {"a": 1}}, "UMask is a mapping; a text is needed"),
    ],
)
def test_what_systemd_would_ignore_is_rejected(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(AscendError) as caught:
        hardening_lines(changes)
    assert words in str(caught.value)


def test_directories_that_the_engine_is_told_to_write_stay_writable() -> None:
    env = {
        "VLLM_CACHE_ROOT": "/data/cache 100%",
        "HF_HOME": "/data/hf",
        "XDG_CACHE_HOME": "/data/hf",
        "TRITON_CACHE_DIR": "below-the-working-directory",
        "TMPDIR": "/",
        "LD_LIBRARY_PATH": "/data/lib",
    }
    config = {"download-dir": "/data/weights", "model": "/data/model"}
    assert writable_lines(env, config) == [
        'ReadWritePaths="-/data/cache 100%%"',
        'ReadWritePaths="-/data/hf"',
        'ReadWritePaths="-/data/weights"',
    ]
