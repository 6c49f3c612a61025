# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preflight says of hosts, by the facts that host_info returns of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.inferops.ascend.plugins.plugin_utils._base.errors import AscendError
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.options import PreflightOptions
from ansible_collections.inferops.ascend.plugins.plugin_utils._host.report import (
    CheckReport,
    Finding,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.catalogue import load_catalogue
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.hardware import (
    matching_profiles,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.resolve import (
    Options,
    resolve,
    with_profile,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._model.versions import (
    rows,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.host_cards import HostCards
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.placement import place
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.ports import PortSettings
from ansible_collections.inferops.ascend.plugins.plugin_utils._place.service import (
    ExistingPlacement,
)
from ansible_collections.inferops.ascend.plugins.plugin_utils.deployment import Deployment
from ansible_collections.inferops.ascend.plugins.plugin_utils.settings import Settings

A2 = "atlas-800i-a2-64g"
DUO = "atlas-300i-duo-96g"
SCRIPTS = ["/usr/local/Ascend/ascend-toolkit/set_env.sh"]
VLLM = "/opt/vllm/current/bin/vllm"


def card(logic: int | None, phy: int | None = -1, **changes: Any) -> dict[str, Any]:
    phy = logic if phy == -1 else phy
    return {
        "npu_id": logic,
        "chip_id": 0,
        "logic_id": logic,
        "phy_id": phy,
        "name": "910B3",
        "health": "OK",
        "bus_id": "0000:C1:00.0",
        "memory_total_mb": 65536,
        "memory_used_mb": 3465,
        "power_w": 91.3,
        "temperature_c": 36,
        "aicore_percent": 0,
        "device": None if phy is None else f"/dev/davinci{phy}",
        "processes": [],
        **changes,
    }


def process(
    pid: int, memory: int | None, unit: str | None, command: str = "python3"
) -> dict[str, Any]:
    return {"pid": pid, "name": "python3", "memory_mb": memory, "unit": unit, "command": command}


def facts(cards: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A healthy A2 host on which nothing runs."""
    cards = [card(logic) for logic in range(8)] if cards is None else cards
    nodes = {c["device"]: {"mode": "0660", "gid": 999, "group": "HwHiAiUser"} for c in cards}
    base: dict[str, Any] = {
        "npu": {
            "cards": cards,
            "problems": [],
            "driver_version": "25.5.2",
            "cann_version": "8.5.1",
        },
        "driver": {
            "version_info": "/usr/local/Ascend/driver/version.info",
            "version_info_exists": True,
            "install_info_exists": True,
            "install_status": "complete",
        },
        "devices": nodes,
        "groups": ["HwHiAiUser", "root"],
        "user": {"name": "vllm", "exists": True, "groups": ["vllm", "HwHiAiUser"]},
        "files": {
            SCRIPTS[0]: {"exists": True, "executable": True},
            VLLM: {"exists": True, "executable": True},
        },
        "cann": {SCRIPTS[0]: "8.5.1"},
        "ports": [],
        "ephemeral_ports": [32768, 60999],
        "disk": {"path": "/var/lib/vllm/weights", "at": "/var", "free_bytes": 10**13},
        "models": {},
        "services": [],
        "standing": [],
        "engine": dict.fromkeys(("vllm", "vllm_ascend", "torch_npu", "python")),
        "system": {},
        "tuned": False,
    }
    return {**base, **changes}


def specs(*requests: Any, kind: str = A2, **options: Any) -> list[dict[str, Any]]:
    chosen = with_profile(Options(**options), None, kind)
    return [resolve(request, load_catalogue(), chosen).as_dict() for request in requests]


VARIABLES = {
    "estimate": "vllm_service_estimate",
    "allow_untested": "vllm_service_allow_untested",
    "excluded": "ascend_host_excluded_cards",
    "version_row": "vllm_runtime_row",
    "engine_version": "ascend_host_engine_version",
    "memory": "vllm_service_card_memory_gb",
    "scripts": "ascend_host_cann_scripts",
}


def checked(
    host: dict[str, Any], *requests: Any, kind: str | None = A2, asked: bool = True, **more: Any
) -> CheckReport:
    """What the deployment of these requests reports, with variables by their short names."""
    variables: dict[str, Any] = {"ascend_host_profile": kind, "ascend_host_cann_scripts": SCRIPTS}
    if kind is None:
        variables.update(vllm_service_cards=8, vllm_service_card_memory_gb=64)
    if asked:
        variables["vllm_service_instances"] = list(requests)
    for name, value in more.items():
        variables[VARIABLES.get(name, f"ascend_host_{name}")] = "" if value is None else value
    return Deployment(Settings(variables.get), load_catalogue()).check(host)


def codes(found: CheckReport) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in found.findings]


def only(found: CheckReport) -> Finding:
    assert len(found.findings) == 1, found.text("h")
    return found.findings[0]


def with_card(logic: int, **changes: Any) -> dict[str, Any]:
    return facts([card(n, **(changes if n == logic else {})) for n in range(8)])


def test_nothing_is_wrong_with_a_good_host() -> None:
    found = checked(facts(), "Qwen3-14B", "Qwen2.5-72B")
    assert found.findings == []
    assert found.unavailable == {}
    assert [c["logic_id"] for c in found.cards] == list(range(8))
    assert found.text("alpha") == "Preflight of alpha: nothing is wrong."


# --- cards -------------------------------------------------------------------------------------


def test_an_ill_card_is_left_out_and_refused_to_who_asks_for_it() -> None:
    host = with_card(0, health="Alarm")
    found = checked(host, "Qwen3-14B")
    assert only(found).message.startswith("health Alarm (accepted: OK)")
    assert found.unavailable == {0: "health Alarm"}
    found = checked(host, {"model": "Qwen3-14B", "cards": [0]})
    assert codes(found) == [("error", "placement"), ("warning", "health")]
    assert "card 0, which is not available: health Alarm" in found.errors[0].message
    found = checked(with_card(0, health="Warning"), accepted_health=["OK", "Warning"])
    assert found.findings == []
    found = checked(host, excluded=[0])
    assert found.findings == [], "who excluded it knows"


def test_a_card_that_others_hold_is_named_with_pid_command_and_unit() -> None:
    foreign = process(4711, 40000, "train.service", "python3 train.py")
    found = checked(with_card(3, processes=[foreign], memory_used_mb=43465))
    assert only(found).message == (
        "in use by PID 4711 python3 train.py (unit train.service); no service gets this card."
    )
    assert "systemctl stop train.service" in only(found).advice
    nobody = process(4711, 10, None, "")
    found = checked(with_card(3, processes=[nobody]))
    assert found.unavailable == {3: "in use by PID 4711 python3 (in no systemd unit)"}


def test_our_own_services_hold_no_card_of_ours() -> None:
    mine = process(99, 59311, "vllm@chat.service")
    host = with_card(0, processes=[mine], memory_used_mb=62776)
    ours = {"unit": "vllm@chat.service", "pids": [98, 99], "cards": [0], "hccl_base_port": 61000}
    stands = {"name": "chat", "cards": [0], "port": 8000}
    running = {**host, "services": [ours], "standing": [stands]}
    request = {"model": "Qwen3-14B", "name": "chat", "cards": [0]}
    assert checked(running, request).findings == []
    assert checked(running).existing == {"chat": ExistingPlacement((0,), 8000, True)}
    # The same unit without our mark is somebody else's.
    assert codes(checked(host, request)) == [("error", "placement"), ("warning", "processes")]


def test_our_service_in_a_container_that_shows_no_process() -> None:
    ours = {"unit": "vllm@chat.service", "pids": [98], "cards": [0], "hccl_base_port": 61000}
    host = {**with_card(0, memory_used_mb=62776), "services": [ours]}
    assert checked(host, {"model": "Qwen3-14B", "name": "chat"}).findings == []


def test_memory_without_a_process_makes_a_card_not_free() -> None:
    host = with_card(0, memory_used_mb=20687)
    found = checked(host, "Qwen3-14B")
    assert only(found).message == (
        "44849 of 65536 MB are free, gpu_memory_utilization 0.95 takes 59312 MB; npu-smi shows no"
        " process that uses the rest. No service gets this card."
    )
    assert list(found.unavailable) == [0]
    assert checked(host).findings == [], "no service, no need of memory"
    stopped = {"model": "Qwen3-14B", "state": "stopped"}
    assert checked(host, stopped).findings == [], "what does not run takes no memory"


def test_a_utilization_that_no_card_can_give_is_said_with_the_one_that_it_can() -> None:
    cards = [card(n, memory_used_mb=9000) for n in range(8)]
    found = checked(facts(cards), "Qwen3-14B")
    assert codes(found) == [("error", "memory")]
    assert found.errors[0].advice.endswith("set gpu_memory_utilization to 0.9 or less.")


def test_an_idle_card_is_free_at_the_utilization_of_the_table() -> None:
    """By what the framework sees of it: of the printed total, 0.95 would not be free."""
    assert 65536 - 3465 < 0.95 * 65536
    assert checked(facts(), "Qwen3-14B").findings == []
    # Also where the profile is not declared, or is that of another host.
    assert codes(checked(facts(), "Qwen3-14B", kind=None)) == [("warning", "profile")]
    assert 32768 - 2833 < 0.95 * 32768
    small = {"name": "910B4", "memory_total_mb": 32768, "memory_used_mb": 2833}
    found = checked(facts([card(n, **small) for n in range(8)]), "Qwen3-14B")
    assert [each.code for each in found.findings] == ["card_memory", "chip", "model"]


def test_ids_that_are_not_known() -> None:
    problem = {"code": "mapping_missing", "message": "no logic id.", "advice": "Look."}
    host = facts([card(n) if n else card(None, None, npu_id=0) for n in range(8)])
    host["npu"]["problems"] = [problem]
    found = checked(host, "Qwen3-14B")
    assert codes(found) == [("warning", "ids")]
    assert [c["logic_id"] for c in found.cards] == list(range(1, 8))
    host = facts([card(None, None, npu_id=n) for n in range(8)])
    host["npu"]["problems"] = [{**problem, "code": "mapping_failed"}]
    assert codes(checked(host))[0] == ("error", "ids")
    found = checked(facts([card(n, None if n == 3 else n) for n in range(8)]))
    assert found.unavailable == {3: "its physical id is not known"}
    found = checked(with_card(3, device=None))
    assert found.unavailable == {3: "it has no /dev/davinci3"}


def test_a_host_that_does_not_answer_is_judged_for_the_rest_all_the_same() -> None:
    host = facts([])
    host["npu"]["problems"] = [
        {"code": "dcmi_8005", "message": "cannot talk to the driver.", "advice": "Reboot."}
    ]
    host["driver"]["install_status"] = None
    host["files"] = {}
    found = checked(host, "Qwen3-14B")
    assert [each.code for each in found.findings] == ["npu_smi", "driver", "cann", "engine"]
    assert len(found.errors) == 4


# --- the profile -------------------------------------------------------------------------------


def test_a_host_that_is_not_what_was_declared() -> None:
    small = [card(n, name="910B4", memory_total_mb=32768) for n in range(8)]
    found = checked(facts(small), "Qwen3-14B")
    assert [each.code for each in found.findings][:3] == ["card_memory", "chip", "model"]
    assert "Set ascend_host_profile to what the host is; the cards fit atlas-800i-a2-32g." in (
        found.errors[0].advice
    )
    found = checked(facts([card(n) for n in range(7)]))
    assert codes(found) == [("error", "count")]
    assert "shows 7 cards, the profile has 8" in found.errors[0].message
    found = checked(facts([card(n) for n in range(7)]), excluded=[7])
    assert codes(found) == [("warning", "excluded")], "a dead card that was excluded is no error"
    found = checked(facts(), kind=None)
    assert "the cards fit atlas-800i-a2-64g or atlas-800t-a2-64g" in only(found).advice


@pytest.mark.parametrize(
    ("name", "total", "count", "fit"),
    [
        ("910B4-1", 65536, 8, ["atlas-800i-a2-64g", "atlas-800t-a2-64g"]),
        ("910B4", 32768, 8, ["atlas-800i-a2-32g"]),
        ("Ascend910", 65536, 16, ["atlas-800i-a3", "atlas-800t-a3"]),
        ("310P3", 44278, 8, ["atlas-300i-duo-96g"]),
        ("310P3", 21527, 2, ["atlas-300i-duo-48g"]),
        ("910B4", 65536, 8, []),
    ],
)
def test_cards_tell_their_profile(name: str, total: int, count: int, fit: list[str]) -> None:
    cards = [card(n, name=name, memory_total_mb=total) for n in range(count)]
    assert [each.name for each in matching_profiles(cards)] == fit


def test_an_npu_id_among_the_excluded_cards() -> None:
    cards = [card(n, npu_id=24 + n) for n in range(8)]
    found = checked(facts(cards), excluded=[26])
    assert only(found).message.endswith("logic ids 0-7. NPU 26 has the logic id 2.")
    found = checked(facts(cards), excluded=[24])
    assert only(found).message.endswith("logic ids 0-7. NPU 24 has the logic id 0.")
    found = checked(facts([card(None, None, npu_id=24), *cards[1:]]), excluded=[24])
    said = {each.code: each.message for each in found.findings}
    assert said["excluded"].endswith("this host has the logic ids 1-7.")


# --- software ----------------------------------------------------------------------------------


def test_one_row_of_versions_is_one_unit() -> None:
    host = facts()
    host["cann"] = {SCRIPTS[0]: "8.3.RC2"}
    found = checked(host)
    assert codes(found) == [("error", "versions")]
    assert found.errors[0].message == (
        f"CANN 8.3.RC2 is installed at {SCRIPTS[0]}; vLLM 0.18.0 goes with CANN 8.5.1 (driver 25.5.2). CANN 8.3.RC2"
        " goes with vLLM 0.11.0."
    )
    host = facts(
        engine={
            "vllm": "0.17.0",
            "vllm_ascend": "0.18.0",
            "torch_npu": "2.8.0",
            "python": "3.12.4",
        }
    )
    assert [each.subject for each in checked(host).errors] == ["vLLM", "torch_npu", "Python"]
    good = {
        "vllm": "0.18.0+empty",
        "vllm_ascend": "0.18.0",
        "torch_npu": "2.9.0.post1",
        "python": "3.11.9",
    }
    assert checked(facts(engine=good)).findings == []


def test_every_row_of_the_matrix_can_be_judged() -> None:
    for row in rows():
        host = facts()
        host["npu"]["cann_version"] = row.cann
        assert checked(host, engine_version=row.vllm, executable=None, scripts=[]).findings == []


def test_a_version_row_of_the_user_takes_the_place_of_the_matrix() -> None:
    own = {"vllm": "0.19.0", "python": ["3.10", "3.12"]}
    named = {"engine_version": "0.19.0", "executable": None}
    assert "has no row" in only(checked(facts(), **named)).message
    assert checked(facts(), version_row=own, **named).findings == []
    other = checked(facts(), version_row={**own, "cann": "9.0.0"}, **named)
    assert "vLLM 0.19.0 goes with CANN 9.0.0 (driver 25.5.2)" in only(other).message


def test_who_may_open_the_cards() -> None:
    host = facts(groups=["root"])
    assert codes(checked(host)) == [("error", "access")]
    host = facts()
    host["user"]["groups"] = ["vllm"]
    assert "usermod -aG HwHiAiUser vllm" in only(checked(host)).advice
    host = facts()
    for device in host["devices"].values():
        device.update(group="root", mode="0660")
    found = checked(host)
    assert found.errors[0].subject.endswith("/dev/davinci2 and 5 more")
    assert "may not open them (0660, group root)" in found.errors[0].message


# --- services ----------------------------------------------------------------------------------


def test_everything_that_cannot_be_placed_is_said_at_once() -> None:
    host = facts([card(n, health="OK" if n < 6 else "Alarm") for n in range(8)])
    found = checked(
        host,
        {"model": "Qwen3-14B", "name": "a", "cards": [6]},
        {"model": "Qwen3-14B", "name": "b", "cards": [7]},
        {"model": "Qwen2.5-72B", "name": "c", "cards": 8},
        {"model": "Qwen3-14B", "name": "d"},
    )
    assert [e.subject for e in found.errors] == ["service a", "service b", "service c"]


def test_ports_that_others_have() -> None:
    taken = [
        {"port": 8000, "pid": 12, "command": "nginx", "unit": "nginx.service"},
        {"port": 61040, "pid": None, "command": None, "unit": None},
    ]
    found = checked(facts(ports=taken), {"model": "Qwen3-14B", "cards": 2}, "Qwen3-8B")
    assert [e.message for e in found.errors] == [
        "port 8000 is taken: PID 12 nginx (unit nginx.service) listens there."
    ]
    pair = checked(facts(ports=taken), {"model": "Qwen3-14B", "cards": [1, 2], "port": 9000})
    assert "port 61040 of its HCCL ports 61032-61063 is taken" in pair.errors[0].message
    ours = {"unit": "nginx.service", "pids": [12], "cards": [], "hccl_base_port": None}
    assert checked(facts(ports=taken[:1], services=[ours]), "Qwen3-14B").findings == []


def test_hccl_ports_in_the_range_that_this_host_gives_away() -> None:
    found = checked(facts(ephemeral_ports=[1024, 65535]), "Qwen3-14B")
    assert "ephemeral range 1024-65535" in found.errors[0].message
    assert checked(facts(ephemeral_ports=None), "Qwen3-14B").ephemeral_ports == [32768, 60999]


def test_disk_for_what_is_not_there() -> None:
    folder = "/var/lib/vllm/weights/Qwen/Qwen3-14B"
    host = facts(disk={"path": "/", "at": "/", "free_bytes": 10**9}, models={folder: False})
    assert codes(checked(host, "Qwen3-14B")) == [("warning", "disk")]
    host["models"][folder] = True
    assert checked(host, "Qwen3-14B").findings == []
    found = checked(facts(), "Qwen3-14B", checks={"weights": "warning"})
    assert only(found).subject == folder


def test_the_mask_of_a_310p() -> None:
    cards = [card(n, name="310P3", memory_total_mb=44278, memory_used_mb=1848) for n in range(4)]
    wish = {"model": "Qwen3-0.6B", "max_model_len": "40K", "gpu_memory_utilization": 0.95}
    found = checked(facts(cards), wish, kind=DUO, estimate=True)
    assert (
        "a mask of 40960 x 40960 x 2 bytes = 3200 MB on every card; beside gpu_memory_utilization"
        " 0.95 of 44278 MB only 2214 MB are left" in only(found).message
    )
    wish["max_model_len"] = "16K"
    assert checked(facts(cards), wish, kind=DUO, estimate=True).findings == []


# --- severities --------------------------------------------------------------------------------


def test_a_user_sets_how_grave_a_check_is() -> None:
    host = with_card(0, health="Alarm")
    assert codes(checked(host, checks={"health": "error"})) == [("error", "health")]
    assert checked(host, checks={"health": "ignore"}).findings == []
    for checks, word in (({"helath": "error"}, "helath"), ({"health": "fatal"}, "fatal")):
        with pytest.raises(AscendError, match=word):
            checked(host, checks=checks)


def test_errors_come_first_and_the_report_counts() -> None:
    host = with_card(0, health="Alarm")
    host["files"] = {}
    data = checked(host, "Qwen3-14B").as_dict("alpha")
    assert (data["errors"], data["warnings"]) == (2, 1)
    lines = data["report"].splitlines()
    assert lines[0] == (
        "Preflight of alpha: 2 errors and 1 warning. Nothing was changed on this host."
    )
    assert [line.split(",")[0] for line in lines[1:]] == [
        "ERROR cann",
        "ERROR engine",
        "WARNING health",
    ]
    assert checked(host, "Qwen3-14B").unavailable == {0: "health Alarm"}
    assert checked(serving(3)).existing == {"chat": ExistingPlacement((3,), 8000, True)}


def test_options_as_a_playbook_gives_them() -> None:
    assert PreflightOptions.from_dict(
        {"excluded": ["3"], "checks": None, "engine_version": None}
    ).excluded == [3]
    for options in ({"excluded": ["x"]}, {"checks": ["health"]}):
        with pytest.raises(AscendError, match="ascend_host_"):
            PreflightOptions.from_dict(options)


# --- what is not known ---------------------------------------------------------------------------


def problems(host: dict[str, Any], *codes: str) -> dict[str, Any]:
    host["npu"]["problems"] = [
        {"code": code, "message": f"{code}.", "advice": "Look."} for code in codes
    ]
    return host


def test_a_host_without_a_card_to_place_on_cannot_be_let_through() -> None:
    """Else its services would be given cards that nobody has seen."""
    lenient = {"npu_smi": "ignore", "ids": "warning", "placement": "warning"}
    silent = problems(facts([]), "dcmi_8005")
    assert codes(checked(silent, "Qwen3-14B", checks=lenient)) == [("error", "npu_smi")]
    assert checked(silent, checks=lenient).findings == [], "nothing is wished of it"
    nameless = problems(facts([card(None, None, npu_id=n) for n in range(8)]), "mapping_failed")
    found = checked(nameless, "Qwen3-14B", {"model": "Qwen3-8B", "cards": [3]}, checks=lenient)
    assert codes(found) == [("error", "ids")], "that there is no card for them goes without saying"


def test_half_a_table_moves_no_service() -> None:
    stands = [{"name": "chat", "cards": [7], "port": 8000}]
    wish = {"model": "Qwen3-14B", "name": "chat"}
    half = facts([card(n) for n in range(4)], standing=stands)
    for code in ("truncated", "elided", "card_not_shown", "mapping_truncated"):
        found = checked(problems(half, code), wish, kind=None)
        assert [each.code for each in found.errors].count("placement") == 1, code
        assert len(found.errors) == 2, code
        assert "it is placed on card 7, which npu-smi does not show" in found.text("h")
    assert checked(problems(facts(), "no_process_table"), wish).errors == []
    # A dead card that was excluded is still in the mapping.
    gone = problems(facts([card(n) for n in range(7)], standing=stands), "card_not_shown")
    assert checked(gone, wish, excluded=[7]).errors == []


def test_the_report_says_whether_the_run_goes_on() -> None:
    found = checked(problems(facts([]), "dcmi_8005"))
    assert "Nothing was changed on this host" in found.text("h")
    going_on = found.text("h", stops=False)
    assert "Nothing was changed" not in going_on
    assert "The run continues" in going_on


# --- what serves ---------------------------------------------------------------------------------


def serving(logic: int, name: str = "chat", *, runs: bool = True, **changes: Any) -> dict[str, Any]:
    """A host with a service of ours on a card, and something the matter with that card."""
    mine = [process(99, 59311, f"vllm@{name}.service")] if runs else []
    processes = [*mine, *changes.pop("foreign", [])]
    used = 3465 + sum(each["memory_mb"] for each in processes)
    host = with_card(logic, **{"memory_used_mb": used, "processes": processes, **changes})
    host["standing"] = [{"name": name, "cards": [logic], "port": 8000}]
    if runs:
        unit = {"unit": f"vllm@{name}.service", "pids": [99], "cards": [logic]}
        host["services"] = [{**unit, "hccl_base_port": 61000}]
    return host


@pytest.mark.parametrize("cards", [1, [3]])
def test_what_serves_on_an_ill_or_shared_card_stays_there_and_nobody_joins_it(cards: Any) -> None:
    wish = {"model": "Qwen3-14B", "name": "chat", "cards": cards}
    foreign = process(4711, 700, "train.service", "python3 train.py")
    for host, said in (
        (serving(3, foreign=[foreign]), "in use by PID 4711 python3 train.py (unit train.service)"),
        (serving(3, health="Warning"), "health Warning (accepted: OK)"),
    ):
        found = checked(host, wish)
        assert codes(found)[0][0] == "warning", found.text("h")
        assert f"{said}; service chat runs here and stays, no other gets this card." in found.text(
            "h"
        )
        assert found.existing["chat"].running
        host_cards = HostCards.parse(found.cards, unavailable=found.unavailable)
        placed = place(
            specs(wish, "Qwen3-8B"), host_cards, PortSettings(8000, 61000, 32, None), found.existing
        )
        assert [service.cards for service in placed] == [(3,), (0,)]
        other = checked(host, wish, {"model": "Qwen3-8B", "cards": [3]})
        assert codes(other)[0] == ("error", "placement")


def test_a_tenant_that_leaves_too_little_for_a_new_start_is_a_warning_to_what_runs() -> None:
    foreign = process(4711, 9000, "train.service")
    found = checked(serving(3, foreign=[foreign]), {"model": "Qwen3-14B", "name": "chat"})
    assert codes(found) == [("warning", "processes"), ("warning", "memory")]
    assert "would not start again" in found.text("h")


def test_what_a_crashed_service_has_left_moves_it_with_a_word() -> None:
    host = serving(3, runs=False, memory_used_mb=50000)
    found = checked(host, {"model": "Qwen3-14B", "name": "chat"})
    assert only(found).message.endswith("No service gets this card, service chat was placed here.")


def test_each_service_is_judged_by_its_own_utilization() -> None:
    host = with_card(0, memory_used_mb=20000)
    small = {"model": "Qwen3-0.6B", "gpu_memory_utilization": 0.5, "cards": [0]}
    wishes = (small, {"model": "Qwen3-14B", "cards": [1]})
    found = checked(host, *wishes, allow_untested=True)
    assert found.findings == []
    wishes = ({**small, "cards": [1]}, {"model": "Qwen3-14B", "cards": [0]})
    assert codes(checked(host, *wishes, allow_untested=True)) == [("error", "memory")]


def test_versions_are_those_of_what_services_source() -> None:
    host = facts(cann={SCRIPTS[0]: None})
    assert only(checked(host)).message.startswith("its version cannot be read")
    assert only(checked(host)).advice == f"Searched for it next to {SCRIPTS[0]}."


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("vllm_ascend", "0.18.0rc1", False),
        ("vllm_ascend", "0.18.0.post1", True),
        ("vllm_ascend", "0.18.01", False),
        ("torch_npu", "2.9.0+git1234", True),
        ("torch_npu", "2.9.0.dev20251001", False),
    ],
)
def test_a_release_candidate_is_not_the_release(name: str, version: str, fits: bool) -> None:
    engine = {**dict.fromkeys(("vllm", "vllm_ascend", "torch_npu", "python")), name: version}
    assert [each.subject for each in checked(facts(engine=engine)).errors] == (
        [] if fits else [name]
    )


def test_memory_whose_visible_share_nobody_has_published_stops_nothing() -> None:
    cards = [card(n, name="310P3", memory_total_mb=21527, memory_used_mb=1800) for n in range(2)]
    wish = {"model": "Qwen3-0.6B", "max_model_len": "4K", "gpu_memory_utilization": 0.95}
    found = checked(facts(cards), wish, kind="atlas-300i-duo-48g", memory=48, estimate=True)
    assert [each for each in codes(found) if each[1] == "memory"] == [("warning", "memory")]


def test_ports_are_judged_also_where_cards_are_not_to_be_seen() -> None:
    taken = [
        {"port": port, "pid": 12, "command": "nginx", "unit": "nginx.service"}
        for port in (8000, 8003, 9000)
    ]
    host = problems(facts([], ports=taken), "dcmi_8005")
    host["standing"] = [{"name": "there", "cards": [0], "port": 8003}]
    wishes = (
        {"model": "Qwen3-14B", "name": "given", "port": 9000},
        {"model": "Qwen3-14B", "name": "there"},
        {"model": "Qwen3-14B", "name": "new"},
    )
    found = checked(host, *wishes)
    assert [(each.code, each.subject) for each in found.errors] == [
        ("npu_smi", "cards"),
        ("ports", "service given"),
        ("ports", "service there"),
    ]


def test_what_does_not_fit_together_hides_nothing_of_the_others() -> None:
    taken = [{"port": 9000, "pid": 12, "command": "nginx", "unit": "nginx.service"}]
    wishes = (
        {"model": "Qwen3-14B", "name": "a", "cards": [0], "port": 9000},
        {"model": "Qwen3-14B", "name": "b", "cards": [0]},
        {"model": "Qwen3-14B", "name": "c", "cards": [1], "gpu_memory_utilization": 0.98},
    )
    cards = [card(n, memory_used_mb=5500) for n in range(8)]
    found = checked(facts(cards, ports=taken), *wishes)
    found = [(each.code, each.subject.split(",")[0]) for each in found.errors]
    assert ("placement", "service b") in found
    assert ("ports", "service a") in found
    assert ("memory", "service c") in found


def test_services_that_nobody_named_are_said_not_to_be_judged() -> None:
    found = checked(facts(), asked=False)
    assert only(found).message.startswith("vllm_service_instances is not defined where")
    assert checked(facts()).findings == []
