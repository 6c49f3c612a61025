# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether cards may be used from several containers, or mount namespaces, at a time.

See "device-share" in Huawei's reference of npu-smi, such as
https://www.hiascend.com/document/detail/zh/HDK/latest/A2/A2npu/npusmi_0114.html
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Mapping, Sequence

from .npu import environment, find_npu_smi, run
from .problems import NpuSmiError
from .versions import driver_directory

_STATUS = re.compile(r"^\s*Device-share Status\s*:\s*(True|False)\s*$", re.MULTILINE)


def device_share(
    npu_smi: str | None,
    timeout: float,
    shown: Sequence[Mapping[str, Any]],
    wanted: Sequence[int],
    root: Path,
) -> dict[str, bool]:
    """The setting by logic id, of those cards of which it could be read.

    shown: the cards of npu_info. wanted: logic ids; each is one call, of at most `timeout` seconds.
    """
    found: dict[str, bool] = {}
    cards = {card["logic_id"]: card for card in shown}
    for number in wanted:
        card = cards.get(number)
        if card is None:
            continue
        words = ["info", "-t", "device-share", "-i", str(card["npu_id"])]
        words += ["-c", str(card["chip_id"] or 0)]
        try:
            program = find_npu_smi(npu_smi)
            output = run([program, *words], timeout, environment(driver_directory(root)))
        except NpuSmiError:
            break
        status = _STATUS.search(output.text)
        if status:
            found[str(number)] = status.group(1) == "True"
    return found
