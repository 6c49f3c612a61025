# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: host_profile
short_description: What is known of a kind of Ascend host
version_added: 0.1.0
author:
  - The inferops.ascend authors (@inferops)
description:
  - Returns the entry of the collection's hardware profiles for a name such as
    V(atlas-800i-a2-64g), with the number of cards as vLLM counts them and their memory.
options:
  _terms:
    description:
      - Names of profiles, as listed in C(vars/hardware_profiles.yml).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what a host of this kind has
  ansible.builtin.debug:
    msg: "{{ lookup('inferops.ascend.host_profile', 'atlas-800i-a2-64g').cards }} cards"
"""

RETURN = r"""
_raw:
  description: One profile for each name.
  type: list
  elements: dict
  sample:
    - name: atlas-800i-a2-64g
      cards: 8
      cards_per_board: 1
      card_memory_gb: 64
"""

from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import profile


class LookupModule(LookupBase):
    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [asdict(profile(term)) for term in terms]
        except AscendError as error:
            raise AnsibleLookupError(str(error)) from error
