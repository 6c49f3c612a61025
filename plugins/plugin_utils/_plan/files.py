# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan as files that Ansible reads: host_vars/HOST/vllm_service_instances.yml.

A marker in its first lines says that a file is the plan's. Without it a file is somebody's own, and
is neither written nor removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import whole_number
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.fleet import Assignment
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.hosts import TaggedValue
from ansible_collections.inferops.ascend.plugins.plugin_utils._plan.requests import (
    INSTANCES,
    Entry,
    source_line,
)

HOST_VARS = "host_vars"
FILE = f"{INSTANCES}.yml"
EXTENSIONS = (".yml", ".yaml", ".json")
_MARK = "# Written by the playbook inferops.ascend.plan from the inventory "
_HEADER = """\
---
{mark}{source}.
# To change what is served, change vllm_plan_services and run it again. It rewrites this file, and
# removes it when the host leaves. Cards and ports that are changed here stay where they fit. Without
# the first line the file is yours: it is left alone, and the host taken as it says.
"""
_COMMAND_LINE = "of the command line"
_STAGE = ".inferops-plan-"  # a name that Ansible passes over in host_vars


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C where there is
    """Reads a plan; a value under a tag of Ansible's is kept as a text."""


def _tagged(loader: Any, suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_multi_constructor("!", _tagged)


# -- names and places ------------------------------------------------------------------------------


def name_fault(host: str) -> str | None:
    """Why a host's name cannot name a folder that Ansible reads as its own, or None."""
    if not host or host in (".", ".."):
        return "it names no folder"
    if "/" in host or "\0" in host:
        return "it holds a character that no file's name can have"
    if "$" in host:
        return "Ansible would expand the $ in it when it looks for the host's variables"
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in host):
        return "it holds a control character"
    if host.startswith(_STAGE):
        return "the plan uses such names itself"
    if len(os.fsencode(host)) > 255:
        return "it is longer than a file's name can be"
    return None


class Places:
    """Where the files of hosts go.

    sources: of the inventory, as Ansible has them. output: what the user set instead, or "".
    """

    def __init__(self, sources: Iterable[str], output: str) -> None:
        self.directories: dict[str, list[str]] = {}
        for source in sources:
            if source and os.path.exists(source):
                inside = source if os.path.isdir(source) else os.path.dirname(source)
                self.directories.setdefault(os.path.realpath(inside), []).append(source)
        self._output = output
        self._known: dict[object, tuple[Path, str]] = {}

    @property
    def output(self) -> Path:
        return Path(os.path.realpath(os.path.expanduser(self._output)))

    def of(self, inventory_dir: object, inventory_file: object) -> tuple[Path, str]:
        """(the folder that has or gets host_vars, the inventory's name for the marker) of a host.

        inventory_dir, inventory_file: Ansible's variables.

        Raises AscendError where Ansible would not read what is written there.
        """
        key = (inventory_dir, inventory_file)
        if key not in self._known:
            self._known[key] = self._of(inventory_dir, inventory_file)
        return self._known[key]

    def _of(self, inventory_dir: object, inventory_file: object) -> tuple[Path, str]:
        # Ansible says None in letters for hosts of the command line.
        inventory_dir = None if inventory_dir == "None" else inventory_dir
        inside = os.path.realpath(str(inventory_dir)) if inventory_dir else None
        found = None
        while inside is not None and found is None:
            found = inside if inside in self.directories else None
            parent = os.path.dirname(inside)
            inside = parent if parent != inside else None
        if found is None and not self._output:
            raise AscendError(
                "its variables have no place: it comes from no inventory file"
                + (f" whose folder Ansible reads ({inventory_dir})" if inventory_dir else "")
                + ". Set vllm_plan_output to the folder that is to get host_vars."
            )
        name = _COMMAND_LINE
        if found is not None:
            # By its file and not by what -i named, so that its folder and the file are the same.
            file = os.path.realpath(str(inventory_file)) if inventory_file else found
            below = file.startswith(found.rstrip("/") + "/")
            name = _printable(os.path.relpath(file, found) if below else os.path.basename(file))
        return (self.output if self._output else Path(str(found))), name

    def speaks_for(self, base: Path, source: str) -> bool:
        """Whether this run speaks for the hosts of an inventory, by its name in a marker."""
        if source == _COMMAND_LINE:
            return bool(self._output)
        if self._output:
            found = [source for sources in self.directories.values() for source in sources]
        else:
            found = self.directories.get(str(base), [])
        return any(
            os.path.isdir(each) or _printable(os.path.basename(each)) == source for each in found
        )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


@dataclass
class PlanFile:
    """A file of the plan as it stands.

    spots: where services are. ports: by the unit's name. loose: names of entries without a place,
    which the plan writes none of. fault: why it cannot be read.
    """

    path: Path
    text: str
    source: str
    names: list[str] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    unplaced_names: list[str] = field(default_factory=list)
    fault: str | None = None

    def describes(self, value: object) -> bool:
        """Whether a list of services is the one that stands here."""
        if not isinstance(value, (list, tuple)):
            return False
        other = PlanFile(self.path, "", "")
        for item in value:
            if isinstance(item, Mapping):
                _add_entry(other, self.path.parent.name, item)
        mine, its = ((each.names, each.assignments, each.ports) for each in (self, other))
        return mine == its


@dataclass
class Directory:
    """What stands in one host_vars.

    plans: files of the plan by host. by_hand: hosts that have a file of that name without the
    marker. beside: files and folders in it. stale: what an interrupted run left.
    """

    base: Path
    plans: dict[str, PlanFile] = field(default_factory=dict)
    by_hand: dict[str, Path] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    stale: list[Path] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.base / HOST_VARS

    def target(self, host: str) -> Path:
        return self.path / host / FILE


def read_directory(base: Path) -> Directory:
    """What stands in the host_vars of a folder. Raises AscendError where it cannot be read."""
    directory = Directory(base)
    try:
        with os.scandir(directory.path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return directory
    except OSError as error:
        raise AscendError(f"{directory.path} cannot be read: {error.strerror}.") from error
    for entry in entries:
        kind = "folder" if entry.is_dir() else "file"
        kind = "link" if entry.is_symlink() else kind
        if kind == "folder" and entry.name.startswith(_STAGE):
            directory.stale.append(Path(entry.path))
            continue
        directory.beside[entry.name] = kind
        if kind == "file":
            continue
        path = os.path.join(entry.path, FILE)
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise AscendError(f"{path} cannot be read: {error.strerror}.") from error
        source = _marked(data)
        if source is None:
            directory.by_hand[entry.name] = Path(path)
        else:
            directory.plans[entry.name] = _read_plan_file(Path(path), entry.name, data, source)
    return directory


def _marked(data: bytes) -> str | None:
    """The inventory that the marker of a file names; None where there is no marker."""
    for line in data.split(b"\n", 8)[:8]:
        if line.startswith(_MARK.encode()):
            return line[len(_MARK) :].decode(errors="replace").strip().removesuffix(".")
        if line.strip() and not line.startswith((b"#", b"---")):
            return None
    return None


# A file as `Writer` makes it; other keys may follow.
_NAME = "[A-Za-z][A-Za-z0-9_./-]*"
_NUMBER = "(?:0|[1-9][0-9]{0,4})"  # YAML takes 010 for eight
_OTHERS = "(?:    (?!name|cards|port|cluster|\"|')[^\n]*\n)*"
_OWN_ENTRY = re.compile(
    rf"  #[^\n]*\n  - name: ({_NAME})\n    model: [^\n]*\n"
    rf"    cards: \[({_NUMBER}(?:, {_NUMBER})*)\]\n    port: ({_NUMBER})\n{_OTHERS}"
    rf"(?:    cluster:\n      leader: ({_NAME})\n      rank: ({_NUMBER})\n"
    rf"      hosts: \[({_NAME}(?:, {_NAME})*)\]\n(?!      ){_OTHERS})?",
    re.ASCII,
)
_OWN_FILE = re.compile(
    rf"---\n(?:#[^\n]*\n)+{INSTANCES}:(?: \[\]\n|\n((?:    [^\n]*\n|  [#-] [^\n]*\n)+))"
)


def _quickly(existing: PlanFile, host: str) -> bool:
    """Read a file that is as the plan wrote it; False for any other, which YAML has to read."""
    match = _OWN_FILE.fullmatch(existing.text)
    if match is None:
        return False
    found, end = [], match.start(1) if match[1] else len(existing.text)
    while end < len(existing.text):
        entry = _OWN_ENTRY.match(existing.text, end)
        if entry is None:
            return False
        name, cards, port, leader, rank, members = entry.groups()
        hosts = tuple(members.split(", ")) if members else ()
        if any(word.lower() in _WORDS for word in (name, leader or name, *hosts)):
            return False
        ids = tuple(sorted(map(int, cards.split(", "))))
        found.append((Assignment(name, host, ids, leader, int(rank or 0), hosts), int(port)))
        end = entry.end()
    for assignment, listens in found:
        existing.names.append(assignment.name)
        existing.ports.setdefault(assignment.name, listens)
        existing.assignments.append(assignment)
    return True


def _read_plan_file(path: Path, host: str, data: bytes, source: str) -> PlanFile:
    try:
        text = data.decode()
        existing = PlanFile(path, text, source)
        if _quickly(existing, host):
            return existing
        content = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        fault = f"{path}{line} is not YAML. Mend or delete it."
        return PlanFile(path, data.decode(errors="replace"), source, fault=fault)
    content = {} if content is None else content
    others = sorted(str(key) for key in content if key != INSTANCES) if _is_map(content) else []
    if not _is_map(content) or not isinstance(content.get(INSTANCES, []), list):
        existing.fault = f"{path} does not hold a list of services. Mend or delete it."
    elif others:
        existing.fault = (
            f"{path} also sets {', '.join(others)}, which the plan would remove. Move that to"
            f" another file in {path.parent}."
        )
    else:
        for item in content.get(INSTANCES, []):
            if _is_map(item) and isinstance(item.get("name"), str):
                _add_entry(existing, host, item)
            else:
                model = item.get("model") if _is_map(item) else item
                # Of anything else nothing is shown: who knows what is in it.
                existing.unplaced_names.append(
                    _printable(model) if isinstance(model, str) else "an entry"
                )
    return existing


def _is_map(value: object) -> bool:
    return isinstance(value, dict)


def _add_entry(existing: PlanFile, host: str, item: Mapping[str, Any]) -> None:
    name = str(item.get("name"))
    existing.names.append(name)
    port = whole_number(item.get("port"))
    if port is not None:
        existing.ports.setdefault(name, port)
    cards = item.get("cards")
    ids = [whole_number(card) for card in cards] if isinstance(cards, list) else []
    if not ids or any(card is None for card in ids):
        existing.unplaced_names.append(_printable(name))
        return
    cluster = item.get("cluster")
    cluster = cluster if isinstance(cluster, Mapping) else {}
    hosts = cluster.get("hosts")
    existing.assignments.append(
        Assignment(
            name,
            host,
            tuple(sorted(card for card in ids if card is not None)),
            str(cluster["leader"]) if "leader" in cluster else None,
            whole_number(cluster.get("rank")) or 0,
            tuple(map(str, hosts)) if isinstance(hosts, list) else (),
        )
    )


# -- text ------------------------------------------------------------------------------------------

# Texts that are safe without quotes, and those among them that YAML takes for something else.
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _quoted(text: str) -> str:
    parts = ['"']
    for char in text:
        point = ord(char)
        if char in _ESCAPES:
            parts.append(_ESCAPES[char])
        elif char == " " or (char.isprintable() and not 0xD800 <= point <= 0xDFFF):
            parts.append(char)
        elif point > 0xFFFF:
            parts.append(f"\\U{point:08x}")
        else:
            parts.append(f"\\u{point:04x}")
    parts.append('"')
    return "".join(parts)


def _scalar(value: object) -> str:
    """A value on one line, as Ansible's YAML reads it back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        # YAML 1.1 knows no exponent without a point.
        return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text
    if isinstance(value, TaggedValue):
        return f"{value.tag} {_quoted(value.text)}"
    text = str(value)
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return _quoted(text)


def _is_flow(value: object) -> bool:
    return isinstance(value, (list, dict)) and not value


def _lines(key: str, value: object, indent: str) -> Iterator[str]:
    """A value under a key or a dash, as lines."""
    lead = f"{indent}{key}"
    if isinstance(value, TaggedValue) and value.tag == "!vault":
        yield f"{lead} !vault |"
        for line in value.text.strip().split("\n"):
            yield f"{indent}  {line.strip()}"
    elif isinstance(value, dict) and value:
        yield lead
        for name, item in value.items():
            yield from _lines(f"{_scalar(name)}:", item, f"{indent}  ")
    elif isinstance(value, list) and value:
        if all(not isinstance(item, (list, dict, TaggedValue)) for item in value):
            yield f"{lead} [{', '.join(_scalar(item) for item in value)}]"
            return
        yield lead
        for item in value:
            yield from _lines("-", item, f"{indent}  ")
    elif _is_flow(value):
        yield f"{lead} {'[]' if isinstance(value, list) else '{}'}"
    else:
        yield f"{lead} {_scalar(value)}"


class Writer:
    """Makes the text of files; what a service has on every host is made once."""

    def __init__(self) -> None:
        self._passed: dict[int, str] = {}
        self._sources: dict[tuple[int, int], str] = {}

    def text(self, entries: Sequence[Entry], source: str) -> str:
        """The file of a host. source: the inventory's name, for the marker."""
        parts = [_HEADER.format(mark=_MARK, source=source)]
        parts.append(f"{INSTANCES}:\n" if entries else f"{INSTANCES}: []\n")
        for entry in entries:
            settled = entry.settled
            parts.append(
                f"  # {self._source(entry)}\n"
                f"  - name: {_scalar(settled['name'])}\n"
                f"    model: {_scalar(settled['model'])}\n"
                f"    cards: [{', '.join(map(str, settled['cards']))}]\n"
            )
            for key, value in settled.items():
                if key not in ("name", "model", "cards"):
                    parts += [f"{line}\n" for line in _lines(f"{key}:", value, "    ")]
            parts.append(self._rest(entry.passed))
        return "".join(parts)

    def _source(self, entry: Entry) -> str:
        key = (id(entry.service), id(entry.spec))
        if key not in self._sources:
            self._sources[key] = source_line(entry)
        return self._sources[key]

    def _rest(self, passed: Mapping[str, Any]) -> str:
        found = self._passed.get(id(passed))
        if found is None:
            lines = [
                f"{line}\n"
                for key, value in passed.items()
                for line in _lines(f"{_scalar(key)}:", value, "    ")
            ]
            found = self._passed[id(passed)] = "".join(lines)
        return found


# -- changes ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """A file that is written, or removed where `after` is None.

    adopt: a file beside the host's folder that Ansible would no longer read, moved into it as
    `adopted`.
    """

    host: str
    path: Path
    before: str | None
    after: str | None
    adopt: Path | None = None
    adopted: Path | None = None

    @property
    def is_change(self) -> bool:
        return self.before != self.after or self.adopt is not None


def place_fault(directory: Directory, host: str) -> str | None:
    """Why nothing may be written for a host, or None: a link that may lead anywhere."""
    if os.path.islink(directory.path):
        return (
            f"{directory.path} is a symbolic link to {os.path.realpath(directory.path)}. Set"
            " vllm_plan_output to the folder that really has host_vars."
        )
    if directory.beside.get(host) == "link":
        return (
            f"{directory.path / host} is a symbolic link, and the plan writes into real folders alone."
            " Put a folder there."
        )
    if os.path.islink(directory.target(host)):
        return f"{directory.target(host)} is a symbolic link. Remove it."
    return None


def beside(directory: Directory, host: str, extensions: Sequence[str] = EXTENSIONS) -> list[Path]:
    """Files of a host's variables beside its folder, in the order in which Ansible looks for one.

    Where the folder is, Ansible reads none of them and says nothing.
    """
    names = [host, *(host + extension for extension in extensions)]
    there = [name for name in names if directory.beside.get(name, "folder") != "folder"]
    # A folder HOST.yml is that of a host of this name.
    return [directory.path / name for name in there if not os.path.isdir(directory.path / name)]


def adopted_path(directory: Directory, host: str, file: Path) -> Path:
    """Where a file beside the host's folder goes in it."""
    return directory.path / host / f"vars{file.name[len(host) :]}"


def hidden_file_message(directory: Directory, host: str, file: Path) -> str:
    """What to say of a file beside the host's folder, with the command that mends it."""
    target = adopted_path(directory, host, file)
    inside = directory.beside.get(host) == "folder"
    problem = (
        f"{file} is not read by Ansible, because there is the folder {target.parent}."
        if inside
        else f"{file} would no longer be read by Ansible once there is the folder {target.parent}."
    )
    if file == target.parent:
        aside = file.with_name(f"{file.name}.moving")
        command = (
            f"mv {shlex.quote(str(file))} {shlex.quote(str(aside))} && mkdir"
            f" {shlex.quote(str(file))} && mv {shlex.quote(str(aside))} {shlex.quote(str(target))}"
        )
    else:
        command = (
            f"mkdir -p {shlex.quote(str(target.parent))} && mv {shlex.quote(str(file))}"
            f" {shlex.quote(str(target))}"
        )
    return (
        f"{problem} Move it into the folder: {command} ; or set vllm_plan_adopt_host_vars to true, and"
        " the plan does it."
    )


def diffs(changes: Iterable[Change]) -> list[dict[str, str]]:
    """The changes as Ansible shows differences."""
    shown_ones = []
    for change in changes:
        if change.adopt is not None:
            shown_ones.append({"prepared": f"move {change.adopt} to {change.adopted}\n"})
        if change.before != change.after:
            shown_ones.append(
                {
                    "before_header": str(change.path),
                    "after_header": str(change.path),
                    "before": change.before or "",
                    "after": change.after or "",
                }
            )
    return shown_ones


def apply(directory: Directory, changes: Sequence[Change]) -> None:
    """Write, move and remove. Every file is written elsewhere first, then all get their names.

    An interrupted run leaves whole files, old or new, and at most a folder that Ansible passes over
    and that the next run removes.

    Raises AscendError where the system refuses; before any file has its name, nothing is changed.
    """
    for left in directory.stale:
        shutil.rmtree(left, ignore_errors=True)
    writes = [each for each in changes if each.after is not None and each.is_change]
    removals = [each for each in changes if each.after is None]
    stage: Path | None = None
    try:
        if writes:
            directory.path.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=directory.path))
            mode = 0o666 & ~_umask()
            for number, change in enumerate(writes):
                if change.before != change.after:
                    _stage_file(stage / str(number), change.after or "", change.path, mode)
            for number, change in enumerate(writes):
                if change.adopt is not None and change.adopted is not None:
                    _adopt(stage, change.adopt, change.adopted)
                elif directory.beside.get(change.host) != "folder":
                    change.path.parent.mkdir(exist_ok=True)
                if change.before != change.after:
                    os.replace(stage / str(number), change.path)
        for change in removals:
            change.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else is in it
                change.path.parent.rmdir()
    except OSError as error:
        where = error.filename2 or error.filename or directory.path
        raise AscendError(
            f"{where} cannot be written: {error.strerror}. Mend that and run the plan again; it"
            " completes what is missing."
        ) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _stage_file(path: Path, text: str, target: Path, mode: int) -> None:
    owner = None
    try:
        now = os.lstat(target)
        if stat.S_ISREG(now.st_mode):  # a link, in whose place the file comes, is open to all
            mode, owner = stat.S_IMODE(now.st_mode), (now.st_uid, now.st_gid)
    except (FileNotFoundError, NotADirectoryError):
        pass
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(text.encode())
        os.fchmod(descriptor, mode)
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, *owner)


def _adopt(stage: Path, file: Path, target: Path) -> None:
    """Move a file into the host's folder, so that Ansible reads it at any time.

    What is in the stage are copies, for an interrupted run leaves it to be removed.
    """
    directory = target.parent
    if directory.is_dir():
        os.replace(file, target)
        return
    made = stage / f"folder {stage.name}"
    made.mkdir(mode=0o777)
    shutil.copy2(file, made / target.name)
    if file == directory:
        # The folder needs its name. Under this one Ansible reads it too.
        file = directory.with_name(f"{directory.name}{EXTENSIONS[0]}")
        shutil.copy2(directory, file)
        directory.unlink()
    os.rename(made, directory)
    file.unlink()


def write_page(path: Path, text: str, stamp: str, *, check: bool) -> tuple[bool, str]:
    """Write a page unless it has the stamp. Returns (whether it had not, what it was)."""
    try:
        before = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        before = ""
    except OSError as error:
        raise AscendError(f"{path} cannot be read: {error.strerror}.") from error
    if stamp in before:
        return False, before
    if not check:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=path.parent))
            try:
                _stage_file(stage / "page", text, path, 0o666 & ~_umask())
                os.replace(stage / "page", path)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        except OSError as error:
            raise AscendError(f"{path} cannot be written: {error.strerror}.") from error
    return True, before


def defined_where(
    host: str, groups: Iterable[str], directories: Iterable[Path], ours: Collection[Path]
) -> Path | None:
    """The file that defines a host's vllm_service_instances, if one of Ansible's folders has it."""
    places = [(HOST_VARS, host), *(("group_vars", group) for group in sorted(groups))]
    for base in directories:
        for kind, name in places:
            start = base / kind / name
            found = [start.with_name(start.name + ending) for ending in ("", *EXTENSIONS)]
            if start.is_dir():
                found = sorted(path for path in start.rglob("*") if path.is_file())
            for path in found:
                if path in ours or not path.is_file():
                    continue
                with contextlib.suppress(OSError):
                    if INSTANCES.encode() in path.read_bytes():
                        return path
    return None


def as_json(value: object) -> str:
    """Plain data as one text, the same for the same data."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
