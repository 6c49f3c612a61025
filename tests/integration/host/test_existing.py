# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services stay where they are, whatever npu-smi shows meanwhile."""

from __future__ import annotations

import json

import pytest

from .site import SCRAMBLE, Site, a2

pytestmark = pytest.mark.hosts


def test_an_entry_taken_out_leaves_the_others_where_they_are(site: Site) -> None:
    """Also one that has crashed for good, and whatever the order of the list."""
    one, two, three = (
        {"model": "Qwen3-0.6B", "name": "one"},
        {"model": "Qwen3-1.7B", "name": "two"},
        {"model": "Qwen2.5-72B", "name": "three"},
    )

    def stands() -> str:
        return site.sh(
            "small",
            "cd /etc/systemd/system; for s in two three; do systemctl show -P MainPID vllm@$s;"
            " grep VISIBLE vllm@$s.service.d/placement.conf; grep ^port /etc/vllm/$s.yaml; done",
        )

    profile = {"ascend_host_profile": "atlas-800i-a2-32g", "vllm_service_allow_untested": True}
    assert (
        site.play("deploy", {"small": a2(one, two, three, **profile)}).recap("small", "failed") == 0
    )
    before = stands()
    run = site.play("deploy", {"small": a2(three, two, **profile)})
    assert run.recap("small", "changed") == 1
    assert stands() == before
    site.sh("small", "systemctl stop vllm@two")
    assert (
        site.play("deploy", {"small": a2(one, three, two, **profile)}).recap("small", "failed") == 0
    )
    assert stands().splitlines()[1:] == before.splitlines()[1:]


def test_services_stay_where_they_are_while_their_cards_cannot_be_seen(site: Site) -> None:
    """Neither a dead npu-smi nor half a table is a reason to move what serves."""
    site.sh("a2", SCRAMBLE)
    site.sh(
        "duo",
        "printf '%s\\n' '#!/bin/sh' '[ \"$*\" = info ] || exec npu-smi \"$@\"'"
        " 'npu-smi info | head -n 16' > /opt/npu-smi-cut; chmod +x /opt/npu-smi-cut",
    )
    duo = {
        "ascend_host_profile": "atlas-300i-duo-96g",
        "vllm_service_estimate": True,
        "vllm_service_instances": [
            {"model": "Qwen3-0.6B", "name": "d", "max_model_len": "16K", "cards": [7]}
        ],
    }
    wishes = {"a2": a2("Qwen3-14B"), "duo": duo}
    first = site.play("deploy", wishes)
    assert first.status == 0, first.output
    before = {host: site.snapshot(host) for host in wishes}

    site.sh("a2", "ascend-sim set error=-8005")
    del duo["vllm_service_instances"][0]["cards"]
    duo["ascend_host_npu_smi"] = "/opt/npu-smi-cut"
    run = site.play("deploy", wishes)
    text = run.refusal("duo")
    assert "The output of npu-smi is incomplete" in text
    assert "service d: it is placed on card 7, which npu-smi does not show" in text
    for lenient in (
        {"ascend_host_checks": {"npu_smi": "warning"}},
        {"ascend_host_stop_on_error": False},
    ):
        run = site.play("deploy", {"a2": {**wishes["a2"], **lenient}})
        assert run.recap("a2", "failed") == 1, run.output
        if "ascend_host_checks" in lenient:
            assert "ERROR npu_smi, cards: npu-smi cannot talk" in run.refusal("a2")
        else:
            assert "Nothing was changed" not in run.output
            assert "this host has 0" in run.output
    assert {host: site.snapshot(host) for host in wishes} == before

    site.sh("a2", "ascend-sim set error=null")
    del duo["ascend_host_npu_smi"]
    again = site.play("deploy", wishes)
    assert again.status == 0, again.output
    assert {host: again.recap(host, "changed") for host in wishes} == {"a2": 0, "duo": 0}


def test_what_serves_beside_a_tenant_or_on_a_card_that_warns_stays(site: Site) -> None:
    wish = a2(
        {"model": "Qwen3-14B", "name": "free"}, {"model": "Qwen3-8B", "name": "b", "cards": [5]}
    )
    first = site.play("deploy", {"a2": wish})
    assert first.status == 0, first.output
    pid = site.sh(
        "a2", "systemd-run -q --unit port sleep 9999; systemctl show -P MainPID port"
    ).strip()
    tenant = json.dumps([{"pid": int(pid), "name": "sleep", "memory_mb": 700}])
    site.sh("a2", f"ascend-sim card 0 health=Warning; ascend-sim card 5 'processes={tenant}'")
    before = site.snapshot("a2")
    second = site.play("deploy", {"a2": wish})
    assert second.status == 0, second.output
    assert second.recap("a2", "changed") == 0, second.output
    assert "health Warning (accepted: OK); service free runs here and stays" in second.output
    assert f"in use by PID {pid} " in second.output
    assert "(unit port.service); service b runs here and stays, no other gets this" in second.output
    assert site.snapshot("a2") == before
