# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where weights come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import Options
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.terms import resolve_terms
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.jobs import (
    jobs_of,
    progress_line,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._weights.options import WeightsOptions

QWEN = {
    "name": "Qwen3-14B",
    "model": "Qwen3-14B",
    "kind": "generate",
    "huggingface": "Qwen/Qwen3-14B",
    "modelscope": "Qwen/Qwen3-14B",
    "tensor_parallel_size": 4,
    "max_model_len": 32768,
}


def job(spec: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    (only,) = jobs_of([{**QWEN, **(spec or {})}], WeightsOptions(**options))
    return only


# -- where from --------------------------------------------------------------------------------------


def test_weights_go_where_the_engine_reads_them() -> None:
    assert job()["directory"] == "/var/lib/vllm/weights/Qwen/Qwen3-14B"
    assert job({"path": "/srv/q/"})["directory"] == "/srv/q"
    assert job(weights_dir="/data/w/")["directory"] == "/data/w/Qwen/Qwen3-14B"


def test_each_hub_is_asked_for_its_own_id_into_the_same_folder() -> None:
    spec = {"huggingface": "meta/L-8B", "modelscope": "LLM/L-8B"}
    assert (job(spec, source="modelscope")["id"], job(spec, source="huggingface")["id"]) == (
        "LLM/L-8B",
        "meta/L-8B",
    )
    assert job(spec, source="modelscope")["directory"] == "/var/lib/vllm/weights/meta/L-8B"


def test_an_entry_goes_before_the_models_variable_and_that_before_the_default() -> None:
    models = {"qwen3-14b": {"source": "huggingface", "revision": "abc"}}
    assert job(source="modelscope", models=models)["source"] == "huggingface"
    assert job(source="modelscope", models=models)["revision"] == "abc"
    assert job({"weights": "modelscope"}, models=models)["source"] == "modelscope"
    # Of another source's mapping nothing is left.
    assert job({"weights": "modelscope"}, models=models)["revision"] == ""
    assert job({"weights": {"revision": "v2"}}, models=models)["revision"] == "v2"
    assert job({"weights": {"revision": "v2"}}, models=models)["source"] == "huggingface"


@pytest.mark.parametrize("key", ["Qwen3-14B", "Qwen/qwen3-14b", "chat"])
def test_the_models_variable_knows_models_services_and_ids(key: str) -> None:
    assert job({"name": "chat"}, models={key: "huggingface"})["source"] == "huggingface"


def test_a_path_of_ones_own_is_not_filled_from_a_hub_unless_it_is_said() -> None:
    assert job({"path": "/srv/tuned"}, source="modelscope")["source"] == "local"
    assert job({"path": "/srv/q", "weights": {"id": "a/b"}}, source="modelscope")["id"] == "a/b"


def test_shares_and_rsync_find_models_below_a_location() -> None:
    assert job(source="nfs", location="/mnt/models/")["location"] == "/mnt/models/Qwen/Qwen3-14B"
    assert job(source="rsync", location="store:/m")["location"] == "store:/m/Qwen/Qwen3-14B"
    own = {"weights": {"source": "nfs", "location": "/mnt/x"}}
    assert job(own, source="modelscope")["location"] == "/mnt/x"


def test_services_of_one_model_share_one_job() -> None:
    (only,) = jobs_of(
        [{**QWEN, "name": "a"}, {**QWEN, "name": "b"}, {"name": "c", "state": "absent"}],
        WeightsOptions(),
    )
    assert only["services"] == ["a", "b"]


def test_services_that_want_different_weights_in_one_folder_are_refused() -> None:
    both = [{**QWEN, "name": "a", "weights": "modelscope"}, {**QWEN, "name": "b"}]
    with pytest.raises(
        AscendError,
        match=r"a and b share the weights .* a different source each \(modelscope and local\)",
    ):
        jobs_of(both, WeightsOptions())


def test_one_folder_in_two_spellings_is_one_folder() -> None:
    both = [{**QWEN, "name": "a", "path": "//srv/q/"}, {**QWEN, "name": "b", "path": "/srv/./q"}]
    assert [(each["directory"], each["services"]) for each in jobs_of(both, WeightsOptions())] == [
        ("/srv/q", ["a", "b"])
    ]


def test_secrets_of_an_address_are_not_in_the_message() -> None:
    both = [
        {**QWEN, "name": name, "weights": {"source": "archive", "location": location}}
        for name, location in (
            ("a", "https://me:hidden@x/q.tar?sig=hidden"),
            ("b", "https://x/p.tar"),
        )
    ]
    with pytest.raises(AscendError) as caught:
        jobs_of(both, WeightsOptions())
    assert "https://x/q.tar" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_requests_that_were_not_resolved_are_told_apart() -> None:
    with pytest.raises(AscendError, match=r"a service is a string, not one that the lookup gave"):
        jobs_of(["Qwen3-14B"], WeightsOptions())


@pytest.mark.parametrize(("given", "meant"), [(True, True), ("False", False), ("yes", True)])
def test_verify_may_come_from_a_template(given: object, meant: bool) -> None:
    assert job({"weights": {"source": "modelscope", "verify": given}})["verify"] is meant


@pytest.mark.parametrize(("written", "says"), [("Weights", "Write weights"), ("weigths", None)])
def test_a_slip_of_the_pen_in_the_key_is_noticed(written: str, says: str | None) -> None:
    request = [{"model": "Qwen3-14B", written: "modelscope"}]
    if says:
        with pytest.raises(AscendError, match=says):
            resolve_terms(request, load_catalogue(), Options())
        return
    spec = resolve_terms(request, load_catalogue(), Options())[0].as_dict()
    assert any("is weights meant?" in warning for warning in spec["warnings"])


@pytest.mark.parametrize(
    ("spec", "settings", "says"),
    [
        ({"weights": "hugginface"}, {}, "there is no source 'hugginface'"),
        ({"weights": {"sorce": "nfs"}}, {}, "key 'sorce', which is not a valid key. Write source."),
        ({"weights": ["nfs"]}, {}, "is a list; a source"),
        (
            {"weights": {"source": "huggingface", "revision": 12}},
            {},
            "revision is a number: write it in quotes",
        ),
        (
            {"weights": {"revision": "v1"}},
            {},
            "vllm_weights_source is local, so nothing is fetched",
        ),
        (
            {"weights": {"source": "huggingface", "id": "a/../../b"}},
            {},
            "hub id 'a/../../b' is not valid",
        ),
        (
            {"weights": "modelscope", "modelscope": None},
            {},
            "no id of Qwen3-14B on modelscope is known",
        ),
        ({"huggingface": None, "modelscope": None}, {}, "no hub id is known for Qwen3-14B"),
        ({"path": "models/q"}, {}, "is not an absolute path"),
        ({}, {"source": "rsync"}, "Set vllm_weights_location"),
        ({}, {"source": "nfs", "location": "store:/m"}, "use rsync for another machine"),
        ({}, {"source": "archive"}, "which is a different one for each model"),
        ({"weights": "archive"}, {}, "needs either location"),
        ({"weights": {"location": "q.tar", "source": "archive"}}, {}, "given by src"),
        ({"weights": {"src": "q.tar", "sha256": "abc"}}, {}, "64 hexadecimal digits"),
        ({"weights": {"src": "q.zip"}}, {}, "a zip is not unpacked here"),
        (
            {"weights": {"source": "archive", "location": "https://x/q.tar.zst?sig=1"}},
            {},
            "a zst is not unpacked here",
        ),
        (
            {"weights": {"source": "nfs", "location": "/m", "revision": "v1"}},
            {},
            "come from nfs, which does not read revision",
        ),
        (
            {"weights": {"source": "archive", "src": "q.tar", "skip": "*.txt"}},
            {},
            "come from archive, which does not read skip",
        ),
        ({"weights": {"source": "modelscope", "skip": [1]}}, {}, "skip has to be a list"),
        ({"weights": {"source": "modelscope", "verify": "maybe"}}, {}, "Write true or false"),
        ({"path": "/"}, {}, "cannot be the root directory"),
        ({}, {"endpoints": {"hf": "https://x"}}, "vllm_weights_endpoints has hf"),
        ({}, {"endpoints": {"huggingface": "hf-mirror.com"}}, "an address such as"),
        ({}, {"checks": {"context": "off"}}, "vllm_weights_checks has context: 'off'"),
        (
            {"weights": {"source": "rsync", "location": "-e sh x:/y"}},
            {},
            "not a source that rsync can read",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    spec: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(AscendError) as caught:
        job(spec, **settings)
    assert says in str(caught.value)


def test_the_example_of_the_documentation_means_what_it_says(repository: Path) -> None:
    text = (repository / "docs" / "weights.md").read_text(encoding="utf-8")
    values = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    specs = [
        each.as_dict()
        for each in resolve_terms(values["vllm_service_instances"], load_catalogue(), Options())
    ]
    jobs = jobs_of(
        specs,
        WeightsOptions(source=values["vllm_weights_source"], models=values["vllm_weights_models"]),
    )
    assert [each["source"] for each in jobs] == [
        "modelscope",
        "nfs",
        "huggingface",
        "archive",
        "local",
    ]
    assert not any(spec["warnings"] for spec in specs)


def test_progress_in_words() -> None:
    state = {
        "model": "Qwen3-14B",
        "phase": "fetching",
        "done": 11 * 10**9,
        "total": 29_540_067_328,
        "error": "",
    }
    assert progress_line(state, 112.3e6) == (
        "Qwen3-14B: fetching 37 % (11.0 GB of 29.5 GB), 112.3 MB/s, 2 min 45 s left"
    )
    assert (
        progress_line({**state, "phase": "failed", "error": "no room"}, None)
        == "Qwen3-14B: failed: no room"
    )
    assert progress_line({**state, "phase": "waiting"}, None) == "Qwen3-14B: waiting"
