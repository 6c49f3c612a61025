# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts of services, as far as they can be tried without making any."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._service import accounts
from ansible_collections.inferops.ascend.plugins.module_utils._service.accounts import (
    Accounts,
    User,
    is_private,
    make_private,
)

TEMPLATE = "vllm@.service"
ME = pwd.getpwuid(os.geteuid()).pw_name
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
vllm:x:990:990::/var/lib/vllm:/usr/sbin/nologin
vllm-chat:x:991:991:inferops.ascend vllm@chat.service:/var/lib/vllm-services/chat:/usr/sbin/nologin
vllm-embed:x:992:992:inferops.ascend vllm@embed.service:/var/lib/vllm-services/embed:/usr/sbin/nologin
worker-a:x:993:993:inferops.ascend worker@a.service:/:/usr/sbin/nologin
vllm-by-hand:x:994:994:vLLM:/:/usr/sbin/nologin
+::::::
half:x:995
vllm-odd:x:996:²:inferops.ascend vllm@odd.service:/:/usr/sbin/nologin
"""


def user(name: str, account: str, alone: bool = True) -> User:
    return User(f"vllm@{name}.service", account, "", alone)


def unneeded(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    users: dict[str, User],
    listed: list[str],
    others: bool,
    kept: list[str],
) -> list[str]:
    passwd = tmp_path / "passwd"
    passwd.write_text(PASSWD, encoding="utf-8")
    found = accounts.marked(str(passwd))
    monkeypatch.setattr(accounts, "marked", lambda: found)
    monkeypatch.setattr(accounts, "refusal", lambda _user: "")
    all_of_them = Accounts(TEMPLATE, users, [], "/var/lib/vllm-services/%i")
    return [each.entry.pw_name for each in all_of_them.unneeded(listed, others, kept)]


CHAT = {"chat": user("chat", "vllm-chat")}
SHARED = {"chat": user("chat", "vllm", alone=False)}


@pytest.mark.parametrize(
    ("users", "listed", "others", "kept", "gone"),
    [
        # What is listed no more goes, nothing of another template, and nothing made by hand.
        (CHAT, ["chat"], True, [], ["vllm-embed"]),
        (CHAT, ["chat"], True, ["embed"], []),
        (CHAT, ["chat"], False, [], []),
        ({}, ["embed"], False, [], ["vllm-embed"]),
        ({}, [], True, [], ["vllm-chat", "vllm-embed"]),
        # A service that runs as the user of all needs the one that it had to itself no more.
        (SHARED, ["chat"], False, [], ["vllm-chat"]),
    ],
)
def test_an_account_goes_with_its_service_alone(
    users: dict[str, User],
    listed: list[str],
    others: bool,
    kept: list[str],
    gone: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert unneeded(monkeypatch, tmp_path, users, listed, others, kept) == gone


def test_an_account_of_somebody_else_is_refused() -> None:
    found = Accounts(TEMPLATE, {"chat": user("chat", ME)}, [], "")
    assert found.refused["chat"].startswith(
        f"vllm@chat.service would run as {ME}, an account that this collection did not create for it"
    )
    assert f"userdel {ME}" in found.refused["chat"] and "vllm_service_user" in found.refused["chat"]
    # One that is named for all services is somebody else's, and is right.
    assert not Accounts(TEMPLATE, {"chat": user("chat", ME, alone=False)}, ["no-such"], "").refused


def test_an_account_that_is_missing_is_created_where_its_groups_are_there() -> None:
    wanted = {"chat": user("chat", "vllm-no-such-account")}
    found = Accounts(TEMPLATE, wanted, ["root"], "")
    assert (found.missing, found.refused) == ({"chat": "is created"}, {})
    found = Accounts(TEMPLATE, wanted, ["root", "no-such-group"], "")
    assert found.missing == {}
    assert "There is no group no-such-group on this host" in found.refused["chat"]


def test_processes_are_found_by_the_user_that_they_run_as() -> None:
    assert os.getpid() in accounts.processes_of(os.geteuid())
    assert accounts.processes_of(4_000_000_001) == []


def test_a_directory_is_closed_to_others(tmp_path: Path) -> None:
    state = tmp_path / "services" / "chat"
    assert not is_private(str(state), None)
    make_private(str(state), ME)
    assert is_private(str(state), os.geteuid())
    assert (tmp_path / "services").stat().st_mode & 0o777 == 0o755
    state.chmod(0o750)
    assert not is_private(str(state), None)
    with pytest.raises(HostError, match="no user vllm-no-such-account"):
        make_private(str(state), "vllm-no-such-account")


def test_a_directory_that_gets_another_owner_follows_no_link(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        return  # only root changes owners
    outside = tmp_path / "outside"
    outside.write_text("")
    state = tmp_path / "chat"
    (state / "cache").mkdir(parents=True)
    (state / "cache" / "kernel").write_text("")
    (state / "cache" / "link").symlink_to(outside)
    for path in (outside, state, state / "cache", state / "cache" / "kernel"):
        os.chown(path, 4711, 4711)
    make_private(str(state), ME)
    owners = [path.lstat().st_uid for path in (state, *sorted(state.rglob("*")))]
    assert owners == [0] * 4
    assert outside.stat().st_uid == 4711
