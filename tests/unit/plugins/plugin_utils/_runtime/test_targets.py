# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine that a rollback takes hosts to."""

from __future__ import annotations

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.engines import (
    Engines,
    Record,
    State,
    targets_back,
)


def host(current: str, previous: str = "", present: str = "0.13 0.18", **record: str) -> Engines:
    return Engines(current, previous, tuple(present.split()), {}, Record.parse(record))


BEGUN = {"state": "begun", "before": "0.13", "after": "0.18"}
FAILED = {"state": "failed", "action": "upgrade", "before": "0.13", "after": "0.18"}
BACK = {"state": "done", "action": "rollback", "before": "0.18", "after": "0.13"}


@pytest.mark.parametrize(
    "hosts",
    [
        {"h1": host("0.18", "0.13"), "h2": host("0.18", "0.13")},
        # An upgrade that stopped at h2: h1 is to follow.
        {"h1": host("0.18", "0.13"), "h2": host("0.13", "0.18", **FAILED), "h3": host("0.13")},
        # One that was interrupted at h2.
        {"h1": host("0.18", "0.13"), "h2": host("0.18", "0.13", **BEGUN), "h3": host("0.13")},
        # A rollback that was interrupted goes on.
        {"h1": host("0.13", "0.18", **BACK), "h2": host("0.18", "0.13")},
        # A second one changes nothing.
        {"h1": host("0.13", "0.18", **BACK), "h2": host("0.13", "0.18", **BACK)},
        # What came before that does not matter.
        {"h1": host("0.18", "0.13"), "h2": host("0.13", "0.11", "0.11 0.13 0.18")},
    ],
)
def test_a_rollback_goes_to_the_version_before(hosts: dict[str, Engines]) -> None:
    assert set(targets_back(hosts).values()) == {"0.13"}


@pytest.mark.parametrize(
    "hosts",
    [
        {"h1": host("0.18")},
        {"h1": host("0.18", "0.13"), "h2": host("0.18", "0.11", "0.11 0.18")},
        {"h1": host("0.13", "0.18"), "h2": host("0.18", "0.13")},
    ],
)
def test_a_rollback_that_is_not_clear_is_rejected(hosts: dict[str, Engines]) -> None:
    with pytest.raises(AscendError) as error:
        targets_back(hosts)
    assert "-e vllm_rollback_version=NAME" in str(error.value)
    assert all(f"{name}: current" in str(error.value) for name in hosts)


def test_hosts_with_images_of_their_own_go_back_to_one_version() -> None:
    def images(name: str) -> Engines:
        old, new = f"{name}-a", f"{name}-b"
        versions = {old: "0.13", new: "0.18"}
        return Engines(new, old, (old, new), versions, Record(State.DONE, "upgrade", old, new))

    fleet = {"h1": images("a2"), "h2": images("a3")}
    assert targets_back(fleet) == {"h1": "a2-a", "h2": "a3-a"}
    back = Record(State.DONE, "rollback", "a2-b", "a2-a")
    fleet["h1"] = Engines("a2-a", "a2-b", ("a2-a", "a2-b"), fleet["h1"].versions, back)
    assert targets_back(fleet) == {"h1": "a2-a", "h2": "a3-a"}, "one that was interrupted goes on"
    fleet["h2"] = Engines("a3-b", "", ("a3-b",), {"a3-b": "0.18"})
    with pytest.raises(AscendError, match="is not clear"):
        targets_back(fleet)


def test_a_named_version_has_to_be_on_every_host() -> None:
    hosts = {"h1": host("0.18", "0.13"), "h2": host("0.18", present="0.18")}
    with pytest.raises(AscendError, match="0.13 is not there on h2, so nothing was changed"):
        targets_back(hosts, "0.13")
    hosts["h2"] = Engines("0.18", "", ("0.18", "0.13-2"), {"0.13-2": "0.13"})
    assert targets_back(hosts, "0.13") == {"h1": "0.13", "h2": "0.13-2"}, "by its version"
