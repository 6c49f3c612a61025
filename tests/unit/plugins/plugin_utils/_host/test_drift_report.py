# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table and the sums of all hosts."""

from __future__ import annotations

import copy

from ansible_collections.inferops.ascend.plugins.plugin_utils._host import drift, drift_report

from .readings import WANTED, Readings, plan


def test_the_table_fits_80_columns_whatever_is_in_it(host: Readings) -> None:
    wanted = copy.deepcopy(WANTED)
    wanted[0].update(name="a" * 63, cards=list(range(0, 16, 2)))
    host.converged["services"][0] = plan(
        "a" * 63, files=["/etc/vllm/x.yaml", "/etc/vllm/x.env"], boot="enable"
    )
    host.status["services"][0]["name"] = "a" * 63
    comparison = drift.compare("npu-01", wanted, converged=host.converged, status=host.status)
    lines = drift_report.lines([drift_report.as_dict(comparison), drift_report.missing("npu-02")])
    # Ansible puts 8 blanks and two quotes and a comma around a line.
    assert max(len(line) + 11 for line in lines if "a" * 63 not in line) <= 80
    assert lines[-1] == "Hosts: 1 differs, 1 failed; services: 1 ok, 1 differs."


def test_the_sums_tell_whether_all_is_well(host: Readings) -> None:
    good = drift_report.as_dict(host.compare())
    assert drift_report.summary([good, good])["ok"]
    assert not drift_report.summary([good, drift_report.missing("npu-02")])["ok"]
