# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the cards of a host: real programs and processes, files below a temporary root."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._host import npu, problems

from .hosts import process, put, script

DATA = Path(__file__).resolve().parents[3] / "data" / "npu-smi"


def codes(problems: list[dict[str, str]]) -> list[str]:
    return [problem["code"] for problem in problems]


def test_npu_smi_is_found_on_the_search_path(tmp_path: Path) -> None:
    program = script(tmp_path / "bin/npu-smi", "exit 0\n")
    assert npu.find_npu_smi(None, f"/nowhere:{tmp_path}/bin") == program
    assert npu.find_npu_smi(program, "") == program


def test_missing_npu_smi_names_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "npu-smi").write_text("not executable", encoding="utf-8")
    with pytest.raises(problems.NpuSmiError) as caught:
        npu.find_npu_smi(None, str(tmp_path))
    message = str(caught.value)
    for folder in ("/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi", f"{tmp_path}/npu-smi"):
        assert folder in message
    with pytest.raises(problems.NpuSmiError, match="/opt/npu-smi"):
        npu.find_npu_smi("/opt/npu-smi")


def test_hanging_program_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = script(
        tmp_path / "npu-smi", f"sleep 300 & echo $! > {pids}; echo $$ >> {pids}; wait\n"
    )
    start = time.monotonic()
    with pytest.raises(problems.NpuSmiError) as caught:
        npu.run([program, "info"], 0.5)
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


def test_output_without_end_is_a_problem_of_npu_smi(tmp_path: Path) -> None:
    endless = script(tmp_path / "npu-smi", "yes '| 0 910B3 | OK |'")
    start = time.monotonic()
    with pytest.raises(problems.NpuSmiError, match="printed more than 4194304 bytes"):
        npu.run([endless, "info"], 60)
    assert time.monotonic() - start < 20


def test_program_that_cannot_be_started(tmp_path: Path) -> None:
    path = tmp_path / "npu-smi"
    path.write_bytes(b"\x7fELF of another machine")
    path.chmod(0o755)
    with pytest.raises(problems.NpuSmiError, match="Exec format error"):
        npu.run([str(path)], 5)


def test_libraries_of_the_driver_are_on_the_path(tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    (driver / "lib64/driver").mkdir(parents=True)
    env = npu.environment(driver, {"LD_LIBRARY_PATH": "/mine", "LC_ALL": "zh_CN.UTF-8"})
    assert env["LD_LIBRARY_PATH"] == f"/mine:{driver}/lib64:{driver}/lib64/driver"
    assert env["LC_ALL"] == "C"
    assert "LD_LIBRARY_PATH" not in npu.environment(tmp_path / "none", {})


def test_device_nodes(tmp_path: Path) -> None:
    assert npu.davinci_nodes(tmp_path) == []
    for name in ("davinci10", "davinci2", "davinci_manager", "davinci2x", "hisi_hdc"):
        put(tmp_path, "dev/" + name, "")
    assert npu.davinci_nodes(tmp_path) == [2, 10]


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
    facts = npu.read_npu(npu_smi, 10, tmp_path)
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


def test_npu_smi_runs_twice_where_ids_and_nodes_agree(tmp_path: Path) -> None:
    """Three times or more, once for each node, where only `phyid-remap` can tell which it is."""
    mapping = A2_MAP.replace("0 0 2", "0 0 0").replace("3 0 1", "3 0 3").replace("5 0 0", "5 0 5")
    called = tmp_path / "called"
    program = Path(fake(tmp_path, "a2-26.1.0-info.txt", mapping))
    program.write_text(program.read_text().replace("case", f'echo "$*" >> {called}\ncase', 1))
    for number in (0, 3, 5):
        put(tmp_path, f"dev/davinci{number}", "")
    facts = npu.read_npu(str(program), 10, tmp_path)
    assert [card["phy_id"] for card in facts["cards"]] == [0, 3, 5]
    assert facts["problems"] == []
    assert called.read_text().splitlines() == ["info", "info -m"]
    (tmp_path / "dev/davinci5").unlink()
    npu.read_npu(str(program), 10, tmp_path)
    assert called.read_text().splitlines()[4:] == ["info -t phyid-remap -p 0"], "it fails here"


def test_a3_host(tmp_path: Path) -> None:
    for number in range(16):
        put(tmp_path, f"dev/davinci{number}", "")
    put(tmp_path, "usr/local/Ascend/driver/version.info", "Version=25.3.rc1\n")
    npu_smi = fake(tmp_path, "a3-16-dies-info.txt", f"cat {DATA / 'a3-16-dies-m.txt'}", "sleep 60")
    facts = npu.read_npu(npu_smi, 10, tmp_path)
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
    facts = npu.read_npu(npu_smi, 1, tmp_path)
    assert [card["logic_id"] for card in facts["cards"]] == [None] * 3
    assert [card["device"] for card in facts["cards"]] == [None] * 3
    assert codes(facts["problems"]) == expected + ["phy_id_unknown"] * 3


def test_version_of_the_tool_where_the_table_has_none(tmp_path: Path) -> None:
    text = (DATA / "a2-26.1.0-info.txt").read_text(encoding="utf-8").split("\n")
    del text[1]
    put(tmp_path, "table", "\n".join(text))
    npu_smi = fake(tmp_path, str(tmp_path / "table"), A2_MAP)
    assert npu.read_npu(npu_smi, 10, tmp_path)["npu_smi_version"] == "1.2.3"


def test_failure_carries_what_files_tell(tmp_path: Path) -> None:
    put(tmp_path, "usr/local/Ascend/driver/version.info", "Version=25.3.rc1\n")
    npu_smi = script(
        tmp_path / "npu-smi", "echo 'dcmi module initialize failed. ret is -8005'; exit 187\n"
    )
    with pytest.raises(problems.NpuSmiError) as caught:
        npu.read_npu(npu_smi, 10, tmp_path)
    message, result = str(caught.value), npu.failure(caught.value, tmp_path)
    assert "-8005" in message
    assert "HwHiAiUser" in message
    assert codes(result["problems"]) == ["dcmi_8005"]
    assert (result["cards"], result["driver_version"]) == ([], "25.3.rc1")


PROCESS_ROW = re.compile(r"\| [0-9]+ +[0-9]+ +\| [0-9]+ +\| [a-zA-Z ]")


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
    facts = npu.npu_facts(str(tmp_path / "npu-smi"), 5, tmp_path)
    found = [each["pid"] for card in facts["cards"] for each in card["processes"]]
    assert sorted(found) == sorted(pids[1:])
    # All of them are known: nothing is asked again.
    (tmp_path / "asked").unlink()
    for pid in pids:
        process(tmp_path, pid, "train.service", command="python3 train.py")
    facts = npu.npu_facts(str(tmp_path / "npu-smi"), 5, tmp_path)
    assert sorted(each["pid"] for card in facts["cards"] for each in card["processes"]) == sorted(
        pids
    )
