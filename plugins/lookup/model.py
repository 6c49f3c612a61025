# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lookup ``inferops.ascend.model``."""

from __future__ import annotations

DOCUMENTATION = r"""
name: model
author: The inferops.ascend authors (@inferops)
short_description: What a model needs on Ascend cards, from published tables
version_added: 0.1.0
description:
  - Resolves models, or requests for services, against tables of the least number of cards and the
    longest context length that were tested with vLLM on Ascend cards. Returns one specification
    for each, which the filter P(inferops.ascend.place#filter) places on the cards of a host.
  - A request that exceeds the table's limits is rejected before a host is touched, and the message
    states what the limit is, where it comes from and what to do.
  - The first row for the model and the card's memory counts. Tables are searched in the order of
    O(tables), then C(ascend-64gb.yml), a table of 61 models on 64 GB cards, then
    C(ascend-vllm-0.7.2.yml), an earlier one of 11 models on 32 GB and 64 GB cards, then
    C(vllm-ascend-tutorials.yml), what the engine's own tutorials state for further models, with the
    length of the tutorial's command.
options:
  _terms:
    description:
      - Names of models, or their Hugging Face or ModelScope ids, with or without the owner, without
        regard to case and to how words and numbers are separated (C(Qwen2.5-7B-Instruct),
        C(qwen2_5-7b-instruct)). A name that two models could mean is rejected with both.
      - An absolute path, whose last parts name the model; it becomes the C(path) of the request.
      - Requests, dictionaries with the key C(model) and any of C(name), C(cards) (a number, or a
        list of the cards themselves), C(max_model_len), C(gpu_memory_utilization),
        C(data_parallel_size), C(tensor_parallel_size), C(pipeline_parallel_size), C(card_memory_gb),
        C(kind), C(huggingface), C(modelscope), C(config), C(recipe) (upstream's own settings for V(throughput) or
        V(latency), which set something with O(engine_version) alone), C(share) and C(args) (vLLM's own options). Every other key is passed on.
      - C(config) is the path of the model's C(config.json) on the controller, or of the directory that
        contains it, for an estimate of a model that is not known. Sizes of weights beside it count.
      - With C(share=true) the service may have its cards together with others. It needs
        C(gpu_memory_utilization); below the row's, its length is an estimate, at most the row's.
      - A request with C(path) (or C(huggingface) or C(modelscope)), C(cards) and C(max_model_len) of a
        model that no table lists is taken at its word, with a warning, unless what is known of the
        model rules it out.
      - C(max_model_len) is a number of tokens, or a text such as C(16K) or C(0.5K), where K is
        1024 and M is 1024 K. A small C(k) is rejected, because vLLM reads it as 1000.
      - Lists of those, which are flattened one level.
      - C(*) for every row for the memory, a model once. A table that another one supersedes is
        left out of it, and so is a table of basis V(documented).
      - A request with C(state=absent) is not resolved, so that a model that no table knows any
        more can still be removed.
      - Without a term the result is empty.
    type: list
    elements: raw
    required: true
  card_memory_gb:
    description:
      - Nominal memory in GB of one card, as vLLM counts cards (a die of an A3, a chip of a 300I
        Duo).
      - Without it, the memory of O(profile) counts, and without that 64.
    type: float
  profile:
    description:
      - Name of a hardware profile of this collection, such as C(atlas-800i-a2-64g), which gives
        O(card_memory_gb), and the options of vLLM that its chip needs (C(dtype=float16) on a 310P).
        What the chip cannot do is rejected.
    type: str
  gpu_memory_utilization:
    description:
      - Share of a card's memory that the engine may take, above 0 and at most 1. A request's own
        value goes before it; without both, the row's counts.
      - A table's figures are valid from the utilization of its test on, so a lower one is rejected.
    type: float
  tables:
    description:
      - Paths of tables of your own, searched before the shipped ones, in this order. A single path
        may be written as a text.
      - A relative path is searched beside the playbook or role, in C(files) and C(vars) there,
        and in the current directory.
      - The name of a shipped table, C(ascend-vllm-0.7.2.yml), moves it to this place of the order.
      - The format is that of the files in C(vars/model_tables) of this collection, their schema
        is C(vars/schemas/model_table.schema.json).
    type: raw
    vars:
      - name: ascend_model_tables
  estimate:
    description:
      - Estimate cards and length where no table has a row for this memory, from the facts that are
        known of the model or from its C(config.json). Quantised weights of a known model are known by
        their name (C(Qwen/Qwen3-32B-FP8)).
      - Such a specification has C(estimated) in its provenance, and carries a warning with what limits
        its length and whether the answer is borderline.
    type: bool
    default: false
  hub:
    description:
      - Hub on which the C(config.json) and the size of the weights of a model are read of which nothing
        else is known, where O(estimate) is set and the request has no C(path). One listing and one or two
        small files of each model are read, once in a run.
      - Its address is that in C(vllm_weights_endpoints), else in the environment variable E(HF_ENDPOINT),
        else the hub's public one; a token is taken from E(HF_TOKEN) or E(MODELSCOPE_API_TOKEN). Where
        E(HF_HUB_OFFLINE) is set, Hugging Face is not asked.
    type: str
    choices: [none, huggingface, modelscope]
    default: none
    version_added: 1.0.0
  endpoints:
    description: Addresses of mirrors, by C(huggingface) and C(modelscope).
    type: raw
    vars:
      - name: vllm_weights_endpoints
    version_added: 1.0.0
  allow_untested:
    description:
      - Turn the limits of the tables into warnings in the specification, namely too few cards, too
        long a context, too low a utilization and a memory that no table lists (the row of the
        nearest smaller memory is used, or else of the nearest larger).
      - A model that a table calls unsupported is let through if the request gives both C(cards)
        and C(max_model_len).
      - What cannot work is still rejected, such as a tensor-parallel size that the attention heads do
        not divide by, and so does what is malformed.
    type: bool
    default: false
  engine_version:
    description:
      - Version of vLLM or vllm-ascend that is to serve, such as V(0.18.0). With it a specification has
        what the model needs to start there, and a model that cannot start there is rejected. A
        deployment sets it from C(vllm_service_engine_version).
      - A length of the tables above the native context is shortened to it where the model has no
        scaling for more.
    type: str
    version_added: 1.0.0
seealso:
  - plugin: inferops.ascend.place
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show what one model needs
  ansible.builtin.debug:
    msg: "{{ lookup('inferops.ascend.model', 'Qwen3-14B') }}"

- name: Resolve the services of a host, shorter than the longest that was tested
  ansible.builtin.debug:
    msg: "{{ query('inferops.ascend.model', *services) }}"
  vars:
    services:
      - model: Qwen3-14B
      - model: Qwen/Qwen2.5-72B-Instruct
        name: chat
        max_model_len: 16K
        args: {enable-prefix-caching: true}

- name: List every model of the table for 64 GB cards
  ansible.builtin.debug:
    msg: "{{ item.model }}: {{ item.max_model_len }} tokens on {{ item.cards }} cards"
  loop: "{{ query('inferops.ascend.model', '*') }}"
  loop_control:
    label: "{{ item.model }}"

- name: Use cards of 32 GB, which the earlier table lists
  ansible.builtin.debug:
    msg: "{{ lookup('inferops.ascend.model', 'QwQ-32B', card_memory_gb=32).cards }}"

- name: Prefer the earlier table, which was measured at utilization 0.9
  ansible.builtin.debug:
    msg: "{{ lookup('inferops.ascend.model', 'QwQ-32B', gpu_memory_utilization=0.9) }}"
  vars:
    ascend_model_tables: [ascend-vllm-0.7.2.yml]

- name: Estimate a model that no table lists for this memory
  ansible.builtin.debug:
    msg: "{{ lookup('inferops.ascend.model', 'Qwen3-8B', profile='atlas-800i-a2-32g',
          estimate=true).warnings }}"
"""

RETURN = r"""
_list:
  description:
    - One specification for each model, a dictionary with every key of the request and the keys
      below.
  type: list
  elements: dict
  contains:
    name:
      description: Name of the service; the model's name if the request gives none.
      type: str
      sample: Qwen3-14B
    model:
      description: The model's name as the tables spell it.
      type: str
      sample: Qwen3-14B
    kind:
      description: What the model does, one of V(generate), V(multimodal), V(embed), V(rerank).
      type: str
      sample: generate
    cards:
      description: Number of cards.
      type: int
      sample: 1
    pinned_cards:
      description: The cards themselves.
      type: list
      elements: int
      returned: if the request names them
      sample: [4, 5]
    tensor_parallel_size:
      description: Number of cards that a layer is split over.
      type: int
      sample: 1
    pipeline_parallel_size:
      description: Number of stages that the layers are split into.
      type: int
      sample: 1
    engine:
      description: How a service spans hosts, V(data_parallel), V(native) or V(ray).
      type: str
      returned: if the request has C(cluster)
      sample: data_parallel
    data_parallel_size:
      description:
        - Number of data-parallel ranks. Times C(tensor_parallel_size) and C(pipeline_parallel_size) it
          is the number of cards, unless C(args) says that other services run some of the ranks.
      type: int
      sample: 1
    max_model_len:
      description: Context length in tokens.
      type: int
      sample: 32768
    gpu_memory_utilization:
      description: Share of a card's memory that the engine takes.
      type: float
      sample: 0.95
    native_context:
      description: Length in tokens that the model was released with, or null if not known.
      type: int
      sample: 40960
    huggingface:
      description: Id on Hugging Face, the one that was asked for or else the default; may be null.
      type: str
      sample: Qwen/Qwen3-14B
    modelscope:
      description: Id on ModelScope; may be null.
      type: str
      sample: Qwen/Qwen3-14B
    min_cards:
      description: The least number of cards by the row; null where there is none.
      type: int
      sample: 1
    card_memory_gb:
      description: Nominal memory of a card in GB.
      type: float
      sample: 64
    warnings:
      description: What to know before this is used.
      type: list
      elements: str
      sample: []
    args:
      description: vLLM's options, those that the row needs under those of the request.
      type: dict
      sample: {}
    recipe_env:
      description: Environment variables of the request's C(recipe).
      type: dict
      returned: if the recipe has any
      sample: {TASK_QUEUE_ENABLE: "1"}
    provenance:
      description: Where the figures come from.
      type: dict
      contains:
        table:
          description: The table's name; null for an estimate.
          type: str
          sample: ascend-64gb
        row:
          description: The row's number in its source.
          type: int
          sample: 29
        split:
          description: What the split over hosts follows, where it is the default.
          type: list
          elements: str
          returned: if the request has C(cluster)
        updated:
          description: Date of the source, if it has one.
          type: str
          sample: "2025-11-19"
        basis:
          description: One of V(measured), V(calibrated), V(documented) (stated by the engine's own
            documentation), V(estimated), V(requested).
          type: str
          sample: measured
        estimate:
          description: Of a model without a row, the least or the requested number of C(cards), the
            C(longest) context on them in tokens, C(longest_low) and C(longest_high) by a careful and
            a generous calculation, C(native_context), what the length is C(limited_by), whether the
            answer is C(borderline), and C(weights_gib) on each card.
          type: dict
          returned: if it could be estimated
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.hub import Hub
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.options import list_of
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.request import (
    parse_utilization,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    with_profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms


class LookupModule(LookupBase):
    """Thin: reads the options, and turns the layer's exception into Ansible's."""

    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """The specs of the terms; see DOCUMENTATION."""
        self.set_options(var_options=variables, direct=kwargs)
        tables = self.get_option("tables")
        endpoints = self.get_option("endpoints")
        if self._templar is not None:
            # A variable reaches a plugin's option as it was written, templates and all.
            tables = tables if "tables" in kwargs else self._templar.template(tables)
            endpoints = endpoints if "endpoints" in kwargs else self._templar.template(endpoints)
        share = self.get_option("gpu_memory_utilization")
        version = self.get_option("engine_version")
        try:
            if version is not None:
                list_of(version)
            options = with_profile(
                Options(
                    gpu_memory_utilization=None if share is None else parse_utilization(share),
                    estimate=self.get_option("estimate"),
                    allow_untested=self.get_option("allow_untested"),
                    engine_version=version,
                    hub=self._hub(endpoints or {}),
                ),
                self.get_option("card_memory_gb"),
                self.get_option("profile"),
            )
            catalogue = load_catalogue(tables, lambda path: self._find_table(variables or {}, path))
            return [spec.as_dict() for spec in resolve_terms(terms, catalogue, options)]
        except AscendError as error:
            # Not from the error: ansible-core would add what caused it, which is in the text.
            raise AnsibleLookupError(str(error)) from None

    def _hub(self, endpoints: Mapping[str, str]) -> Hub | None:
        name = self.get_option("hub")
        scratch = Path(constants.DEFAULT_LOCAL_TMP)  # Ansible's directory for this run
        return None if name == "none" else Hub(name, endpoints, scratch=scratch)

    def _find_table(self, variables: dict[str, Any], path: str) -> str | None:
        for folder in ("files", "vars"):
            found = self.find_file_in_search_path(variables, folder, path, ignore_missing=True)
            if found:
                return str(found)
        return path if Path(path).exists() else None
