# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preparation of a host that has accounts and directories of its own, and of one that has none."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..hosts import environment, scenario, shell, started

pytestmark = pytest.mark.hosts

SCENARIO = scenario("bootstrap")


class Host:
    """One host, and the playbook bootstrap run on it."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory

    def sh(self, script: str) -> str:
        return shell(SCENARIO, "h1", f"set -e; {script}")

    def bootstrap(self, *flags: str, **variables: Any) -> tuple[int, int, str]:
        """Return the exit status, the number of tasks that changed something, and the output."""
        extra = self.inventory.parent / "extra.yml"
        extra.write_text(yaml.safe_dump({"ascend_host_profile": "atlas-800i-a2-64g", **variables}))
        command = ["ansible-playbook", "-i", str(self.inventory), "inferops.ascend.bootstrap"]
        done = subprocess.run(
            [*command, "-e", f"@{extra}", *flags],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment(),
        )
        output = done.stdout + done.stderr
        changed = re.search(r"^h1 .*\bchanged=([0-9]+)", output, re.M)
        assert changed, output
        return done.returncode, int(changed.group(1)), output

    def state(self) -> str:
        """Accounts, groups and directories, as the role could have changed them."""
        return self.sh(
            "cat /etc/passwd /etc/group; find /data /etc/vllm /var/lib/vllm /etc/security/limits.d"
            " -printf '%p %m %u:%g %C@\\n' 2>/dev/null | sort"
        )


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("bootstrap")
    with started(SCENARIO, folder / "inventory.yml", "--host", "h1:a2-64g") as inventory:
        yield Host(inventory)


def test_check_mode_and_then_a_blank_host(host: Host) -> None:
    host.sh("mkdir -p /var/lib/vllm")  # of an earlier installation, whose user is gone
    before = host.state()
    status, changed, output = host.bootstrap("--check")
    assert status == 0, output
    assert changed == 1, output  # the directory of weights
    assert host.state() == before
    status, changed, output = host.bootstrap()
    assert (status, changed) == (0, 1), output
    assert host.sh("stat -c '%a %U' /etc/vllm /var/lib/vllm /var/lib/vllm/weights").split() == [
        *("755", "root"),
        *("755", "root"),
        *("755", "root"),
    ]
    assert "vllm" not in host.sh("cat /etc/passwd")  # users come with their services
    assert host.bootstrap()[:2] == (0, 0)
    # One user for all services is made here, so that directories can be given to it.
    one = {"vllm_service_user": "vllm"}
    status, changed, output = host.bootstrap(**one)
    assert (status, changed) == (0, 2), output  # the account, the limits of its logins
    assert host.sh("getent passwd vllm").strip().endswith(":/var/lib/vllm:/usr/sbin/nologin")
    assert "HwHiAiUser" in host.sh("id -nG vllm")
    after = host.state()
    assert host.bootstrap(**one)[:2] == (0, 0)
    assert host.state() == after


def test_an_account_and_a_directory_that_are_there_stay_as_they_are(host: Host) -> None:
    host.sh(
        "groupadd staff2; groupadd other; useradd -m -s /bin/bash -g staff2 -G other app;"
        " mkdir -p /data/models; chgrp staff2 /data/models; chmod 2775 /data/models"
    )
    folder, line = host.sh("stat -c '%a %U:%G %Z' /data/models"), host.sh("getent passwd app")
    wish = {"vllm_service_user": "app", "vllm_service_weights_dir": "/data/models"}
    status, _unused, output = host.bootstrap(**wish)
    assert status == 0, output
    assert host.sh("getent passwd app") == line
    assert ":/home/app:/bin/bash" in line
    assert host.sh("stat -c '%a %U:%G %Z' /data/models") == folder
    assert host.sh("id -ng app") == "staff2\n"
    assert set(host.sh("id -nG app").split()) == {"staff2", "other", "HwHiAiUser"}

    host.sh("chgrp root /data/models; chmod o= /data/models; chmod g-w /data/models")
    status, changed, output = host.bootstrap(**wish)
    assert (status, changed) == (2, 0), output
    assert (
        "app cannot enter and read /data/models (2750 root:root). A directory that was there is"
        " left as it is. Let app join the group of the directory with vllm_service_groups, or"
        in output
    )
    assert host.sh("stat -c '%a %U:%G' /data/models") == "2750 root:root\n"


def test_a_user_that_runs_something_is_not_touched(host: Host) -> None:
    line = host.sh("getent passwd HwHiAiUser")
    host.sh("systemd-run -q --unit held -p User=HwHiAiUser /bin/sleep 99999")
    status, _unused, output = host.bootstrap(vllm_service_user="HwHiAiUser")
    assert status == 0, output
    assert host.sh("getent passwd HwHiAiUser") == line
    host.sh("systemctl is-active held")
