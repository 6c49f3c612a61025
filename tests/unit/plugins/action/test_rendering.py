# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action systemd_instances renders a template once for all instances, as if for each alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader as plugins
from ansible.template import Templar


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        ("a {{ instance.name }}\n", ["a x\n", "a y\n"]),
        ("{{ instance.name }}", ["x", "y"]),
        ("{{ instance.text }}\n", ["two\n", "{{ kept }}\n"]),
        ("{{ instance.name }}\n\n", ["x\n\n", "y\n\n"]),
        ("{% if instance.name == 'x' %}\nonly\n{% endif %}\n", ["only\n", "\n"]),
        ("{% if instance.name == 'x' %}{% set n = 1 %}{% endif %}{{ n | default(2) }}", ["1", "2"]),
        ("#jinja2: trim_blocks: False\n{% if true %}\nz\n{% endif %}\n", ["\nz\n", "\nz\n"]),
        ("D={{ instance_digest }}\\n\n", ["D=d\\n\n", "D=d\\n\n"]),
    ],
)
def test_each_instance_gets_the_text_that_it_would_get_alone(
    text: str, alone: list[str], tmp_path: Path
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "t.j2").write_text(text, encoding="utf-8")
    loader = DataLoader()
    action: Any = plugins.action_loader.get(
        "inferops.ascend.systemd_instances",
        task=SimpleNamespace(args={}, async_val=0, get_search_path=lambda: [str(tmp_path)]),
        connection=None,
        play_context=SimpleNamespace(),
        loader=loader,
        templar=Templar(loader=loader, variables={}),
        shared_loader_obj=plugins,
    )
    x, gone, y = (
        {"name": "x", "text": "two\n"},
        {"name": "gone", "state": "absent"},
        {"name": "y", "text": "{{ kept }}"},
    )
    for instances in ([x, gone, y], [x]):
        render = action._renderer(instances, {})
        shown = [
            render("t.j2", {"instance": each, "instance_digest": "d"})
            for each in instances
            if each is not gone
        ]
        assert shown == alone[: len(shown)]
