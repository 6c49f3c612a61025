# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images change under services of real hosts as environments do, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..hosts import scenario, shell, started
from ..playbooks import CLEAN, PROFILE, Books

pytestmark = pytest.mark.hosts

SCENARIO = scenario("upgrade-container")
HOSTS = ("h1", "h2")
OLD, NEW = "0.13.0", "0.18.0"
# An image of each version, of the simulator's server alone; the host's /usr is mounted into it. Prints
# their ids, which differ from host to host as those of images for other chips do.
MAKE = f"""
set -e
mkdir -p /var/lib/vllm/weights
for version in {OLD} {NEW}; do
    rm -rf /tmp/image && mkdir -p /tmp/image/opt/engine /tmp/image/usr /tmp/image/tmp /tmp/image/etc
    for link in bin sbin lib lib64; do ln -s usr/$link /tmp/image/$link; done
    cat > /tmp/image/opt/engine/vllm <<EOF
#!/usr/bin/python3 -B
import os, sys
sys.path.insert(0, "/usr/local/lib/ascend-sim")
if "$version" == "{NEW}" and os.path.exists("/var/lib/ascend-sim/no-room"):
    os.environ["ASCEND_SIM_FAIL"] = "kv-cache"
from standin_vllm import main
sys.exit(main("$version"))
EOF
    chmod 755 /tmp/image/opt/engine/vllm
    tar -C /tmp/image -cf - . | podman import - localhost/engine:$version >/dev/null 2>&1
    podman image inspect --format '{{{{.Id}}}}' localhost/engine:$version
done
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("upgrade-container")
    flags = [word for host in HOSTS for word in ("--host", f"{host}:a2-64g")]
    with started(SCENARIO, folder / "inventory.yml", *flags) as inventory:
        yield inventory


@pytest.fixture
def books(fleet: Path, tmp_path: Path) -> Iterator[Books]:
    """Two hosts that serve from the image of the old version."""
    it = Books(SCENARIO, fleet, tmp_path)
    values = {
        "ascend_host_profile": PROFILE,
        "vllm_runtime_method": "container",
        "vllm_runtime_image": "{{ images[vllm_runtime_version] }}",
        "vllm_runtime_version": "{{ vllm_service_engine_version }}",
        "vllm_service_engine_version": OLD,
        "vllm_service_container_executable": "/opt/engine/vllm",
        "vllm_service_container_options": ["--shm-size=64m"],
        "vllm_service_container_mounts": [
            "/usr",
            "/var/lib/ascend-sim",
            "/etc/ascend_install.info",
        ],
        "vllm_service_env": {"ASCEND_SIM_CLAIMS": "/tmp"},
        "vllm_service_shutdown_timeout": 1,
        "vllm_service_restart_delay": 2,
        "vllm_service_ready_timeout": 120,
        "vllm_service_ready_interval": 1,
    }
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(yaml.safe_dump(values))
    for host in HOSTS:
        ids = shell(SCENARIO, host, MAKE).split()
        images = {version: f"sha256:{each}" for version, each in zip((OLD, NEW), ids, strict=True)}
        chat = {"model": "Qwen3-0.6B", "name": "chat", "port": 8000}
        it.list_services(host, chat, images=images)
    done = it.run("deploy")
    assert done.status == 0, done.output
    yield it
    for host in HOSTS:
        it.sh(host, CLEAN + "; rm -rf /var/lib/inferops-ascend", check=False)


def versions(books: Books) -> list[str]:
    """What the server of each host says of itself."""
    said = [books.sh(host, "curl -sf localhost:8000/version") for host in HOSTS]
    return [str(yaml.safe_load(each)["version"]) for each in said]


@pytest.mark.long
def test_images_change_and_back(books: Books) -> None:
    ran = books.run("upgrade", vllm_runtime_version=NEW)
    assert ran.status == 0, ran.output
    assert versions(books) == [NEW, NEW]
    again = books.run("upgrade", vllm_runtime_version=NEW)
    assert [again.changed(host) for host in HOSTS] == [0, 0], again.output
    # Found without a name, by the version that both images had before.
    back = books.run("rollback")
    assert back.status == 0, back.output
    assert versions(books) == [OLD, OLD]
    again = books.run("rollback")
    assert [again.changed(host) for host in HOSTS] == [0, 0], again.output


def test_an_image_that_does_not_come_up_goes_back(books: Books) -> None:
    books.sh("h2", "touch /var/lib/ascend-sim/no-room")
    ran = books.run("upgrade", vllm_runtime_version=NEW)
    books.sh("h2", "rm /var/lib/ascend-sim/no-room")
    assert ran.status == 2, ran.output
    text = " ".join(ran.output.replace("\\n", " ").split())
    assert "h2 did not come up with sha256:" in text
    assert "h2 is back on sha256:" in text
    assert versions(books) == [NEW, OLD]
    back = books.run("rollback")
    assert back.status == 0, back.output
    assert versions(books) == [OLD, OLD]
