# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A placed service as one command of podman or docker, for `ExecStart=` of its unit.

The client stays in the foreground and is the unit's main process: systemd's signals reach the server
through it, its output is the journal's, its exit status the server's, and its environment has
the digest and the host's numbers of the cards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .._base.errors import AscendError
from .._base.systemd import environment_line, service_environment, service_secrets, unit_word
from .._base.values import kind_of

ENGINES = ("podman", "docker")
# Outside /var/lib/vllm, whose files belong to the user of services that run without a container.
HOME = "/var/lib/vllm-container"


@dataclass(frozen=True)
class Container:
    """How containers of a host are run.

    Attributes:
        engine: podman or docker.
        image: what is run.
        program: the server in the image, a path or a name.
        scripts: files of the image that set CANN's environment, in order.
        devices: device nodes beside those of the service's cards.
        mounts: paths of the host, read-only at the same place inside; `SRC:DST` for another place,
            with `:rw` to be written.
        weights_dir: likewise read-only, for a service whose weights are not elsewhere.
        options: further options of `run`.
        environment: variables of every service; the `env` of a service overrides them.
        managed: variables that the role gives every service, by name.
    """

    engine: str
    image: str
    program: str = "vllm"
    scripts: Sequence[str] = ()
    devices: Sequence[str] = ()
    mounts: Sequence[str] = ()
    weights_dir: str = "/var/lib/vllm/weights"
    options: Sequence[str] = ()
    environment: Mapping[str, object] = field(default_factory=dict)
    managed: Mapping[str, object] = field(default_factory=dict)


def exec_words(words: Sequence[str]) -> str:
    """The words of a command for `ExecStart=`, each quoted where it needs it.

    The rules are those of systemd.syntax(7) and systemd.service(5): C escapes between double
    quotes, `%` and `$` doubled.
    """
    written = []
    for word in words:
        text = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        text = text.replace("\t", "\\t").replace("%", "%%").replace("$", "$$")
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


def arguments(service: Mapping[str, object], how: Container) -> list[str]:
    """The words of the command that runs a placed service in the foreground.

    Raises AscendError, naming the service, for an image or path that a unit cannot contain and for
    an environment that the role cannot pass on. A secret is passed by its name alone, from the
    client's environment, so that neither the unit nor the list of processes shows it.
    """
    if how.engine not in ENGINES:
        raise AscendError(
            f"the container engine is {how.engine!r}; it is one of {', '.join(ENGINES)}"
            " (vllm_runtime_container_engine)."
        )
    if not how.image:
        raise AscendError(
            "services are to run in containers, and no image is named. Set vllm_runtime_image to"
            " one, by its digest."
        )
    name, cards, devices = service.get("name"), service.get("cards"), service.get("devices")
    if not isinstance(cards, Sequence) or not isinstance(devices, Sequence):
        raise AscendError(f"service {name}: it has {kind_of(cards)} for cards; place it first.")
    # Podman logs its events to the journal of the unit unless told not to.
    words = [how.engine, *(["--events-backend=none"] if how.engine == "podman" else [])]
    words += ["run", "--rm", f"--name=vllm-{name}", "--pull=never", "--network=host"]
    words += ["--security-opt=no-new-privileges", "--pids-limit=-1"]
    if not any("label=" in str(option) for option in how.options):
        # Under SELinux a container may open neither the cards nor the host's files, unless these
        # get container labels, which would lock out the host's programs.
        words += ["--security-opt=label=disable"]
    # What the server prints goes to the journal as it is; a second copy would fill the disk.
    words += ["--log-driver=none"]
    if how.engine == "podman":
        # Beneath the control group of the unit: systemd counts and kills what runs inside, and a
        # process on a card is seen to be this service's.
        words += ["--cgroups=split", "--sdnotify=ignore"]
    for device in [*devices, *how.devices]:
        words += [f"--device={unit_word(device)}"]
    config = f"/etc/vllm/{name}.yaml"
    volumes = [(HOME, "/var/lib/vllm", "rw"), (config, config, "ro"), *_mounts(service, how)]
    for source, target, mode in dict.fromkeys(volumes):
        # Not --volume, for which docker makes an empty directory of what is missing on the host.
        text = f"--mount=type=bind,source={source},target={target}"
        words.append(text + (",readonly" if mode == "ro" else ""))
    words += _environment(service, cards, how)
    words += [str(option) for option in how.options]
    words += ["--entrypoint=/bin/bash", unit_word(how.image), "-c", _script(str(name), how)]
    return words


def _mounts(service: Mapping[str, object], how: Container) -> list[tuple[str, str, str]]:
    """(path on the host, path inside, ro or rw); what is below the weights is mounted with them."""
    path = service.get("path")
    weights = unit_word(how.weights_dir)
    if isinstance(path, str) and not f"{path}/".startswith(f"{weights}/"):
        weights = unit_word(path)
    found = [(weights, weights, "ro")]
    for mount in how.mounts:
        parts = unit_word(mount).split(":")
        parts += parts if len(parts) == 1 else []
        parts += ["ro"] if len(parts) == 2 else []
        if len(parts) != 3 or parts[2] not in ("ro", "rw") or not parts[1].startswith("/"):
            raise AscendError(
                f"vllm_service_container_mounts has {mount!r}. Write PATH, PATH:INSIDE or"
                " PATH:INSIDE:rw, with absolute paths."
            )
        found.append((parts[0], parts[1], parts[2]))
    return found


def _environment(
    service: Mapping[str, object], cards: Sequence[object], how: Container
) -> list[str]:
    env = service.get("env") or {}
    if not isinstance(env, Mapping):
        raise AscendError(f"service {service.get('name')}, env is {kind_of(env)}.")
    given = {**how.environment, **env}
    together = {**service, "env": given}
    service_environment(together)  # checks names and values, and what the role sets itself
    ports = service.get("hccl_ports")
    base = ports[0] if isinstance(ports, Sequence) else None
    values: dict[str, object] = {
        **how.managed,
        "HOME": "/var/lib/vllm",
        "ASCEND_RT_VISIBLE_DEVICES": visible_inside(cards),
        "HCCL_IF_BASE_PORT": base,
    }
    values.update(given)
    words = []
    for name, value in sorted(values.items()):
        if value is not None:
            environment_line(name, value)
            words.append(f"--env={name}={value}")
    return words + [f"--env={name}" for name in service_secrets(together)]


def _script(name: str, how: Container) -> str:
    scripts = " ".join(unit_word(script) for script in how.scripts)
    load = (
        'load() { . "$script"; }; '
        f"for script in {scripts}; do "
        f'[ -r "$script" ] || {{ echo "vllm@{name}: $script is missing or not readable in the'
        ' image: use one with CANN and NNAL, or set vllm_service_cann_scripts" >&2; exit 78; }; '
        "load; done; "
    )
    run = f"exec {unit_word(how.program)} serve --config /etc/vllm/{name}.yaml"
    return (load if scripts else "") + run
