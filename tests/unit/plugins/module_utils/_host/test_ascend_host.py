# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a host: real programs and processes, files below a temporary root."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import ascend_host

DATA = Path(__file__).resolve().parents[3] / "data" / "npu-smi"


def script(path: Path, body: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def codes(problems: list[dict[str, str]]) -> list[str]:
    return [problem["code"] for problem in problems]


# --- programs ----------------------------------------------------------------------------------


def test_npu_smi_is_found_on_the_search_path(tmp_path: Path) -> None:
    program = script(tmp_path / "bin/npu-smi", "exit 0\n")
    assert ascend_host.find_npu_smi(None, f"/nowhere:{tmp_path}/bin") == program
    assert ascend_host.find_npu_smi(program, "") == program


def test_missing_npu_smi_names_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "npu-smi").write_text("not executable", encoding="utf-8")
    with pytest.raises(ascend_host.HostError) as caught:
        ascend_host.find_npu_smi(None, str(tmp_path))
    message = str(caught.value)
    for folder in ("/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi", f"{tmp_path}/npu-smi"):
        assert folder in message
    with pytest.raises(ascend_host.HostError, match="/opt/npu-smi"):
        ascend_host.find_npu_smi("/opt/npu-smi")


def test_hanging_program_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = script(
        tmp_path / "npu-smi", f"sleep 300 & echo $! > {pids}; echo $$ >> {pids}; wait\n"
    )
    start = time.monotonic()
    with pytest.raises(ascend_host.HostError) as caught:
        ascend_host.run([program, "info"], 0.5)
    assert time.monotonic() - start < 10
    assert codes(caught.value.problems) == ["npu_smi_timeout"]
    assert "dmesg" in str(caught.value)
    for pid in pids.read_text(encoding="utf-8").split():
        assert not is_running(int(pid))


def is_running(pid: int) -> bool:
    for _attempt in range(50):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            return False
        # A zombie waits for whoever is pid 1 here; it runs no more.
        if stat.rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.1)
    return True


def test_child_that_keeps_the_output_open_does_not_hang_us(tmp_path: Path) -> None:
    program = script(tmp_path / "npu-smi", "setsid sleep 15 & echo out\n")
    start = time.monotonic()
    with pytest.raises(ascend_host.HostError):
        ascend_host.run([program], 0.5)
    assert time.monotonic() - start < 10


def test_program_that_cannot_be_started(tmp_path: Path) -> None:
    path = tmp_path / "npu-smi"
    path.write_bytes(b"\x7fELF of another machine")
    path.chmod(0o755)
    with pytest.raises(ascend_host.HostError, match="Exec format error"):
        ascend_host.run([str(path)], 5)


def test_output_that_is_no_utf8(tmp_path: Path) -> None:
    said = ascend_host.run([script(tmp_path / "x", "printf '\\377ok'; echo no >&2; exit 3\n")], 5)
    assert said == ("\ufffdok", "no\n", 3)


def test_libraries_of_the_driver_are_on_the_path(tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    (driver / "lib64/driver").mkdir(parents=True)
    env = ascend_host.environment(driver, {"LD_LIBRARY_PATH": "/mine", "LC_ALL": "zh_CN.UTF-8"})
    assert env["LD_LIBRARY_PATH"] == f"/mine:{driver}/lib64:{driver}/lib64/driver"
    assert env["LC_ALL"] == "C"
    assert "LD_LIBRARY_PATH" not in ascend_host.environment(tmp_path / "none", {})


# --- files -------------------------------------------------------------------------------------


def test_versions(tmp_path: Path) -> None:
    assert set(ascend_host.versions(tmp_path).values()) == {None}
    put(tmp_path, "usr/local/Ascend/driver/version.info", "Version=24.1.rc3\nascendhal_version=7\n")
    put(tmp_path, "usr/local/Ascend/firmware/version.info", "Version=7.5.0.1.129\n")
    put(
        tmp_path,
        "usr/local/Ascend/ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info",
        "package_name=Ascend-cann-toolkit\nversion=8.3.RC2\ninnerversion=V100R001C23SPC002B210\n",
    )
    assert ascend_host.versions(tmp_path) == {
        "driver_version": "24.1.rc3",
        "firmware_version": "7.5.0.1.129",
        "cann_version": "8.3.RC2",
    }


def test_driver_that_is_installed_elsewhere(tmp_path: Path) -> None:
    put(
        tmp_path, "etc/ascend_install.info", "UserName=HwHiAiUser\nDriver_Install_Path_Param=/opt\n"
    )
    put(tmp_path, "opt/driver/version.info", "Version=25.5.2\n")
    assert ascend_host.driver_version(tmp_path) == "25.5.2"


def test_cann_from_the_places_that_its_releases_use(tmp_path: Path) -> None:
    put(
        tmp_path,
        "usr/local/Ascend/nnae/latest/ascend_nnae_install.info",
        "package_name=Ascend-cann-nnae\nversion=8.0.RC1\n",
    )
    assert ascend_host.cann_version(tmp_path, {}) == "8.0.RC1"
    put(
        tmp_path,
        "usr/local/Ascend/ascend-toolkit/latest/version.cfg",
        "# version: 1.0\ntoolkit_running_version=[7.6.0.1.220:8.0.0]\n",
    )
    assert ascend_host.cann_version(tmp_path, {}) == "8.0.0"
    info = "x86_64-linux/ascend_toolkit_install.info"
    put(tmp_path, "usr/local/Ascend/cann/" + info, "version=8.5.0\n")
    assert ascend_host.cann_version(tmp_path, {}) == "8.5.0"
    put(tmp_path, "home/me/cann/" + info, "version=9.1.0\n")
    assert ascend_host.cann_version(tmp_path, {"ASCEND_HOME_PATH": "/home/me/cann"}) == "9.1.0"


def test_device_nodes(tmp_path: Path) -> None:
    assert ascend_host.davinci_nodes(tmp_path) == []
    for name in ("davinci10", "davinci2", "davinci_manager", "davinci2x", "hisi_hdc"):
        put(tmp_path, "dev/" + name, "")
    assert ascend_host.davinci_nodes(tmp_path) == [2, 10]


# --- units -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/vllm@chat.service\n", "vllm@chat.service"),
        ("0::/system.slice/system-vllm.slice/vllm@a.b.service/worker\n", "vllm@a.b.service"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/job.service\n",
            "job.service",
        ),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        (
            "12:devices:/docker/other.service\n1:name=systemd:/system.slice/vllm@x.service\n0::/\n",
            "vllm@x.service",
        ),
        ("0::/system.slice/_memory.service\n", "memory.service"),
        ("0::/\n", None),
        ("0::/kubepods/burstable/pod1/abc\n", None),
        ("4:cpu:/system.slice/a.service\n", None),
        ("0::/system.slice/.service\n", None),
        ("nonsense\n", None),
        ("", None),
    ],
)
def test_unit_in_cgroup(cgroup: str, unit: str | None) -> None:
    assert ascend_host.unit_in_cgroup(cgroup) == unit


def test_unit_of_this_process_and_of_one_that_is_not_there() -> None:
    text = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    here = ascend_host.unit_of(Path("/"), os.getpid())
    assert here == ascend_host.unit_in_cgroup(text)
    assert ascend_host.unit_of(Path("/"), 2**22 + 1) is None


def test_unit_of_a_process_in_a_container(tmp_path: Path) -> None:
    def process(pid: int, nspid: str, unit: str) -> None:
        put(tmp_path, f"proc/{pid}/status", f"Name:\tpython\nNSpid:\t{nspid}\n")
        put(tmp_path, f"proc/{pid}/cgroup", f"0::/system.slice/{unit}\n")

    process(5000, "5000\t17", "docker-1.scope")
    process(17, "17", "cron.service")
    assert ascend_host.process_unit(tmp_path, 5000, 17) == "docker-1.scope"
    assert ascend_host.process_unit(tmp_path, 5000, None) == "docker-1.scope"
    # Seen from inside: the host's number 9000 is not ours, 17 is.
    process(9000, "9000", "other.service")
    assert ascend_host.process_unit(tmp_path, 9000, 17) == "cron.service"
    assert ascend_host.process_unit(tmp_path, 9000, 18) is None


CONTAINER = "e31d" * 16
# As docker 20.10 has it; what is after the mount point differs by file system.
MOUNTS = (
    "148 147 0:43 / / rw,relatime - overlay overlay rw\n"
    "171 148 0:43 /etc/vllm/chat.yaml//deleted {} ro,relatime - overlay overlay rw,lowerdir=/x\n"
)


@pytest.mark.parametrize(
    ("cgroup", "mounted", "unit"),
    [
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", "chat", "vllm@chat.service"),
        (
            f"1:name=systemd:/docker/{CONTAINER}\n0::/docker/{CONTAINER}\n",
            "a.b",
            "vllm@a.b.service",
        ),
        (f"0::/docker/{CONTAINER}/nested\n", "chat", "vllm@chat.service"),
        # Somebody else's container; a service's mount seen from no container; podman's own.
        (f"0::/docker/{CONTAINER}\n", None, None),
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", None, f"docker-{CONTAINER}.scope"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", "chat", "session-3.scope"),
        ("0::/\n", "chat", None),
        (f"0::/system.slice/vllm@own.service/libpod-{CONTAINER}\n", "chat", "vllm@own.service"),
    ],
)
def test_unit_of_a_process_beneath_dockers_own_groups(
    tmp_path: Path, cgroup: str, mounted: str | None, unit: str | None
) -> None:
    put(tmp_path, "proc/7/cgroup", cgroup)
    place = f"/etc/vllm/{mounted}.yaml" if mounted else "/srv/etc/vllm/chat.yaml"
    put(tmp_path, "proc/7/mountinfo", MOUNTS.format(place))
    assert ascend_host.unit_of(tmp_path, 7) == unit


# --- all together ------------------------------------------------------------------------------


def fake(root: Path, info: str, mapping: str = "exit 1", remap: str = "exit 1") -> str:
    """An npu-smi that prints a recording; `mapping` and `remap` are shell commands."""
    return script(
        root / "npu-smi",
        f"""case "$*" in
info) cat {DATA / info} ;;
"info -m") {mapping} ;;
"info -t phyid-remap -p "*) {remap} ;;
-v) echo "npu-smi version: 1.2.3" ;;
*) exit 2 ;;
esac
""",
    )


A2_MAP = "printf 'NPU ID  Chip ID  Chip Logic ID  Chip Name\\n0 0 2 X\\n3 0 1 X\\n5 0 0 X\\n'"
A2_REMAP = (
    "case $5 in 4) l=2 n=0;; 6) l=1 n=3;; 7) l=0 n=5;; *) exit 1;; esac; printf"
    " '\\tChip Physical ID :%s\\n\\tChip Logic ID :%s\\n\\tNPU ID :%s\\n\\tChip ID :0\\n' $5 $l $n"
)


def test_host_whose_ids_all_differ(tmp_path: Path) -> None:
    for name in ("dev/davinci4", "dev/davinci6", "dev/davinci7"):
        put(tmp_path, name, "")
    put(tmp_path, "proc/485947/cgroup", "0::/system.slice/vllm@chat.service\n")
    npu_smi = fake(tmp_path, "a2-26.1.0-info.txt", A2_MAP, A2_REMAP)
    facts = ascend_host.collect(npu_smi, 10, tmp_path)
    assert facts["problems"] == []
    ids = [
        (card["npu_id"], card["logic_id"], card["phy_id"], card["device"])
        for card in facts["cards"]
    ]
    assert ids == [
        (0, 2, 4, "/dev/davinci4"),
        (3, 1, 6, "/dev/davinci6"),
        (5, 0, 7, "/dev/davinci7"),
    ]
    assert [process["unit"] for process in facts["cards"][0]["processes"]] == [
        None,
        "vllm@chat.service",
    ]
    assert (facts["npu_smi_version"], facts["driver_version"]) == ("26.1.0", "26.1.0")


def test_a3_host(tmp_path: Path) -> None:
    for number in range(16):
        put(tmp_path, f"dev/davinci{number}", "")
    put(tmp_path, "usr/local/Ascend/driver/version.info", "Version=25.3.rc1\n")
    npu_smi = fake(tmp_path, "a3-16-dies-info.txt", f"cat {DATA / 'a3-16-dies-m.txt'}", "sleep 60")
    facts = ascend_host.collect(npu_smi, 10, tmp_path)
    assert facts["problems"] == []
    assert [card["logic_id"] for card in facts["cards"]] == list(range(16))
    assert [card["device"] for card in facts["cards"]] == [f"/dev/davinci{n}" for n in range(16)]


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ("echo 'dcmi module initialize failed. ret is -8005'", ["mapping_failed", "dcmi_8005"]),
        ("sleep 30", ["mapping_failed", "npu_smi_timeout"]),
        ("exit 3", ["mapping_failed"]),
    ],
)
def test_cards_without_a_mapping(tmp_path: Path, mapping: str, expected: list[str]) -> None:
    npu_smi = fake(tmp_path, "a2-26.1.0-info.txt", mapping)
    facts = ascend_host.collect(npu_smi, 1, tmp_path)
    assert [card["logic_id"] for card in facts["cards"]] == [None] * 3
    assert [card["device"] for card in facts["cards"]] == [None] * 3
    assert codes(facts["problems"]) == expected + ["phy_id_unknown"] * 3


def test_version_of_the_tool_where_the_table_has_none(tmp_path: Path) -> None:
    text = (DATA / "a2-26.1.0-info.txt").read_text(encoding="utf-8").split("\n")
    del text[1]
    put(tmp_path, "table", "\n".join(text))
    npu_smi = fake(tmp_path, str(tmp_path / "table"), A2_MAP)
    assert ascend_host.collect(npu_smi, 10, tmp_path)["npu_smi_version"] == "1.2.3"


def test_failure_carries_what_files_tell(tmp_path: Path) -> None:
    put(tmp_path, "usr/local/Ascend/driver/version.info", "Version=25.3.rc1\n")
    npu_smi = script(
        tmp_path / "npu-smi", "echo 'dcmi module initialize failed. ret is -8005'; exit 187\n"
    )
    with pytest.raises(ascend_host.HostError) as caught:
        ascend_host.collect(npu_smi, 10, tmp_path)
    message, result = ascend_host.failure(caught.value, tmp_path)
    assert "-8005" in message
    assert "HwHiAiUser" in message
    assert codes(result["problems"]) == ["dcmi_8005"]
    assert (result["cards"], result["driver_version"]) == ([], "25.3.rc1")


def test_cann_of_the_script_that_is_sourced(tmp_path: Path) -> None:
    info = "aarch64-linux/ascend_toolkit_install.info"
    put(tmp_path, "opt/cann-8.3/latest/" + info, "version=8.3.RC2\n")
    put(tmp_path, "usr/local/Ascend/cann/" + info, "version=8.5.1\n")
    beside = [
        ascend_host.cann_beside(tmp_path, path)
        for path in (
            "/opt/cann-8.3/set_env.sh",
            "/usr/local/Ascend/cann/set_env.sh",
            "/usr/local/Ascend/nnal/atb/set_env.sh",
        )
    ]
    assert beside == ["8.3.RC2", "8.5.1", None]
