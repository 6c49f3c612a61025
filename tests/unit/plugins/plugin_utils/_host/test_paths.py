# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights and named files that a service would not find, or may not read."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.checks import HostChecks
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.findings import Finding
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.paths import path_options
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

from .facts import A2, SCRIPTS, checked, codes, facts, only

WEIGHTS = "/root/.cache/modelscope/hub/models/Qwen/Qwen3-14B"
USERS = {"vllm": {"exists": True, "uid": 998, "groups": ["vllm"], "gids": [998]}}


def at(path: str, mode: str = "0755", kind: str = "directory", **more: Any) -> dict[str, Any]:
    base = {"path": path, "kind": kind, "mode": mode, "uid": 0, "gid": 0, "acl": None}
    return {**base, "owner": "root", "group": "root", **more}


def way(path: str, *last: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What host_info tells of a path whose directories all may enter, unless `last` says otherwise."""
    parts = path.strip("/").split("/")
    steps = {"/": at("/")}
    for number in range(1, len(parts) + 1):
        step = "/" + "/".join(parts[:number])
        steps[step] = at(step)
    steps.update((each["path"], each) for each in last)
    return {"steps": list(steps.values()), "entries": [], "behind": [], "broken": None, **more}


def found(paths: dict[str, Any], request: dict[str, Any] | None = None, **more: Any) -> Finding:
    host = facts(paths=paths, users=USERS)
    request = {"model": "Qwen3-14B", "name": "pd", "path": WEIGHTS, **(request or {})}
    return only(checked(host, request, **{"user": "vllm", **more}))


def contained_checks(paths: dict[str, Any], request: dict[str, Any], **more: Any) -> HostChecks:
    variables = {
        "vllm_service_method": "container",
        "vllm_service_container_image": "example/i@sha256:" + "0" * 64,
        "vllm_service_container_mounts": [],
        "vllm_service_instances": [{"model": "Qwen3-14B", "name": "pd", "path": "/m", **request}],
        "ascend_host_profile": A2,
        "ascend_host_cann_scripts": SCRIPTS,
        **more,
    }
    deployment = Deployment(Settings(variables.get), load_catalogue())
    return deployment.check(facts(paths=paths, users=USERS))


def contained(paths: dict[str, Any], request: dict[str, Any], **more: Any) -> Finding:
    return only(contained_checks(paths, request, **more))


def test_weights_in_the_home_of_root() -> None:
    closed = [at("/root", "0700"), at("/root/.cache", "0700")]
    told = found({WEIGHTS: way(WEIGHTS, *closed)})
    assert (told.severity, told.code, told.subject) == ("error", "files", "service pd")
    assert told.message == (
        f"its weights {WEIGHTS} cannot be read by the user vllm: the directory /root (0700,"
        " root:root) and 1 more cannot be entered."
    )
    assert told.advice == (
        "Run `chmod o+x /root /root/.cache`, or move it to a directory such as"
        " /var/lib/vllm/weights."
    )
    told = found({WEIGHTS: way(WEIGHTS, *closed)}, weights_dir="/root/.cache")
    assert told.advice.endswith("or move it to a directory that is not below /root.")


def test_files_of_the_weights() -> None:
    entries = [at(f"{WEIGHTS}/model.safetensors", "0640", "file", count=4)]
    told = found({WEIGHTS: way(WEIGHTS, entries=entries)})
    assert f"the file {WEIGHTS}/model.safetensors (0640, root:root) and 3 more" in told.message
    assert f"`chmod -R o+rX {WEIGHTS}`" in told.advice


def test_a_directory_that_may_be_entered_and_not_listed() -> None:
    told = found({WEIGHTS: way(WEIGHTS, at(WEIGHTS, "0711"))})
    assert "cannot be read by the user vllm: the directory" in told.message
    assert f"`chmod o+rx {WEIGHTS}`" in told.advice


def test_directories_behind_links_and_links_that_lead_nowhere() -> None:
    behind = [at("/root/hub/blobs", "0700")]
    assert "/root/hub/blobs (0700" in found({WEIGHTS: way(WEIGHTS, behind=behind)}).message
    told = found({WEIGHTS: way(WEIGHTS, broken=f"{WEIGHTS}/a.safetensors")})
    assert "a.safetensors is a link that leads nowhere" in told.message


@pytest.mark.parametrize("path", ["/tmp/m", "/var/tmp/m"])
def test_weights_that_the_unit_hides(path: str) -> None:
    told = found({path: way(path)}, {"path": path})
    assert f"the unit hides {path[:-2]} of the host from its services (PrivateTmp=yes)" in (
        told.message
    )
    assert told.advice.startswith("Move it")


def test_what_is_as_it_should_be_or_is_not_known_is_no_finding() -> None:
    lost = {"path": WEIGHTS, "kind": "missing", "error": "No such file or directory"}
    unread = {"path": WEIGHTS, "kind": "unknown", "error": "Permission denied"}
    request = {"model": "Qwen3-14B", "path": WEIGHTS}
    for facts_of in (way(WEIGHTS), way(WEIGHTS, lost), way(WEIGHTS, unread)):
        host = facts(paths={WEIGHTS: facts_of}, users=USERS)
        assert codes(checked(host, request, user="vllm")) == []
    closed = facts(paths={WEIGHTS: way(WEIGHTS, at("/root", "0700"))}, users=USERS)
    assert codes(checked(closed, {**request, "state": "stopped"}, user="vllm")) == []


def test_a_named_file_that_is_missing_a_directory_or_closed() -> None:
    path = "/data/t.jinja"
    request = {"args": {"chat-template": path}}
    good = {WEIGHTS: way(WEIGHTS)}
    lost = way(path, {"path": path, "kind": "missing", "error": ""})
    told = found({**good, path: lost}, request)
    assert told.message == "/data/t.jinja (args, chat-template) is not on this host."
    gone = {"steps": [at("/"), {"path": "/data", "kind": "missing", "error": ""}]}
    told = found({**good, path: {**way(path), **gone}}, request)
    assert told.message.endswith("is not on this host: there is no /data.")
    assert "is a directory; a file is needed" in found({**good, path: way(path)}, request).message
    told = found({**good, path: way(path, at(path, "0600", "file"))}, request)
    assert "the file /data/t.jinja (0600, root:root) cannot be read" in told.message
    assert "`chmod o+r /data/t.jinja`" in told.advice


def test_a_library_that_is_only_loaded_before_others_is_a_warning() -> None:
    path = "/opt/libjemalloc.so.2"
    lost = way(path, {"path": path, "kind": "missing", "error": ""})
    told = found({WEIGHTS: way(WEIGHTS), path: lost}, {"env": {"LD_PRELOAD": path}})
    assert told.severity == "warning"


def test_in_a_container_a_missing_file_may_be_in_the_image() -> None:
    path = "/app/t.jinja"
    lost = way(path, {"path": path, "kind": "missing", "error": ""})
    request = {"args": {"chat-template": path}}
    told = contained({"/m": way("/m"), path: lost}, request)
    assert "is not on this host" in told.message
    assert "vllm_service_container_image_paths" in told.advice


def test_in_a_container_links_out_of_what_is_mounted_lead_nowhere() -> None:
    behind = [at("/hub"), at("/hub/blobs")]
    told = contained({"/m": way("/m", behind=behind)}, {})
    assert "links to files below /hub/blobs, which its container does not see" in told.message
    assert told.advice == "Add /hub/blobs to vllm_service_container_mounts."


def test_in_a_container_a_file_that_an_unknown_variable_names_is_a_warning() -> None:
    path = "/etc/plugin.conf"
    told = contained(
        {"/m": way("/m"), path: way(path, at(path, "0644", "file"))}, {"env": {"PLUGIN": path}}
    )
    assert (told.severity, told.code) == ("warning", "files")
    assert "vllm_service_container_mounts" in told.advice


def test_the_host_is_asked_for_what_its_services_read_and_for_their_users() -> None:
    requests = [
        {"model": "Qwen3-14B", "name": "a", "path": "/m"},
        {"model": "Qwen3-14B", "name": "b", "path": "/n", "state": "stopped"},
    ]
    variables = {"vllm_service_instances": requests, "ascend_host_profile": A2}
    settings = Settings({**variables, "vllm_service_user": "vllm"}.get)
    specs = Deployment(settings, load_catalogue()).specs
    assert path_options(specs, settings) == {"paths": ["/m"], "users": ["vllm"]}


def test_a_directory_that_a_service_writes_below() -> None:
    path = "/data/cache"
    request = {"env": {"VLLM_CACHE_ROOT": path}}
    good = {WEIGHTS: way(WEIGHTS)}
    told = found({**good, path: way(path)}, request)
    assert (told.severity, told.message) == (
        "warning",
        f"{path} (env, VLLM_CACHE_ROOT) (0755, root:root) is where its service writes, and the user"
        " vllm may not.",
    )
    assert f"`chown -R vllm {path}`" in told.advice
    lost = way(path, {"path": path, "kind": "missing", "error": ""})
    told = found({**good, path: lost}, request)
    assert told.advice == f"Run `install -d -o vllm -m 0700 {path}`."
    mine = {**good, path: way(path, at(path, "0700", uid=998))}
    service = {"model": "Qwen3-14B", "name": "pd", "path": WEIGHTS, **request}
    assert codes(checked(facts(paths=mine, users=USERS), service, user="vllm")) == []


def test_what_every_service_may_write_is_not_asked_for() -> None:
    env = {"TMPDIR": "/tmp/x", "VLLM_CACHE_ROOT": "/var/lib/vllm-services/a/c", "HF_HOME": "/hf"}
    requests = [{"model": "Qwen3-14B", "name": "a", "path": "/m", "env": env}]
    variables = {"vllm_service_instances": requests, "ascend_host_profile": A2}
    settings = Settings(variables.get)
    specs = Deployment(settings, load_catalogue()).specs
    assert path_options(specs, settings) == {"paths": ["/m", "/hf"], "users": ["vllm-a"]}


def test_in_a_container_what_is_above_a_mount_is_not_on_the_way() -> None:
    told = contained({"/m/a": way("/m/a", at("/m", "0700"), at("/m/a", "0700"))}, {"path": "/m/a"})
    assert "cannot be read by the user vllm-pd: the directory /m/a (0700, root:root)" in (
        told.message
    )


@pytest.mark.parametrize(
    ("request_", "options"),
    [
        ({"env": {"VLLM_CACHE_ROOT": "/data/cache"}}, {}),
        ({"env": {"VLLM_CACHE_ROOT": "/data/cache"}}, {"mounts": ["/data"]}),
        (
            {"env": {"VLLM_CACHE_ROOT": "/data/cache"}},
            {"mounts": ["/srv:/data:rw", "/d:/data/cache"]},
        ),
        ({"args": {"download-dir": "/m/x"}}, {}),
        ({"env": {"HOME": "/workspace/home"}}, {"options": ["--tmpfs=/workspace/other"]}),
    ],
)
def test_what_a_container_cannot_write_is_an_error(
    request_: dict[str, Any], options: dict[str, Any]
) -> None:
    variables = {f"vllm_service_container_{name}": value for name, value in options.items()}
    (where,) = request_
    ((name, path),) = request_[where].items()
    told = contained({}, request_, **variables)
    assert (told.severity, told.code) == ("error", "files")
    assert told.message == (
        f"{path} ({where}, {name}) is where it writes, and is read-only in its container."
    )
    assert told.advice == (
        f"Leave {name} out, so that it is in the service's home, or add {path}:{path}:rw to"
        " vllm_service_container_mounts."
    )


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/var/lib/vllm/cache", {}),
        ("/tmp/cache", {}),
        ("/dev/shm/cache", {}),
        ("/data/cache", {"mounts": ["/data:/data:rw"]}),
        ("/data/cache", {"options": ["--tmpfs=/data:rw,size=1g"]}),
        ("/data/cache", {"options": ["-v", "/srv:/data/cache"]}),
        ("/opt/cache", {"options": ["--read-only=false"]}),
    ],
)
def test_what_a_container_can_write_is_no_finding(path: str, options: dict[str, Any]) -> None:
    variables = {f"vllm_service_container_{name}": value for name, value in options.items()}
    checks = contained_checks({"/m": way("/m")}, {"env": {"VLLM_CACHE_ROOT": path}}, **variables)
    assert codes(checks) == []


def test_what_a_container_writes_on_the_host_is_its_users() -> None:
    request = {"env": {"VLLM_CACHE_ROOT": "/inside/cache"}}
    more = {
        "vllm_service_container_mounts": ["/srv/a:/inside:rw"],
        "vllm_service_user": "vllm",
    }
    good, path = {"/m": way("/m")}, "/srv/a/cache"
    closed = way(path, at("/srv", "0700"))
    told = contained({**good, path: closed}, request, **more)
    assert told.severity == "warning"
    assert f"`chown -R vllm {path}`" in told.advice
    mine = at("/srv/a", "0700", uid=998)
    assert (
        codes(contained_checks({**good, path: way(path, mine, at(path, uid=998))}, request, **more))
        == []
    )
    # The engine makes what is missing below a mount, where it may.
    lost = [at("/"), at("/srv"), mine, {"path": path, "kind": "missing", "error": ""}]
    assert codes(contained_checks({**good, path: {**closed, "steps": lost}}, request, **more)) == []
    lost[2] = at("/srv/a")
    told = contained({**good, path: {**closed, "steps": lost}}, request, **more)
    assert "`chown -R vllm /srv/a`" in told.advice
    told = contained(
        {**good, path: {**closed, "steps": [*lost[:2], {**lost[3], "path": "/srv/a"}]}},
        request,
        **more,
    )
    assert told.advice == f"Run `install -d -o vllm -m 0700 {path}`."
