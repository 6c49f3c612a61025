# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of tests/hosts/hosts."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .image import image
from .machine import HostsError, Paths, Podman, cache_directory, check_machine, fail, locked, say
from .network import cut, first_process, heal
from .scenario import (
    SIMULATOR,
    Host,
    free_subnet,
    install_simulator,
    load,
    pick,
    remove_scenario,
    simulator_archive,
    ssh_key,
    start_host,
    wait_up,
    write_inventory,
)

NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,39}$")

RESERVED = {"key", "locks", "storage", "images", "networks", "runtime"}


def parse_hosts(words: list[str], profiles: list[str]) -> list[tuple[str, str]]:
    result = []
    for word in words:
        name, _colon, profile = word.partition(":")
        if not NAME.match(name):
            fail(f"--host {word}: {name!r} is no host name (a-z, 0-9 and '-')")
        if profile not in [*profiles, "none"]:
            fail(
                f"--host {word}: unknown profile {profile!r}; there are {', '.join(profiles)}, none"
            )
        if name in [other for other, _profile in result]:
            fail(f"--host {word}: the name {name!r} is given twice")
        result.append((name, profile))
    return result


def scenario_name(name: str) -> str:
    if not NAME.match(name) or name in RESERVED:
        fail(f"{name!r} cannot be a scenario's name: a-z, 0-9 and '-', at most 40, not reserved")
    return name


def up(arguments: argparse.Namespace, paths: Paths) -> None:
    name = scenario_name(arguments.name)
    profiles = sorted(json.loads((SIMULATOR / "profiles.json").read_text())["profiles"])
    wanted = parse_hosts(arguments.host, profiles)
    for mount in arguments.mount:
        source, _colon, target = mount.partition(":")
        if (
            not Path(source).is_absolute()
            or not Path(source).exists()
            or not target.startswith("/")
        ):
            fail(f"--mount {mount}: wants SRC:DST, both absolute, and SRC must exist")
    podman = Podman(paths)
    key = ssh_key(paths)
    image_name = image(paths, podman)
    started = time.monotonic()
    with locked(paths.lock(f"{name}.lock"), f"scenario {name}"):
        if remove_scenario(paths, podman, name):
            say(f"{name}: removed what an earlier run left")
        with locked(paths.lock("network.lock"), "networks"):
            subnet = free_subnet(name, podman)
            gateway = str(subnet.network_address + 1)
            podman(
                *("network", "create", "--internal", "--disable-dns"),
                *("--subnet", str(subnet), "--gateway", gateway, f"inferops-{name}"),
            )
        hosts = [
            Host(host, profile, str(subnet.network_address + 11 + index), f"{name}--{host}")
            for index, (host, profile) in enumerate(wanted)
        ]
        state = paths.scenario(name)
        state.mkdir(parents=True)
        (state / "scenario.json").write_text(
            json.dumps({"subnet": str(subnet), "hosts": [h.to_json() for h in hosts]}, indent=2)
        )
        archive = simulator_archive()

        def bring_up(host: Host) -> None:
            start_host(podman, paths, name, host, image_name, arguments.mount)
            wait_up(podman, paths, host)
            if host.profile != "none":
                install_simulator(podman, host, archive, arguments.vllm)
            say(f"{name}: {host.name} is up at {host.address} ({host.profile})")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bring_up, hosts))
        inventory = Path(arguments.inventory or state / "inventory.yml").absolute()
        write_inventory(paths, hosts, inventory)
    say(f"{name}: {len(hosts)} hosts in {time.monotonic() - started:.1f} s; key {key}")
    print(inventory)


def scenarios(paths: Paths, podman: Podman) -> list[str]:
    """Every scenario that left a trace: a folder, a container or a network."""
    found = {p.parent.name for p in paths.root.glob("*/scenario.json")}
    out = podman(
        *("ps", "--all", "--filter", "label=inferops.scenario"),
        *("--format", '{{index .Labels "inferops.scenario"}}'),
    ).stdout
    found |= set(out.split())
    out = podman("network", "ls", "--format", "{{.Name}}").stdout
    found |= {
        line.removeprefix("inferops-") for line in out.split() if line.startswith("inferops-")
    }
    return sorted(found)


def down(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    if bool(arguments.all) == bool(arguments.name):
        fail("`hosts down` wants one scenario's name, or --all")
    names = scenarios(paths, podman) if arguments.all else [scenario_name(arguments.name)]
    for name in names:
        started = time.monotonic()
        with locked(paths.lock(f"{name}.lock"), f"scenario {name}"):
            removed = remove_scenario(paths, podman, name)
        took = time.monotonic() - started
        say(f"{name}: removed in {took:.1f} s" if removed else f"{name}: nothing to remove")


def reboot(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    host = pick(paths, arguments.name, arguments.host)
    started = time.monotonic()
    before = first_process(podman, host)
    podman("exec", host.container, "systemctl", "reboot", check=False)
    deadline = time.monotonic() + 120
    while True:
        done = podman("inspect", "--format", "{{.State.Pid}} {{.State.Status}}", host.container)
        pid, _space, status = done.stdout.strip().partition(" ")
        if status == "running" and pid not in ("0", before):
            break
        if time.monotonic() > deadline:
            fail(f"{host.name}: did not come back after `systemctl reboot` (podman: {status})")
        time.sleep(0.1)
    wait_up(podman, paths, host)
    say(f"{host.name}: back after {time.monotonic() - started:.1f} s")


def pid(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    print(first_process(podman, pick(paths, arguments.name, arguments.host)))


def network(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    host, other = (pick(paths, arguments.name, name) for name in (arguments.host, arguments.other))
    heal(podman, host, other)
    if arguments.verb == "cut":
        cut(podman, host, other, arguments.one_way)


def exec_(arguments: argparse.Namespace, paths: Paths) -> int:
    podman = Podman(paths)
    host = pick(paths, arguments.name, arguments.host)
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not words:
        fail("`hosts exec NAME HOST -- COMMAND...` wants a command")
    interactive = ["-i", "-t"] if sys.stdin.isatty() and sys.stdout.isatty() else ["-i"]
    return subprocess.call(
        [*podman.base, "exec", *interactive, host.container, *words], env=podman.env
    )


def list_(arguments: argparse.Namespace, paths: Paths) -> None:
    podman = Podman(paths)
    for name in scenarios(paths, podman):
        status = dict(
            line.split(" ", 1)
            for line in podman(
                *("ps", "--all", "--filter", f"label=inferops.scenario={name}"),
                *("--format", "{{.Names}} {{.Status}}"),
            ).stdout.splitlines()
        )
        try:
            hosts = load(paths, name)
        except HostsError:
            print(f"{name}\t(left by an interrupted run; `hosts down {name}` removes it)")
            continue
        for host in hosts:
            state = status.get(host.container, "absent")
            print(f"{name}\t{host.name}\t{host.address}\t{host.profile}\t{state}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="hosts", description="Real systemd hosts for tests, as podman containers."
    )
    commands = parser.add_subparsers(dest="verb", required=True)
    commands.add_parser("image", help="build the image if it is absent")
    sub = commands.add_parser("up", help="(re)create the hosts of a scenario")
    sub.add_argument("name")
    sub.add_argument("--host", action="append", required=True, metavar="NAME:PROFILE")
    sub.add_argument("--inventory", metavar="FILE", help="where the Ansible inventory is written")
    sub.add_argument("--mount", action="append", default=[], metavar="SRC:DST", help="read-only")
    sub.add_argument("--vllm", metavar="VERSION", help="version of the stand-in vLLM")
    sub = commands.add_parser("down", help="remove a scenario")
    sub.add_argument("name", nargs="?")
    sub.add_argument("--all", action="store_true")
    sub = commands.add_parser("reboot", help="restart systemd in a host and wait for it")
    sub.add_argument("name")
    sub.add_argument("host")
    for verb, what in (
        ("cut", "let two hosts of a scenario no longer reach each other"),
        ("heal", "undo `cut`"),
    ):
        sub = commands.add_parser(verb, help=what)
        sub.add_argument("name")
        sub.add_argument("host")
        sub.add_argument("other")
        if verb == "cut":
            sub.add_argument("--one-way", action="store_true", help="HOST only hears nothing")
    sub = commands.add_parser("exec", help="run a command on a host as root")
    sub.add_argument("name")
    sub.add_argument("host")
    sub.add_argument("command", nargs=argparse.REMAINDER)
    sub = commands.add_parser("pid", help="print the id of a host's first process")
    sub.add_argument("name")
    sub.add_argument("host")
    commands.add_parser("list", help="what is up")
    arguments = parser.parse_args()
    try:
        check_machine()
        paths = Paths(cache_directory())
        if arguments.verb == "image":
            print(image(paths, Podman(paths)))
        elif arguments.verb == "up":
            up(arguments, paths)
        elif arguments.verb == "down":
            down(arguments, paths)
        elif arguments.verb == "reboot":
            reboot(arguments, paths)
        elif arguments.verb in ("cut", "heal"):
            network(arguments, paths)
        elif arguments.verb == "pid":
            pid(arguments, paths)
        elif arguments.verb == "exec":
            return exec_(arguments, paths)
        else:
            list_(arguments, paths)
    except HostsError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next `up` or `down` of this scenario clears up")
        return 130
    return 0
