# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight reads of a host, from files below a temporary root and from this machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._base import files
from ansible_collections.inferops.ascend.plugins.module_utils._host import info

ROOT = Path("/")
DATA = Path(__file__).parents[3] / "data" / "npu-smi"
PROCESS_ROW = re.compile(r"\| [0-9]+ +[0-9]+ +\| [0-9]+ +\| [a-zA-Z ]")


def put(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def process(
    root: Path, pid: int, unit: str, environ: dict[str, str] | None = None, command: str = ""
) -> None:
    put(root, f"proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")
    put(root, f"proc/{pid}/environ", "".join(f"{k}={v}\0" for k, v in (environ or {}).items()))
    put(root, f"proc/{pid}/cmdline", "".join(f"{word}\0" for word in command.split()))


# --- processes ---------------------------------------------------------------------------------


def test_a_command_line_is_cut_before_it_can_hold_a_secret(tmp_path: Path) -> None:
    for command, shown in (
        ("python3 train.py --api-key s3cret", "python3 train.py"),
        (
            "python3 -m vllm.entrypoints.openai.api_server --port 1",
            "python3 -m vllm.entrypoints.openai.api_server",
        ),
        ("env TOKEN=s3cret python3", "env"),
        ("/usr/bin/python3 -B -u serve.py -u root", "/usr/bin/python3 -B -u serve.py"),
        ("/usr/bin/python3 -c print", "/usr/bin/python3"),
        ("mysql -u s3cret", "mysql"),
        ("/bin/sh -c curl", "/bin/sh"),
        ("x" * 200, "x" * 77 + "..."),
    ):
        process(tmp_path, 7, "a.service", command=command)
        assert info.command_of(tmp_path, 7) == shown
    assert info.command_of(tmp_path, 8) is None
    put(tmp_path, "proc/9/cmdline", "")
    assert info.command_of(tmp_path, 9) is None, "a thread of the kernel"


def test_our_services_are_told_by_their_mark(tmp_path: Path) -> None:
    marks = {
        "INFEROPS_DIGEST": "abc",
        "ASCEND_RT_VISIBLE_DEVICES": "4,5",
        "HCCL_IF_BASE_PORT": "61128",
        "VLLM_API_KEY": "s3cret",
    }
    process(tmp_path, 10, "system-vllm.slice/vllm@chat.service", marks)
    process(tmp_path, 11, "system-vllm.slice/vllm@chat.service", {})
    process(tmp_path, 12, "system-vllm.slice/vllm@byhand.service", {"PATH": "/"})
    process(tmp_path, 13, "sshd.service", marks)
    # It wrote over its environment, as programs that set their title do.
    process(tmp_path, 14, "system-vllm.slice/vllm@titled.service", {})
    put(
        tmp_path,
        "etc/systemd/system/vllm@titled.service.d/placement.conf",
        "[Service]\nEnvironment=ASCEND_RT_VISIBLE_DEVICES=0\nEnvironment=INFEROPS_DIGEST=abc\n",
    )
    found = info.our_services(tmp_path, "vllm@.service")
    assert found == [
        {"unit": "vllm@chat.service", "pids": [10, 11], "cards": [4, 5], "hccl_base_port": 61128},
        {"unit": "vllm@titled.service", "pids": [14], "cards": [0], "hccl_base_port": None},
    ]
    assert "s3cret" not in str(found)


def test_where_services_stand_is_read_from_what_was_written(tmp_path: Path) -> None:
    def write(name: str, unit: str) -> None:
        put(
            tmp_path,
            f"etc/systemd/system/vllm@{name}.service.d/placement.conf",
            f"{files.mark(unit)}[Service]\nEnvironment=ASCEND_RT_VISIBLE_DEVICES=4,5\n",
        )

    write("chat", "vllm@chat.service")
    put(tmp_path, "etc/vllm/chat.yaml", "model: /w\nport: 8003\nserved-model-name: port\n")
    write("down.1", "vllm@down.1.service")
    write("copied", "vllm@chat.service")
    assert info.standing(tmp_path, "vllm@.service") == [
        {"name": "chat", "cards": [4, 5], "port": 8003},
        {"name": "down.1", "cards": [4, 5], "port": None},
    ]


# --- ports -------------------------------------------------------------------------------------


def test_who_listens_on_a_port_of_this_machine() -> None:
    with socket.socket() as server, socket.socket(socket.AF_INET6) as six, socket.socket() as idle:
        server.bind(("127.0.0.1", 0))
        server.listen()
        six.bind(("::1", 0))
        six.listen()
        idle.bind(("127.0.0.1", 0))
        ports = {entry["port"]: entry for entry in info.listening(ROOT)}
        for each in (server, six):
            assert ports[each.getsockname()[1]]["pid"] == os.getpid()
        assert idle.getsockname()[1] not in ports, "bound is not listening"
        command = ports[server.getsockname()[1]]["command"]
    assert "python" in command or "pytest" in command


def test_a_port_of_a_child_is_the_childs() -> None:
    code = "import socket,sys;s=socket.create_server(('127.0.0.1',0));print(s.getsockname()[1],flush=True);sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        entry = next(each for each in info.listening(ROOT) if each["port"] == port)
        assert entry["pid"] == child.pid
        child.communicate("")


def test_the_range_that_the_kernel_gives_away(tmp_path: Path) -> None:
    put(tmp_path, "proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    assert info.ephemeral_ports(tmp_path) == [32768, 60999]
    assert info.ephemeral_ports(tmp_path / "none") is None


# --- files and accounts ------------------------------------------------------------------------


def test_accounts_and_groups(tmp_path: Path) -> None:
    put(tmp_path, "etc/group", "root:x:0:\nHwHiAiUser:x:999:vllm,me\nvllm:x:998:\nbroken\n")
    put(tmp_path, "etc/passwd", "vllm:x:998:998::/var/lib/vllm:/usr/sbin/nologin\n")
    assert info.account(tmp_path, "vllm") == {
        "name": "vllm",
        "exists": True,
        "groups": ["vllm", "HwHiAiUser"],
    }
    assert not info.account(tmp_path, "nobody")["exists"]


def test_the_drivers_records(tmp_path: Path) -> None:
    blank = info.driver(tmp_path)
    assert not blank["version_info_exists"]
    assert not blank["install_info_exists"]
    put(tmp_path, "opt/A/driver/version.info", "Version=25.5.2\n")
    put(
        tmp_path,
        "etc/ascend_install.info",
        "Driver_Install_Path_Param=/opt/A\nDriver_Install_Status=complete\n",
    )
    assert info.driver(tmp_path) == {
        "version_info": "/opt/A/driver/version.info",
        "version_info_exists": True,
        "install_info_exists": True,
        "install_status": "complete",
    }


def test_versions_of_the_engine_without_starting_it(tmp_path: Path) -> None:
    site = "opt/vllm/lib/python3.11/site-packages"
    for name in ("vllm-0.18.0+empty", "vllm_ascend-0.18.0", "torch_npu-2.9.0.post1", "torch-2.9"):
        (tmp_path / site / f"{name}.dist-info").mkdir(parents=True)
    put(tmp_path, "opt/vllm/pyvenv.cfg", "home = /usr/bin\nversion = 3.11.9\n")
    assert info.engine(tmp_path, "/opt/vllm/bin/vllm") == {
        "vllm": "0.18.0+empty",
        "vllm_ascend": "0.18.0",
        "torch_npu": "2.9.0.post1",
        "python": "3.11.9",
    }
    assert set(info.engine(tmp_path, "/nowhere/bin/vllm").values()) == {None}


def test_weights_and_room_for_them(tmp_path: Path) -> None:
    put(tmp_path, "w/Qwen/a/config.json", "{}")
    assert not info.has_weights(tmp_path, "/w/Qwen/a"), "a download that was broken off"
    put(tmp_path, "w/Qwen/a/model-00001-of-00002.safetensors", "")
    assert info.has_weights(tmp_path, "/w/Qwen/a")
    room = info.disk(tmp_path, "/w/not/yet/there")
    assert room["at"] == "/w"
    assert room["free_bytes"] > 0


def test_programs_and_scripts(tmp_path: Path) -> None:
    put(tmp_path, "opt/vllm", "", 0o755)
    put(tmp_path, "opt/set_env.sh", "")
    found = info.paths(tmp_path, ["/opt/vllm", "/opt/set_env.sh", "/opt", "/none"])
    assert [found[p]["executable"] for p in found] == [True, False, False, False]
    assert [found[p]["exists"] for p in found] == [True, True, True, False]


# --- all together ------------------------------------------------------------------------------


def test_an_empty_host_is_read_without_an_error(tmp_path: Path) -> None:
    facts = info.collect(
        str(tmp_path / "npu-smi"),
        5,
        user="vllm",
        template="vllm@.service",
        files=["/none"],
        executable="/opt/vllm",
        weights_dir="/w",
        models=["/w/a"],
        root=tmp_path,
    )
    assert facts["npu"]["cards"] == []
    assert [each["code"] for each in facts["npu"]["problems"]] == ["npu_smi_missing"]
    assert facts["services"] == facts["ports"] == []
    assert facts["models"] == {"/w/a": False}
    assert facts["tuned"] is False


def test_a_process_that_ends_while_it_is_read_is_no_tenant(tmp_path: Path) -> None:
    """One of another namespace is not to be seen either, but npu-smi lists it again."""
    first = (DATA / "310p3-duo-info.txt").read_text(encoding="utf-8")
    rows = [line for line in first.splitlines() if PROCESS_ROW.match(line)]
    assert len(rows) > 1
    pids = [int(row.split("|")[2]) for row in rows]
    put(tmp_path, "info-1", first)
    put(tmp_path, "info-2", first.replace(rows[0] + "\n", ""))
    put(
        tmp_path,
        "npu-smi",
        f'#!/bin/sh\n[ "$*" = info ] || exit 1\ncd {tmp_path}\n'
        "[ -e asked ] && exec cat info-2\ntouch asked\nexec cat info-1\n",
        0o755,
    )
    facts = info.npu(str(tmp_path / "npu-smi"), 5, tmp_path)
    found = [each["pid"] for card in facts["cards"] for each in card["processes"]]
    assert sorted(found) == sorted(pids[1:])
    # All of them are known: nothing is asked again.
    (tmp_path / "asked").unlink()
    for pid in pids:
        process(tmp_path, pid, "train.service", command="python3 train.py")
    facts = info.npu(str(tmp_path / "npu-smi"), 5, tmp_path)
    assert sorted(each["pid"] for card in facts["cards"] for each in card["processes"]) == sorted(
        pids
    )
