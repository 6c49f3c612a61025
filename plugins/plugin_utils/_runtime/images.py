# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Container images of the engine: how they are named, and which one fits a host's chips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._base.errors import AscendError
from .._base.variables import Variables
from .._model.profiles import FIRST_GENERATION, Profile
from .._model.versions import VersionRow, matrix

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


@dataclass(frozen=True)
class Target:
    """A kind of chip that the engine is built for.

    Attributes:
        chips: regular expressions of their complete names as npu-smi prints them.
        suffix: what the tag of their image ends with.
        wheels: whether the wheels on PyPI serve it.
    """

    chips: tuple[str, ...]
    suffix: str
    wheels: bool

    def image(self, row: VersionRow) -> str:
        """The published image of a row, by its tag."""
        images = matrix()["images"]
        tag = images["tag"].format(vllm_ascend=row.vllm_ascend, suffix=self.suffix)
        return f"{images['repository']}:{tag}"


@dataclass(frozen=True)
class Image:
    """A container image as a user names it. `pinned`: it can only ever mean one image."""

    reference: str
    pinned: bool

    @property
    def tag(self) -> str:
        return self.reference.rpartition("/")[2].partition("@")[0].partition(":")[2]


def chips_of_host(
    variables: Variables, cards: Sequence[Mapping[str, Any]], profile: Profile | None
) -> list[str]:
    """Names of chips: what vllm_runtime_chips lists, else those of the cards, else the profile's.

    cards: as npu_info returns them. Raises AscendError for a variable that is not a list of texts.
    """
    name = "vllm_runtime_chips"
    if variables.value(name) is not None:
        return list(variables.texts(name))
    found = list(dict.fromkeys(card["name"] for card in cards))
    return found or list(profile.chips if profile else ())


def target_of(chips: Sequence[str]) -> Target | None:
    """The target that all these chips have; None where no chip is known.

    Raises AscendError for chips of two kinds and for those that the matrix has no image for.
    """
    targets = [
        Target(tuple(each["chips"]), each["suffix"], each["wheels"])
        for each in matrix()["images"]["targets"]
    ]
    found = []
    for chip in dict.fromkeys(chips):
        fitting = [
            target
            for target in targets
            if any(re.fullmatch(pattern, chip) for pattern in target.chips)
        ]
        if not fitting and chip in FIRST_GENERATION:
            raise AscendError(
                f"the chip {chip} is a first-generation Ascend 910, which vllm-ascend does not support:"
                " an A2 has a digit behind its letter, as in 910B3. With an engine of"
                " another project, set vllm_runtime_method: external."
            )
        if not fitting:
            raise AscendError(
                f"the version matrix has no wheels or images for the chip {chip}. Set"
                " vllm_runtime_method: external and install an engine built for it."
            )
        found.append(fitting[0])
    if len(set(found)) > 1:
        raise AscendError(
            f"the chips {', '.join(chips)} of one host need different builds of the engine. Declare"
            " the host's profile (ascend_host_profile), or set vllm_runtime_chips."
        )
    return found[0] if found else None


def read_image(reference: str) -> Image:
    """An image as a user names it.

    `repository@sha256:...` and the id of an image (`sha256:...`, for one from an archive) are
    pinned, `repository:tag` is not. Raises AscendError for anything else.
    """
    text = reference.strip()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", text):
        raise AscendError(
            f"vllm_runtime_image is {text!r}, which is not a valid name of an image: letters, digits"
            " and . _ / : @ - only."
        )
    if "@" in text and not _DIGEST.search(text):
        raise AscendError(
            f"vllm_runtime_image is {text!r}; a digest is @sha256: and 64 hexadecimal digits."
        )
    return Image(text, bool(_DIGEST.search(text) or _IMAGE_ID.fullmatch(text)))


def warnings(image: Image, row: VersionRow, target: Target | None) -> list[str]:
    """What makes an image look like the wrong one for a host."""
    found = []
    if not image.pinned:
        found.append(
            f"{image.reference} is a tag, and tags were rebuilt upstream under the same name: two"
            " hosts may run different engines, and a new pull goes unnoticed. Pin it by digest"
            " (REPOSITORY@sha256:...)."
        )
    if target and image.tag:
        suffixes = (each["suffix"] for each in matrix()["images"]["targets"])
        if target.suffix != next(
            (s for s in suffixes if s and re.search(rf"{s}\b", image.tag)), ""
        ):
            found.append(
                f"{image.reference} looks like an image for other chips.{hint(row, target)}"
            )
    release = re.match(r"v?([0-9]+\.[0-9]+\.[0-9]+)", image.tag)
    if release and not row.matches(release.group(1)):
        found.append(
            f"{image.reference} looks like an image of {release.group(1)}, and configuration is"
            f" written for vLLM {row.vllm}. Set vllm_service_engine_version to the image's."
        )
    return found


def hint(row: VersionRow, target: Target | None) -> str:
    """A sentence that names the published image, if there is one."""
    if not target or not row.vllm_ascend:
        return ""
    return f" The published one for this host is {target.image(row)}."
