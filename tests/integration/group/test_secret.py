# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secret of a service over two hosts, and what check mode shows, from blank hosts on."""

from __future__ import annotations

from pathlib import Path

import pytest

from .service import HOSTS, SECRET, Group

pytestmark = pytest.mark.hosts


def test_check_mode_on_blank_hosts_shows_what_a_deploy_writes_and_writes_nothing(
    group: Group,
) -> None:
    group.list()
    before = [group.snapshot(host) for host in HOSTS]
    ran = group.run("deploy", "--check", "--diff")
    assert ran.status == 0, ran.output
    assert min(ran.changed(host) for host in HOSTS) > 0
    for path in ("/etc/vllm/big.group.json", "/usr/local/libexec/inferops/group-big"):
        assert f"+++ after: {path}" in ran.output, path
    assert "NotifyAccess=main" in ran.output
    assert SECRET not in ran.output
    assert [group.snapshot(host) for host in HOSTS] == before


def test_the_secret_is_in_one_file_and_in_the_guard_alone(
    group: Group, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Modules and their arguments are files on the host, for a while.
    monkeypatch.setenv("ANSIBLE_PIPELINING", "0")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "jsonfile")
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(tmp_path))
    group.list()
    outputs = [group.run("deploy", "--diff", "-vvvv").output]
    group.serve()
    outputs += [group.run("verify", "-vvvv").output]
    assert not [output for output in outputs if SECRET in output]
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()
    ]
    for host in HOSTS:
        files = (
            f"grep -rlsF {SECRET} /etc /run /var/log /var/lib/vllm* /usr/local /tmp /root || true"
        )
        assert group.sh(host, files) == "/etc/vllm/big.env\n"
        assert group.sh(host, "stat -c '%a %U' /etc/vllm/big.env") == "600 root\n"
        journal = f"journalctl -b -o export | grep -acF {SECRET} || true"
        assert group.sh(host, journal).strip() == "0"
        assert group.sh(host, "find / -xdev -name 'ansible-tmp-*'") == ""
        # A pattern that is not its own text.
        pattern = f"'[{SECRET[0]}]{SECRET[1:]}'"
        holders = f"grep -ls {pattern} /proc/[0-9]*/environ /proc/[0-9]*/cmdline | cut -d/ -f3"
        guard = group.sh(host, "systemctl show -P MainPID vllm@big")
        assert group.sh(host, holders + " | sort -u") == guard
        assert len(group.sh(host, "pgrep -f 'vllm serve|VLLM::'").split()) > 2


def test_a_new_secret_restarts_the_service_on_all_hosts(group: Group) -> None:
    group.list(apart={host: {"vllm_service_cluster_secret": "f" * 64} for host in HOSTS})
    ran = group.run("deploy", "--diff")
    assert (ran.status, ran.changed("h1"), ran.changed("h2")) == (0, 1, 1), ran.output
    assert "f" * 64 not in ran.output
    group.serve()


def test_hosts_without_a_secret_are_refused_with_the_way_to_make_one(group: Group) -> None:
    group.list(apart={host: {"vllm_service_cluster_secret": ""} for host in HOSTS})
    ran = group.run("deploy", "--check")
    assert ran.status != 0
    assert "openssl rand -hex 32" in ran.output and "ansible-vault" in ran.output
