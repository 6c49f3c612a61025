# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent to a host: paths, digests, and where a secret may stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._service.payload import build

FILES = [{"src": "unit", "dest": "/etc/systemd/system/w@.service"}]
INSTANCE_FILES = [
    {"src": "conf", "dest": "/etc/systemd/system/w@%i.service.d/p.conf"},
    {"src": "secret", "dest": "/etc/w/%i.env", "secret": True},
]


def payload(*instances: Mapping[str, Any], unit_text: str = "[Service]\n") -> dict[str, Any]:
    def render(src: str, variables: Mapping[str, Any]) -> str:
        if src == "unit":
            return unit_text
        instance = variables["instance"]
        if src == "conf":
            return f"[Service]\n# {instance.get('note')}\nN={instance.get('n')}\nD={variables['instance_digest']}\n"
        key = instance.get("key")
        return f"KEY={key}\nD={variables['secret_digest']}\n" if key else "\n"

    return build("w@.service", instances, FILES, INSTANCE_FILES, render)


def digest(result: dict[str, Any]) -> str:
    return str(result["digests"]["a"])


def test_the_file_carries_the_digest_that_is_reported() -> None:
    result = payload({"name": "a", "n": 1})
    assert f"D={digest(result)}\n" in result["contents"]["/etc/systemd/system/w@a.service.d/p.conf"]
    assert all(text.startswith("# Managed by Ansible: ") for text in result["contents"].values())


def test_the_digest_changes_with_settings_and_with_the_unit_alone() -> None:
    first = digest(payload({"name": "a", "n": 1, "note": "x"}))
    assert digest(payload({"name": "a", "n": 2, "note": "x"})) != first
    assert (
        digest(payload({"name": "a", "n": 1, "note": "x"}, unit_text="[Service]\nUser=w\n"))
        != first
    )
    assert digest(payload({"name": "a", "n": 1, "note": "another comment"})) == first
    assert digest(payload({"name": "a", "n": 1, "note": "x"}, {"name": "b"})) == first


def test_only_a_line_of_its_own_is_a_comment() -> None:
    """U+2028 ends no line for systemd: what follows it is part of the value."""
    first = payload({"name": "a", "n": "x\u2028#b"})
    assert digest(first) != digest(payload({"name": "a", "n": "x\u2028#c"}))


def test_no_value_can_pass_for_the_digest() -> None:
    result = payload({"name": "a", "n": "@inferops-digest@"})
    assert "N=@inferops-digest@\n" in result["contents"]["/etc/systemd/system/w@a.service.d/p.conf"]


def test_a_path_holds_the_name_once() -> None:
    for dest in ("/etc/w/x.conf", "/etc/w/%i/%i.conf"):
        with pytest.raises(AscendError, match="has to contain %i"):
            build("w@.service", [{"name": "a"}], [], [{"src": "s", "dest": dest}], lambda *_: "x")


def test_a_secret_and_its_digest_stand_in_the_secret_file_alone() -> None:
    one = payload({"name": "a", "n": 1, "key": "opensesame"})
    two = payload({"name": "a", "n": 1, "key": "other"})
    assert one["contents"] == two["contents"]
    assert one["secret_digests"]["a"] != two["secret_digests"]["a"]
    assert one["secret_digests"]["a"] not in str(one["contents"])
    assert f"D={one['secret_digests']['a']}\n" in one["secret_contents"]["/etc/w/a.env"]


def test_a_template_that_renders_to_nothing_is_no_file() -> None:
    result = payload({"name": "a", "n": 1})
    assert result["secret_contents"] == {}
    assert result["secret_digests"] == {"a": ""}


def test_an_absent_instance_has_no_files() -> None:
    assert payload({"name": "a", "state": "absent"})["digests"] == {}


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "../x", "a@b", "a\nb", "-a", "a%i", "ü", "x" * 64, None, 7]
)
def test_names_that_systemd_could_misread_are_refused(name: Any) -> None:
    with pytest.raises(AscendError, match="instance name .* cannot be used"):
        payload({"name": name})


def test_two_instances_of_one_name_are_refused() -> None:
    with pytest.raises(AscendError, match="two files go to"):
        payload({"name": "a"}, {"name": "a"})
