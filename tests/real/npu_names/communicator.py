# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collective operations of ranks that Ray has put on several hosts."""

from __future__ import annotations

from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator


class Communicator(CpuCommunicator):
    """Ranks of two hosts agree on the name of a shared memory, which they do not share."""

    def _all_group_ranks_share_shm_group_name(self) -> bool:
        return False
