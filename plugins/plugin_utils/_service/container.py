# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A placed service as one command of podman or docker, for `ExecStart=` of its unit.

The client stays in the foreground and is the unit's main process: systemd's signals reach the server
through it, its output is the journal's, its exit status the server's, and its environment has
the digest and the host's numbers of the cards.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .._base.systemd import escaped, service_environment, service_secrets, unit_word
from .group import Group
from .group_files import ray_command
from .named_files import below, mounts
from .unit import FILES, UnitSettings, load_cann

# The home inside, which is the directory of the service's state.
_INSIDE = "/var/lib/vllm"
# What is writable beside the home, and gone with the container. Code is compiled and loaded there.
_TEMPORARY = ("/run", "/tmp", "/var/tmp")
# An image does not know the account: HCCL does not start for a user without a name (vllm-ascend issue 9490).
_NAMES = ("/etc/passwd", "/etc/group")


def exec_words(words: Sequence[str]) -> str:
    """The words of a command for `ExecStart=`, each quoted where it needs it, `$` doubled."""
    written = []
    for word in words:
        text = escaped(word).replace("$", "$$")
        plain = word and all(char.isalnum() or char in "/._,:=@+-" for char in word)
        written.append(text if plain else f'"{text}"')
    return " ".join(written)


def visible_inside(cards: Sequence[object]) -> str:
    """`ASCEND_RT_VISIBLE_DEVICES` in a container that has these cards and no others.

    The runtime numbers what it is given from 0, in the order of the host: with cards 0, 3, 4 and 7
    passed in, `4,7` is rejected as out of the range 0 to 4 and `2,3` are the two (vllm-ascend issue
    2557).
    """
    return ",".join(str(number) for number in range(len(cards)))


def arguments(service: Mapping[str, Any], how: UnitSettings) -> list[str]:
    """The words of the command that runs a placed service in the foreground.

    Its `env` has the variables of every service too. Raises AscendError, naming the service, for an
    image or path that a unit cannot contain and for an environment that the role cannot pass on. A
    secret is passed by its name alone, from the client's environment, so that neither the unit nor
    the list of processes shows it.
    """
    if not how.container_image:
        raise AscendError(
            "services are to run in containers, and no image is named. Set vllm_runtime_image to"
            " one, by its digest."
        )
    name, podman = str(service["name"]), how.container_engine == "podman"
    # Podman logs its events to the journal of the unit unless told not to.
    client = [how.container_engine, *(["--events-backend=none"] if podman else []), "run"]
    words = ["/bin/sh", "-c", _as_user(how, client), how.user_of(name)]
    words += ["--rm", f"--name=vllm-{name}", "--pull=never", "--network=host"]
    words += ["--security-opt=no-new-privileges", "--cap-drop=ALL", "--pids-limit=-1"]
    words += ["--read-only", f"--workdir={_INSIDE}"]
    words += [f"--tmpfs={path}:rw,exec,nosuid,nodev,mode=1777" for path in _TEMPORARY]
    if not any("label=" in str(option) for option in how.container_options):
        # Under SELinux a container may open neither the cards nor the host's files, unless these
        # get container labels, which would lock out the host's programs.
        words += ["--security-opt=label=disable"]
    # What the server prints goes to the journal as it is; a second copy would fill the disk.
    words += ["--log-driver=none"]
    if podman:
        # Beneath the control group of the unit: systemd counts and kills what runs inside, and a
        # process on a card is seen to be this service's.
        words += ["--cgroups=split", "--sdnotify=ignore"]
    words += [f"--device={unit_word(device)}" for device in service["devices"]]
    words += [f"--device={unit_word(device)}" for device in how.shared_devices]
    config = f"/etc/vllm/{name}.yaml"
    names = [] if how.user == "root" else [(path, path, "ro") for path in _NAMES]
    volumes = [
        (FILES["state_directory"].replace("%i", name), _INSIDE, "rw"),
        (config, config, "ro"),
        *names,
        *mounts(service, how),
    ]
    for source, target, mode in dict.fromkeys(volumes):
        # Not --volume, for which docker makes an empty directory of what is missing on the host.
        text = f"--mount=type=bind,source={source},target={target}"
        words.append(text + (",readonly" if mode == "ro" else ""))
    words += _environment(service, how)
    words += [str(option) for option in how.container_options]
    script = program(name, how, f"serve --config {config}", _ray(service))
    return [*words, "--entrypoint=/bin/bash", unit_word(how.container_image), "-c", script]


def writable_at(path: str, service: Mapping[str, Any], how: UnitSettings) -> str | None:
    """Where a path that a service writes below is on the host.

    Empty where it is the service's home, or not on the host; None where the container cannot write there.
    Raises AscendError as `arguments`.
    """
    options = [str(option) for option in how.container_options]
    root = "rw" if "--read-only=false" in options else "ro"
    # Any directory that an option names is taken for one that it mounts.
    named = [word for option in options for word in re.split("[=:, ]", option)]
    found = [
        *(("", word, "rw") for word in named if word.startswith("/")),
        *mounts(service, how),
        *(("", each, "rw") for each in (_INSIDE, "/dev/shm", *_TEMPORARY)),
        ("", "/", root),
    ]
    source, target, mode = max(
        (each for each in found if below(path, each[1])), key=lambda each: len(each[1].rstrip("/"))
    )
    if mode == "ro":
        return None
    return source + path[len(target) :] if source else ""


def _as_user(how: UnitSettings, client: Sequence[str]) -> str:
    """The script that becomes `client`, with the numbers of an account of the host, which is its $0.

    They are asked for at each start.
    """
    groups = " ".join(map(unit_word, how.groups))
    return (
        'u=$(id -u "$0") && g=$(id -g "$0") || exit 78;'
        f" for name in {groups}; do"
        ' n=$({ getent group $name || grep "^$name:" /etc/group; } 2>/dev/null | cut -d: -f3);'
        ' set -- --group-add=${n:?"this host has no group $name"} "$@"; done;'
        f' exec {" ".join(client)} --user=$u:$g "$@"'
    )


def program(name: str, how: UnitSettings, words: str, ray: Ray | None = None) -> str:
    """The script that runs `vllm WORDS` in a container, after or without Ray.

    name: of the service, for a message.
    """
    load = load_cann(how.cann_scripts, name, " in the image: use one with")
    run = f"{unit_word(how.container_executable)} {words}"
    if ray is None:
        run = f"exec {run}"
    elif not ray.leads:
        run = f"exec {ray.command}"
    else:
        # The container ends with the first of the two. A stop is for the engine: Ray serves it until
        # it has ended.
        run = (
            f"{ray.command} & {run} & engine=$!;"
            " trap 'kill -TERM $engine; wait $engine; exit' TERM; wait -n; exit"
        )
    return " ".join([*map(str.strip, load if how.cann_scripts else []), run])


@dataclass(frozen=True)
class Ray:
    """Ray in the container of a member. command: for a shell. leads: whether the engine runs there."""

    command: str
    leads: bool


def _ray(service: Mapping[str, Any]) -> Ray | None:
    group: Group | None = service.get("group")
    if group is None or group.engine != "ray":
        return None
    return Ray(shlex.join(ray_command(service, group)), group.leads)


def _environment(service: Mapping[str, Any], how: UnitSettings) -> list[str]:
    service_environment(service)  # checks names and values, and what the role sets itself
    values = {
        "PYTHONUNBUFFERED": 1,
        "VLLM_ENGINE_READY_TIMEOUT_S": how.start_timeout,
        "HOME": _INSIDE,
        "ASCEND_RT_VISIBLE_DEVICES": visible_inside(service["cards"]),
        "HCCL_IF_BASE_PORT": service["hccl_ports"][0],
        **service["env"],
    }
    words = [f"--env={name}={values[name]}" for name in sorted(values) if values[name] is not None]
    return words + [f"--env={name}" for name in service_secrets(service)]
