# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a rollout on its host, and the engines that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.environments import COMPLETE
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.rollout import (
    read_environments,
    read_images,
    read_record,
    write_record,
)

from ._local import Local

ONE, TWO = "quay.io/x@sha256:1", "quay.io/x@sha256:2"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "rollout.json"
    assert read_record(str(path)) == {}
    write_record({"state": "begun", "before": "0.13.0"}, str(path))
    assert read_record(str(path)) == {"state": "begun", "before": "0.13.0"}
    assert [each.name for each in path.parent.iterdir()] == ["rollout.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_record_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)
    assert read_record(str(tmp_path / "record")) == {}


def test_complete_environments_are_engines(tmp_path: Path) -> None:
    for name in ("0.13.0", "0.18.0"):
        (tmp_path / name).mkdir()
    (tmp_path / "0.18.0" / COMPLETE).write_text('{"distributions": {"vllm": "0.18.0"}}')
    (tmp_path / "current").symlink_to("0.18.0")
    assert read_environments(Local(), str(tmp_path)) == {
        "current": "0.18.0",
        "previous": None,
        "environments": [{"name": "0.18.0", "distributions": {"vllm": "0.18.0"}}],
    }


class Engine:
    """A container engine that has these images."""

    def __init__(self, *images: str) -> None:
        self.images = images

    def run_command(self, args: list[str], **_options: Any) -> tuple[int, str, str]:
        return int(args[-1] not in self.images), "", ""


def test_images_of_services_and_of_the_record_are_engines(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "placement.conf").write_text(
        f"[Service]\nEnvironment=INFEROPS_IMAGE={TWO}\nEnvironment=INFEROPS_VERSION=0.18.0\nX=y\n"
    )
    (tmp_path / "b" / "placement.conf").write_text("[Service]\nEnvironment=INFEROPS_PROGRAM=/x\n")
    record = {"state": "done", "before": ONE, "after": TWO}
    pattern = str(tmp_path / "*" / "placement.conf")
    assert read_images(Engine(ONE, TWO), "sh", record, pattern) == {
        "units": [(TWO, "0.18.0")],
        "images": [TWO, ONE],
    }
    assert read_images(Engine(), "sh", {}, pattern)["images"] == []
    assert read_images(Engine(TWO), "no-such-program", {}, pattern)["images"] == []
