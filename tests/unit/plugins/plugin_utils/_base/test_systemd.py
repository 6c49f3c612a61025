# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd reads: its own parser, out of its shared library, reads back every value."""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import (
    environment_file,
    environment_line,
    service_environment,
    service_secrets,
    unit_word,
)
from hypothesis import given, settings
from hypothesis import strategies as st


class Systemd:
    """The functions by which systemd reads Environment= and EnvironmentFile=."""

    # EXTRACT_CUNESCAPE | EXTRACT_UNQUOTE of systemd's extract-word.h, as config_parse_environ uses.
    FLAGS = 1 << 1 | 1 << 5

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.libc = ctypes.CDLL(None)
        self.libc.fopen.restype = ctypes.c_void_p
        self.libc.fclose.argtypes = [ctypes.c_void_p]

    def words(self, text: str) -> list[str]:
        """The assignments of one Environment= setting, specifiers not expanded."""
        rest, word = ctypes.c_char_p(text.encode()), ctypes.c_char_p()
        result = []
        while True:
            state = self.library.extract_first_word(
                ctypes.byref(rest), ctypes.byref(word), None, self.FLAGS
            )
            assert state >= 0, f"systemd refuses {text!r}: {state}"
            if state == 0:
                return result
            result.append((word.value or b"").decode())

    def file(self, text: str) -> list[str]:
        """The assignments of a file for EnvironmentFile=."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(text.encode())
            file.flush()
            stream = ctypes.c_void_p(self.libc.fopen(file.name.encode(), b"re"))
            items = ctypes.POINTER(ctypes.c_char_p)()
            state = self.library.load_env_file(stream, file.name.encode(), ctypes.byref(items))
            self.libc.fclose(stream)
        assert state >= 0, f"systemd refuses the file {text!r}: {state}"
        result = []
        while items and (item := items[len(result)]) is not None:
            result.append(item.decode())
        return result


@pytest.fixture(scope="module")
def systemd() -> Systemd:
    found = [
        path
        for pattern in ("systemd", "*/systemd")
        for directory in ("/usr/lib", "/usr/lib64")
        for path in Path(directory).glob(f"{pattern}/libsystemd-shared-*.so")
    ]
    if not found:
        pytest.skip("systemd's shared library is not installed here")
    return Systemd(found[0])


def test_the_library_reads_the_example_of_the_manual(systemd: Systemd) -> None:
    assert systemd.words(r'"VAR1=word1 word2" VAR2=word3 "VAR3=$word 5 6"') == [
        "VAR1=word1 word2",
        "VAR2=word3",
        "VAR3=$word 5 6",
    ]
    assert systemd.file('# c\nA="x \\" \\q"\nB=\'y\'\n') == ['A=x " \\q', "B=y"]


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], exclude_characters="\ufeff"))
AWKWARD = TEXT | st.text(st.sampled_from("ab \n\t\\\"'`$%#;={}é\U0001f600nts0x"))


@settings(max_examples=300, deadline=None)
@given(AWKWARD)
def test_a_unit_gives_back_any_value(systemd: Systemd, value: str) -> None:
    line = environment_line("NAME", value)
    assert "\n" not in line and not line.endswith("\\")
    # Specifiers are expanded after unquoting: `%%` is one `%`, and no other `%` may be left.
    (word,) = systemd.words(line.removeprefix("Environment="))
    assert "%" not in word.replace("%%", "")
    assert word.replace("%%", "%") == f"NAME={value}"


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,4}", fullmatch=True), AWKWARD, max_size=3))
def test_a_file_gives_back_any_value(systemd: Systemd, mapping: dict[str, str]) -> None:
    expected = [f"{name}={value}" for name, value in sorted(mapping.items())]
    assert systemd.file(environment_file(mapping)) == expected


def test_lines_as_written() -> None:
    assert environment_line("A", 10) == 'Environment="A=10"'
    assert environment_line("A", 0.5) == 'Environment="A=0.5"'
    assert environment_line("A", '50% "x" \\ $HOME\n\t') == (
        'Environment="A=50%% \\"x\\" \\\\ $HOME\\n\\t"'
    )
    assert environment_file({"B": "x", "A": '$`"\\\n%'}) == 'A="\\$\\`\\"\\\\\n%"\nB="x"\n'
    assert environment_file({}) == environment_file(None) == ""


def test_a_services_variables_are_sorted_and_null_leaves_one_out() -> None:
    env = {"B": 1, "A": "x y", "C": None}
    assert service_environment({"name": "chat", "env": env}) == [
        'Environment="A=x y"',
        'Environment="B=1"',
    ]
    assert service_environment({"name": "chat"}) == []


def test_secrets_are_the_api_key_and_secret_env() -> None:
    one = {"name": "chat", "api_key": "k$1", "secret_env": {"HF_TOKEN": "t"}}
    assert service_secrets(one) == {"HF_TOKEN": "t", "VLLM_API_KEY": "k$1"}
    assert service_secrets({"name": "chat", "api_key": None}) == {}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("A B", "hush", ["'A B'", "letters"]),
        ("1A", "hush", ["'1A'"]),
        ("A\nExecStart", "hush", ["letters"]),
        ("", "hush", ["letters"]),
        (1, "hush", ["letters"]),
        ("A", True, ["A is a boolean", "between quotes"]),
        ("A", None, ["A is null"]),
        ("A", ["hush"], ["A is a list"]),
        ("A", "hush\0", ["A has the character U+0000"]),
        ("A", "hush\r", ["U+000D"]),
        ("A", "hush\x7f", ["U+007F"]),
        ("A", "hush\ud800", ["U+D800"]),
        ("A", "hush\ufeff", ["U+FEFF"]),
        ("A", "hush\uffff", ["U+FFFF"]),
        ("A", "hush" * 40000, ["A is longer than 131071"]),
        ("A", float("inf"), ["A"]),
    ],
)
def test_refused_without_showing_the_value(name: Any, value: Any, words: list[str]) -> None:
    with pytest.raises(AscendError) as caught:
        environment_line(name, value)
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert "hush" not in message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ASCEND_RT_VISIBLE_DEVICES", "`cards`"),
        ("HCCL_IF_BASE_PORT", "placement"),
        ("VLLM_API_KEY", "`api_key`"),
        ("INFEROPS_DIGEST", "the role"),
        ("INFEROPS_GUARD", "the role"),
        ("INFEROPS_GROUP_SECRET", "vllm_service_cluster_secret"),
        ("INFEROPS_SECRET_DIGEST", "the role"),
    ],
)
def test_what_the_role_sets_is_rejected(name: str, words: str) -> None:
    for key, function in (("env", service_environment), ("secret_env", service_secrets)):
        with pytest.raises(AscendError, match=f"chat, {key} may not set {name}") as caught:
            function({"name": "chat", key: {name: "hush"}})
        assert words in str(caught.value)
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        ({"env": {"A": 1}, "secret_env": {"A": "hush"}}, "env and in secret_env"),
        ({"secret_env": "A=hush"}, "secret_env is a string"),
        ({"api_key": 4711}, "api_key is a number"),
        ({"api_key": "hush\r"}, "api_key is empty, or has a character"),
        ({"api_key": "hush\n"}, "api_key is empty, or has a character"),
        ({"api_key": "hush hush"}, "api_key is empty, or has a character"),
        ({"api_key": ""}, "api_key is empty, or has a character"),
    ],
)
def test_secrets_that_cannot_be_written(one: dict[str, Any], words: str) -> None:
    with pytest.raises(AscendError, match=words) as caught:
        service_secrets({"name": "chat", **one})
    assert "hush" not in str(caught.value) and "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "word", ["vllm", "HwHiAiUser", "/opt/vllm/0.18.0/bin/vllm", "/dev/davinci_manager"]
)
def test_a_plain_word_stays_as_it_is(word: str) -> None:
    assert unit_word(word) == word


@pytest.mark.parametrize(
    "word", ["", "a b", "a\nb", "a'b", 'a"b', "%h", "$HOME", "a;b", "-x", "ü", 7, None]
)
def test_a_word_that_could_be_misread_is_rejected(word: object) -> None:
    with pytest.raises(AscendError, match="is not valid in a systemd unit"):
        unit_word(word)
