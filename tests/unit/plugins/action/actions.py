# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs an action plugin as a task would, with no host behind it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.plugins import loader as plugins
from ansible.template import Templar


def run(action: str, variables: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The result of `inferops.ascend.<action>`."""
    loader = DataLoader()
    task = Task()
    task.args = options
    result: dict[str, Any] = plugins.action_loader.get(
        f"inferops.ascend.{action}",
        task=task,
        connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir="/none")),
        play_context=SimpleNamespace(),
        loader=loader,
        templar=Templar(loader=loader, variables={}),
        shared_loader_obj=plugins,
    ).run(task_vars=variables)
    return result
