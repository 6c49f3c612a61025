# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image of the simulated engine, made on a test host for its podman."""

from __future__ import annotations

from typing import Any

# What the program of the image needs of the host.
MOUNTS = ["/usr", "/var/lib/ascend-sim", "/etc/ascend_install.info"]
SERVER = """#!/usr/bin/python3 -B
import sys
sys.path.insert(0, "/usr/local/lib/ascend-sim")
from standin_vllm import main
sys.exit(main("0.18.0"))
"""
# An archive of an image with these files; prints the id of the image, which is not kept.
MAKE = f"""
set -e
rm -rf /tmp/image && mkdir -p /tmp/image/opt/engine /tmp/image/usr /tmp/image/tmp /tmp/image/etc
for link in bin sbin lib lib64; do ln -s usr/$link /tmp/image/$link; done
cat > /tmp/image/opt/engine/vllm <<'EOF'
{SERVER}EOF
cd /tmp/image/usr && mkdir bin && cp -L /bin/sh bin
for file in $(ldd /bin/sh | grep -o '/[^ ]*'); do mkdir -p .$(dirname $file); cp -L $file .$file; done
printf '#!/bin/sh\\necho 0.18.0+empty\\n' > bin/python3
chmod 755 bin/python3 /tmp/image/opt/engine/vllm
tar -C /tmp/image -cf - . | podman import - localhost/engine:one >/dev/null 2>&1
podman save --quiet --output /srv/engine.tar localhost/engine:one >/dev/null
podman image inspect --format '{{{{.Id}}}}' localhost/engine:one
podman rmi --force localhost/engine:one >/dev/null
"""


def settings(image: str) -> dict[str, Any]:
    """Variables of a host whose services run in containers of the image with this id."""
    return {
        "vllm_runtime_method": "container",
        "vllm_runtime_image": f"sha256:{image}",
        "vllm_runtime_image_archive": "/srv/engine.tar",
        "vllm_service_container_executable": "/opt/engine/vllm",
        "vllm_service_container_options": ["--shm-size=64m"],
        "vllm_service_container_mounts": MOUNTS,
        # Where the memory of cards is written down is not shared with the host.
        "vllm_service_env": {"ASCEND_SIM_CLAIMS": "/tmp"},
    }
