# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ranks the stand-in runs on a host, by the options of each version that knows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import vllm_config
from vllm_behaviour import StartError
from vllm_group import Group, layout

Layout = Callable[..., tuple[int, Group | None]]
# Case of a service over two hosts -> (its options, first rank, ranks here, ranks in all, cards here)
CASES = {
    "native leader": ("--tensor-parallel-size 16 --nnodes 2 --node-rank 0", 0, 8, 16, 8),
    "native member": ("--tensor-parallel-size 16 --nnodes 2 --node-rank 1 --headless", 8, 8, 16, 8),
    "native pipeline": (
        "--tensor-parallel-size 8 --pipeline-parallel-size 2 --nnodes 2 --node-rank 1 --headless",
        *(8, 8, 16, 8),
    ),
    "data-parallel leader": (
        "--tensor-parallel-size 4 --data-parallel-size 4 --data-parallel-size-local 2",
        *(0, 2, 4, 8),
    ),
    "data-parallel member": (
        "--tensor-parallel-size 4 --data-parallel-size 4 --data-parallel-size-local 2"
        " --data-parallel-start-rank 2 --headless",
        *(2, 2, 4, 8),
    ),
    "a rank of its own": (
        "--tensor-parallel-size 8 --data-parallel-size 2 --data-parallel-rank 1",
        *(1, 1, 2, 8),
    ),
    "hosts of their own": (
        "--tensor-parallel-size 4 --data-parallel-size 4 --data-parallel-size-local 2"
        " --data-parallel-start-rank 2 --data-parallel-hybrid-lb",
        *(2, 2, 4, 8),
    ),
}
SINCE = {"native": (0, 13), "hosts": (0, 11), "a": (0, 11)}
OPTIONS = json.loads(
    (Path(__file__).resolve().parents[3] / "vars" / "vllm_options.json").read_text()
)
VERSIONS = [version for version in OPTIONS if version[0].isdigit()]


@pytest.fixture
def ranks() -> Layout:
    """What `vllm serve m WORDS` of a version runs on this host."""

    def find(words: str, version: str = "0.18.0") -> tuple[int, Group | None]:
        parser = vllm_config.parser(version, OPTIONS[version])
        return layout(parser.parse_args(["serve", "m", *words.split()]), {})

    return find


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_ranks_of_a_host(ranks: Layout, case: str, version: str) -> None:
    words, first, count, total, cards = CASES[case]
    if vllm_config.number(version) < SINCE.get(case.split()[0], (0,)):
        with pytest.raises(SystemExit):
            ranks(words, version)
        return
    found, group = ranks(words, version)
    assert group is not None
    assert (group.first, group.count, group.total, found) == (first, count, total, cards)


@pytest.mark.parametrize("version", VERSIONS)
def test_all_ranks_on_one_host_are_no_group(ranks: Layout, version: str) -> None:
    assert ranks("--tensor-parallel-size 2 --data-parallel-size 4", version) == (8, None)
    assert ranks("--tensor-parallel-size 2", version) == (2, None)


def test_the_members_of_a_group_agree_and_meet_at_one_place(ranks: Layout) -> None:
    here = "--tensor-parallel-size 2 --nnodes 2 --master-addr 10.0.0.1 --master-port 20001"
    leader, member = ranks(here)[1], ranks(f"{here} --node-rank 1 --headless")[1]
    other = ranks("--tensor-parallel-size 4 --nnodes 2 --node-rank 1 --headless")[1]
    assert leader is not None
    assert member is not None
    assert other is not None
    assert (leader.address, leader.port) == (member.address, member.port) == ("10.0.0.1", 20001)
    assert leader.agreed == member.agreed != other.agreed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--tensor-parallel-size 3 --nnodes 2", "must be divisible by nnodes"),
        ("--tensor-parallel-size 4 --nnodes 2 --node-rank 2 --headless", "less than nnodes"),
        ("--tensor-parallel-size 4 --nnodes 2 --node-rank 1", "without --headless"),
        ("--headless", "without a leader"),
        ("--data-parallel-size 2 --data-parallel-hybrid-lb", "size_local must be set"),
        (
            "--data-parallel-size 2 --data-parallel-size-local 1 --data-parallel-start-rank 2"
            " --headless",
            "unexpected data parallel rank",
        ),
        (
            "--data-parallel-size 4 --data-parallel-size-local 2 --data-parallel-rank 1",
            "must be 1 or None",
        ),
        (
            "--data-parallel-size 4 --data-parallel-size-local 2 --data-parallel-start-rank 2"
            " --data-parallel-hybrid-lb --headless",
            "not applicable in headless mode",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    ranks: Layout, words: str, message: str
) -> None:
    with pytest.raises(StartError, match=message):
        ranks(words)
