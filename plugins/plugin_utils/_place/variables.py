# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names of the variables that placement depends on."""

from __future__ import annotations

PORT_VARIABLES = (
    "vllm_service_port_base",
    "vllm_service_hccl_port_base",
    "vllm_service_hccl_port_count",
    "vllm_service_kv_port_base",
    "vllm_service_cluster_port_base",
)
# What decides which services fit on a host, and where; the plan of a fleet reads no others.
PLACEMENT_VARIABLES = (
    "ascend_host_profile",
    "ascend_host_excluded_cards",
    "ascend_model_tables",
    "vllm_service_cards",
    "vllm_service_card_memory_gb",
    "vllm_service_cards_per_board",
    "vllm_service_excluded_cards",
    "vllm_service_unavailable_cards",
    *PORT_VARIABLES,
    "vllm_service_ephemeral_ports",
    "vllm_service_model_tables",
    "vllm_service_estimate",
    "vllm_service_estimate_hub",
    "vllm_weights_endpoints",
    "vllm_service_allow_untested",
    "vllm_service_engine_version",
    "vllm_runtime_row",
)
