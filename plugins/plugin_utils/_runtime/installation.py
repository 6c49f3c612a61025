# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A row of the version matrix to the steps that install it, or to the image that contains it.

vLLM and vllm-ascend pin different versions of the same packages and cannot be resolved together, so
a row is installed in order: torch as the row has it, vLLM with that torch in place of its own pin,
then vllm-ascend with its own pins, which have the last word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .._base.errors import AscendError
from .._model import versions
from .._model.versions import VersionRow
from . import images

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_EXACT = re.compile(r"==\s*([^\s,;*]+)")


@dataclass(frozen=True)
class RuntimeRequest:
    """The engine that a host should have, as the variables of the role vllm_runtime name it."""

    version: str
    method: str = "venv"
    device: str = "npu"
    chips: Sequence[str] = ()
    row: Any = None
    name: str = ""
    packages: Sequence[str] = ()
    image: str = ""
    wheels: str = ""
    wheels_source: str = ""
    offline: bool = False
    image_archive: str = ""
    image_archive_source: str = ""

    def check_sources(self) -> None:
        """Raises AscendError for what would be copied to nowhere or installed from nowhere."""
        for source, target, used in (
            ("wheels_source", "wheels", "venv"),
            ("image_archive_source", "image_archive", "container"),
        ):
            if self.method == used and getattr(self, source) and not getattr(self, target):
                raise AscendError(
                    f"vllm_runtime_{source} names what to copy, and vllm_runtime_{target}, its place"
                    " on the host, is empty. Set it to an absolute path there."
                )
        for name, path in (("wheels", self.wheels), ("image_archive", self.image_archive)):
            if path and not path.startswith("/"):
                raise AscendError(
                    f"vllm_runtime_{name} is {path!r}; an absolute path on the host is needed."
                )
        if self.method == "venv" and self.offline and not self.wheels:
            raise AscendError(
                "vllm_runtime_offline is set, and vllm_runtime_wheels is empty: there is nothing to"
                " install from. Set it to the directory of wheels on the host"
                " (vllm_runtime_wheels_source copies one there from the controller)."
            )


@dataclass(frozen=True)
class Step:
    """One call of the installer, as the module vllm_environment takes it."""

    requirements: list[str]
    overrides: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Installation:
    """What a host needs to have the engine.

    Attributes:
        version: that of vLLM.
        engine_version: what vllm_service_engine_version names it by: the same, or that of a release
            candidate itself.
        name: of the environment, or of the image.
        python: the oldest and the newest version that fit.
        steps, expect, metadata: as the module vllm_environment takes them; none for a container.
    """

    method: str
    version: str
    name: str = ""
    python: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    expect: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    engine_version: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        result = asdict(self)
        for key in ("python", "steps", "warnings"):
            result[key] = list(result[key])
        return result


def plan(request: RuntimeRequest) -> Installation:
    """How the engine comes to a host.

    Raises AscendError where it cannot, such as a venv on an A3 or 310P.
    """
    if not request.version:
        raise AscendError("no version is named: set vllm_runtime_version, such as 0.18.0.")
    if request.method == "external":
        return Installation(request.method, request.version, engine_version=request.version)
    request.check_sources()
    row = versions.find(request.version, request.row, device=request.device)
    target = images.target_of(request.chips) if request.device == "npu" else None
    if request.method == "container":
        return _container(request, row, target)
    warnings: tuple[str, ...] = ()
    if request.device == "npu" and row.vllm_ascend:
        warnings = _check_wheels(request, row, target)
    if not row.listed:
        warnings += (
            f"the version matrix has no row of vllm-ascend {row.vllm_ascend}, which is later than all"
            f" of them: it is installed with vLLM {row.vllm} and with what its own metadata asks for."
            " Which CANN and Python it needs is in its release notes; vllm_runtime_row can name more.",
        )
    name = request.name or row.vllm_ascend or row.vllm
    if not _NAME.fullmatch(name) or name in ("current", "tools"):
        raise AscendError(
            f"vllm_runtime_name is {name!r}, and becomes a directory: letters, digits and . _ + -,"
            " and neither current nor tools."
        )
    return Installation(
        method=request.method,
        version=row.vllm,
        name=name,
        python=row.python,
        steps=tuple(_steps(row, request.packages)),
        expect=_expected(row),
        metadata=dict(row.metadata),
        warnings=warnings,
        engine_version=row.title,
    )


def _check_wheels(
    request: RuntimeRequest, row: VersionRow, target: images.Target | None
) -> tuple[str, ...]:
    if target is None:
        return (
            "which chip this host has is not known; the wheels of vllm-ascend are for A2 only, and"
            " fail at start on others. Declare ascend_host_profile.",
        )
    if not target.wheels:
        raise AscendError(
            "the wheels of vllm-ascend are built for A2 (910B1 to 910B4) only, and this host has"
            f" {', '.join(dict.fromkeys(request.chips))}: an engine from them fails at its start."
            f" Use the image {target.image(row)}: set vllm_runtime_method: container, and"
            " vllm_runtime_image to that name with its digest instead of the tag."
        )
    if row.wheels == "none":
        return (
            f"PyPI has no wheels of vllm-ascend {row.vllm_ascend}, only its source, which is built on"
            " the host with its CANN and compilers. Or put a wheel into vllm_runtime_wheels, or use"
            f" the image {target.image(row)} (vllm_runtime_method: container).",
        )
    return ()


def _container(
    request: RuntimeRequest, row: VersionRow, target: images.Target | None
) -> Installation:
    if not request.image:
        raise AscendError(
            "vllm_runtime_method is container, and vllm_runtime_image is empty. Name the image by"
            " its digest, as in quay.io/ascend/vllm-ascend@sha256:... (podman image inspect --format"
            " '{{.Digest}}' shows it), or by the id of an image in an archive."
            + images.hint(row, target)
        )
    image = images.read_image(request.image)
    return Installation(
        method=request.method,
        version=row.vllm,
        name=image.reference,
        warnings=tuple(images.warnings(image, row, target)),
        engine_version=row.title,
    )


def _steps(row: VersionRow, packages: Sequence[str]) -> list[Step]:
    """The calls of the installer, in order."""
    exclude = list(row.exclude)
    if not row.listed:
        return _unlisted_steps(row, packages)
    torch = [f"torch{row.packages['torch']}"] if "torch" in row.packages else []
    pins = [f"{name}{specifier}" for name, specifier in row.packages.items()]
    engine = [f"{row.distribution}=={row.vllm}"]
    steps = [Step(torch, exclude=exclude)] if torch else []
    if row.vllm_ascend:
        # Only a source distribution reads it: no device's kernels are built.
        steps.append(Step(engine, torch, exclude, {"VLLM_TARGET_DEVICE": "empty"}))
        steps.append(Step([f"vllm-ascend=={row.vllm_ascend}", *pins], exclude=exclude))
    else:
        others = [pin for pin in pins if pin not in torch]
        steps.append(Step([*engine, *others], torch, exclude))
    if packages:
        steps.append(Step(list(packages), exclude=exclude))
    return steps


def _unlisted_steps(row: VersionRow, packages: Sequence[str]) -> list[Step]:
    """Where no pins are known: vllm-ascend brings its torch, which vLLM has to take as it is."""
    exclude, ascend = list(row.exclude), [f"vllm-ascend=={row.vllm_ascend}"]
    engine = Step([f"vllm=={row.vllm}"], ["torch"], exclude, {"VLLM_TARGET_DEVICE": "empty"})
    more = [Step(list(packages), exclude=exclude)] if packages else []
    return [Step(ascend, exclude=exclude), engine, Step(ascend, exclude=exclude), *more]


def _expected(row: VersionRow) -> dict[str, str]:
    expected = {row.distribution: row.vllm}
    if row.vllm_ascend:
        expected["vllm-ascend"] = row.vllm_ascend
    for name, specifier in row.packages.items():
        exact = _EXACT.fullmatch(specifier.strip())
        if exact:
            expected[name] = exact.group(1)
    return expected
