# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""uv: where it comes from, and how it is called."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._runtime import uv
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.interpreters import (
    Interpreter,
)
from ansible_collections.inferops.ascend.plugins.module_utils._runtime.spec import (
    EnvironmentSpec,
    Step,
)

MACHINE = os.uname().machine


class Recorder:
    """Runs nothing and keeps the calls; `makes` are files that a call to pip leaves."""

    def __init__(self, status: int = 0, makes: str = "") -> None:
        self.calls: list[tuple[list[str], dict[str, Any]]] = []
        self.status, self.makes = status, makes

    def run_command(self, args: list[str], **options: Any) -> tuple[int, str, str]:
        self.calls.append((args, options))
        if "download" in args and self.makes:
            wheel(Path(args[args.index("--dest") + 1]), self.makes)
        return self.status, "out", "the end"


def wheel(
    directory: Path, version: str, machine: str = MACHINE, tag: str = "manylinux_2_17"
) -> Path:
    path = directory / f"uv-{version}-py3-none-{tag}_{machine}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"uv-{version}.data/scripts/uv", f"program {version}")
        archive.writestr(f"uv-{version}.data/scripts/uvx", "another")
    return path


def spec(tmp_path: Path, **more: Any) -> EnvironmentSpec:
    return EnvironmentSpec(str(tmp_path / "vllm"), "1", find_links=(str(tmp_path),), **more)


def test_the_newest_wheel_of_this_machine_is_taken(tmp_path: Path) -> None:
    for version, machine, tag in (
        ("0.9.9", "x86_64", "manylinux_2_17"),
        ("0.13.9", "x86_64", "musllinux_1_1"),
        ("0.13.9", "x86_64", "manylinux_2_17"),
        ("0.20.0", "aarch64", "manylinux_2_28"),
        ("0.20.0", "x86_64", "macosx_11_0"),
        ("0.1.0", "riscv64", "manylinux_2_31"),
    ):
        wheel(tmp_path, version, machine, tag)
    found = uv.find_wheel([str(tmp_path / "none"), str(tmp_path)], "x86_64")
    assert found.endswith("/uv-0.13.9-py3-none-manylinux_2_17_x86_64.whl")
    assert uv.find_wheel([str(tmp_path)], "aarch64").endswith("manylinux_2_28_aarch64.whl")
    assert uv.find_wheel([str(tmp_path)], "riscv64") == "", "too old"


def test_it_is_installed_from_the_wheels_once(tmp_path: Path) -> None:
    wheel(tmp_path, "0.13.9")
    module = Recorder()
    it = uv.Uv(module, spec(tmp_path, offline=True))
    it.install()
    assert it.program == str(tmp_path / "vllm/tools/uv/bin/uv")
    assert Path(it.program).read_text() == "program 0.13.9"
    assert os.access(it.program, os.X_OK)
    assert [path.name for path in Path(it.program).parent.iterdir()] == ["uv"]
    before = os.stat(it.program)
    it.install()
    assert os.stat(it.program) == before
    assert module.calls == []


def test_without_a_network_its_wheel_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        uv.Uv(Recorder(), spec(tmp_path, offline=True)).install()
    text = str(caught.value)
    assert f"{tmp_path} has no wheel of it for {MACHINE}" in text
    assert "pip download --only-binary=:all: --no-deps 'uv>=0.5'" in text


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_damaged_wheel_is_named(tmp_path: Path, content: bytes) -> None:
    wheel(tmp_path, "0.13.9").write_bytes(content)
    it = uv.Uv(Recorder(), spec(tmp_path, offline=True))
    with pytest.raises(HostError, match=r"manylinux_2_17_\w+.whl is not a valid wheel of uv"):
        it.install()
    assert not os.path.exists(it.program)


def test_it_is_downloaded_from_the_index_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Interpreter("/usr/bin/python3.12", (3, 12, 1), False)
    able = Interpreter("/usr/bin/python3.11", (3, 11, 2), True)
    monkeypatch.setattr(uv, "interpreters", lambda: [bare, able])
    module = Recorder(makes="0.14.0")
    address = "http://user:secret@mirror/simple"
    (tmp_path / "vllm/tools/.installing-uv-x").mkdir(parents=True)  # a killed run left it
    it = uv.Uv(module, spec(tmp_path, index_url=address, environment={"https_proxy": "p"}), 7)
    it.install()
    assert Path(it.program).read_text() == "program 0.14.0"
    assert os.listdir(tmp_path / "vllm/tools") == ["uv"]
    assert module.calls[0][0][:4] == [able.path, "-I", "-m", "venv"]
    command, options = module.calls[1]
    assert command[-1] == "uv>=0.5"
    assert "secret" not in " ".join(command), "every user sees the words of a process"
    assert options["environ_update"]["PIP_INDEX_URL"] == address
    assert options["environ_update"]["https_proxy"] == "p"
    assert options["pass_fds"] == (7,)

    monkeypatch.setattr(uv, "interpreters", lambda: [bare])
    os.unlink(it.program)
    with pytest.raises(HostError, match=r"no Python here has the module venv.*python3-venv"):
        it.install()


def test_what_is_left_out_and_replaced_is_told_to_uv(tmp_path: Path) -> None:
    module = Recorder()
    step = Step(("vllm==2",), ("torch==2.9.0",), ("triton",), (("VLLM_TARGET_DEVICE", "empty"),))
    wanted = spec(tmp_path, steps=(step,), constraints=("numpy<2",), offline=True)
    uv.Uv(module, wanted).add(str(tmp_path), step, 1)
    command, options = module.calls[0]
    overrides = Path(command[command.index("--override") + 1]).read_text()
    assert overrides == "torch==2.9.0\ntriton; python_version < '0'\n"
    assert Path(command[command.index("--constraint") + 1]).read_text() == "numpy<2\n"
    assert {"--offline", "--no-index", "vllm==2"} <= set(command)
    assert options["environ_update"]["VLLM_TARGET_DEVICE"] == "empty"
    assert "UV_INDEX_URL" not in options["environ_update"]
    with pytest.raises(HostError, match=r"(?s)step 1 of 1 \(vllm==2\) failed.*the end"):
        uv.Uv(Recorder(status=1), wanted).add(str(tmp_path), step, 1)
