# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the weights of a host follow from its variables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.variables import Variables
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.options import (
    options_of_host,
)


def options(**variables: Any) -> dict[str, Any]:
    return options_of_host(Variables(variables.get))


def test_a_secret_is_rejected_in_the_environment_as_it_is_in_that_of_services() -> None:
    with pytest.raises(
        AscendError, match="vllm_weights_env: HF_TOKEN looks like a secret"
    ) as found:
        options(vllm_weights_env={"HF_TOKEN": "hf_verysecret"})
    assert "verysecret" not in str(found.value)
    # Of the variable of services it is rejected where they are.
    assert options(vllm_service_env={"A": "b"})["env"] == {"A": "b"}
    meant = options(vllm_weights_env={"HF_TOKEN": "none"}, vllm_service_env_as_written=["HF_TOKEN"])
    assert meant["env"] == {"HF_TOKEN": "none"}
