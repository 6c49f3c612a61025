# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform plug-in for vLLM: CPUs under the names that Ray has for Ascend cards.

vLLM's own platform for CPUs refuses Ray. It is installed in the environment of test hosts alone.
"""


def platform() -> str:
    """The entry point of the group `vllm.platform_plugins`."""
    return "npu_names.platform.Platform"
