# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random damage to what comes in through each door: an answer, or an error of ours, in time."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._base.errors import HostError
from ansible_collections.inferops.ascend.plugins.module_utils._base.reading import parse_json
from ansible_collections.inferops.ascend.plugins.module_utils._base.systemctl import unit_states
from ansible_collections.inferops.ascend.plugins.module_utils._base.text import printable
from ansible_collections.inferops.ascend.plugins.module_utils._host import ids, npu_smi, problems
from ansible_collections.inferops.ascend.plugins.module_utils._service.journal import (
    parse_journal,
)
from ansible_collections.inferops.ascend.plugins.module_utils._weights.jobs import Job
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.systemd import (
    environment_file,
    environment_line,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.yaml_text import parse_yaml
from hubs.fetching import download
from timed import LIMIT, in_time

ROOT = Path(__file__).resolve().parents[2]
# Seconds that a door is tried: in all of it, and in the short form. The same seed has the same inputs.
TRIED = (40, 0.5)
HOSTILE = (
    *("\x1b[2J", "\x1bc", "\x07", "\x00", "\u202e", "\ufeff", "\ud800", "\r", "\n", "\n\n", "\\", '"'),
    *("[" * 3000, "{" * 3000, '{"a":' * 300, "&a [*a]", "*a", "<<: *a", "!!python/object:os.system"),
    *("9" * 2000, "1e400", "-1", "NaN", "Infinity", "|" * 500, "+" + "=" * 500 + "+", "%s", "$HOME"),
    *("_ " * 500, "0000:C1:00.0", "ActiveState=failed", "\n[Service]\nExecStartPre=/bin/false\n"),
)  # fmt: skip


def damaged(chance: random.Random, text: str) -> str:
    """A text with up to five pieces cut out, doubled, moved or replaced."""
    for _change in range(chance.randint(1, 5)):
        first = chance.randint(0, len(text))
        second = min(len(text), first + int(chance.expovariate(1 / 40)))
        third = chance.randint(0, len(text))
        piece = text[first:second]
        text = chance.choice(
            (
                text[:first] + text[second:],
                text[:second] + text[first:],
                text[:third] + piece + text[third:],
                text[:first] + chance.choice(HOSTILE) + text[second:],
                text[:first] + chr(chance.choice((127, 255, 0x4E00, 0x2028))) + text[second:],
            )
        )
    return text


def texts(pattern: str) -> list[str]:
    found = [path.read_text("utf-8") for path in sorted(ROOT.glob(pattern))]
    assert found, pattern
    return found


def read_npu_smi(text: str) -> None:
    with suppress(problems.NpuSmiError):
        for card in npu_smi.parse_info(text).cards:
            npu_smi.public_card(card)
    with suppress(problems.NpuSmiError):
        ids.parse_mapping(text)


def read_json(text: str) -> None:
    with suppress(ValueError):
        parse_json(text)


def read_yaml(text: str) -> None:
    with suppress(ValueError, yaml.YAMLError):
        parse_yaml(text)


def read_units(text: str) -> None:
    for state in unit_states(text):
        assert printable(state.name) == state.name


def read_journal(text: str) -> None:
    for _invocation, lines in parse_journal(text.encode("utf-8", "replace")):
        assert [printable(line) for line in lines] == lines


def write_environment(text: str) -> None:
    """What a user writes as a value is one line of a unit, and one variable of a file."""
    with suppress(AscendError):
        line = environment_line("NAME", text)
        assert line.startswith('Environment="NAME=') and "\n" not in line and line.endswith('"')
        within = line[len('Environment="') : -1].replace("\\\\", "").replace('\\"', "")
        assert '"' not in within
    with suppress(AscendError):
        assert environment_file({"NAME": text}).startswith('NAME="')


def show_text(text: str) -> None:
    assert not set(printable(text)) & {"\x1b", "\x07", "\x00", "\r", "\u202e", "\x9b"}


UNITS = "\n\n".join(
    f"Id=vllm@{name}.service\nLoadState=loaded\nActiveState=active\nMainPID=0\nNRestarts=0\n"
    f"DropInPaths=/etc/systemd/system/vllm@{name}.service.d/placement.conf\nExecMainStartTimestampMonotonic=1"
    for name in ("one", "two")
)
JOURNAL = "\n".join(
    json.dumps({"MESSAGE": line, "_SYSTEMD_INVOCATION_ID": "a1", "PRIORITY": "6"})
    for line in ("INFO 11-29 Loading weights", "(EngineCore pid=9) ERROR RuntimeError: EJ0001", "")
)
DOORS: dict[str, tuple[Callable[[str], None], Callable[[], list[str]]]] = {
    "npu-smi": (read_npu_smi, lambda: texts("tests/unit/data/npu-smi/*.txt")),
    "JSON": (read_json, lambda: [JOURNAL.partition("\n")[0], json.dumps({"a": [1, {"b": 1e30}]})]),
    "YAML": (read_yaml, lambda: [text[:6000] for text in texts("vars/model_tables/*.yml")]),
    "systemctl show": (read_units, lambda: [UNITS]),
    "journal": (read_journal, lambda: [JOURNAL]),
    "environment": (write_environment, lambda: ["plain", "two words", "100% $HOME 'a' \"b\" \\"]),
    "text for a terminal": (show_text, lambda: texts("tests/unit/data/npu-smi/*.txt")),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door(
    door: str, everything: bool, chance: random.Random, figure: Callable[..., None]
) -> None:
    read, samples = DOORS[door]
    seeds = samples()
    end = time.monotonic() + TRIED[not everything]
    number = 0
    while time.monotonic() < end:
        number += 1
        text = damaged(chance, chance.choice(seeds))
        try:
            with in_time(door):
                read(text)
        except Exception as error:
            pytest.fail(f"{door}, input {number}: {type(error).__name__}: {error}\n{text[:2000]!r}")
    figure("fuzz", door, number, f"an answer or an error of ours, each within {LIMIT} s")


def archive() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name in ("config.json", "model-00001-of-00001.safetensors", "tokenizer.json"):
            info = tarfile.TarInfo(f"model/{name}")
            info.size = 600
            made.addfile(info, io.BytesIO(b"x" * 600))
    return stream.getvalue()


def test_the_door_of_archives(
    everything: bool, chance: random.Random, tmp_path: Path, figure: Callable[..., None]
) -> None:
    """Nothing is written outside the directory of the model, whatever a header says."""
    plain, path = archive(), tmp_path / "in" / "a.tar.gz"
    path.parent.mkdir()
    end = time.monotonic() + TRIED[not everything]
    number = 0
    while time.monotonic() < end:
        number += 1
        data = bytearray(plain)
        for _change in range(chance.randint(1, 6)):
            # Headers first: names, sizes, kinds and links are there.
            at = chance.choice((0, 100, 124, 148, 156, 157, 257, 345, 512, 1536)) + chance.randint(
                0, 9
            )
            words = chance.choice(
                (b"../../", b"/etc/", b"77777777777", b"2", b"1", b"x", b"\xff\x00")
            )
            data[at : at + len(words)] = words
        packed = gzip.compress(bytes(data), 1)
        if chance.random() < 0.3:
            packed = packed[: chance.randint(1, len(packed))]
        path.write_bytes(packed)
        target = tmp_path / "out" / str(number) / "Qwen3-14B"
        job: Any = Job(str(target), "Qwen3-14B", "archive", location=str(path))
        try:
            with in_time("archive"), suppress(HostError):
                download(job)
        except Exception as error:
            pytest.fail(f"archive {number}: {type(error).__name__}: {error}")
        assert sorted(os.listdir(tmp_path)) == [
            "in",
            *(["out"] if (tmp_path / "out").exists() else []),
        ]
        assert os.listdir(tmp_path / "in") == ["a.tar.gz"]
    figure(
        "fuzz", "archive", number, "an answer or an error of ours, nothing outside its directory"
    )
