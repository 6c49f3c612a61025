# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of inventory that a plan is made for, and the names of hosts in them."""

from __future__ import annotations

import json
import re
import sys

from .site import FILE, PROFILE, Site

SERVICES = {"vllm_plan_services": ["Qwen3-14B"], "ascend_host_profile": PROFILE}


def test_an_inventory_is_a_directory_too(site: Site) -> None:
    apart = [{"model": f"Qwen3-{n}B", "hosts": f"npu-0{i}"} for i, n in ((1, 8), (2, 14))]
    site.group(*apart, hosts=["npu-01"])
    site.write("more/hosts", "[ascend]\nnpu-02\n")
    site.sources = ["."]
    site.planned()
    assert sorted(site.where()) == ["npu-01", "npu-02"]
    assert not site.planned().changed
    site.sources = [str(site.root)]
    assert not site.planned().changed
    site.sources = ["hosts.yml", "more/hosts"]
    # Beside that file Ansible now reads a host_vars of its own. What stands stays.
    file = site.file("npu-02")
    moved = re.sub(r"cards: .*\n    port: .*", "cards: [6]\n    port: 8765", file.read_text())
    file.write_text(moved, encoding="utf-8")
    site.planned()
    assert sorted(site.files()) == [f"host_vars/npu-01/{FILE}", f"more/host_vars/npu-02/{FILE}"]
    assert list(site.where()["npu-02"].values()) == [[6]]
    assert "port: 8765" in site.file("npu-02", "more").read_text()


def test_several_sources_have_their_own_folders(site: Site) -> None:
    site.write("east/hosts.yml", {"ascend": {"hosts": {"e1": {}}, "vars": SERVICES}})
    site.write("west/hosts", "[ascend]\nw1\nw2\n")
    site.sources = ["east/hosts.yml", "west/hosts"]
    site.planned()
    assert sorted(site.files()) == [
        f"east/host_vars/e1/{FILE}",
        f"west/host_vars/w1/{FILE}",
        f"west/host_vars/w2/{FILE}",
    ]
    assert sorted(site.where()) == ["e1", "w1", "w2"]
    assert not site.planned().changed


def test_an_inventory_is_a_script_too(site: Site) -> None:
    data = {
        "ascend": {"hosts": ["npu-01", "fe80::1"], "vars": SERVICES},
        "_meta": {"hostvars": {"npu-01": {}, "fe80::1": {}}},
    }
    script = site.write("inventory", f"#!{sys.executable}\nprint('''{json.dumps(data)}''')\n")
    script.chmod(0o755)
    site.sources = ["inventory"]
    site.planned()
    assert sorted(site.where()) == ["fe80::1", "npu-01"]


def test_hosts_of_the_command_line_need_a_directory(site: Site) -> None:
    site.sources = ["npu-01,npu-02,"]
    assert "Set vllm_plan_output" in site.refused(**SERVICES)
    site.planned(vllm_plan_output="out", **SERVICES)
    assert sorted(site.files()) == [f"out/host_vars/npu-0{n}/{FILE}" for n in (1, 2)]
    assert not site.planned(vllm_plan_output="out", **SERVICES).changed
    site.sources = ["npu-01,"]
    site.planned(vllm_plan_output="out", **SERVICES)
    assert sorted(site.files()) == [f"out/host_vars/npu-01/{FILE}"]


def test_an_output_directory_is_kept_as_the_inventorys_own(site: Site) -> None:
    site.group("Qwen3-14B", "QwQ-32B", hosts=["npu-01", "npu-02"])
    site.planned()
    beside = site.files()
    site.write(f"out/host_vars/npu-02/{FILE}", "vllm_service_instances: [Qwen3-8B]\n")
    outcome = site.planned(vllm_plan_output="out")
    assert f"by hand in {site.file('npu-02', 'out')}" in outcome.words
    assert {path: text for path, text in site.files().items() if path in beside} == beside
    assert not site.planned(vllm_plan_output="out").changed


def test_odd_names_of_hosts(site: Site) -> None:
    names = ["npu-01", "2001:db8::1", "~tilde", "#hash", "é", "a b", "{{ x }}", "*", "x.yml", "-d"]
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=names)
    site.planned()
    assert sorted(site.where()) == sorted(names)
    assert not site.planned().changed


def test_no_name_leads_out_of_the_directory(site: Site) -> None:
    names = ["../../etc", "/etc", "..", ".", "a/b", "$HOME", "${HOME}/x", "a\nb", "npu-01.yml"]
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01", *names])
    assert site.refused().count("cannot be planned for") == len(names)


def test_no_link_leads_out_of_the_directory(site: Site) -> None:
    site.group({"model": "Qwen3-14B", "replicas": "all"}, hosts=["npu-01"])
    outside = site.root.parent / "outside"
    outside.mkdir()
    (site.root / "host_vars").symlink_to(outside)
    assert f"a symbolic link to {outside}" in site.refused()
    (site.root / "host_vars").unlink()
    (site.root / "host_vars").mkdir()
    (site.root / "host_vars" / "npu-01").symlink_to(outside)
    assert "is a symbolic link" in site.refused()
    assert not list(outside.iterdir())
