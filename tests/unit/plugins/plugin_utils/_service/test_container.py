# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that runs a placed service in a container."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.container import exec_words
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.services import service_texts
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

IMAGE = "quay.io/ascend/vllm-ascend@sha256:" + "0" * 64
SHARED = ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]
SERVICE: dict[str, Any] = {
    "name": "chat",
    "model": "Qwen3-14B",
    "cards": [4, 7],
    "devices": ["/dev/davinci4", "/dev/davinci7"],
    "kind": "generate",
    "huggingface": "Qwen/Qwen3-14B",
    "max_model_len": 4096,
    "gpu_memory_utilization": 0.9,
    "tensor_parallel_size": 2,
    "port": 8000,
    "hccl_ports": [61128, 61191],
}


def words(engine: str = "podman", service: dict[str, Any] | None = None, **more: Any) -> list[str]:
    variables = {"container_engine": engine, "container_image": IMAGE, "shared_devices": SHARED}
    variables.update({"cann_scripts": [], "container_mounts": [], "container_options": []}, **more)
    variables = {f"vllm_service_{name}": value for name, value in variables.items()}
    settings = Settings({"vllm_service_method": "container", **variables}.get).unit
    text = service_texts({**SERVICE, **(service or {})}, settings)["command"]
    # What `exec_words` writes, read as systemd reads it.
    return [each.replace("$$", "$").replace("%%", "%") for each in shlex.split(text)]


def values(command: list[str], option: str) -> list[str]:
    return [word.split("=", 1)[1] for word in command if word.startswith(f"--{option}=")]


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_the_services_own_cards_and_no_others(engine: str) -> None:
    command = words(engine)
    assert values(command, "device") == ["/dev/davinci4", "/dev/davinci7", *SHARED]
    # The runtime counts what it was given from 0.
    assert "ASCEND_RT_VISIBLE_DEVICES=0,1" in values(command, "env")
    assert "HCCL_IF_BASE_PORT=61128" in values(command, "env")
    assert "--privileged" not in command
    assert "--network=host" in command
    assert "--pull=never" in command


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_a_container_has_no_right_that_its_user_has_not(engine: str) -> None:
    command = words(engine)
    assert {"--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"} <= set(command)
    assert [each.partition(":")[0] for each in values(command, "tmpfs")] == [
        "/run",
        "/tmp",
        "/var/tmp",
    ]
    # What a user writes comes after it.
    changed = words(engine, container_options=["--read-only=false", "--cap-add=SYS_NICE"])
    assert changed.index("--read-only") < changed.index("--read-only=false")


def test_the_client_has_the_numbers_of_the_account(tmp_path: Path) -> None:
    """The words of the command run by a shell, with programs of the host that print what they are given."""
    programs = {"podman": 'printf "%s\\n" "$@"'}
    known = 'case "$1$2" in -uvllm-chat) echo 990;; -gvllm-chat) echo 991;; *) exit 1;; esac'
    programs["id"] = known
    programs["getent"] = '[ "$2" = HwHiAiUser ] && echo "$2:x:1000:"'
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)

    def run(**more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words(**more),
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        )

    printed = run().stdout.splitlines()
    assert printed[:4] == ["--events-backend=none", "run", "--user=990:991", "--group-add=1000"]
    assert printed[4:6] == ["--rm", "--name=vllm-chat"]
    # By these systemd does not start it again.
    assert run(user="nobody-at-all").returncode == 78
    gone = run(groups=["nosuch"])
    assert gone.returncode == 2 and "this host has no group nosuch" in gone.stderr


def test_root_keeps_the_names_of_the_image() -> None:
    command = words(user="root")
    assert "root" in command
    assert bind("/etc/passwd") not in values(command, "mount")


def test_podman_stays_beneath_the_unit_and_docker_knows_no_such_option() -> None:
    assert "--cgroups=split" in words("podman")
    assert not {"--cgroups=split", "--sdnotify=ignore", "--events-backend=none"} & set(
        words("docker")
    )


def test_secrets_are_passed_by_name_alone() -> None:
    command = words(service={"api_key": "k-1", "secret_env": {"HF_TOKEN": "t-1"}})
    assert {"VLLM_API_KEY", "HF_TOKEN"} <= set(values(command, "env"))
    assert "k-1" not in " ".join(command)
    assert "t-1" not in " ".join(command)


def test_the_environment_is_the_services_before_that_of_all() -> None:
    command = words(
        service={"env": {"A": 2, "GONE": None}},
        env={"A": 1, "B": "x y", "GONE": "1"},
    )
    assert {"A=2", "B=x y", "PYTHONUNBUFFERED=1"} <= set(values(command, "env"))
    assert not any(each.startswith("GONE") for each in values(command, "env"))
    with pytest.raises(AscendError, match="ASCEND_RT_VISIBLE_DEVICES"):
        words(service={"env": {"ASCEND_RT_VISIBLE_DEVICES": "4"}})


def bind(source: str, target: str = "", *, rw: bool = False) -> str:
    text = f"type=bind,source={source},target={target or source}"
    return text if rw else f"{text},readonly"


def test_folders_are_read_only_unless_said_otherwise() -> None:
    command = words(container_mounts=["/usr/local/dcmi", "/a:/b", "/c:/d:rw"])
    assert values(command, "mount") == [
        bind("/var/lib/vllm-services/chat", "/var/lib/vllm", rw=True),
        bind("/etc/vllm/chat.yaml"),
        bind("/etc/passwd"),
        bind("/etc/group"),
        bind("/var/lib/vllm/weights"),
        bind("/usr/local/dcmi"),
        bind("/a", "/b"),
        bind("/c", "/d", rw=True),
    ]


def test_weights_that_lie_elsewhere_are_there_in_place_of_the_folder_of_all() -> None:
    command = words(service={"path": "/data/qwen"})
    assert bind("/data/qwen") in values(command, "mount")
    assert bind("/var/lib/vllm/weights") not in values(command, "mount")
    inside = words(service={"path": "/var/lib/vllm/weights/x/y"})
    assert bind("/var/lib/vllm/weights") in values(inside, "mount")


@pytest.mark.parametrize("mount", ["/a:/b:z", "/a:/b:ro:x", "/a:b", "/a,/b"])
def test_mounts_that_are_none_are_refused(mount: str) -> None:
    with pytest.raises(AscendError, match=mount):
        words(container_mounts=[mount])


def test_no_label_keeps_a_container_from_cards_unless_one_is_asked_for() -> None:
    assert "--security-opt=label=disable" in words()
    own = "--security-opt=label=type:spc_t"
    command = words(container_options=[own])
    assert own in command
    assert "--security-opt=label=disable" not in command


def test_the_server_reads_the_same_file_after_the_images_scripts() -> None:
    script = words(cann_scripts=["/cann/set_env.sh"], container_executable="/opt/vllm")[-1]
    assert script.index("/cann/set_env.sh") < script.index(
        "exec /opt/vllm serve --config /etc/vllm/chat.yaml"
    )
    assert words()[-1] == "exec vllm serve --config /etc/vllm/chat.yaml"


@pytest.mark.parametrize(
    ("engine", "image", "service", "match"),
    [
        ("lxc", IMAGE, {}, "podman or docker"),
        ("podman", "", {}, "vllm_runtime_image"),
        ("podman", "x; reboot", {}, "x; reboot"),
        ("podman", IMAGE, {"path": "/a b"}, "/a b"),
        ("podman", IMAGE, {"env": {"A": True}}, "boolean"),
    ],
)
def test_what_cannot_be_run_is_refused(
    engine: str, image: str, service: dict[str, Any], match: str
) -> None:
    with pytest.raises(AscendError, match=match):
        words(engine, service, container_image=image)


def test_words_arrive_as_they_were() -> None:
    """systemd's quoting is a shell's, but for `%%`, `$$`, and C escapes."""
    given = ["run", "--env=A=a b", 'x"y', "back\\slash", "100%", "$HOME", "two\nlines", "", "é;"]
    text = exec_words(given)
    assert "\n" not in text
    read = [
        word.replace("\\n", "\n").replace("$$", "$").replace("%%", "%")
        for word in shlex.split(text)
    ]
    assert read == given
    # What systemd would otherwise put in the place of a specifier or a variable.
    assert exec_words(["%i", "$HOME"]) == '"%%i" "$$HOME"'
