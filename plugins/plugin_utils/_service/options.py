# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of a vLLM version, from vars/vllm_options.json."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from typing import Any

from .._base.errors import AscendError
from .._model.options import facts_of, list_of, load_options, missing_list, number

# What an option that a version lacks is called there: (options to use, how), for what cannot be
# translated without asking. Only names that the version's list has are offered.
# --rope-theta: vars/model_facts.yml; guided decoding: https://github.com/vllm-project/vllm/pull/22772
RENAMED: dict[str, tuple[tuple[str, ...], str]] = {
    "rope-theta": (("hf-overrides",), "write `hf-overrides: {rope_parameters: {rope_theta: ...}}`"),
    "disable-log-requests": (("enable-log-requests",), "request logging is off unless asked for"),
    "guided-decoding-backend": (
        ("structured-outputs-config",),
        "write `structured-outputs-config: {backend: ...}`",
    ),
}

# vllm-ascend adds a method to what vLLM lists (`pre_register_and_update` in
# vllm_ascend/platform.py).
PLUGIN_CHOICES = {"quantization": ("ascend",)}


class Option:
    """One option of one version; `negative` is its `no-` form, if it has one."""

    def __init__(self, name: str, fact: Mapping[str, Any], before_0_11: bool) -> None:
        self.name = name
        action = fact["action"]
        # vLLM 0.33 pairs --enable-x with --disable-x, and hides --no-enable-x, which it still takes.
        paired = action == "EnableDisableAction"
        self.negative = f"no-{name}" if paired or f"--no-{name}" in fact["opts"] else None
        self.flag = paired or action in ("_StoreTrueAction", "BooleanOptionalAction")
        self.many = fact.get("nargs") in ("+", "*")
        self.bare = fact.get("nargs") == "?"
        outer = fact.get("type")
        # What converts: `_optional_type` and `_parse_type` wrap it, and the first reads these two
        # as no value, which is hardly ever one of the choices.
        self.type = fact.get("of", outer)
        # NAME=PATH, or JSON
        self.named = action in ("LoRAParserAction", "PromptAdapterParserAction")
        plain = outer == "_optional_type" and not self.named and "choices" not in fact
        self.empty = ("", "None") if plain else ()
        # 0.9.1 also takes `name=number,...` where it reads JSON, and compilation by its level.
        self.pairs = before_0_11 and outer != "loads"
        self.choices = [str(choice) for choice in fact.get("choices", [])]
        if self.choices:
            self.choices += PLUGIN_CHOICES.get(name, ())


class EngineOptions:
    """The options of one vLLM version by every long name, `no-` forms included.

    version: the engine's. facts: its list. missing: what to know where it is used for another version.
    """

    def __init__(self, version: str, facts: Mapping[str, Any], missing: str | None = None) -> None:
        self.version = version
        self._missing = f". {missing}: vllm_runtime_row can name another" if missing else ""
        self.options: dict[str, Option] = {}
        self.short: dict[str, str] = {}
        # 0.9.1 passes str(list) as one value; seen to be right from 0.11.0 on.
        self.joins_lists = number(version) < (0, 11)
        for name, fact in facts.items():
            option = Option(name, fact, self.joins_lists)
            for text in fact["opts"]:
                if text.startswith("--"):
                    self.options[text[2:]] = option
                else:
                    self.short[text[1:]] = name
            if option.negative:
                self.options[option.negative] = option

    def find(self, name: str, key: str, who: str) -> Option:
        """The option of a name, written as `key`; AscendError, beginning with `who`, with the way out."""
        option = self.options.get(name)
        if option is not None:
            return option
        start = f"{who}: args have the option {key!r}"
        bare = name.lstrip("-")
        if name.startswith("-") and bare in self.options:
            raise AscendError(f"{start}. Write it without dashes before it: {bare}")
        if bare in self.short:
            raise AscendError(f"{start}, a short form. Write its long name: {self.short[bare]}")
        if "." in bare and bare.split(".")[0] in self.options:
            top, rest = bare.split(".", 1)
            raise AscendError(f"{start}. Write it as a mapping: {top}: {{{rest}: ...}}")
        start += f", which vLLM {self.version} does not have{self._missing}"
        positive = bare.removeprefix("no-")
        new, how = RENAMED.get(positive, ((), ""))
        if new and all(item in self.options for item in new):
            raise AscendError(f"{start}. Use {' or '.join(new)} instead: {how}.")
        had = [
            version
            for version, known in load_options().items()
            if not version.startswith("_") and positive in known
        ]
        if had:
            raise AscendError(f"{start}; vLLM {', '.join(had)} have it. Leave it out.")
        near = difflib.get_close_matches(bare, self.options, n=3, cutoff=0.6)
        near += [
            item for item in self.options if bare and item.startswith(bare) and item not in near
        ]
        if near:
            raise AscendError(f"{start}. Did you mean {' or '.join(near[:4])}?")
        raise AscendError(f"{start}, and no other version known here. Check how vLLM spells it.")


def options_of(version: object) -> EngineOptions:
    """The options of a version of vLLM or vllm-ascend, `0.18.0`, by the list that counts for it.

    Raises AscendError for what is not a version.
    """
    return _read(str(version))


@functools.lru_cache(maxsize=None)
def _read(version: str) -> EngineOptions:
    """Read once: the plan of a fleet needs it for each of its services."""
    return EngineOptions(list_of(version), facts_of(version), missing_list(version))
