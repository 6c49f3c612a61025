# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user reads where a host's Python is too old, from ansible-playbook on this machine.

The old Pythons are scripts that print what the real 3.6.15 and 3.7.16 printed; `make matrix` has the real ones.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils.host_python import message, needed

from ....integration.hosts import environment

INVENTORY = """
ascend:
  hosts:
    npu-01: {{ansible_python_interpreter: {folder}/3.6.15}}
    npu-02: {{ansible_python_interpreter: {folder}/3.7.16}}
    npu-03: {{ansible_python_interpreter: {folder}/none}}
  vars:
    ansible_connection: local
    ansible_become_exe: {folder}/sudo
    ascend_host_profile: atlas-800i-a2-64g
    vllm_service_instances: [Qwen3-8B]
"""
OLD = """#!/bin/sh
# `-c` with the words of a probe; anything else is a module.
if [ "$1" = -c ]; then echo "VERSION {version} $3"; exit 0; fi
cat >/dev/null
echo {output}
exit 1
"""
PRINTED = {
    "3.6.15": "'SyntaxError: future feature annotations is not defined' >&2",
    "3.7.16": """'{"failed": true, "msg": "ansible-core requires a minimum of Python version 3.8."}'""",
}
# Whoever runs the tests, root or not.
SUDO = '#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done; exec "$@"\n'


@pytest.mark.parametrize("playbook", ["facts", "bootstrap", "runtime", "weights"])
def test_a_playbook_names_host_python_and_what_to_set(playbook: str, tmp_path: Path) -> None:
    programs = {name: OLD.format(version=name, output=PRINTED[name]) for name in PRINTED}
    for name, text in {**programs, "sudo": SUDO}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(INVENTORY.format(folder=tmp_path))
    done = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), f"inferops.ascend.{playbook}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(),
    )
    failed = dict(re.findall(r"^fatal: \[(npu-0.)\]: FAILED! => (\{.*\})$", done.stdout, re.M))
    assert sorted(failed) == ["npu-01", "npu-02", "npu-03"], done.stdout + done.stderr
    assert done.stdout.count("changed=0") == 3
    said = {host: json.loads(text)["msg"] for host, text in failed.items()}
    least = ".".join(map(str, needed()))
    for host, path, what in (
        ("npu-01", "3.6.15", "which is Python 3.6.15"),
        ("npu-02", "3.7.16", "which is Python 3.7.16"),
        ("npu-03", "none", "which does not run"),
    ):
        assert (
            f"on {host} with {tmp_path}/{path}, {what}, and Python {least} or later" in said[host]
        )
        assert "set ansible_python_interpreter" in said[host]


def test_the_latest_python_of_the_host_is_named() -> None:
    found = {
        "/usr/bin/python3": (3, 6, 8),
        "/usr/bin/python3.9": (3, 9, 20),
        "/usr/bin/python3.11": (3, 11, 9),
    }
    text = message("npu-01", "/usr/bin/python3", found, (3, 8))
    assert "set ansible_python_interpreter: /usr/bin/python3.11 for npu-01" in text
    only = {"/usr/bin/python3": (3, 8, 18)}
    assert "Python 3.9 or later" in message("npu-01", "/usr/bin/python3", only, (3, 9))


def test_another_failure_is_not_blamed_on_a_python_that_fits() -> None:
    assert not message("npu-01", "/usr/bin/python3", {"/usr/bin/python3": (3, 8, 18)}, (3, 8))
