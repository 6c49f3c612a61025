# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is in one host_vars directory: files of the plan, and files that are somebody else's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._base.errors import AscendError
from .locations import EXTENSIONS, FILE, HOST_VARS, STAGE_PREFIX
from .plan_file import PlanFile, marked_source, read_plan_file


@dataclass
class Directory:
    """What is in one host_vars.

    plans: files of the plan by host. by_hand: hosts that have a file of that name without the
    marker. beside: files and directories in it. stale: what an interrupted run left.
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
    """What is in the host_vars of a directory. Raises AscendError where it cannot be read."""
    directory = Directory(base)
    try:
        with os.scandir(directory.path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return directory
    except OSError as error:
        raise AscendError(f"{directory.path} cannot be read: {error.strerror}.") from error
    for entry in entries:
        kind = "directory" if entry.is_dir() else "file"
        kind = "link" if entry.is_symlink() else kind
        if kind == "directory" and entry.name.startswith(STAGE_PREFIX):
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
        source = marked_source(data)
        if source is None:
            directory.by_hand[entry.name] = Path(path)
        else:
            directory.plans[entry.name] = read_plan_file(Path(path), entry.name, data, source)
    return directory


def place_fault(directory: Directory, host: str) -> str | None:
    """Why nothing may be written for a host, or None: a link that may lead anywhere."""
    if os.path.islink(directory.path):
        return (
            f"{directory.path} is a symbolic link to {os.path.realpath(directory.path)}. Set"
            " vllm_plan_output to the directory that really has host_vars."
        )
    if directory.beside.get(host) == "link":
        return (
            f"{directory.path / host} is a symbolic link, and the plan writes into real directories alone."
            " Create a directory there."
        )
    if os.path.islink(directory.target(host)):
        return f"{directory.target(host)} is a symbolic link. Remove it."
    return None


def beside(directory: Directory, host: str, extensions: Sequence[str] = EXTENSIONS) -> list[Path]:
    """Files of a host's variables beside its directory, in the order in which Ansible looks for one.

    Where the directory is, Ansible reads none of them, without a warning.
    """
    names = [host, *(host + extension for extension in extensions)]
    there = [name for name in names if directory.beside.get(name, "directory") != "directory"]
    # A directory HOST.yml is that of a host of this name.
    return [directory.path / name for name in there if not os.path.isdir(directory.path / name)]


def adopted_path(directory: Directory, host: str, file: Path) -> Path:
    """Where a file beside the host's directory goes in it."""
    return directory.path / host / f"vars{file.name[len(host) :]}"


def hidden_file_message(directory: Directory, host: str, file: Path) -> str:
    """What to report about a file beside the host's directory, with the command that fixes it."""
    target = adopted_path(directory, host, file)
    inside = directory.beside.get(host) == "directory"
    problem = (
        f"{file} is not read by Ansible, because there is the directory {target.parent}."
        if inside
        else f"{file} would no longer be read by Ansible once there is the directory {target.parent}."
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
        f"{problem} Move it into the directory: {command} ; or set vllm_plan_adopt_host_vars to true, and"
        " the plan does it."
    )
