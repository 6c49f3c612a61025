# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What gateways answered about servers that are taken out, put back, or about to stop: what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Reply = Mapping[str, Any]


def problems(replies: Sequence[Reply], state: str) -> list[str]:
    """Why requests may be lost, a sentence for each reason; [] where nothing is wrong.

    replies: of vllm_gateway_servers, as Ansible registers a loop over gateways. state: that was asked for.
    """
    return [line for reply in replies for line in _problems(str(reply.get("item")), reply, state)]


def missing(replies: Sequence[Reply]) -> list[str]:
    """The servers that a gateway which runs does not have, a sentence for each gateway."""
    return [
        f"{reply['item']} sends no requests to {', '.join(reply['missing'])}. Where clients are to reach that"
        " there, run the playbook gateway."
        for reply in replies
        if reply.get("running") and reply.get("missing")
    ]


def _problems(gateway: str, reply: Reply, state: str) -> Iterator[str]:
    if "running" not in reply:
        reason = " ".join(str(reply.get("msg") or "no reason was given").split()).rstrip(".")
        may = (
            "send no requests to what serves" if state == "ready" else "send requests to what stops"
        )
        yield (
            f"{gateway} could not be asked, and may {may}: {reason}. Try it alone: ansible -i INVENTORY -m ping {gateway}."
            " One that is gone for good belongs out of the inventory."
        )
        return
    outages = {} if state == "ready" else reply["outages"]
    for backend, others in outages.items():
        names = [each["name"] for each in reply["servers"] if each["backend"] == backend]
        yield (
            f"{gateway}: {backend} is down while {', '.join(names)} is, for none of its other servers takes"
            f" requests: {', '.join(others)}. Change one host at a time (deploy --limit), and see with the"
            " playbook status why others are down. A deploy of its host puts back what is drained, and the"
            " playbook gateway leaves out what was removed."
        )
    for each in reply["servers"]:
        if each["name"] not in reply["late"]:
            continue
        if state == "ready":
            yield (
                f"{gateway} sends no requests to {each['name']} of {each['backend']}, which is"
                f" {each['health']} there when vllm_gateway_ready_timeout is"
                f" over. See whether {each['address']} can be reached from {gateway}, as by curl."
            )
        elif each["sessions"]:
            yield (
                f"{gateway}: {each['name']} of {each['backend']} still has {each['sessions']} requests when"
                " vllm_gateway_drain_timeout is over, which end when it stops."
            )
        elif not each["drained"]:
            yield f"{gateway} still sends requests to {each['name']} of {each['backend']}."
