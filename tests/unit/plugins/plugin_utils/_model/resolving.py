# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests resolved against the shipped tables, for the tests of `_model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import (
    Catalogue,
    load_catalogue,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options, resolve

CATALOGUE = load_catalogue()
UNTESTED = Options(allow_untested=True)


def spec(request: object, catalogue: Catalogue = CATALOGUE, **options: Any) -> dict[str, Any]:
    return resolve(request, catalogue, Options(**options)).as_dict()


def rejection(request: object, catalogue: Catalogue = CATALOGUE, **options: Any) -> str:
    with pytest.raises(AscendError) as caught:
        resolve(request, catalogue, Options(**options))
    return str(caught.value)


def user_table(tmp_path: Path, rows: str) -> Catalogue:
    file = tmp_path / "mine.yml"
    file.write_text(
        "table: mine\nconditions: {gpu_memory_utilization: 0.9, card_memory_gb: 64}\nrows:\n"
        + rows,
        encoding="utf-8",
    )
    return load_catalogue([str(file)])
