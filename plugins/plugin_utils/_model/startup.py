# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options and length with which a model starts, or why it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .._base.words import counted
from . import arguments
from .estimate import GIB, device_of
from .facts import Facts
from .names import is_path
from .needs import Need, Subject, needs_of
from .profiles import profile
from .recipes import recipe_of
from .request import Request, copied
from .shape import quantization_of
from .split import Split

_QUANTIZED = ("quantization", "load-format")


@dataclass(frozen=True)
class Engine:
    """What is known of the engine and the host.

    Attributes:
        version: of vLLM or vllm-ascend; None: not known, and nothing that depends on it is decided.
        profile: the hardware profile, if there is one.
        allow_untested: turn what forbids a start into warnings.
        any_length: as of `Options`, unless the environment of the request says otherwise.
    """

    version: str | None = None
    profile: str | None = None
    allow_untested: bool = False
    any_length: bool = False


class Startup:
    """What one service starts with.

    Attributes:
        args: the engine's options, the user's over those that the model needs.
        env: environment variables of the recipe.
        length: max_model_len.
        warnings: what to know of them.
    """

    def __init__(
        self, model: str, facts: Facts, request: Request, engine: Engine, read: bool = False
    ) -> None:
        """``read``: the facts are those of the configuration of the weights that are served."""
        self.read = read
        self.model = model
        self.facts = facts
        self.request = request
        self.engine = engine
        self.args: dict[str, Any] = {}
        self.env: dict[str, str] = {}
        self.length = 0
        self.warnings: list[str] = []

    def decide(self, length: int, row_args: Mapping[str, Any]) -> None:
        """Set options, length and warnings. Raises AscendError for what cannot start."""
        given, facts = self.request.args, self.facts
        subject = self._subject({**facts.args, **row_args, **given})
        needed = self._applied(needs_of(subject)) if subject else {}
        needed = arguments.deep_merge(needed, copied(facts.args))
        needed = arguments.deep_merge(needed, copied(row_args))
        if subject and self.request.recipe not in (None, "none"):
            needed = arguments.deep_merge(needed, self._recipe(str(self.request.recipe), subject))
        if facts.warning and not any(
            arguments.has_option(args, "trust-remote-code") for args in (given, needed)
        ):
            self.warnings.append(facts.warning)
        if self.engine.profile is not None:
            kind = profile(self.engine.profile)
            needed = arguments.deep_merge(needed, arguments.chip_args(self.model, given, kind))
        self.length = self._startable(length, needed)
        rope, warnings = arguments.rope_args(self.model, facts, self.length, given, needed)
        self.warnings += warnings
        self.args = arguments.merge_args(arguments.deep_merge(needed, rope), given)

    def check_weights(self, split: Split, memory: float) -> None:
        """Raise AscendError where the published weights alone are more than the cards have."""
        weights, request = self.facts.runtime_weight_bytes, self.request
        device = device_of(memory, self.engine.profile)
        if self.engine.version is None or weights is None or device is None or self._own_weights():
            return
        quantized = any(arguments.has_option(request.args, each) for each in _QUANTIZED)
        cards = split.tensor * split.pipeline * (1 if self.facts.is_dense else split.data)
        each = weights / cards / GIB
        if each > device.visible_memory_gib and not quantized:
            self._forbid(
                f"over {counted(cards, 'card')} its weights take {each:.1f} GiB of each, of which the"
                f" framework sees {device.visible_memory_gib:g} GiB",
                "Give it more cards, or name quantised weights (huggingface, modelscope or path)",
            )

    def _own_weights(self) -> bool:
        """Whether the request names weights that need not be those that are known of the model."""
        request, facts = self.request, self.facts
        return (
            bool(request.extra.get("path"))
            or is_path((request.model or "").strip())
            or request.huggingface not in (None, *facts.huggingface)
            or request.modelscope not in (None, *facts.modelscope)
        )

    def _subject(self, args: Mapping[str, Any]) -> Subject | None:
        """The service as needs and recipes see it; None where the version is not known."""
        version = self.engine.version
        if version is None:
            return None
        request = self.request
        chips = profile(self.engine.profile).chips if self.engine.profile else ()
        names = request.names(self.model)
        kind = request.kind or self.facts.kind or "generate"
        config = self.facts.config
        # Weights of one's own may be quantised otherwise than those that are known of the model.
        known = self.read or not self._own_weights()
        method = quantization_of(config) if known else None
        return Subject(names, kind, version, config, chips, args, method)

    def _recipe(self, purpose: str, subject: Subject) -> dict[str, Any]:
        """The options of the recipe; its variables go into `env`."""
        recipe = recipe_of(purpose, subject)
        self.env = dict(recipe.env)
        args: dict[str, Any] = copied(recipe.args)
        sets = [*args, *self.env]
        self.warnings.append(
            f"recipe {purpose} sets {', '.join(sets)} as in {recipe.source}, written for"
            f" {recipe.written_for}; the length of the row was not measured with it"
        )
        if not recipe.was_read_for(subject.number):
            self.warnings.append(
                f"no tutorial of vLLM {subject.version} was read for recipe {purpose}: it is that of vLLM"
                f" {recipe.scope.through}, the nearest older one"
            )
        return args

    def _applied(self, needs: Sequence[Need]) -> dict[str, Any]:
        """The options of all needs, with their warnings."""
        args: dict[str, Any] = {}
        for need in needs:
            if need.refuse:
                self._forbid(need.refuse, str(need.instead))
            elif not need.args:
                self.warnings.append(f"on vLLM {self.engine.version}: {need.warning}")
            elif all(arguments.has_option(self.request.args, option) for option in need.args):
                continue
            elif need.warning:
                self.warnings.append(need.warning)
            args.update(copied(need.args))
        return args

    def _startable(self, length: int, needed: Mapping[str, Any]) -> int:
        """The length, or the native context where a longer one cannot start and nobody asked for it."""
        native = self.facts.native_context
        env = self.request.extra.get("env")
        if (
            self.engine.version is None
            or native is None
            or arguments.any_length(env if isinstance(env, Mapping) else {}, self.engine.any_length)
            or not arguments.lacks_scaling(self.facts, length, self.request.args, needed)
        ):
            return length
        why = (
            f"the native context is {native} tokens, and neither the model's documentation nor args"
            " give a scaling for more"
        )
        way = "give the scaling that your weights were made for in args (hf-overrides)"
        if self.request.max_model_len is not None:
            if self._own_weights():
                return length  # the preflight compares it with their configuration
            self._forbid(
                f"max_model_len is {length}: {why}", f"Set max_model_len to {native}, {way}"
            )
            return length
        self.warnings.append(
            f"max_model_len is {native} instead of the row's {length}, with which vLLM"
            f" {self.engine.version} does not start: {why}; for more, {way}"
        )
        return native

    def _forbid(self, reason: str, way: str) -> None:
        problem = f"{self.model} cannot start on vLLM {self.engine.version}: {reason}"
        if not self.engine.allow_untested:
            raise AscendError(f"{problem}. {way}, or set allow_untested to try it.")
        self.warnings.append(f"untested: {problem}")
