# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A version of the engine that was released after this collection, installed and deployed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._model import versions

from ..hosts import started
from ..playbooks import Books
from . import wheels
from .installs import OFFLINE, SCENARIO

pytestmark = pytest.mark.hosts

NEW = "0.99.0"
LISTED = "args are read by that of vLLM 0.32.0"


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    store = tmp_path / "wheels"
    store.mkdir()
    wheels.common(store)
    wheels.matrix_row(store, NEW, "2.12.0", "2.12.0.post1")
    flags = ["--host", "h1:a2-64g", "--mount", f"{store}:/wheels"]
    with started(SCENARIO, tmp_path / "hosts.yml", *flags) as inventory:
        yield Books(SCENARIO, inventory, tmp_path)


def test_it_is_deployed_with_the_options_of_the_nearest_older_one(books: Books) -> None:
    assert versions.row_of(NEW) is None
    service = {"model": "Qwen3-14B", "name": "chat", "args": {"enable-prefix-caching": True}}
    books.list_services("h1", service, vllm_service_engine_version=NEW, **OFFLINE)
    ran = books.run("runtime")
    assert ran.status == 0, ran.output
    assert f"no row of vllm-ascend {NEW}, which is later than all of" in _flat(ran.output)
    assert books.sh("h1", "readlink /opt/vllm/current").strip() == NEW
    site = f"/opt/vllm/{NEW}/lib/python3*/site-packages"
    found = books.sh("h1", f"ls -d {site}/*.dist-info").split()
    names = {re.sub(r"\.dist-info$", "", each.rpartition("/")[2]) for each in found}
    # The torch of vllm-ascend, not of vLLM, and no triton came with it.
    assert {f"vllm-{NEW}", f"vllm_ascend-{NEW}", "torch-2.12.0", "torch_npu-2.12.0.post1"} <= names
    assert not [each for each in names if each.startswith("triton-")]

    ran = books.run("deploy")
    assert ran.status == 0, ran.output
    text = _flat(ran.output)
    assert text.count(LISTED) == 1, ran.output
    assert "1 warning." in text and text.count("WARNING versions") == 1, ran.output
    assert NEW in books.sh("h1", "curl -sf localhost:8000/version")
    ran = books.run("runtime")
    assert (ran.status, ran.changed("h1")) == (0, 0), ran.output
    ran, _found = books.verify()
    assert ran.status == 0, ran.output


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)
