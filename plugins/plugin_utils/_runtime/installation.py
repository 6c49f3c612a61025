# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A row of the version matrix to the steps that install it, or to the image that holds it.

vLLM and vllm-ascend pin different versions of the same packages and cannot be resolved together, so
a row is installed in order: torch as the row has it, vLLM with that torch in place of its own pin,
then vllm-ascend with its own pins, which have the last word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ansible_collections.inferops.ascend.plugins.plugin_utils._base.data import vars_file
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.values import kind_of, plain

METHODS = ("venv", "container", "external")
DEVICES = ("npu", "cpu")

# The keys of a row that decide what is installed. The others are for people and for preflight.
_KEYS = {
    "vllm": str,
    "vllm_ascend": str,
    "distribution": str,
    "python": list,
    "packages": dict,
    "exclude": list,
    "metadata": dict,
}
_IGNORED = {"cann", "torch_npu", "wheels", "notes", "sources"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_EXACT = re.compile(r"==\s*([^\s,;*]+)")
_SPECIFIER = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)\s*[0-9]")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """A container image as a user names it. `pinned`: it can only ever mean one image."""

    reference: str
    pinned: bool


@lru_cache(maxsize=1)
def matrix() -> Mapping[str, Any]:
    """vars/version_matrix.yml."""
    data: dict[str, Any] = vars_file("version_matrix.yml")
    return data


def find_row(version: object, device: str = "npu", own: object = None) -> dict[str, Any]:
    """The row of a version of vLLM or vllm-ascend, or the user's `own` row, checked.

    Raises AscendError for a version without a row, naming those there are, and for an own row with
    a key that is none or of another type.
    """
    if own:
        return _own_row(own)
    key = "cpu_versions" if device == "cpu" else "versions"
    rows: Sequence[Mapping[str, Any]] = matrix()[key]
    wanted = str(version).removeprefix("v")
    for row in rows:
        if wanted in (row["vllm"], row.get("vllm_ascend")):
            return dict(row)
    known = ", ".join(row["vllm"] for row in rows)
    raise AscendError(
        f"the version matrix has no row of vLLM {wanted} for the device {device}; it has {known}. Set"
        " vllm_runtime_version to one of these (with vllm_service_engine_version, which it follows),"
        " or write the row yourself in vllm_runtime_row."
    )


def _own_row(own: object) -> dict[str, Any]:
    row = plain(own, "vllm_runtime_row")
    if not isinstance(row, dict):
        raise AscendError(f"vllm_runtime_row is {kind_of(own)}; a mapping like a row of the version"
                          " matrix is needed, {vllm: 0.18.0, python: ['3.10', '3.11']}.")  # fmt: skip
    for key, value in row.items():
        if key in _IGNORED:
            continue
        if key not in _KEYS:
            raise AscendError(
                f"vllm_runtime_row has the key {key!r}; a row has {', '.join(_KEYS)}."
            )
        if not isinstance(value, _KEYS[key]):
            kinds = {str: "a text in quotes", list: "a list", dict: "a mapping"}
            raise AscendError(
                f"vllm_runtime_row, {key} is {kind_of(value)}; {kinds[_KEYS[key]]} is needed."
            )
    for name, pin in row.get("packages", {}).items():
        if not isinstance(pin, str) or not _SPECIFIER.match(pin):
            raise AscendError(
                f"vllm_runtime_row, packages, {name} is {pin!r}; versions with an operator before"
                f' them are needed, in quotes: {name}: "=={pin}".'
            )
    for key in ("vllm", "python"):
        if key not in row:
            raise AscendError(f"vllm_runtime_row has no {key}, which says what is to be installed.")
    if len(row["python"]) != 2 or not all(
        isinstance(each, str) and re.fullmatch(r"3\.[0-9]{1,2}", each) for each in row["python"]
    ):
        raise AscendError(
            "vllm_runtime_row, python needs the oldest and the newest version, in quotes:"
            ' ["3.10", "3.11"].'
        )
    return row


def target_of(chips: Sequence[str]) -> Mapping[str, Any] | None:
    """The entry of the matrix's images that all these chips have; None where none is known.

    `chips`: names as npu-smi prints them, such as 910B3. Raises AscendError for chips of two kinds
    and for those of which the matrix knows no image.
    """
    found = []
    for chip in dict.fromkeys(str(each) for each in chips):
        for target in matrix()["images"]["targets"]:
            if any(chip.startswith(prefix) for prefix in target["chips"]):
                found.append(target)
                break
        else:
            raise AscendError(
                f"the chip {chip} is none that the version matrix has wheels or images for. Set"
                " vllm_runtime_method: external and install an engine built for it."
            )
    if any(target != found[0] for target in found):
        raise AscendError(
            f"the chips {', '.join(chips)} of one host need different builds of the engine. Declare"
            " the host's profile (ascend_host_profile), or set vllm_runtime_chips."
        )
    return found[0] if found else None


def image_of(row: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """The published image of a row for a kind of chip, by its tag."""
    images = matrix()["images"]
    tag = images["tag"].format(vllm_ascend=row["vllm_ascend"], suffix=target["suffix"])
    return f"{images['repository']}:{tag}"


def read_image(reference: object) -> Image:
    """An image as a user names it.

    `repository@sha256:...` and the id of an image (`sha256:...`, for one from an archive) are
    pinned, `repository:tag` is not. Raises AscendError for none of these.
    """
    text = str(reference or "").strip()
    if not text:
        raise AscendError(
            "vllm_runtime_image is empty. Name the image by its digest, as in"
            " quay.io/ascend/vllm-ascend@sha256:... (podman image inspect --format '{{.Digest}}'"
            " shows it), or by the id of an image that an archive holds."
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", text):
        raise AscendError(
            f"vllm_runtime_image is {text!r}, which is no name of an image: letters, digits and"
            " . _ / : @ - only."
        )
    if "@" in text and not _DIGEST.search(text):
        raise AscendError(
            f"vllm_runtime_image is {text!r}; a digest is @sha256: and 64 hexadecimal digits."
        )
    return Image(text, bool(_DIGEST.search(text) or _IMAGE_ID.fullmatch(text)))


def plan(
    version: object,
    *,
    method: str = "venv",
    device: str = "npu",
    chips: Sequence[str] = (),
    row: object = None,
    name: object = "",
    packages: Sequence[str] = (),
    image: object = "",
    sources: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """What a host needs to have the engine of a version.

    `packages`: further requirements, installed last. `sources`: where they or the image come from,
    {wheels, wheels_source, offline, image_archive, image_archive_source}, as the role's variables of
    these names have it. Returns {method, version, row, warnings} and,
    for a venv, {name, python (oldest, newest), steps, expect, metadata} as the module
    vllm_environment takes them; for a container, {image, pinned}.

    Raises AscendError where the wish cannot be met, such as a venv on an A3 or 310P.
    """
    for what, value, known in (
        ("vllm_runtime_method", method, METHODS),
        ("vllm_runtime_device", device, DEVICES),
    ):
        if value not in known:
            raise AscendError(f"{what} is {value!r}; it is one of {', '.join(known)}.")
    if method == "external":
        return {"method": method, "version": str(version), "row": {}, "warnings": []}
    _check_sources(method, sources or {})
    found = find_row(version, device, row)
    result: dict[str, Any] = {
        "method": method,
        "version": found["vllm"],
        "row": found,
        "warnings": [],
    }
    target = target_of(chips) if device == "npu" else None
    if method == "container":
        return {**result, **_container(found, target, image)}
    if device == "npu" and "vllm_ascend" in found:
        _check_wheels(found, target, chips, result["warnings"])
    label = str(name or found.get("vllm_ascend") or found["vllm"])
    if not _NAME.fullmatch(label) or label == "current":
        raise AscendError(
            f"vllm_runtime_name is {label!r}, and becomes a folder: letters, digits and . _ + -, not"
            " the word current."
        )
    pins = dict(found.get("packages", {}))
    return {
        **result,
        "name": label,
        "python": list(found["python"]),
        "steps": steps(found, packages),
        "expect": _expected(found, pins),
        "metadata": dict(found.get("metadata", {})),
    }


def _check_sources(method: str, sources: Mapping[str, object]) -> None:
    """Refuse what would be copied to nowhere, and an installation from nowhere."""
    for needs, needed, used in (
        ("wheels_source", "wheels", "venv"),
        ("image_archive_source", "image_archive", "container"),
    ):
        if method == used and sources.get(needs) and not sources.get(needed):
            raise AscendError(
                f"vllm_runtime_{needs} says what to copy, and vllm_runtime_{needed}, its place on the"
                " host, is empty. Set it to an absolute path there."
            )
    for name in ("wheels", "image_archive"):
        text = str(sources.get(name) or "")
        if text and not text.startswith("/"):
            raise AscendError(
                f"vllm_runtime_{name} is {text!r}; an absolute path on the host is needed."
            )
    if method == "venv" and sources.get("offline") and not sources.get("wheels"):
        raise AscendError(
            "vllm_runtime_offline is set, and vllm_runtime_wheels is empty: there is nothing to"
            " install from. Set it to the folder of wheels on the host (vllm_runtime_wheels_source"
            " copies one there from the controller)."
        )


def _check_wheels(
    row: Mapping[str, Any],
    target: Mapping[str, Any] | None,
    chips: Sequence[str],
    warnings: list[str],
) -> None:
    if target is None:
        warnings.append(
            "which chip this host has is not known; the wheels of vllm-ascend are for A2 only, and"
            " fail at start on others. Declare ascend_host_profile."
        )
    elif not target["wheels"]:
        raise AscendError(
            f"the wheels of vllm-ascend are built for A2 (910B) only, and this host has"
            f" {', '.join(dict.fromkeys(map(str, chips)))}: an engine from them fails at its start."
            f" Use the image {image_of(row, target)}: set vllm_runtime_method: container, and"
            " vllm_runtime_image to that name with its digest instead of the tag."
        )


def _container(
    row: Mapping[str, Any], target: Mapping[str, Any] | None, image: object
) -> dict[str, Any]:
    hint = ""
    if target is not None and "vllm_ascend" in row:
        hint = f" The published one for this host is {image_of(row, target)}."
    if not image:
        raise AscendError(
            "vllm_runtime_method is container, and vllm_runtime_image is empty. Name the image by"
            f" its digest, as in quay.io/ascend/vllm-ascend@sha256:....{hint}"
        )
    named = read_image(image)
    warnings = []
    if not named.pinned:
        warnings.append(
            f"{named.reference} is a tag, and tags were rebuilt upstream under the same name: two"
            " hosts may run different engines, and a new pull goes unnoticed. Pin it by digest"
            " (REPOSITORY@sha256:...)."
        )
    tag = named.reference.rpartition("/")[2].partition("@")[0].partition(":")[2]
    if target is not None and tag:
        suffix = re.search(r"-(a3|310p)\b", tag)
        if (suffix.group(0) if suffix else "") != target["suffix"]:
            warnings.append(f"{named.reference} looks like an image for other chips.{hint}")
    release = re.match(r"v?([0-9]+\.[0-9]+\.[0-9]+)", tag)
    if release and release.group(1) not in (row["vllm"], row.get("vllm_ascend")):
        warnings.append(
            f"{named.reference} looks like an image of {release.group(1)}, and configuration is"
            f" written for vLLM {row['vllm']}. Set vllm_service_engine_version to the image's."
        )
    return {"image": named.reference, "pinned": named.pinned, "warnings": warnings}


def steps(row: Mapping[str, Any], packages: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The calls of the installer, in order: [{requirements, overrides, exclude, environment}]."""
    pins: Mapping[str, str] = row.get("packages", {})
    exclude = list(row.get("exclude", ()))
    torch = [f"torch{pins['torch']}"] if "torch" in pins else []
    result: list[dict[str, Any]] = []

    def add(requirements: list[str], overrides: list[str], **environment: str) -> None:
        result.append(
            {
                "requirements": requirements,
                "overrides": overrides,
                "exclude": exclude,
                "environment": environment,
            }
        )

    if torch:
        add(torch, [])
    engine = [f"{row.get('distribution', 'vllm')}=={row['vllm']}"]
    if "vllm_ascend" in row:
        # Only a source distribution reads it: no device's kernels are built.
        add(engine, torch, VLLM_TARGET_DEVICE="empty")
        own = [f"{name}{specifier}" for name, specifier in pins.items()]
        add([f"vllm-ascend=={row['vllm_ascend']}", *own], [])
    else:
        others = [f"{name}{spec}" for name, spec in pins.items() if name != "torch"]
        add([*engine, *others], torch)
    if packages:
        add([str(each) for each in packages], [])
    return result


def _expected(row: Mapping[str, Any], pins: Mapping[str, str]) -> dict[str, str]:
    expected = {row.get("distribution", "vllm"): row["vllm"]}
    if "vllm_ascend" in row:
        expected["vllm-ascend"] = row["vllm_ascend"]
    for name, specifier in pins.items():
        exact = _EXACT.fullmatch(specifier.strip())
        if exact:
            expected[name] = exact.group(1)
    return expected
