# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels of a few kilobytes with the names, versions and pins of the real ones."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# `vllm serve` of the simulator, which lies outside of every environment.
ENGINE = """
import sys
sys.path.insert(0, "/usr/local/lib/ascend-sim")
sys.path.append("/usr/lib/python3/dist-packages")
def main():
    import standin_vllm
    return standin_vllm.main({version!r})
"""

UV = "uv==0.13.9"


def uv(folder: Path) -> None:
    """Add uv's own wheel, downloaded once."""
    store = Path(os.environ["INFEROPS_CACHE"]) / "wheels"
    store.mkdir(exist_ok=True)
    name = UV.replace("==", "-")
    if not list(store.glob(f"{name}-*.whl")):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        # Another worker may do the same: the wheel appears there at once or not at all.
        with tempfile.TemporaryDirectory(dir=store) as fresh:
            subprocess.run([*pip, "--no-deps", "--dest", fresh, UV], check=True)
            for file in Path(fresh).iterdir():
                file.replace(store / file.name)
    shutil.copy(next(store.glob(f"{name}-*.whl")), folder)


def wheel(
    folder: Path,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    script: str = "",
) -> Path:
    """Write a wheel that any Python 3 installs, with an optional `name = module:function`."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    contents = dict(files or {f"{name.replace('-', '_')}/__init__.py": ""})
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        "".join(f"Requires-Dist: {each}\n" for each in requires)
    )
    contents[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if script:
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script}\n"
    record = ""
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    target = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return target


def engine(
    folder: Path, version: str, torch: str = "", name: str = "vllm", more: Sequence[str] = ()
) -> None:
    """The engine's wheel; it wants a torch of its own, as the real one does."""
    files = {"vllm/__init__.py": "", "vllm/cli.py": ENGINE.format(version=version)}
    requires = [f"torch=={torch}"] if torch else []
    wheel(folder, name, version, [*requires, "numpy", *more], files, "vllm = vllm.cli:main")


def matrix_row(folder: Path, version: str, torch: str, torch_npu: str) -> None:
    """The wheels of a row: vLLM pins a later torch than vllm-ascend, torch asks for triton."""
    later = f"{torch.rpartition('.')[0]}.99"
    for each in (torch, later):
        wheel(folder, "torch", each, ["triton", "numpy"])
    engine(folder, version, later)
    wheel(folder, "torch-npu", torch_npu, [f"torch=={torch}"])
    wheel(
        folder,
        "vllm-ascend",
        version,
        [f"torch=={torch}", f"torch-npu=={torch_npu}", "transformers>=4.57.4", "triton-ascend"],
    )


def common(folder: Path) -> None:
    """What the wheels of every row ask for, and the installer."""
    uv(folder)
    wheel(folder, "triton", "3.5.0")
    wheel(folder, "numpy", "1.26.4")
    wheel(folder, "transformers", "4.57.6")
    # It lies in the folder of another package, as the real one does.
    wheel(folder, "triton-ascend", "3.2.0", files={"triton/__init__.py": "ascend = True\n"})
