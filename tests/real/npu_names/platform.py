# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform: CPUs that Ray counts as NPU."""

from __future__ import annotations

from vllm.platforms.cpu import CpuPlatform


class Platform(CpuPlatform):
    """What vllm-ascend's platform tells Ray."""

    ray_device_key = "NPU"
    device_control_env_var = "ASCEND_RT_VISIBLE_DEVICES"
    ray_noset_device_env_vars = ["RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES"]

    @classmethod
    def get_device_communicator_cls(cls) -> str:
        return "npu_names.communicator.Communicator"
