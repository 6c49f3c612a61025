# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which model a request means, and what is known of it: by the tables, or by what the request gives."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._base.errors import AscendError
from .._base.values import shown
from .catalogue import Catalogue
from .facts import Facts
from .hub import Hub
from .names import Match, bare, is_path
from .parameters import Storage
from .request import Request
from .shape import facts_of, read_configuration, stored_as, without_quantization

# Editions of one family that a message names.
_SHOWN = 6


@dataclass(frozen=True)
class Subject:
    """A model that is asked for.

    Attributes:
        listed: whether a table or the model facts know it by this name.
        stored: how its weights are stored, if it is quantised weights of a model that is known;
            base: the facts of that model.
        source: what its figures were read from, for messages.
        directory: of its weights on the host, where only their configuration tells its figures.
        known: whether that was read.
    """

    match: Match
    facts: Facts
    listed: bool = True
    stored: Storage | None = None
    base: Facts | None = None
    source: str = "its facts"
    directory: str | None = None
    known: bool = True


@dataclass(frozen=True)
class OnHost:
    """Where the weights of a request are on its host, and what was read there.

    Attributes:
        directory: of the weights.
        found: {config, weight_bytes} as host_info returns it; None: there is no config.json; empty:
            nobody has read it yet.
    """

    directory: str = ""
    found: Mapping[str, Any] | None = field(default_factory=dict, hash=False)


def identify(
    request: Request, catalogue: Catalogue, hub: Hub | None = None, on_host: OnHost | None = None
) -> Subject:
    """The model of a request.

    hub, on_host: where its configuration is where nothing else is known of it.

    Raises AscendError: it is not known and the request does not say enough of it, its name can mean
    two models, or its configuration cannot be read.
    """
    name = str(request.model).strip()
    meanings = catalogue.names.meanings(name)
    if len(meanings) > 1:
        both = " or ".join(
            match.model + (f" ({match.hub_id})" if match.hub_id else "") for match in meanings
        )
        raise AscendError(f"The model {shown(name)} can mean {both}. Write one of these names.")
    given = _configuration(request, catalogue)
    if meanings:
        match = meanings[0]
        facts = catalogue.facts(match.model)
        if given is not None:
            return Subject(match, _with(facts, given))
        variant = (
            None if facts.config or facts.runtime_weight_bytes else _variant(match.model, catalogue)
        )
        if variant is None or variant.stored is None:
            return Subject(match, facts)
        return replace(variant, match=match, listed=True, facts=_shaped(facts, variant.facts))
    hub_id = name if name.count("/") == 1 and not is_path(name) else None
    match = Match(catalogue.name_of(name), hub_id)
    known = Facts(huggingface=(hub_id,), modelscope=(hub_id,)) if hub_id else Facts()
    if given is not None:
        return Subject(match, _with(known, given), listed=False, source="its config.json")
    variant = _variant(name, catalogue)
    if variant is not None:
        facts = replace(variant.facts, huggingface=known.huggingface, modelscope=known.modelscope)
        return replace(variant, match=match, facts=facts)
    if complete(request):
        return Subject(match, known, listed=False)
    if hub is not None and not weights_path(request):
        found = hub.facts(request)
        if found is not None:
            return Subject(match, _with(known, found[0]), listed=False, source=found[1])
    if on_host is not None:
        return _on_host(match, known, on_host)
    raise AscendError(_unknown(name, catalogue))


def weights_path(request: Request) -> str | None:
    """The directory on the host in which a request says that its weights are."""
    name = str(request.model).strip()
    given = request.extra.get("path")
    return str(given) if given else name if is_path(name) else None


def complete(request: Request) -> bool:
    """Whether a request says all that serving needs: weights, cards and length."""
    weights = weights_path(request) or request.huggingface or request.modelscope
    return bool(weights) and request.cards is not None and request.max_model_len is not None


def hub_ids(request: Request, subject: Subject) -> tuple[str | None, str | None]:
    """The ids to fetch: the request's, else the one asked for and its twin, else the first.

    Several ids of one model are different weights (base and instruct): whoever asks for one by
    its id must not get another.
    """

    def twin(hub_id: str) -> str:
        return bare(hub_id).lower().replace("meta-", "")

    def pick(given: str | None, ids: Sequence[str]) -> str | None:
        asked = subject.match.hub_id
        if given is not None:
            return given
        if asked is None:
            return ids[0] if ids else None
        same = [i for i in ids if i == asked] + [i for i in ids if twin(i) == twin(asked)]
        return same[0] if same else None

    return (
        pick(request.huggingface, subject.facts.huggingface),
        pick(request.modelscope, subject.facts.modelscope),
    )


def _configuration(request: Request, catalogue: Catalogue) -> Facts | None:
    given = request.extra.get("config")
    if given is None:
        return None
    if not isinstance(given, str) or not given.strip():
        raise AscendError(
            f"config of {request.model} is {shown(given)}; it is the path of a model's config.json"
            " on the controller, or of the directory that contains it."
        )
    found = catalogue.find_file(given) if catalogue.find_file else None
    path = Path(found or given).expanduser()
    if not os.path.exists(path):
        raise AscendError(
            f"config of {request.model} is {given[:200]}, which does not exist on the controller. Name"
            " the model's config.json, or the directory that contains it."
        )
    return read_configuration(path)


def _on_host(match: Match, known: Facts, on_host: OnHost) -> Subject:
    directory, found = on_host.directory, on_host.found
    if found is None:
        raise AscendError(
            f"No table lists the model {shown(match.model)}, and {directory} on the host has no"
            " config.json that can be read. Fetch the weights first, or name the model's config.json"
            " on the controller in config, or give cards and max_model_len."
        )
    if not found:
        return Subject(match, known, listed=False, directory=directory, known=False)
    try:
        facts = facts_of(found["config"], found["weight_bytes"])
    except AscendError as error:
        raise AscendError(
            f"The config.json in {directory} on the host is not enough for an estimate of"
            f" {match.model}: {error}. Give cards and max_model_len to serve it on your own word."
        ) from error
    source = f"the config.json in {directory} on the host"
    return Subject(match, _with(known, facts), listed=False, source=source, directory=directory)


def _with(known: Facts, given: Facts) -> Facts:
    """Facts whose figures are those of a configuration; ids and options stay."""
    return replace(
        given,
        kind=known.kind or given.kind,
        huggingface=known.huggingface,
        modelscope=known.modelscope,
        yarn=known.yarn,
        args=known.args,
        warning=known.warning,
    )


def _shaped(known: Facts, shape: Facts) -> Facts:
    """Facts of a listed model whose figures are those of the model that it has the shape of."""
    return replace(
        shape,
        kind=known.kind or shape.kind,
        huggingface=known.huggingface,
        modelscope=known.modelscope,
        native_context=known.native_context or shape.native_context,
        args=known.args,
        warning=known.warning,
    )


def _variant(name: str, catalogue: Catalogue) -> Subject | None:
    """A model by the known one of which its name means other weights: quantised ones, or another
    release."""
    own = bare(name.rstrip("/"))
    found = stored_as(own)
    stored = found[1] if found else None
    meanings = catalogue.names.meanings(found[0]) if found else ()
    base = meanings[0].model if len(meanings) == 1 else None
    base = base or catalogue.names.of_other_release(found[0] if found else own)
    # What another owner calls the same is refused, with the way to say that it is the same.
    if base is None or (found is None and catalogue.names.meanings(own)):
        return None
    facts = catalogue.facts(base)
    shape = replace(
        facts,
        runtime_weight_bytes=None,
        config=without_quantization(facts.config) if stored else facts.config,
        args={},
        warning=None,
    )
    source = f"the shape of {base}"
    source += f" with weights of {stored.name.upper()}" if stored else ", another release of it"
    return Subject(Match(own), shape, listed=False, stored=stored, base=facts, source=source)


def _unknown(name: str, catalogue: Catalogue) -> str:
    names = catalogue.names
    editions = [] if is_path(name) else [e for e in names.editions(name) if not stored_as(e)]
    if len(editions) > 1:
        first, more = editions[:_SHOWN], len(editions) - _SHOWN
        last = f"{more} more" if more > 0 else first.pop()
        return f"The model {shown(name)} can mean {', '.join(first)} or {last}. Write one of these names."
    lower = {known.lower(): known for known in names.all}
    close = difflib.get_close_matches(name.lower(), lower, n=4, cutoff=0.6)
    hint = f" The closest are {', '.join(lower[key] for key in close)}." if close else ""
    others = names.of_other_owners(name)
    if name.startswith((".", "~")):
        hint = " A path on the host begins with a slash."
    elif "://" in name:
        hint = " Write its id, OWNER/NAME, and not its address."
    elif others:
        hint = (
            f" Where it has the size and shape of {others[0].hub_id or others[0].model}, write"
            f" model: {others[0].model} with its id in huggingface or modelscope."
        )
    return (
        f"No table lists the model {shown(name)}.{hint} A row for a model of your own goes into a"
        " table that ascend_model_tables names; for an estimate set estimate and name its"
        " config.json in config, or its hub in hub (vllm_service_estimate_hub), or deploy it with path,"
        " the directory of its weights on the host; to serve it on your own word give path (or huggingface or"
        " modelscope), cards and max_model_len."
    )
