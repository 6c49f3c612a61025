#!/usr/bin/python
# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module inferops.ascend.npu_info."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: npu_info
short_description: Cards, ids, health, processes and versions of an Ascend host
version_added: 0.1.0
description:
  - Reads what C(npu-smi) prints of the Ascend cards of a host, the ids by which runtime and kernel
    know them, who uses them, and the versions of driver, firmware and CANN. It changes nothing.
  - Ids come from C(npu-smi info -m), never from the order of rows. What is not known is null, and
    RV(problems) says why; a row that was cut off is never reported as a card.
  - A health other than V(OK) is not a problem here, but a value of the card. Evaluating it is up to
    the caller.
options:
  npu_smi:
    description:
      - Path of C(npu-smi).
      - Without it, C(/usr/local/bin), C(/usr/local/sbin) and the C(PATH) are searched.
    type: path
  timeout:
    description:
      - Seconds that one call of C(npu-smi) may take. Then it is killed with its children.
    type: float
    default: 30
extends_documentation_fragment:
  - inferops.ascend.attributes.facts
notes:
  - It fails if C(npu-smi) is missing, hangs, or prints an error instead of a table of cards. The
    failed result has RV(problems) and the versions as well, so that a caller which goes on with
    C(failed_when=false) can report all that is wrong.
  - Run it as root, or as a member of the group C(HwHiAiUser). The physical id of a card is asked
    with C(npu-smi info -t phyid-remap) where the tables do not print it.
"""

EXAMPLES = r"""
- name: See the cards
  inferops.ascend.npu_info:
  register: npu

- name: Name the cards that are not well
  ansible.builtin.debug:
    msg: "NPU {{ item.npu_id }} (logic id {{ item.logic_id }}): {{ item.health }}"
  loop: "{{ npu.cards | rejectattr('health', 'equalto', 'OK') }}"

- name: Wait longer for a slow host, and go on if it does not answer
  inferops.ascend.npu_info:
    npu_smi: /usr/local/sbin/npu-smi
    timeout: 120
  register: npu
  failed_when: false
"""

RETURN = r"""
cards:
  description: The cards, in the order of C(npu-smi info). A die of an A3 card, or a chip of a
    300I Duo, is a card of its own.
  returned: always; empty on failure
  type: list
  elements: dict
  contains:
    npu_id:
      description: NPU ID, the number of the board in C(npu-smi); not contiguous.
      type: int
      sample: 0
    chip_id:
      description: Chip ID on its board; null where it is not printed (950 without a mapping).
      type: int
      sample: 0
    logic_id:
      description: Logic ID, what C(ASCEND_RT_VISIBLE_DEVICES) takes; null if C(npu-smi info -m)
        does not tell it.
      type: int
      sample: 0
    phy_id:
      description: Physical ID, the N of C(/dev/davinciN); null if it is not known.
      type: int
      sample: 0
    name:
      description: Name of the chip as C(npu-smi) prints it. The memory does not follow from it.
      type: str
      sample: 910B4
    health:
      description: Health as printed, such as V(OK), V(Warning), V(Alarm), V(Critical), V(UNKNOWN).
      type: str
      sample: OK
    bus_id:
      description: PCI address; null where there is none.
      type: str
      sample: "0000:C1:00.0"
    memory_total_mb:
      description: HBM in MB, or the device memory of a chip without HBM; null if not printed.
      type: int
      sample: 65536
    memory_used_mb:
      description: Used part of it in MB. An idle card of 64 GB shows about 3400.
      type: int
      sample: 3465
    power_w:
      description: Power in W; null on 310P and on the second die of an A3 card.
      type: float
      sample: 91.3
    temperature_c:
      description: Temperature in degrees Celsius.
      type: int
      sample: 36
    aicore_percent:
      description: Use of the AI cores in percent (950, use of the NPU).
      type: int
      sample: 0
    device:
      description: Path of the device, C(/dev/davinci) with RV(cards[].phy_id); null if it is not
        known or does not exist.
      type: str
      sample: /dev/davinci0
    processes:
      description: Processes on this card. A process on two cards is in both. Inside a container
        the list may be empty while memory is used.
      type: list
      elements: dict
      contains:
        pid:
          description: Process id, as the host counts.
          type: int
          sample: 139667
        name:
          description: Name as printed, often shortened; may be empty.
          type: str
          sample: VLLMWorker_TP
        memory_mb:
          description: Memory of the card that it uses, in MB; null if not printed.
          type: int
          sample: 30780
        unit:
          description: The systemd unit that owns the process (the innermost service or scope);
            null if there is none, or the process cannot be seen from here.
          type: str
          sample: vllm@chat.service
npu_smi_version:
  description: Version of C(npu-smi); null if it is not printed.
  returned: always
  type: str
  sample: 25.5.2
driver_version:
  description: Version of the driver, from its C(version.info), else from the title of the table.
  returned: always
  type: str
  sample: 25.5.2
firmware_version:
  description: Version of the firmware, from its C(version.info); null without one.
  returned: always
  type: str
  sample: 7.8.0.5.216
cann_version:
  description: Version of the CANN toolkit; null if none is installed.
  returned: always
  type: str
  sample: 8.5.0
problems:
  description: What is wrong with the answer itself, the gravest first on failure. An empty list
    means that everything was read.
  returned: always
  type: list
  elements: dict
  contains:
    code:
      description: A word to test for, such as V(dcmi_8005), V(dcmi_8020), V(dcmi_9005),
        V(driver_incomplete), V(truncated), V(elided), V(no_process_table), V(mapping_failed),
        V(mapping_missing), V(mapping_conflict), V(logic_id_not_printed), V(phy_id_assumed),
        V(phy_id_unknown), V(device_missing), V(card_not_shown), V(no_cards), V(unknown_layout),
        V(npu_smi_missing) or V(npu_smi_timeout).
      type: str
      sample: mapping_failed
    message:
      description: What was seen, in one sentence.
      type: str
    advice:
      description: What to do.
      type: str
advice:
  description: What to do first.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.inferops.ascend.plugins.module_utils._host.npu import (
    failure,
    find_npu_smi,
    read_npu,
)
from ansible_collections.inferops.ascend.plugins.module_utils._host.problems import NpuSmiError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "npu_smi": {"type": "path"},
            "timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    timeout = module.params["timeout"]
    if not 0 < timeout < float("inf"):
        module.fail_json(msg=f"timeout is {timeout}; it must be a number of seconds above 0.")
    try:
        npu_smi = find_npu_smi(module.params["npu_smi"])
        facts = read_npu(npu_smi, timeout)
    except NpuSmiError as error:
        module.fail_json(msg=str(error), **failure(error))
    module.exit_json(changed=False, **facts)


if __name__ == "__main__":
    main()
