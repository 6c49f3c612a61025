# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual environments side by side in one folder, one of which is `current`.

An environment is made under its final name, because a virtual environment cannot be moved: its
programs begin with the path of its interpreter. What tells a whole one from a half-made one is
therefore a marker, written last; `current` is never pointed at one without it. Whole environments
are not changed again, since services run from them.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import stat
import time
import zipfile
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Protocol, Sequence

# Written first and last. An environment with neither is somebody else's.
BUILDING = ".building"
COMPLETE = ".complete"
# Its time of change tells when an environment was current last.
USED = ".used"
CURRENT = "current"
# What is being removed has this before its name, so that half of it is never taken for a whole.
REMOVING = ".removing-"
SWITCHING = ".switching-"
# Wheels that stand for packages to be left out, while pip resolves.
PLACEHOLDERS = ".placeholders"

_TAIL = 25
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_PROBE = (
    "import json, sys\n"
    "try:\n    import ensurepip, venv\n    able = True\nexcept ImportError:\n    able = False\n"
    "print(json.dumps({'version': list(sys.version_info[:3]), 'venv': able,"
    " 'prefix': sys.base_prefix}))\n"
)
_INSPECT = (
    "import json, sys, sysconfig\n"
    "from importlib import metadata\n"
    "found = {}\n"
    "for each in metadata.distributions():\n"
    "    name = each.metadata['Name']\n"
    "    if name:\n        found.setdefault(name, [each.version, each.requires or []])\n"
    "print(json.dumps({'prefix': sys.prefix, 'site': sysconfig.get_path('purelib'),"
    " 'found': found}))\n"
)

# Packages that have files of the given ones too: {name: version}.
_SHARING = (
    "import json, re, sys\n"
    "from importlib import metadata\n"
    "def normal(name):\n    return re.sub('[-_.]+', '-', name).lower()\n"
    "gone = set(sys.argv[1:])\n"
    "files = {}\n"
    "for each in metadata.distributions():\n"
    "    files[normal(each.metadata['Name'] or '')] = (\n"
    "        each.version, {str(f) for f in each.files or () if not str(f).endswith('.pyc')})\n"
    "lost = set().union(*(files[name][1] for name in gone if name in files))\n"
    "print(json.dumps({name: version for name, (version, own) in files.items()\n"
    "                  if name not in gone and own & lost}))\n"
)


class InstallError(Exception):
    """An environment cannot be made, switched to or removed.

    The message names what failed, why, and the way out.
    """


class Module(Protocol):
    """What is used of AnsibleModule."""

    def run_command(
        self,
        args: list[str],
        environ_update: dict[str, str] | None = None,
        cwd: str | None = None,
        pass_fds: tuple[int, ...] | None = None,
    ) -> tuple[int, str, str]:
        """Run a command; return status, output and errors."""


class Step(NamedTuple):
    """One call of the installer.

    Attributes:
        requirements: what is installed, as pip writes it.
        overrides: requirements that take the place of what the packages ask for.
        exclude: packages that are not installed although packages ask for them.
        environment: variables of the call.
    """

    requirements: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


class Wish(NamedTuple):
    """The environment that should be there, and how it is made.

    Attributes:
        root: folder of all environments.
        name: folder of this one below `root`; empty to look only.
        steps: none for one that has to be there already.
        expect: version by distribution that has to be installed at the end. One without a local
            part (`+cpu`) is met by any build of it.
        metadata: distributions that are only named, with their version, for a package that is
            asked for under another name than it was published by.
        constraints: as in pip's constraints file.
        python: path or name of an interpreter; empty to choose.
        python_min, python_max: oldest and newest minor version, such as (3, 10).
        installer: auto, uv, pip or the path of uv.
        index_url, extra_index_urls, find_links, offline: where packages come from.
        environment: variables of every call, such as a proxy.
        program: what has to be in its bin folder.
        switch: make it current.
        keep: whole environments kept beside the current one; None for all.
    """

    root: str
    name: str = ""
    steps: tuple[Step, ...] = ()
    expect: Mapping[str, str] = {}
    metadata: Mapping[str, str] = {}
    constraints: tuple[str, ...] = ()
    python: str = ""
    python_min: tuple[int, int] = (3, 8)
    python_max: tuple[int, int] = (3, 99)
    installer: str = "auto"
    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    offline: bool = False
    environment: Mapping[str, str] = {}
    program: str = ""
    switch: bool = True
    keep: int | None = None

    @property
    def path(self) -> str:
        return os.path.join(self.root, self.name)

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides which packages are in it; where they come from does not."""
        return {
            "steps": [
                {
                    "requirements": list(step.requirements),
                    "overrides": list(step.overrides),
                    "exclude": list(step.exclude),
                }
                for step in self.steps
            ],
            "constraints": list(self.constraints),
            "metadata": dict(sorted(self.metadata.items())),
        }


class Interpreter(NamedTuple):
    """A Python of the host. `venv`: it can make environments itself. `closed`: a folder on the
    way to it that only its owner can enter, or empty."""

    path: str
    version: tuple[int, int, int]
    venv: bool
    closed: str = ""

    def __str__(self) -> str:
        text = "{} ({}.{}.{}".format(self.path, *self.version)
        text += "" if self.venv else ", without its venv module"
        text += f", below {self.closed} which others cannot enter" if self.closed else ""
        return text + ")"


def normal(name: str) -> str:
    """The name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    """The normalised name at the beginning of a requirement such as `torch==2.9.0`."""
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0])


def same_version(found: str, wanted: str) -> bool:
    """Whether a version is the wanted one; a local part (`+cpu`) counts only if it is wanted."""
    return found == wanted or ("+" not in wanted and found.split("+", 1)[0] == wanted)


# -- what is there ---------------------------------------------------------------------------------


class State(NamedTuple):
    """One folder below the root. `kind`: complete, building (ours, half-made) or foreign.

    `made` and `last_current` are seconds since the epoch, 0 for never.
    """

    name: str
    kind: str
    record: dict[str, Any]
    made: float = 0.0
    last_current: float = 0.0


def _read_json(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as handle:
            data = json.load(handle)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def states(root: str) -> dict[str, State]:
    """The environments below the root by name, the last made or current first."""
    found = []
    for path in glob.glob(os.path.join(glob.escape(root), "*")):
        name = os.path.basename(path)
        if os.path.islink(path) or not os.path.isdir(path):
            continue
        record = _read_json(os.path.join(path, COMPLETE))
        if record is not None:
            made = os.stat(os.path.join(path, COMPLETE)).st_mtime
            used = 0.0
            with contextlib.suppress(FileNotFoundError):
                used = os.stat(os.path.join(path, USED)).st_mtime
            found.append(State(name, "complete", record, made, used))
        elif os.path.lexists(os.path.join(path, BUILDING)):
            found.append(State(name, "building", {}))
        else:
            found.append(State(name, "foreign", {}))
    found.sort(key=lambda state: (-max(state.made, state.last_current), state.name))
    return {state.name: state for state in found}


def current(root: str) -> str | None:
    """The name that `current` leads to, None where there is no such link.

    Of a link that leads out of the root it is the whole path.

    Raises InstallError where something else than a link stands there.
    """
    path = os.path.join(root, CURRENT)
    try:
        target = os.readlink(path)
    except FileNotFoundError:
        return None
    except OSError:
        raise InstallError(
            f"{path} is no link, and this role switches versions by one. Move it away, for example "
            f"to {root}/handmade."
        ) from None
    full = os.path.normpath(os.path.join(root, target))
    return os.path.basename(full) if os.path.dirname(full) == os.path.normpath(root) else full


def users(root: str, proc: str = "/proc", units: Sequence[str] = ()) -> dict[str, str]:
    """Environments below the root that something runs from: {name: who}.

    Looked at are the words, programs, folders and mapped files of processes, and the texts of the
    files `units`, which may name an environment for the next start.
    """
    roots = {os.path.abspath(root), os.path.realpath(root)}
    pattern = re.compile(
        b"(?:" + b"|".join(re.escape(os.fsencode(each)) for each in sorted(roots)) + b")"
        rb"/([A-Za-z0-9][A-Za-z0-9._+-]*)/"
    )
    found: dict[str, str] = {}

    def note(data: bytes, who: str) -> None:
        for match in pattern.findall(data):
            found.setdefault(os.fsdecode(match), who)

    for pid in sorted(filter(str.isdigit, os.listdir(proc)), key=int):
        if int(pid) == os.getpid():
            continue
        folder = os.path.join(proc, pid)
        for part in ("cmdline", "maps"):
            with contextlib.suppress(OSError), open(os.path.join(folder, part), "rb") as handle:
                note(handle.read(), f"process {pid}")
        for part in ("exe", "cwd"):
            with contextlib.suppress(OSError):
                target = os.readlink(os.path.join(folder, part))
                note(os.fsencode(target) + b"/", f"process {pid}")
    for path in units:
        with contextlib.suppress(OSError), open(path, "rb") as handle:
            note(handle.read(), path)
    return found


def unit_files() -> list[str]:
    """Units and drop-ins of this host's own."""
    found: list[str] = []
    for top in ("/etc/systemd/system", "/run/systemd/system"):
        for pattern in ("*.service", "*/*.conf", "*/*.service"):
            found += glob.glob(os.path.join(top, pattern))
    return sorted(found)


# -- interpreters ----------------------------------------------------------------------------------


def _folders() -> list[str]:
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return list(dict.fromkeys([*filter(None, folders), "/usr/local/bin", "/usr/bin"]))


def _closed(path: str) -> str:
    """The first folder above a path that only its owner or group can enter, or empty."""
    parts = os.path.dirname(os.path.realpath(path)).split("/")
    for count in range(2, len(parts) + 1):
        folder = "/".join(parts[:count])
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return folder
    return ""


def probe(module: Module, path: str) -> Interpreter | None:
    """What an interpreter is; None if it is not there, does not run or is not Python 3."""
    if not os.access(path, os.X_OK):
        return None
    status, output, _errors = module.run_command([path, "-I", "-c", _PROBE], cwd="/")
    if status != 0:
        return None
    try:
        data = json.loads(output)
    except ValueError:
        return None
    major, minor, micro = data["version"]
    closed = _closed(path) or _closed(os.path.join(data["prefix"], "lib"))
    return Interpreter(path, (major, minor, micro), data["venv"], closed)


def interpreters(module: Module) -> list[Interpreter]:
    """Every Python 3 on the usual paths, the newest first, each once."""
    seen: dict[str, Interpreter] = {}
    for folder in _folders():
        # python3.11 before python3: that name may be another Python after an upgrade of the host.
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), "python3*")), reverse=True):
            if not re.fullmatch(r"python3(\.[0-9]+)?", os.path.basename(path)):
                continue
            real = os.path.realpath(path)
            if real in seen or not os.access(path, os.X_OK):
                continue
            found = probe(module, path)
            if found:
                seen[real] = found
    return sorted(seen.values(), key=lambda each: each.version, reverse=True)


def choose(module: Module, wish: Wish, with_uv: bool) -> Interpreter:
    """The interpreter to use: the named one, else the newest that fits.

    Raises InstallError that says what is there and what is needed.
    """
    low, high = wish.python_min, wish.python_max
    wanted = "Python {}.{} to {}.{}".format(*low, *high)

    def fits(each: Interpreter) -> bool:
        return low <= each.version[:2] <= high and (with_uv or each.venv) and not each.closed

    if wish.python:
        path = wish.python if "/" in wish.python else (shutil.which(wish.python) or wish.python)
        named = probe(module, path)
        if named is None:
            raise InstallError(
                f"{wish.python} is no Python 3 of this host. Name another one (in the role: "
                f"vllm_runtime_python), or leave it out; {wish.name} needs {wanted}. "
                + _there(interpreters(module))
            )
        if not fits(named):
            raise InstallError(f"{wish.name} needs {wanted}, and {named} is not fit for it.")
        return named
    found = interpreters(module)
    for each in found:
        if fits(each):
            return each
    package = "python{}.{}".format(*high)
    raise InstallError(
        f"{wish.name} needs {wanted}{'' if with_uv else ' with its venv module'}, open to every "
        f"user, and this host has none on its path. {_there(found)} Install one (packages such as "
        f"{package} and {package}-venv), or name one that lies elsewhere (in the role: "
        "vllm_runtime_python)."
    )


def _there(found: Sequence[Interpreter]) -> str:
    return f"There is {', '.join(map(str, found)) or 'no Python 3'}."


def find_uv(installer: str) -> str | None:
    """The path of uv, None to use pip. Raises InstallError where uv is asked for and missing."""
    if installer == "pip":
        return None
    path = shutil.which(
        "uv" if installer in ("auto", "uv") else installer, path=os.pathsep.join(_folders())
    )
    if path is None and installer != "auto":
        raise InstallError(
            f"{installer} is not on this host. Install uv, or let pip do it (in the role: "
            "vllm_runtime_installer: auto)."
        )
    return path


# -- the run ---------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What is to be done or was done."""

    builds: bool
    switches: bool
    removes: tuple[str, ...]
    current: str | None
    previous: str | None


class Environments:
    """The environments of one host: look, then act.

    Raises InstallError from both.
    """

    def __init__(self, module: Module, wish: Wish, proc: str = "/proc") -> None:
        self.module = module
        self.wish = wish
        self.proc = proc
        self.units = unit_files()
        self.lock: int | None = None
        self.built: dict[str, Any] = {}
        if wish.name and (not _NAME.fullmatch(wish.name) or wish.name == CURRENT):
            raise InstallError(
                f"{wish.name!r} cannot be the name of an environment: write letters, digits and "
                f". _ + -, beginning with a letter or digit, and not {CURRENT!r}."
            )
        if wish.keep is not None and wish.keep < 0:
            raise InstallError(
                f"keep is {wish.keep}; a number of environments from 0 is needed (in the role: "
                "vllm_runtime_keep)."
            )

    def look(self) -> Outcome:
        """Compare the host with the wish; nothing is changed."""
        wish = self.wish
        there = states(wish.root)
        now = current(wish.root)
        builds = False
        if wish.name:
            builds = self._must_build(there.get(wish.name))
        if builds:
            self.uv = find_uv(wish.installer)
            self.python = choose(self.module, wish, self.uv is not None)
        after = wish.name if wish.name and wish.switch else now
        others = [s for s in there.values() if s.kind == "complete" and s.name != after]
        if after != now:
            # The one that stops being current is the first to go back to.
            others.sort(key=lambda state: state.name != now)
        previous = next((s.name for s in others if s.name == now or s.last_current), None)
        spare = [state.name for state in others if state.name != wish.name]
        removes = spare[wish.keep :] if wish.keep is not None else []
        if removes:
            in_use = users(wish.root, self.proc, self.units)
            removes = [name for name in removes if name not in in_use]
        # What may still run from a half-made one is its installer, which holds the lock.
        removes += [s.name for s in there.values() if s.kind == "building" and s.name != wish.name]
        return Outcome(builds, after != now, tuple(removes), after, previous)

    def _must_build(self, state: State | None) -> bool:
        wish = self.wish
        if state is None or state.kind == "building":
            if not wish.steps:
                raise InstallError(
                    f"{wish.path} is not there or was not finished, and nothing says what to "
                    "install. Install that version first; "
                    f"there is {', '.join(self._complete()) or 'none'}."
                )
            return True
        if state.kind == "foreign":
            raise InstallError(
                f"{wish.path} was not made by this role (it has no {COMPLETE}), so it is neither "
                "used nor changed. Move it away; or give the new environment another name (in "
                "the role: vllm_runtime_name); or, to go on with an engine that somebody else "
                "installs, set vllm_runtime_method: external."
            )
        if wish.steps and state.record.get("recipe") != wish.recipe:
            raise InstallError(
                f"{wish.path} is there, made from other packages: "
                f"{difference(state.record.get('recipe'), wish.recipe)}. A whole environment is "
                "not changed, because services run from it. Give the new one a name of its own "
                f"(in the role: vllm_runtime_name: {wish.name}-2)."
            )
        return False

    def _complete(self) -> list[str]:
        return [s.name for s in states(self.wish.root).values() if s.kind == "complete"]

    def act(self, outcome: Outcome) -> None:
        """Do it, in an order that loses nothing at an interruption.

        `current` moves when the new environment is whole, and what is old goes after that.
        """
        wish = self.wish
        with contextlib.suppress(OSError):
            os.makedirs(wish.root, mode=0o755, exist_ok=True)
        # Of root this asks whether the file system can be written.
        if not os.access(wish.root, os.W_OK | os.X_OK):
            raise InstallError(
                f"{wish.root} cannot be written. See how it is mounted (findmnt --target "
                f"{wish.root}), or name a folder elsewhere (in the role: vllm_runtime_root, with "
                "vllm_service_executable: ROOT/current/bin/vllm)."
            )
        self._remove_leftovers()
        if outcome.builds:
            self.remove([wish.name])
            try:
                self._build()
            except InstallError:
                self.remove([wish.name])
                raise
        if outcome.switches and outcome.current:
            self._switch(outcome.current)
        self.remove(outcome.removes)

    def _remove_leftovers(self) -> None:
        root = glob.escape(self.wish.root)
        for path in glob.glob(os.path.join(root, REMOVING + "*")):
            shutil.rmtree(path)
        for path in glob.glob(os.path.join(root, SWITCHING + "*")):
            os.unlink(path)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            path = os.path.join(self.wish.root, name)
            if os.path.lexists(path):
                aside = os.path.join(self.wish.root, REMOVING + name)
                os.rename(path, aside)
                shutil.rmtree(aside)

    def _switch(self, name: str) -> None:
        """Point `current` at an environment, in one step."""
        root = self.wish.root
        marker = os.path.join(root, name, COMPLETE)
        if not os.path.exists(marker):
            raise InstallError(f"{os.path.join(root, name)} is not whole; `current` stays.")
        before = current(root)
        if before and os.path.exists(os.path.join(root, before, COMPLETE)):
            _write(os.path.join(root, before, USED), "")
        _write(os.path.join(root, name, USED), "")
        temporary = os.path.join(root, f"{SWITCHING}{os.getpid()}")
        os.symlink(name, temporary)
        os.rename(temporary, os.path.join(root, CURRENT))
        _sync_folder(root)

    # -- making one

    def _build(self) -> None:
        wish = self.wish
        os.mkdir(wish.path, 0o755)
        _write(os.path.join(wish.path, BUILDING), json.dumps({"recipe": wish.recipe}) + "\n")
        if self.uv:
            self._run(
                [self.uv, "venv", "--quiet", "--allow-existing", "--python", self.python.path]
                + [wish.path],
                f"making {wish.path} with uv",
            )
        else:
            self._run(
                [self.python.path, "-I", "-m", "venv", wish.path],
                f"making {wish.path} with {self.python.path}",
            )
        if wish.constraints:
            _write(self._constraints, "\n".join(wish.constraints) + "\n")
        for number, step in enumerate(wish.steps, 1):
            self._install(step, number)
        if not self.uv:
            self._uninstall_excluded()
        self._name_distributions()
        self._verify()
        os.sync()
        record = {
            "recipe": wish.recipe,
            "distributions": self.built,
            "python": "{}.{}.{}".format(*self.python.version),
            "interpreter": self.python.path,
            "installer": self.uv or "pip",
        }
        _write(os.path.join(wish.path, COMPLETE), json.dumps(record, indent=1) + "\n")
        os.unlink(os.path.join(wish.path, BUILDING))

    @property
    def _constraints(self) -> str:
        return os.path.join(self.wish.path, ".constraints.txt")

    @property
    def _own_python(self) -> str:
        return os.path.join(self.wish.path, "bin", "python3")

    def _install(self, step: Step, number: int) -> None:
        what = f"step {number} of {len(self.wish.steps)} ({' '.join(step.requirements)})"
        if self.uv:
            self._with_uv(self.uv, step, number, what)
        elif step.overrides or step.exclude:
            self._with_pip_replacing(step, what)
        else:
            self._with_pip(list(step.requirements), step, what)

    def _with_uv(self, uv: str, step: Step, number: int, what: str) -> None:
        command = [uv, "pip", "install", "--python", self._own_python, "--compile-bytecode"]
        # As pip does: the best version of all indexes, not the first index that has the name.
        command += ["--index-strategy", "unsafe-best-match"]
        command += ["--offline"] if self.wish.offline else []
        lines = [*step.overrides, *(f"{name}; python_version < '0'" for name in step.exclude)]
        if lines:
            path = os.path.join(self.wish.path, f".overrides-{number}.txt")
            _write(path, "\n".join(lines) + "\n")
            command += ["--override", path]
        self._run([*command, *self._sources(), *step.requirements], what, step.environment)

    def _with_pip(self, requirements: list[str], step: Step, what: str, *options: str) -> None:
        command = [self._own_python, "-I", "-m", "pip", "install", "--no-input", *options]
        self._run([*command, *self._sources(), *requirements], what, step.environment)

    def _with_pip_replacing(self, step: Step, what: str) -> None:
        """pip knows no overrides: install without dependencies, then those that are wanted.

        What the dependencies themselves ask for is not replaced. For what they ask for and is to be
        left out pip finds an empty package, which is taken out at the end.
        """
        self._with_pip(list(step.requirements), step, what, "--no-deps")
        replaced = {requirement_name(each) for each in step.overrides}
        replaced |= {normal(each) for each in step.exclude}
        found = self._inspect()["found"]
        wanted = list(step.overrides)
        for name in map(requirement_name, step.requirements):
            for key, (_version, requires) in found.items():
                if normal(key) == name:
                    wanted += [r for r in requires if requirement_name(r) not in replaced]
        if wanted:
            folder = os.path.join(self.wish.path, PLACEHOLDERS)
            write_placeholders(folder, step.exclude, found)
            try:
                self._with_pip(wanted, step, f"dependencies of {what}", "--find-links", folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _uninstall_excluded(self) -> None:
        """Take out what pip could not leave out, and mend packages that shared files with it.

        triton-ascend has its files in triton's folder, for example.
        """
        excluded = {normal(each) for step in self.wish.steps for each in step.exclude}
        there = sorted(excluded & {normal(name) for name in self._inspect()["found"]})
        if not there:
            return
        what = f"taking out {', '.join(there)}"
        python = [self._own_python, "-I"]
        sharing: dict[str, str] = json.loads(self._run([*python, "-c", _SHARING, *there], what))
        self._run([*python, "-m", "pip", "uninstall", "--yes", *there], what)
        if sharing:
            again = [f"{name}=={version}" for name, version in sorted(sharing.items())]
            options = ["--force-reinstall", "--no-deps"]
            self._with_pip(again, Step(()), f"installing {', '.join(again)} again", *options)

    def _sources(self) -> list[str]:
        """Options for where packages come from. Addresses go in the environment: they may hold
        a password, and every user sees the words of a process."""
        options = ["--no-index"] if self.wish.offline else []
        for folder in self.wish.find_links:
            options += ["--find-links", folder]
        if self.wish.constraints:
            options += ["--constraint", self._constraints]
        return options

    def _run(
        self, command: list[str], what: str, environment: Iterable[tuple[str, str]] = ()
    ) -> str:
        wish = self.wish
        variables = {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_REQUIRE_VIRTUALENV": "0",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "LC_ALL": "C.UTF-8",
        }
        if not wish.offline:
            extra = " ".join(wish.extra_index_urls)
            for prefix in ("PIP", "UV"):
                if wish.index_url:
                    variables[f"{prefix}_INDEX_URL"] = wish.index_url
                if extra:
                    variables[f"{prefix}_EXTRA_INDEX_URL"] = extra
        variables.update(wish.environment)
        variables.update(environment)
        # What it starts holds the lock too: after a kill the next run waits for it.
        descriptors = (self.lock,) if self.lock is not None else None
        status, output, errors = self.module.run_command(
            command, environ_update=variables, cwd="/", pass_fds=descriptors
        )
        if status != 0:
            lines = [line for line in (output + "\n" + errors).splitlines() if line.strip()]
            raise InstallError(
                f"{what} failed with status {status}. What was made is removed again, and "
                f"`current` is as it was. {self._advice()} The end of what it said:\n"
                + "\n".join("    " + line for line in lines[-_TAIL:])
            )
        return output

    def _advice(self) -> str:
        wish = self.wish
        if wish.offline:
            where = ", ".join(
                folder if os.path.isdir(folder) else f"{folder} (which is not there)"
                for folder in wish.find_links
            )
            where = where or "no folder at all"
            return (
                f"Packages were taken from {where} and nowhere else: see that every one is there "
                "for this Python and machine (pip download --only-binary=:all: fetches them)."
            )
        return "See that the host reaches its package index (in the role: vllm_runtime_index_url)."

    def _inspect(self) -> dict[str, Any]:
        output = self._run([self._own_python, "-I", "-c", _INSPECT], "reading what is installed")
        data: dict[str, Any] = json.loads(output)
        return data

    def _name_distributions(self) -> None:
        """Write the metadata of distributions that are there under another name."""
        if not self.wish.metadata:
            return
        data = self._inspect()
        there = {normal(name) for name in data["found"]}
        for name, version in self.wish.metadata.items():
            if normal(name) in there:
                continue
            stem = re.sub(r"[-.]+", "_", name)
            folder = os.path.join(data["site"], f"{stem}-{version}.dist-info")
            os.mkdir(folder, 0o755)
            text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            _write(os.path.join(folder, "METADATA"), text)
            _write(os.path.join(folder, "INSTALLER"), "inferops.ascend\n")

    def _verify(self) -> None:
        """Hold what is installed against what was asked for, by the environment's own Python."""
        wish = self.wish
        data = self._inspect()
        versions = {normal(name): version for name, (version, _requires) in data["found"].items()}
        self.built = dict(sorted(versions.items()))
        problems = []
        if os.path.realpath(data["prefix"]) != os.path.realpath(wish.path):
            problems.append(f"its Python belongs to {data['prefix']}")
        for name, wanted in sorted(wish.expect.items()):
            found = versions.get(normal(name))
            if found is None:
                problems.append(f"{name} is missing")
            elif not same_version(found, wanted):
                problems.append(f"{name} is {found} instead of {wanted}")
        for name in sorted({each for step in wish.steps for each in step.exclude}):
            if normal(name) in versions:
                problems.append(
                    f"{name} {versions[normal(name)]} came in with another package and must not be "
                    "there"
                )
        program = os.path.join(wish.path, "bin", wish.program)
        if wish.program and not os.access(program, os.X_OK):
            problems.append(f"bin/{wish.program} is missing")
        if problems:
            raise InstallError(
                f"{wish.path} was installed, but {'; '.join(problems)}. It is removed again, and "
                "`current` is as it was. One row of the version matrix is one unit: look at the "
                "constraints and further packages that were given (in the role: "
                "vllm_runtime_constraints, vllm_runtime_packages)."
            )


def write_placeholders(
    folder: str, names: Iterable[str], found: Mapping[str, tuple[str, Sequence[str]]]
) -> None:
    """Write wheels without content for packages that are to be left out into `folder`.

    So that pip neither fetches the real ones nor fails where they cannot be had. `found`: what is
    installed, {name: (version, requirements)}. Of a version that one of these pins there is a wheel
    with a local part, which fits the pin and goes before the real one; else a very high one goes
    before all others.
    """
    os.makedirs(folder)
    for name in map(normal, names):
        versions = {"9999"}
        for _version, requires in found.values():
            for each in requires:
                pin = re.search(r"==\s*([0-9][A-Za-z0-9.]*)", each.split(";")[0])
                if pin and requirement_name(each) == name:
                    versions.add(f"{pin.group(1)}+leftout")
        for version in versions:
            stem = f"{name.replace('-', '_')}-{version}"
            info = f"{stem}.dist-info"
            with zipfile.ZipFile(os.path.join(folder, f"{stem}-py3-none-any.whl"), "w") as wheel:
                text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                wheel.writestr(f"{info}/METADATA", text)
                text = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                wheel.writestr(f"{info}/WHEEL", text)
                wheel.writestr(
                    f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
                )


def difference(before: Any, after: Mapping[str, Any]) -> str:
    """What differs between two recipes, in words."""
    old, new = _lines(before if isinstance(before, Mapping) else {}), _lines(after)
    gone = [line for line in old if line not in new]
    come = [line for line in new if line not in old]
    parts = []
    if gone:
        parts.append(f"without {', '.join(come)}, with {', '.join(gone)}" if come else "")
        parts[-1] = parts[-1] or f"with {', '.join(gone)}, which is not asked for"
    elif come:
        parts.append(f"without {', '.join(come)}")
    return "".join(parts) or "the same ones in another order"


def _lines(recipe: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for step in recipe.get("steps", []):
        lines += step.get("requirements", [])
        lines += [f"override {each}" for each in step.get("overrides", [])]
        lines += [f"excluded {each}" for each in step.get("exclude", [])]
    lines += [f"constraint {each}" for each in recipe.get("constraints", [])]
    lines += [f"metadata {name} {each}" for name, each in recipe.get("metadata", {}).items()]
    return lines


def _write(path: str, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(temporary, path)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(path: str, timeout: float) -> Iterator[int]:
    """Hold the lock file `path` and give its descriptor, for what is started to hold it too.

    So an installer that outlives a killed run keeps the next one from clearing up under it.
    Raises InstallError after `timeout` seconds.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                    raise InstallError(
                        f"Another run is installing on this host (process {holder or '?'}, or "
                        f"what it started, holds {path}) and did not end within {timeout:g} s. "
                        f"Wait for it, or look what it does: fuser -v {path}"
                    ) from None
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        yield descriptor
    finally:
        os.close(descriptor)
