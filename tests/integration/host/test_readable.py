# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights and files that a service could not read, found before what runs is replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..hosts import started
from .site import SCENARIO, Site, a2

pytestmark = pytest.mark.hosts

HOME = "/root/.cache/modelscope/hub/models/Qwen/Qwen3-14B"
MAKE = f"""
for directory in /srv/m {HOME} /tmp/m; do
  mkdir -p $directory; touch $directory/tokenizer.json $directory/model.safetensors
done
chmod 700 /root /root/.cache; chmod 600 /srv/m/model.safetensors
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with started(SCENARIO, tmp_path / "hosts.yml", "--host", "a2:a2-64g") as inventory:
        yield Site(inventory, tmp_path)


def service(path: str, **more: Any) -> dict[str, Any]:
    return {"model": "Qwen3-14B", "name": "pd", "path": path, **more}


def test_it_is_rejected_and_what_runs_goes_on(site: Site) -> None:
    site.sh("a2", MAKE)
    run = site.play("deploy", {"a2": a2(service("/srv/m"))})
    # The account is not there yet: it is one of the others.
    assert "the file /srv/m/model.safetensors (0600, root:root) cannot be read." in (
        run.refusal("a2")
    )
    site.sh("a2", "chmod 644 /srv/m/model.safetensors")
    run = site.play("deploy", {"a2": a2(service("/srv/m"))})
    assert run.status == 0, run.output
    pid = site.sh("a2", "systemctl show -P MainPID vllm@pd").strip()
    user = site.sh("a2", f"ps -o user:32= -p {pid}").strip()
    before = site.snapshot("a2")

    wanted = a2(
        service(HOME, args={"chat-template": "/srv/none.jinja"}),
        {"model": "Qwen3-8B", "name": "other", "path": "/tmp/m"},
    )
    for flags in (["--check"], []):
        text = site.play("deploy", {"a2": wanted}, *flags).refusal("a2")
        assert "Nothing was changed on this host." in text
        assert (
            f"ERROR files, service pd: its weights {HOME} cannot be read by the user {user}: the"
            " directory /root (0700, root:root) and 1 more cannot be entered." in text
        )
        assert (
            "service pd: /srv/none.jinja (args, chat-template) is not on this host. Put it" in text
        )
        assert "the unit hides /tmp of the host from its services (PrivateTmp=yes)" in text
    assert site.snapshot("a2") == before
    assert site.sh("a2", "systemctl show -P MainPID vllm@pd").strip() == pid

    # The kernel agrees, also after the command that the message names.
    readable = f"runuser -u {user} -- test -r {HOME}/model.safetensors && echo yes || echo no"
    assert site.sh("a2", readable) == "no\n"
    command = re.search(r"Run `(chmod [^`]*)`", text)
    assert command, text
    site.sh("a2", command[1])
    assert site.sh("a2", readable) == "yes\n"
    wanted = a2(service(HOME))
    run = site.play("deploy", {"a2": wanted})
    assert run.status == 0, run.output
    site.sh("a2", "chmod 700 /root")
    run = site.play("verify", {"a2": wanted})
    assert run.status != 0
    assert "/root (0700, root:root) cannot be entered" in " ".join(run.output.split())
