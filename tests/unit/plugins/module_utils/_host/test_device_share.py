# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether cards may be shared, as npu-smi tells it."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.inferops.ascend.plugins.module_utils._host.device_share import device_share

# What Huawei's reference prints for `npu-smi info -t device-share -i 0 -c 0`, and an older driver.
NPU_SMI = """#!/bin/sh
case "$*" in
"info -t device-share -i 4 -c 0") echo "        Device-share Status            : True" ;;
"info -t device-share -i 5 -c 1") echo "        Device-share Status            : False" ;;
*) echo "This device does not support querying device-share."; exit 1 ;;
esac
"""


def test_cards_are_asked_by_the_numbers_of_npu_smi(tmp_path: Path) -> None:
    program = tmp_path / "npu-smi"
    program.write_text(NPU_SMI, encoding="utf-8")
    program.chmod(0o755)
    shown = [
        {"logic_id": 0, "npu_id": 4, "chip_id": 0},
        {"logic_id": 1, "npu_id": 5, "chip_id": 1},
        {"logic_id": 2, "npu_id": 6, "chip_id": None},
    ]
    found = device_share(str(program), 10, shown, [0, 1, 2, 7], tmp_path)
    assert found == {"0": True, "1": False}
    assert device_share(str(tmp_path / "none"), 10, shown, [0], tmp_path) == {}
