# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that was changed behind the plan's back: check and verify show it, one deploy mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..hosts import scenario, started
from ..playbooks import CLEAN, Books, codes

pytestmark = pytest.mark.hosts

SCENARIO = scenario("drift")

# Each way to go astray has a service of its own, so that one round of runs shows all of them.
NAMES = ["edited", "reread", "dropin", "halted", "killed", "broken", "moved"]
DRIFT = {
    # A configuration that was edited, and which its process never read.
    "edited": "sed -i 's/^max-model-len: .*/max-model-len: 4096/' /etc/vllm/edited.yaml",
    # One that was edited and read: the digest is still the wanted one.
    "reread": "sed -i 's/^max-model-len: .*/max-model-len: 4096/' /etc/vllm/reread.yaml;"
    " systemctl restart vllm@reread",
    "dropin": "rm /etc/systemd/system/vllm@dropin.service.d/placement.conf; systemctl daemon-reload",
    "halted": "systemctl disable --quiet --now vllm@halted",
    # systemd brings it back by itself: nothing is left to mend.
    "killed": "systemctl kill -s KILL vllm@killed",
    # A status after which systemd does not try again.
    "broken": "echo 'no-such-option: 1' >> /etc/vllm/broken.yaml; systemctl restart vllm@broken",
    # A process that was started with other cards, by a drop-in that is no longer there.
    "moved": "mkdir -p /run/systemd/system/vllm@moved.service.d; printf '[Service]\\n"
    "Environment=ASCEND_RT_VISIBLE_DEVICES=7\\nDeviceAllow=/dev/davinci7 rw\\n'"
    " > /run/systemd/system/vllm@moved.service.d/zz.conf; systemctl daemon-reload;"
    " systemctl restart vllm@moved; until curl -sf localhost:8006/health; do sleep 0.2; done;"
    " rm -r /run/systemd/system/vllm@moved.service.d; systemctl daemon-reload",
}
QUICK = {"vllm_service_restart_delay": 2, "vllm_service_start_limit_burst": 100}


def wish(name: str) -> dict[str, str]:
    return {"model": "Qwen3-0.6B", "name": name}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("drift") / "inventory.yml"
    with started(SCENARIO, path, "--host", "h1:a2-64g") as inventory:
        yield inventory


@pytest.fixture
def books(inventory: Path, tmp_path: Path) -> Iterator[Books]:
    it = Books(SCENARIO, inventory, tmp_path)
    yield it
    it.sh("h1", CLEAN, check=False)


def test_each_way_to_go_astray_is_shown_and_one_deploy_mends_all(books: Books) -> None:
    # One more than the plan has in the end: an instance of ours that it no longer lists.
    books.list_services("h1", *map(wish, [*NAMES, "leftover"]), **QUICK)
    assert books.run("deploy").status == 0
    ports = range(8000, 8008)
    books.wait_until_serving("h1", *ports)
    books.list_services("h1", *map(wish, NAMES), **QUICK)
    books.sh("h1", "systemctl stop vllm@leftover")
    books.sh("h1", "; ".join(DRIFT[name] for name in NAMES))
    books.sh("h1", "until systemctl is-failed -q vllm@broken; do sleep 0.2; done")
    books.wait_until_serving("h1", 8000, 8001, 8004, 8006)
    before = books.snapshot("h1")

    shown, planned = books.deploy("--check", "--diff")
    assert shown.status == 0, shown.output
    for words in (
        "-max-model-len: 4096",
        "vllm@reread.service: restart, because its process was started from files edited by hand",
        "+Environment=ASCEND_RT_VISIBLE_DEVICES=2",
        "vllm@halted.service: start, because it was not running, enabled",
        "vllm@broken.service: start, because it had failed (exit-code)",
        "vllm@moved.service: restart, because its process has ASCEND_RT_VISIBLE_DEVICES=7, not 6",
        "/etc/vllm/leftover.yaml (removed)",
    ):
        assert words in shown.output, f"{words}\n{shown.output}"
    for name in ("edited", "dropin", "killed"):
        assert f"vllm@{name}.service: " not in shown.output, "its process is as it should be"

    ran, compared = books.verify()
    assert ran.status == 2, ran.output
    assert codes(compared["h1"]) == {
        "edited": ["files"],
        "reread": ["files", "process", "length"],
        "dropin": ["files"],
        "halted": ["unit", "boot"],
        "broken": ["files", "service"],
        "moved": ["process", "cards"],
        "leftover": ["unlisted"],
    }
    assert books.snapshot("h1") == before, "looking changes nothing"

    ran, done = books.deploy()
    assert ran.status == 0, ran.output
    for report, check in ((planned, True), (done, False)):
        assert (report["check"], report["ok"]) == (check, True)
        there = report["results"]["h1"]
        assert there["state"] == "changed" and there["removed"] == ["leftover"]
        assert {each["name"]: each["action"] for each in there["services"]} == {
            **dict.fromkeys(("edited", "dropin", "killed"), "none"),
            **dict.fromkeys(("halted", "broken"), "start"),
            **dict.fromkeys(("reread", "moved"), "restart"),
        }
    books.wait_until_serving("h1", *range(8000, 8007))
    ran, compared = books.verify()
    assert ran.status == 0, ran.output
    assert not books.run("deploy", "--check").changed("h1")


def test_an_orphan_whose_files_are_gone_is_still_ours(books: Books) -> None:
    books.list_services("h1", wish("kept"), wish("gone"))
    assert books.run("deploy").status == 0
    books.wait_until_serving("h1", 8000, 8001)
    books.sh("h1", "rm -r /etc/vllm/gone.yaml /etc/systemd/system/vllm@gone.service.d")
    books.list_services("h1", wish("kept"))
    ran, compared = books.verify()
    assert codes(compared["h1"]) == {"gone": ["unlisted"]}
    assert "on card 1" in ran.output
    assert books.run("deploy").status == 0
    assert books.sh("h1", "systemctl is-active vllm@gone || true") == "inactive\n"
    assert books.verify()[0].status == 0


def test_a_template_edited_and_read_restarts_who_read_it(books: Books) -> None:
    books.list_services("h1", wish("one"), wish("two"))
    assert books.run("deploy").status == 0
    books.wait_until_serving("h1", 8000, 8001)
    books.sh(
        "h1",
        "sed -i 's/^PrivateTmp=yes/PrivateTmp=no/' /etc/systemd/system/vllm@.service;"
        " systemctl daemon-reload; systemctl restart vllm@two",
    )
    pids = [books.sh("h1", f"systemctl show -P MainPID vllm@{name}") for name in ("one", "two")]
    ran, compared = books.verify()
    assert "/etc/systemd/system/vllm@.service is not what deploy writes" in ran.output
    assert codes(compared["h1"])["two"] == ["process"]
    assert books.run("deploy").status == 0
    after = [books.sh("h1", f"systemctl show -P MainPID vllm@{name}") for name in ("one", "two")]
    assert after[0] == pids[0], "its process never had the edit"
    assert after[1] != pids[1]


def test_what_somebody_else_switched_is_refused_with_the_way_out(books: Books) -> None:
    """A mask and a drop-in are files made by hand: they are named, and set aside if asked."""
    books.list_services("h1", wish("masked"), wish("bent"), wish("fine"))
    assert books.run("deploy").status == 0
    folder = "/run/systemd/system/vllm@bent.service.d"
    books.sh(
        "h1",
        "systemctl stop vllm@masked; systemctl mask --quiet vllm@masked;"
        f" mkdir -p {folder}; printf '[Service]\\nEnvironment=ASCEND_RT_VISIBLE_DEVICES=7\\n"
        f"DeviceAllow=/dev/davinci7 rw\\n' > {folder}/zz.conf;"
        " systemctl daemon-reload; systemctl restart vllm@bent",
    )
    books.wait_until_serving("h1", 8001, 8002)
    for flags in (["--check", "--diff"], []):
        ran, report = books.deploy(*flags)
        assert ran.status == 2
        there = report["results"]["h1"]
        assert (there["state"], there["step"], there["services"]) == ("failed", "converge", [])
        assert [each["service"] for each in there["refused"]] == ["masked", "bent"]
        assert all(each["message"] in ran.output for each in there["refused"])
        assert "vllm@masked.service is masked" in ran.output
        assert f"{folder}/zz.conf was not written by this collection and sets" in ran.output
    ran, compared = books.verify()
    assert ran.status == 2, ran.output
    assert codes(compared["h1"]) == {
        "masked": ["refused", "unit"],
        "bent": ["refused", "cards", "cards"],
    }
    books.sh("h1", "systemctl unmask --quiet vllm@masked")
    ran = books.run("deploy", vllm_service_adopt=True)
    assert ran.status == 0, ran.output
    assert "ASCEND_RT_VISIBLE_DEVICES=7" in books.sh("h1", f"cat {folder}/zz.conf.*~")
    books.wait_until_serving("h1", 8000, 8001, 8002)
    ran, _unused = books.verify()
    assert ran.status == 0, ran.output
    assert not books.run("deploy", "--check").changed("h1")
