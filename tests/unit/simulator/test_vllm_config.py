# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in reads its command line and file as the real `vllm serve` of a version was seen to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import vllm_config

VERSIONS = ["0.9.1", "0.11.0", "0.13.0", "0.18.0", "0.23.0"]
NEW = ["0.18.0", "0.23.0"]
OLD = ["0.9.1", "0.11.0", "0.13.0"]


@pytest.fixture
def serve(tmp_path: Path, repository: Path) -> Any:
    """Parse `vllm serve WORDS`, with the text of a configuration file put at FILE."""
    table = json.loads((repository / "vars" / "vllm_options.json").read_text())

    def parse(version: str, text: str, words: str = "--config FILE", name: str = "a.yaml") -> Any:
        path = tmp_path / name
        path.write_text(text)
        parser = vllm_config.parser(version, table[version])
        return parser.parse_args(
            ["serve", *(word.replace("FILE", str(path)) for word in words.split())]
        )

    return parse


def model(options: Any) -> str:
    return options.model_tag or options.model


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plain_file(serve: Any, version: str) -> None:
    options = serve(
        version, "model: m\nmax-model-len: 16384\ntensor_parallel_size: 4\nport: 8100\n"
    )
    assert model(options) == "m"
    assert (options.max_model_len, options.tensor_parallel_size, options.port) == (16384, 4, 8100)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_file_is_ignored_when_joined_by_an_equals_sign(serve: Any, version: str) -> None:
    options = serve(version, "port: 8100\n", "m --config=FILE")
    assert options.port == 8000


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("words", ["--port 1 --config FILE", "--config FILE --port 1"])
def test_the_command_line_beats_the_file(serve: Any, version: str, words: str) -> None:
    assert serve(version, "model: m\nport: 8100\n", words).port == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_command_lines_model_beats_the_files(serve: Any, version: str) -> None:
    assert model(serve(version, "model: m\n", "n --config FILE")) == "n"


@pytest.mark.parametrize("version", VERSIONS)
def test_model_tag_names_no_model(serve: Any, version: str) -> None:
    with pytest.raises(ValueError, match="No model specified"):
        serve(version, "model_tag: m\n")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trust-remote-code: true\n", True),
        ("no-trust-remote-code: true\n", False),
    ],
)
def test_flags(serve: Any, version: str, text: str, expected: bool) -> None:
    assert serve(version, "model: m\n" + text).trust_remote_code is expected


@pytest.mark.parametrize("version", NEW)
def test_a_false_flag_is_dropped(serve: Any, version: str) -> None:
    both = "--trust-remote-code --config FILE"
    assert serve(version, "model: m\ntrust-remote-code: false\n", both).trust_remote_code is True


@pytest.mark.parametrize("version", VERSIONS)
def test_a_quoted_flag_is_an_error(
    serve: Any, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve(version, 'trust-remote-code: "true"\n', "m --config FILE")
    assert ended.value.code == 2
    assert "unrecognized arguments: true" in capsys.readouterr().err


@pytest.mark.parametrize("version", OLD)
def test_a_mapping_fails_before_018(serve: Any, version: str) -> None:
    with pytest.raises(SystemExit) as ended:
        serve(version, "model: m\nhf-overrides:\n  rope: {factor: 4.0}\n")
    assert ended.value.code == 2


@pytest.mark.parametrize("version", NEW)
def test_a_mapping_works_from_018(serve: Any, version: str) -> None:
    options = serve(version, "model: m\nhf-overrides:\n  rope: {factor: 4.0}\n")
    assert options.hf_overrides == {"rope": {"factor": 4.0}}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_json_string_works_everywhere(serve: Any, version: str) -> None:
    options = serve(version, 'model: m\nhf-overrides: \'{"rope": {"factor": 4.0}}\'\n')
    assert options.hf_overrides == {"rope": {"factor": 4.0}}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_list_is_several_values_but_in_091(serve: Any, version: str) -> None:
    options = serve(version, "model: m\nserved-model-name: [a, b]\n")
    expected = ["['a', 'b']"] if version == "0.9.1" else ["a", "b"]
    assert options.served_model_name == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_null_becomes_a_word(serve: Any, version: str) -> None:
    assert serve(version, "model: m\ngeneration-config: null\n").generation_config == "None"


@pytest.mark.parametrize("version", VERSIONS)
def test_that_word_takes_back_what_may_be_absent(serve: Any, version: str) -> None:
    assert serve(version, "model: m\nrevision: null\n").revision is None


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_file_and_another_ending_are_errors(serve: Any, version: str) -> None:
    with pytest.raises(AttributeError):
        serve(version, "")
    with pytest.raises(ValueError, match="must be of a yaml/yml type. json supplied"):
        serve(version, "{}", name="a.json")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_abbreviated_key_passes(serve: Any, version: str) -> None:
    assert serve(version, "model: m\nmax-model: 4096\n").max_model_len == 4096


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_option_ends_with_vllms_words(
    serve: Any, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve(version, "no-such-flag: 3\n", "m --config FILE")
    assert ended.value.code == 2
    assert "vllm: error: unrecognized arguments: --no-such-flag 3" in capsys.readouterr().err


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("text", "tokens"), [("32k", 32000), ("32K", 32768), ("25.6k", 25600)])
def test_units_of_a_length(serve: Any, version: str, text: str, tokens: int) -> None:
    assert serve(version, f"model: m\nmax-model-len: {text}\n").max_model_len == tokens


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fraction_of_a_binary_unit_is_an_error(serve: Any, version: str) -> None:
    with pytest.raises(SystemExit):
        serve(version, "model: m\nmax-model-len: 0.5K\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_auto_length_came_with_018(serve: Any, version: str) -> None:
    if version in NEW:
        assert serve(version, "model: m\nmax-model-len: auto\n").max_model_len == -1
    else:
        with pytest.raises(SystemExit):
            serve(version, "model: m\nmax-model-len: auto\n")


@pytest.mark.parametrize("version", ["0.13.0", "0.18.0"])
def test_a_dotted_option_is_a_part_of_a_mapping(serve: Any, version: str) -> None:
    options = serve(version, "model: m\n", "--config FILE --hf_overrides.rope_x.factor 4.0")
    assert options.hf_overrides == {"rope_x": {"factor": 4.0}}


def test_091_leaves_the_value_of_a_dotted_option_a_text(serve: Any) -> None:
    options = serve("0.9.1", "model: m\n", "--config FILE --hf_overrides.rope_x.factor 4.0")
    assert options.hf_overrides == {"rope_x": {"factor": "4.0"}}


def test_the_version_says_that_it_is_a_stand_in(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        vllm_config.parser("0.18.0", {}).parse_args(["--version"])
    first, _space, rest = capsys.readouterr().out.partition(" ")
    assert first == "0.18.0"
    assert "stand-in" in rest
