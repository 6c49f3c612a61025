# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The system account of the services."""

from __future__ import annotations

import grp
import pwd
from typing import Any

from ansible_collections.inferops.ascend.plugins.module_utils._service.units import Units


class Account:
    """The system account of the services."""

    def __init__(self, wish: dict[str, Any]) -> None:
        self.wish = wish
        self.missing_groups = [name for name in wish["groups"] if not _group_exists(name)]
        try:
            user = pwd.getpwnam(wish["name"])
        except KeyError:
            self.exists = False
            self.to_join = list(wish["groups"])
        else:
            self.exists = True
            self.to_join = [
                name
                for name in wish["groups"]
                if _group_exists(name)
                and wish["name"] not in grp.getgrnam(name).gr_mem
                and grp.getgrnam(name).gr_gid != user.pw_gid
            ]

    @property
    def changes(self) -> bool:
        return not self.exists or bool(self.to_join)

    def refusal(self) -> str:
        return (
            "The group {} does not exist on this host, and the services run as user {} in it. The "
            "Ascend driver needs that group: install the driver first (its guide creates the group "
            "and user HwHiAiUser before anything else).".format(
                ", ".join(self.missing_groups), self.wish["name"]
            )
        )

    def create(self, host: Units) -> None:
        groups = ",".join(self.to_join)
        if not self.exists:
            command = ["useradd", "--system", "--user-group", "--no-create-home"]
            command += ["--home-dir", self.wish["home"], "--shell", "/usr/sbin/nologin"]
            command += ["--groups", groups] if groups else []
            host.run(*(command + [self.wish["name"]]))
        elif groups:
            host.run("usermod", "--append", "--groups", groups, self.wish["name"])


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
