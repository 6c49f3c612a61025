# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's metrics are those that the sources of each version make."""

from __future__ import annotations

import ast

import pytest
import vllm_metrics

from .engines import SERVING, matrix_versions, python

KINDS = {"gauge": "gauge", "counter": "counter", "histogram": "histogram"}


def made(version: str) -> set[tuple[str, str]]:
    """(name without `vllm:`, kind) of each metric that the logger of a version can make."""
    source = next(
        python(version).parents[1].glob("lib/python3*/site-packages/vllm/v1/metrics/loggers.py")
    )
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).lower()
        kind = next((kind for word, kind in KINDS.items() if word in called), None)
        names = [each.value for each in node.keywords if each.arg == "name"]
        for name in names:
            if kind and isinstance(name, ast.Constant):
                found.add((str(name.value).removeprefix("vllm:"), kind))
    return found


@pytest.mark.parametrize("version", [*matrix_versions(), SERVING])
def test_the_stand_in_has_no_metric_that_the_version_has_not(version: str) -> None:
    ours = {(metric.name, metric.kind) for metric in vllm_metrics.metrics_of(version)}
    assert not {each for each in ours - made(version) if each[0] != "cache_config_info"}
