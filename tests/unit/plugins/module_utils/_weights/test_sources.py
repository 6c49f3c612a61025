# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hubs, shares, rsync and archives give, refuse and redirect, asked for real."""

from __future__ import annotations

import io
import shutil
import ssl
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._weights import check
from ansible_collections.inferops.ascend.plugins.module_utils._weights.completeness import inspect
from ansible_collections.inferops.ascend.plugins.module_utils._weights.faults import TRIES
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job
from ansible_collections.inferops.ascend.plugins.module_utils._weights.marker import MARKER
from ansible_collections.inferops.ascend.plugins.module_utils._weights.switch import LOCK
from ansible_collections.inferops.ascend.tests.hubs import hub as hubs
from ansible_collections.inferops.ascend.tests.hubs.fetching import (
    ID,
    ROOT,
    SHARD,
    Clock,
    apart,
    checked,
    cut_always,
    download,
    fail,
    job_of,
    put,
    same,
)

# -- hubs --------------------------------------------------------------------------------------------


def test_the_listings_pages_are_all_read(hub: hubs.Hub, directory: Path) -> None:
    hub.page = 2
    download(job_of(hub, directory))
    assert same(directory, hub.models[ID])


def test_second_copies_and_other_frameworks_stay_away(hub: hubs.Hub, directory: Path) -> None:
    for name in ("pytorch_model.bin", "tf_model.h5", "original/a.pth", "onnx/model.onnx", "x.gguf"):
        hub.models[ID][name] = b"x" * 5000
    download(job_of(hub, directory, skip=("README.md",)))
    names = {path.name for path in directory.iterdir()}
    assert not names & {
        "pytorch_model.bin",
        "tf_model.h5",
        "original",
        "onnx",
        "x.gguf",
        "README.md",
        ".gitattributes",
    }
    assert inspect(str(directory)).faults == []


def test_torch_files_come_where_there_is_nothing_else(hub: hubs.Hub, directory: Path) -> None:
    hub.models[ID] = {
        "pytorch_model.bin": hubs.torch_file(9000),
        "config.json": b"{}",
        "vocab.txt": b"a",
    }
    download(job_of(hub, directory))
    assert same(directory, hub.models[ID])


@pytest.mark.parametrize(
    "name",
    [
        "../../../escaped",
        "/tmp/escaped",
        "a/../../b",
        "a//b",
        "",
        ".",
        "a\\..\\b",
        "x\ny",
        "a" * 300,
    ],
)
@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_names_that_lead_out_of_the_directory_are_refused(
    hub: hubs.Hub, directory: Path, source: str, name: str
) -> None:
    key = {"huggingface": "rfilename", "modelscope": "Path"}[source]
    hub.listed = lambda entry: (
        {**entry, key: name, "Name": name} if entry[key] == "README.md" else entry
    )
    found = checked(job_of(hub, directory, source))
    assert found.state == "refused"
    assert "Nothing of it was written" in found.problem
    with pytest.raises(HostError):
        download(job_of(hub, directory, source))
    assert not (directory.parents[2] / "escaped").exists()
    assert not directory.exists()


# -- refusals ----------------------------------------------------------------------------------------


def test_a_gated_model_says_where_to_accept(hub: hubs.Hub, directory: Path) -> None:
    hub.gated.add(ID)
    problem = checked(job_of(hub, directory)).problem
    assert "answers 403 GatedRepo (Access to model Qwen/Qwen3-14B is restricted.)" in problem
    assert (
        f"open {hub.address}/{ID} with the account whose token is in vllm_weights_huggingface_token"
        in problem
    )


@pytest.mark.parametrize("source", ["huggingface", "modelscope"])
def test_a_private_model_wants_its_token_and_opens_with_it(
    hub: hubs.Hub, directory: Path, source: str
) -> None:
    hub.token = "hf_verysecret"
    problem = checked(job_of(hub, directory, source)).problem
    assert f"vllm_weights_{source}_token" in problem or "weights: {id" in problem
    download(job_of(hub, directory, source, token="hf_verysecret"))
    assert same(directory, hub.models[ID])
    kept = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
    assert b"verysecret" not in kept


def test_a_token_goes_to_the_hub_alone(hub: hubs.Hub, directory: Path) -> None:
    hub.token = "hf_verysecret"
    # The same machine by another name: another server, as far as a token is concerned.
    hub.storage = hub.address.replace("127.0.0.1", "localhost")
    download(job_of(hub, directory, token="hf_verysecret"))
    there = [each for each in hub.asked if each.path.startswith("/storage/")]
    assert len(there) == 3
    assert {each.authorization for each in there} == {None}
    assert {each.host.partition(":")[0] for each in there} == {"localhost"}


def test_an_id_that_is_not_there_is_reported_with_its_page(hub: hubs.Hub, directory: Path) -> None:
    job = job_of(hub, directory, "modelscope")._replace(id="Qwen/Nope")
    assert f"{hub.address}/models/Qwen/Nope" in checked(job).problem


def test_a_revision_that_is_not_there_is_reported(hub: hubs.Hub, directory: Path) -> None:
    problem = checked(job_of(hub, directory, revision="v9")).problem
    assert "It has no revision 'v9'" in problem
    problem = checked(job_of(hub, directory, "modelscope", revision="v9")).problem
    assert "has no files that the engine reads at its revision 'v9' on modelscope" in problem


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_passes_is_waited_for(
    hub: hubs.Hub, directory: Path, clock: Clock, status: int
) -> None:
    hub.fault = fail(SHARD, status, times=3, Retry_After="7")
    download(job_of(hub, directory))
    # Of 429 the client of Hugging Face takes care itself, and waits a second longer.
    assert clock.waits == [8 if status == 429 else 7] * 3
    assert same(directory, hub.models[ID])


def test_the_hubs_window_of_requests_is_waited_for(
    hub: hubs.Hub, directory: Path, clock: Clock
) -> None:
    hub.fault = fail(f"listing:{ID}", 429, times=1, RateLimit='"api";r=0;t=46')
    download(job_of(hub, directory))
    assert clock.waits == [47]


def test_what_does_not_pass_ends_with_what_to_do(
    hub: hubs.Hub, directory: Path, clock: Clock
) -> None:
    hub.fault = fail(SHARD, 503)
    with pytest.raises(HostError, match=r"answers 503.*run it again later, or use a mirror"):
        download(job_of(hub, directory))
    assert len(clock.waits) == TRIES - 1


def test_a_storage_that_is_walled_off_is_named(hub: hubs.Hub, directory: Path) -> None:
    hub.storage = hub.address.replace("127.0.0.1", "localhost")
    hub.fault = fail(SHARD, 403)
    with pytest.raises(HostError) as caught:
        download(job_of(hub, directory))
    assert (
        f"{hub.storage[7:]}, the storage that {hub.address[7:]} redirects to, answers 403"
        in str(caught.value)
    )
    assert "Signature" not in str(caught.value)


def test_a_server_that_is_not_there_says_what_to_look_at(hub: hubs.Hub, directory: Path) -> None:
    job = job_of(hub, directory)._replace(endpoint="http://127.0.0.1:9")
    problem = checked(job).problem
    assert "Connection refused" in problem
    assert "https_proxy" in problem


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_a_certificate_of_ones_own_authority_says_where_to_name_it(
    hub: hubs.Hub, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    name = "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    command = ["openssl", *made.split(), *name.split()]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = hubs.Server(hub, "127.0.0.1")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    hub.address = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        problem = checked(job_of(hub, directory)).problem
        assert f"the certificate of 127.0.0.1:{server.server_port} is not one" in problem
        assert "SSL_CERT_FILE in `environment` of the play" in problem
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        # As on a host, where the client begins with the environment of the play.
        clients = apart(tmp_path)
        assert check.check(job_of(hub, directory), ROOT, clients).state == "fetch"
        scope = job_of(hub, directory, "modelscope")
        assert check.check(scope, ROOT, clients).state == "fetch"
        monkeypatch.delenv("SSL_CERT_FILE")
        assert "the certificate of" in check.check(scope, ROOT, clients).problem
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_what_is_no_hub_is_reported(hub: hubs.Hub, directory: Path) -> None:
    hub.archives[f"/api/models/{ID}/revision/main"] = b"<html>Sign in to the network</html>"
    assert "other than JSON" in checked(job_of(hub, directory)).problem


# -- shares and rsync --------------------------------------------------------------------------------


def test_a_share_is_copied_complete(hub: hubs.Hub, directory: Path, tmp_path: Path) -> None:
    put(tmp_path / "mnt", hub.models[ID])
    job = Job(str(directory), "Qwen3-14B", "nfs", location=str(tmp_path / "mnt"))
    found = checked(job)
    assert found.config["num_attention_heads"] == 40
    download(job)
    assert same(directory, hub.models[ID])
    shutil.rmtree(tmp_path / "mnt")
    assert checked(job).state == "complete"


def test_a_share_that_is_not_mounted_or_not_complete_is_reported(
    hub: hubs.Hub, directory: Path, tmp_path: Path
) -> None:
    job = Job(str(directory), "Qwen3-14B", "nfs", location=str(tmp_path / "mnt"))
    assert "Is the share mounted?" in checked(job).problem
    put(tmp_path / "mnt", {k: v for k, v in hub.models[ID].items() if k != SHARD})
    assert "is not complete: 1 of 3 shards" in checked(job).problem


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_rsync_copies_and_goes_on(hub: hubs.Hub, directory: Path, tmp_path: Path) -> None:
    put(tmp_path / "store", hub.models[ID])
    (tmp_path / "store" / "model.gguf").write_bytes(b"x")
    job = Job(str(directory), "Qwen3-14B", "rsync", location=str(tmp_path / "store"))
    found = checked(job)
    assert found.config["num_attention_heads"] == 40
    part = Path(str(directory) + ".part")
    part.mkdir(parents=True)
    (part / LOCK).touch()
    (part / SHARD).write_bytes(hub.models[ID][SHARD][:20_000])
    assert checked(job).missing == found.total - 20_000
    download(job)
    assert same(directory, hub.models[ID])
    assert not (directory / "model.gguf").exists()
    assert (
        "No such file"
        in checked(job._replace(directory=str(tmp_path / "b"), location="/no/such")).problem
    )


def test_without_rsync_the_package_is_named(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if Path("/usr/bin/rsync").exists():
        pytest.skip("rsync is installed")
    job = Job(str(directory), "Qwen3-14B", "rsync", location="/srv")
    assert "install the package rsync" in checked(job).problem


# -- archives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_on_the_host_is_unpacked_below_any_top(
    hub: hubs.Hub, directory: Path, tmp_path: Path, mode: str
) -> None:
    data = hubs.tar_of(hub.models[ID], "./data/Qwen3-14B/", mode)
    (tmp_path / "a.tar").write_bytes(data)
    job = Job(
        str(directory),
        "Qwen3-14B",
        "archive",
        location=str(tmp_path / "a.tar"),
        sha256=hubs.sha256(data),
    )
    assert checked(job).total == len(data)
    download(job)
    assert same(directory, hub.models[ID])
    assert {path.name for path in directory.iterdir()} == {*hub.models[ID], MARKER}
    assert checked(job).state == "complete"
    other = checked(job._replace(sha256="0" * 64))
    assert "it came from an archive with the SHA-256" in other.why


def test_a_server_that_always_breaks_off_at_one_byte_ends(
    hub: hubs.Hub, directory: Path, clock: Clock
) -> None:
    """Without ranges each try begins again, so bytes come for ever and nothing gets further."""
    data = hubs.tar_of(hub.models[ID], mode="w")
    hub.archives["/a.tar"] = data
    hub.fault = cut_always("/a.tar", data, after=33_333)
    job = Job(str(directory), "Qwen3-14B", "archive", location=f"{hub.address}/a.tar")
    with pytest.raises(HostError, match="cannot be reached"):
        download(job)
    assert len(clock.waits) < 10


def test_a_password_in_an_address_is_used_and_not_shown(hub: hubs.Hub, directory: Path) -> None:
    hub.archives["/a.tar"] = hubs.tar_of(hub.models[ID], mode="w")
    address = hub.address.replace("http://", "http://me:p%40ss@")
    job = Job(str(directory), "Qwen3-14B", "archive", location=f"{address}/a.tar")
    download(job)
    # base64 of me:p@ss
    assert {each.authorization for each in hub.asked} == {"Basic bWU6cEBzcw=="}
    assert "p%40ss" not in (directory / MARKER).read_text()
    gone = checked(job._replace(directory=f"{directory}2", location=f"{address}/none.tar"))
    assert "needs a user and password" in gone.problem
    assert "ss@" not in gone.problem


def test_a_damaged_archive_is_refused(hub: hubs.Hub, directory: Path, tmp_path: Path) -> None:
    data = hubs.tar_of(hub.models[ID], mode="w")
    (tmp_path / "a.tar").write_bytes(data)
    job = Job(
        str(directory), "Qwen3-14B", "archive", location=str(tmp_path / "a.tar"), sha256="0" * 64
    )
    with pytest.raises(HostError, match=r"has the SHA-256 .*damaged, or another one"):
        download(job)
    (tmp_path / "a.tar").write_bytes(data[:50_000])
    with pytest.raises(HostError, match="cannot be unpacked"):
        download(job._replace(sha256=""))
    (tmp_path / "a.tar").write_bytes(b"PK\x03\x04 no tar at all" * 100)
    with pytest.raises(HostError, match="is it a tar"):
        download(job._replace(sha256=""))
    assert not directory.exists()


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped-by-archive"])
def test_an_archive_cannot_write_elsewhere(directory: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.tar").write_bytes(hubs.tar_of({name: b"x"}, top="", mode="w"))
    with pytest.raises(HostError, match="Nothing of it was written"):
        download(Job(str(directory), "Qwen3-14B", "archive", location=str(tmp_path / "a.tar")))
    assert not (tmp_path / "weights" / "escaped").exists()
    assert not Path("/tmp/escaped-by-archive").exists()


def test_an_archive_of_links_says_how_to_pack_it(directory: Path, tmp_path: Path) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        info = tarfile.TarInfo("config.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(info)
    (tmp_path / "a.tar").write_bytes(target.getvalue())
    with pytest.raises(HostError, match="--dereference"):
        download(Job(str(directory), "Qwen3-14B", "archive", location=str(tmp_path / "a.tar")))
