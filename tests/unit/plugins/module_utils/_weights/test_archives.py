# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that are larger than they look fill neither the disk nor the memory."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job
from ansible_collections.inferops.ascend.tests.hubs.fetching import download


def archive_with(path: Path, info: tarfile.TarInfo, content: Any) -> Path:
    with tarfile.open(path, mode="w:gz", compresslevel=1) as archive:
        archive.addfile(info, content)
    return path


class Zeros:
    def read(self, size: int) -> bytes:
        return bytes(size)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_an_archive_larger_unpacked_than_the_disk_stops_before_it_is_full(tmp_path: Path) -> None:
    info = tarfile.TarInfo("model/large.safetensors")
    info.size = 64 << 20
    path = archive_with(tmp_path / "a.tar.gz", info, Zeros())
    assert path.stat().st_size < 1 << 20
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=True)
    try:
        with pytest.raises(HostError) as caught:
            download(Job(str(disk / "Q" / "Qwen3-14B"), "Qwen3-14B", "archive", location=str(path)))
        words = str(caught.value)
        assert "model/large.safetensors" in words and "67.1 MB unpacked" in words
        assert f"(tmpfs) at {disk}" in words and "is as it was" in words
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 15 << 20
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_an_archive_is_not_read_into_memory(
    directory: Path, tmp_path: Path, kind: bytes
) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 64 << 20
    path = archive_with(tmp_path / "a.tar.gz", info, Zeros())
    with pytest.raises(HostError, match=r"a header of the archive has 67\.1 MB"):
        download(Job(str(directory), "Qwen3-14B", "archive", location=str(path)))


def test_an_archive_that_is_a_pipe_is_not_waited_for(directory: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(HostError, match=r"a\.tar, cannot be read: it is not a file"):
        download(Job(str(directory), "Qwen3-14B", "archive", location=str(tmp_path / "a.tar")))
