# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The known failures: each is found by the words that users report, and none by others' words."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.inferops.ascend.plugins.module_utils._service import journal
from ansible_collections.inferops.ascend.plugins.plugin_utils._service import causes

DATA = causes.failures()
FAILURES = journal.failures_of(DATA)
PHASES = journal.phases_of(causes.phases())
KNOWN = {"name": "chat", "unit": "vllm@chat.service", "port": 8000, "holder": None}

# What the engine prints when another reason has brought it down; it comes after every failure.
CONSEQUENCES = [
    "(EngineCore_DP0 pid=9) ERROR 11-23 17:44:01 [core.py:700] EngineCore failed to start.",
    "Traceback (most recent call last):",
    "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore_DP0': 1}",
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace "
    "(above) for the root cause.",
    "vllm@chat.service: Main process exited, code=exited, status=1/FAILURE",
    "vllm@chat.service: Failed with result 'exit-code'.",
]

# A line as reported, the failure that it is, and figures that are taken out of it. Sources: those
# of the entries in vars/failures.yml.
LINES: list[tuple[str, str, dict[str, str]]] = [
    (
        "vllm@chat: /usr/local/Ascend/nnal/atb/set_env.sh is missing or not readable: install CANN and NNAL, or set "
        "vllm_service_cann_scripts",
        "cann-script",
        {"script": "/usr/local/Ascend/nnal/atb/set_env.sh"},
    ),
    (
        "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?.",
        "container-daemon",
        {},
    ),
    (
        'time="2026-11-23T23:13:07Z" level=error msg="error waiting for container: unexpected EOF"',
        "container-daemon",
        {},
    ),
    (
        'docker: Error response from daemon: invalid mount config for type "bind": bind source path does not '
        "exist: /usr/local/bin/npu-smi.",
        "container-mount",
        {"path": "/usr/local/bin/npu-smi"},
    ),
    (
        "Error: statfs /usr/local/bin/npu-smi: no such file or directory",
        "container-mount",
        {"path": "/usr/local/bin/npu-smi"},
    ),
    (
        "docker: Error response from daemon: error gathering device information while adding custom device "
        '"/dev/davinci9": no such file or directory.',
        "container-device",
        {"path": "/dev/davinci9"},
    ),
    (
        "Error: stat /dev/davinci9: no such file or directory",
        "container-device",
        {"path": "/dev/davinci9"},
    ),
    (
        "docker: Error response from daemon: No such image: v:1.",
        "container-image",
        {"image": "v:1"},
    ),
    ("Error: sha256:11: image not known", "container-image", {"image": "sha256:11"}),
    (
        "/bin/bash: line 1: /opt/vllm/current/bin/vllm: No such file or directory",
        "no-program",
        {"program": "/opt/vllm/current/bin/vllm", "reason": "No such file or directory"},
    ),
    (
        "vllm@chat.service: Failed at step USER spawning /bin/bash: No such process",
        "unit-step",
        {"step": "USER", "reason": "No such process"},
    ),
    (
        "vllm@chat.service: Failed to load environment files: No such file or directory",
        "unit-step",
        {"reason": "No such file or directory"},
    ),
    ("Starting requested but asserts failed.", "configuration-missing", {}),
    (
        "ImportError: libascend_hal.so: cannot open shared object file: No such file or directory",
        "library-driver",
        {"library": "libascend_hal.so"},
    ),
    (
        "ImportError: libatb.so: cannot open shared object file: No such file or directory",
        "library-atb",
        {"library": "libatb.so"},
    ),
    (
        "OSError: libhccl.so: cannot open shared object file: No such file or directory",
        "library-cann",
        {"library": "libhccl.so"},
    ),
    (
        "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
        "library",
        {"library": "libGL.so.1"},
    ),
    ("dcmi module initialize failed. ret is -8005", "driver-access", {}),
    ("dcmi model initialized failed, because the device is used. ret is -8020", "card-held", {}),
    ("[ERROR] drvErr=87, halGetDeviceInfo failed", "card-held", {}),
    (
        "EE1001: The argument is invalid.Reason: set ASCEND_RT_VISIBLE_DEVICES:4,7 error, input data rang[0-4)",
        "visible-range",
        {"visible": "4,7", "count": "4"},
    ),
    ("aclrtGetDeviceCount failed, error code is 207004", "visible-range", {}),
    (
        'Exception: Error setting ASCEND_RT_VISIBLE_DEVICES: local range: [0, 64) base value: "0,1,2,3,4,5,6,7"',
        "visible-malformed",
        {"last": "64", "visible": "0,1,2,3,4,5,6,7"},
    ),
    (
        "AssertionError: local_world_size (8) must be less than or equal to the number of visible devices (0).",
        "cards-too-few",
        {"world": "8", "count": "0"},
    ),
    (
        "..[ERROR] the socversion Ascend910B1 of bin package does not match the current device socverison Ascend310P3. Please modify default",
        "card-type",
        {"built": "Ascend910B1", "card": "Ascend310P3"},
    ),
    ("npuDeviceID does not allow repetitive element", "mindie-ids", {}),
    ("The size of npuDeviceIds does not equal to worldSize", "mindie-ids", {}),
    (
        "ValueError: Total number of attention heads (32) must be divisible by tensor parallel size (3).",
        "heads",
        {"heads": "32", "ranks": "3"},
    ),
    (
        "  Value error, User-specified max_model_len (4096) is greater than the derived max_model_len (max_position_embeddings=2048.0 or "
        "model_max_length=None in model's config.json).",
        "length-above-model",
        {"tokens_wanted": "4096", "tokens_native": "2048"},
    ),
    (
        "vllm: error: unrecognized arguments: --no-such-flag 3",
        "unknown-option",
        {"options": "--no-such-flag 3"},
    ),
    (
        "vllm serve: error: argument --dtype: invalid choice: 'half8' (choose from 'auto', 'half')",
        "bad-option",
        {"option": "--dtype"},
    ),
    (
        "  Input should be less than or equal to 1 [type=less_than_equal, input_value=1.5, input_type=float]",
        "utilization-range",
        {"value": "1.5"},
    ),
    (
        "RuntimeError: Cannot find any model weights with `/var/lib/vllm/weights/Qwen/Qwen3-14B`",
        "weights-missing",
        {"folder": "/var/lib/vllm/weights/Qwen/Qwen3-14B"},
    ),
    (
        "OSError: /var/lib/vllm/weights/Qwen does not appear to have a file named config.json. Checkout",
        "weights-missing",
        {"file": "config.json"},
    ),
    (
        "ValueError: Invalid repository ID or local directory specified: '/mnt/models'.",
        "weights-missing",
        {"folder": "/mnt/models"},
    ),
    (
        "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
        "weights-broken",
        {"reason": "MetadataIncompleteBuffer"},
    ),
    (
        "ValueError: Following weights were not initialized from checkpoint: {'model.layers.19.mlp'}",
        "weights-broken",
        {},
    ),
    ("OSError: [Errno 28] No space left on device", "disk-full", {}),
    (
        "(EngineCore pid=478) ERROR 11-23 18:29:37 [core.py:1510] RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: "
        "160 MiB required, 62 MiB free. Increase /dev/shm (e.g. --shm-size or --ipc=host).",
        "shared-memory",
        {"needed": "160 MiB", "free": "62 MiB"},
    ),
    (
        "(Worker pid=410) ERROR 11-23 18:42:42 [multiproc_executor.py:1063] torch._inductor.exc.InductorError: InvalidCxxCompiler: No working "
        "C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')",
        "compiler",
        {},
    ),
    (
        "ValueError: Available memory on node 0 (17.20/23.54 GiB) on startup is less than desired CPU memory "
        "utilization (0.92, 21.66 GiB). On the CPU backend, the `--gpu-memory-utilization` flag",
        "cpu-memory-taken",
        {"free": "17.20", "total": "23.54", "utilization": "0.92", "wanted": "21.66"},
    ),
    (
        "ValueError: Free memory on device (8.0/64.0 GiB) on startup is less than desired GPU memory utilization (0.9, 57.6 GiB). Decrease GPU "
        "memory utilization",
        "memory-taken",
        {"free": "8.0", "total": "64.0", "utilization": "0.9", "wanted": "57.6"},
    ),
    (
        "AssertionError: Error in memory profiling. Initial free memory 60.1 GiB, current free memory 61.0 GiB.",
        "memory-moving",
        {},
    ),
    (
        "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 60.96 GiB total capacity; 58.30 GiB "
        "already allocated)",
        "out-of-memory",
        {"wanted": "2.00 GiB", "total": "60.96 GiB", "npu": "0"},
    ),
    (
        "ValueError: To serve at least one request with the models's max seq len (40960), (5.62 GiB KV cache is needed, which is larger than "
        "the available KV cache memory (4.50 GiB). Based on the available memory, the estimated maximum model length is 32768. Try "
        "increasing",
        "kv-cache",
        {"tokens_wanted": "40960", "needed": "5.62", "available": "4.50", "tokens_fit": "32768"},
    ),
    (
        "ValueError: To serve at least one request with the model's max seq len (16,384), 4.00 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (2.50 GiB). Based on the available memory, the estimated "
        "maximum model length is 10,240.",
        "kv-cache",
        {"tokens_wanted": "16384", "tokens_fit": "10240"},
    ),
    (
        "ValueError: The model's max seq len (32768) is larger than the maximum number of tokens that can be stored in KV cache (21024). Try "
        "increasing",
        "kv-cache-old",
        {"tokens_wanted": "32768", "tokens_fit": "21024"},
    ),
    (
        "INFO [worker.py:358] Available KV cache memory: -0.87 GiB",
        "no-kv-cache",
        {"available": "-0.87"},
    ),
    (
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "no-kv-cache",
        {},
    ),
    (
        "RuntimeError: capture_begin:../NPUGraph.cpp:230 NPU function error: c10_npu::acl::AclmdlRICaptureBegin, error code is 207008",
        "graph-streams",
        {},
    ),
    (
        "[PID: 1] Insufficient_Stream_Resources(EL0009): The stream resources are insufficient.",
        "graph-streams",
        {},
    ),
    (
        "EJ0003: Failed to bind the IP port. Reason: The IP address and port have been bound already.",
        "hccl-port",
        {},
    ),
    ("EI0019: [PID: 9] Bind_Port_Failed", "hccl-port", {}),
    ("host nic listen start failed, port[60000]", "hccl-port", {"hccl_port": "60000"}),
    ("listen on ip[127.0.0.1] and specific port[16666] fail", "hccl-port", {"hccl_port": "16666"}),
    ("OSError: [Errno 98] Address already in use", "port", {}),
    (
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
        "port",
        {"taken_port": "8000"},
    ),
    (
        "EI0006: Getting socket times out. Reason: Remote Rank did not send the data in time.",
        "hccl-timeout",
        {},
    ),
    ("rtGetDeviceCount:ErrCode=507899, desc=[driver error:internal error]", "card-error", {}),
    (
        "RuntimeError: Failed to infer device type, please set the environment variable",
        "device-type",
        {},
    ),
    (
        "TimeoutError: Timed out waiting for engines to send initial message on input socket.",
        "engine-timeout",
        {},
    ),
    (
        "TimeoutError: Timed out waiting for engine core processes to start. This is often caused by slow weight loading for large models. "
        "Waited 600s (configured by VLLM_ENGINE_READY_TIMEOUT_S).",
        "engine-timeout",
        {"waited": "600"},
    ),
    (
        "vllm@chat.service: A process of this unit has been killed by the OOM killer.",
        "host-memory",
        {},
    ),
    (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ParallelConfig",
        "setting-refused",
        {"section": "ParallelConfig"},
    ),
    (
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': -9}",
        "engine-killed",
        {"signal": "9"},
    ),
    (
        "Worker proc VllmWorker-1 died unexpectedly (exit code: -11), shutting down executor.",
        "engine-killed",
        {"signal": "11"},
    ),
    ("KeyError: 'model.layers.0.mlp.gate'", "unrecognised", {"error": "'model.layers.0.mlp.gate'"}),
    ("Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.", "engine-dead", {}),
    (
        "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:30235')",
        "inner-port",
        {"inner_port": "30235"},
    ),
    ("zmq.error.ZMQError: Address already in use", "inner-port", {}),
    (
        "The server socket has failed to listen on any local network address. port: 29500, useIpv6: 0, code: -98",
        "rendezvous-port",
        {"torch_port": "29500"},
    ),
]
# Those of which systemd alone speaks.
WITHOUT_LINES = {"ended"}

# What healthy starts print, and what must not be taken for a cause.
HARMLESS = [
    "ERROR: ld.so: object '/usr/lib64/libjemalloc.so.2' from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored.",
    "WARNING [_custom_ops.py:22] Failed to import from vllm._C with ImportError('libcudart.so.12: cannot open shared object file: No such file or directory')",
    "(APIServer pid=727) WARNING 11-23 18:31:05 [system_utils.py:255] Found ulimit of 20000 and failed to automatically increase with error "
    "current limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too many open files`. Consider "
    "increasing with ulimit -n",
    "INFO [worker.py:852] Free memory on device (60.6/60.96 GiB) on startup. Desired GPU memory utilization is (0.95, 57.91 GiB). Actual "
    "usage: 39.51 GiB for weights",
    "INFO [gpu_worker.py:375] Available KV cache memory: 19.40 GiB",
    "(EngineCore pid=102) INFO 05-21 06:32:41 [shm_broadcast.py:698] No available shared memory broadcast block found in 60 seconds. This "
    "typically happens when some processes are hanging or doing some time-consuming work (e.g. compilation, weight/kv cache quantization).",
    "[rank0]:[W1014 17:17:24.992527772 compiler_depend.ts:250] Warning: CAUTION: The operator '_C_ascend::weak_ref_tensor' is not currently "
    "supported on the NPU backend and will fall back to run on the CPU.",
    "(EngineCore pid=3) ERROR 11-23 19:25:36 [multiproc_executor.py:315] Worker proc VllmWorker-0 died unexpectedly (exit code: 0), shutting down executor.",
    'INFO: 10.0.0.1:5555 - "POST /v1/completions HTTP/1.1" 200 OK',
    "INFO [utils.py:253] non-default args: {'port': 8080, 'max_model_len': 8192}",
    "(APIServer pid=1) INFO:     Application startup complete.",
]


def why(*lines: str, **given: Any) -> dict[str, Any] | None:
    return journal.find_cause(list(lines), FAILURES, KNOWN, **given)


def test_the_data_fits_its_schema(repository: Path) -> None:
    for name in ("failures", "start_phases"):
        schema = json.loads((repository / f"vars/schemas/{name}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        data = yaml.safe_load((repository / f"vars/{name}.yml").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(schema).validate(data)
    phases = data["phases"]
    assert {source for each in phases for source in each["sources"]} == set(data["source_registry"])
    names = [each["id"] for each in DATA]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("line", "name", "figures"), LINES, ids=[line[:40] for line, *_unused in LINES]
)
def test_a_reported_line_is_the_failure_that_it_is(
    line: str, name: str, figures: dict[str, str]
) -> None:
    prefixed = "(EngineCore_DP0 pid=9) ERROR 11-23 17:44:00 [core.py:700] " + line
    for said in (line, prefixed) if not line.startswith("/bin/bash") else (line,):
        found = why(said)
        assert found is not None
        assert found["id"] == name
        assert {key: found["values"].get(key) for key in figures} == figures
        assert found["lines"] == [said]


@pytest.mark.parametrize(("line", "name"), [(line, name) for line, name, _figures in LINES])
def test_a_cause_wins_over_its_consequences(line: str, name: str) -> None:
    if name in ("engine-dead", "engine-killed"):
        return  # they are such themselves
    found = why(*HARMLESS, CONSEQUENCES[1], line, *CONSEQUENCES, result="exit-code", status=1)
    assert found is not None and found["id"] == name


def test_consequences_without_a_cause_say_that_there_is_none() -> None:
    found = why(*HARMLESS, *CONSEQUENCES, result="exit-code", status=1)
    assert found is not None and found["id"] == "engine-dead"


def test_every_failure_has_a_line_that_users_reported() -> None:
    assert {name for _line, name, _figures in LINES} == {f.id for f in FAILURES} - WITHOUT_LINES


def test_no_text_is_left_with_a_place_to_fill_in() -> None:
    for line, _name, _figures in LINES:
        found = why(line)
        assert found is not None
        for text in (found["cause"], found["advice"]):
            assert not re.search(r"\{[a-z_]+\}", text), text
    for failure in FAILURES:  # nor where systemd alone speaks
        for key, known in (("result", failure.results), ("status", failure.statuses)):
            for value in known:
                found = why(**{key: value})
                assert found is not None and not re.search(r"\{[a-z_]+\}", found["cause"])


@pytest.mark.parametrize("line", HARMLESS, ids=lambda value: value[:40])
def test_a_line_of_a_healthy_start_is_no_cause(line: str) -> None:
    assert why(line) is None


def test_the_estimated_length_stands_in_the_advice() -> None:
    found = why(next(line for line, name, _f in LINES if name == "kv-cache"))
    assert found is not None
    assert "Set max_model_len: 32768 or less on service chat" in found["advice"]
    assert (
        found["cause"] == "max_model_len 40960 needs a KV cache of 5.62 GiB, and 4.50 GiB are left."
    )
    assert found["retry"] is False


def test_an_estimate_of_nothing_is_no_advice() -> None:
    found = why(
        "the model's max seq len (40960): the estimated maximum model length is 0.",
        "ValueError: To serve at least one request with the model's max seq len (40960)",
    )
    assert found is not None and "Set a smaller max_model_len" in found["advice"]


def test_who_holds_the_port_is_named() -> None:
    line = "OSError: [Errno 98] Address already in use"
    known = {**KNOWN, "holder": "nginx (PID 4, unit nginx.service)"}
    found = journal.find_cause([line], FAILURES, known)
    assert found is not None
    assert found["cause"] == "Port 8000 is taken by nginx (PID 4, unit nginx.service)."
    without = why(line)
    assert without is not None and without["cause"] == "Port 8000 is taken by somebody else."


def test_every_text_of_the_facts_is_recognised(shared: Path) -> None:
    """Each bullet of the collected reports is a cause, and by more than the general entries."""
    text = (shared / "facts" / "failures.md").read_text(encoding="utf-8")
    bullets = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(bullets) > 12
    for bullet in bullets:
        words = re.findall(r"`([^`]+)`", bullet)
        if "cannot open shared object file" in bullet:
            libraries = re.findall(r"lib\w+\.so", bullet)
            words = [f"ImportError: {name}: cannot open shared object file" for name in libraries]
        for word in words:
            if word.startswith(":"):
                continue  # the end of the text before it, with other figures
            # The facts write N, M, x and y for figures.
            found = why(re.sub(r"(?<=\()[NMxy](?=[ )])|(?<=is )M(?=\.)", "4096", word))
            assert found is not None, word
            assert found["id"] not in ("unrecognised", "engine-dead", "ended", "library"), word


# --- no line is too long or too odd -----------------------------------------------------------


RUNS = ["a", "9", " ", "(", "/", "A ", "9.", "1,", "A.b", "x: ", "[", "{'", "0% Completed | 9/"]


def hostile(pattern: str) -> list[str]:
    """Lines of a megabyte on which a careless pattern takes for ever: runs, and its own words."""
    size = 1_000_000
    own = [line for line, _name, _figures in LINES if re.search(pattern, line)]
    texts = [*RUNS, re.split(r"[\\(\[.?*+{|]", pattern)[0], *own]
    texts += [line[: len(line) // 2] for line in own]
    return [(text * (size // len(text) + 1))[:size] for text in dict.fromkeys(texts) if text]


def test_no_pattern_takes_long_on_a_line_of_a_megabyte() -> None:
    """Linear patterns take some 10 ms; one that is quadratic in a megabyte takes an hour."""
    slow = []
    for pattern in {p for each in [*FAILURES, *PHASES] for p in each.patterns}:
        for line in hostile(pattern.pattern):
            begun = time.process_time()
            pattern.search(line)
            taken = time.process_time() - begun
            if taken > 1.0:
                slow.append((pattern.pattern, line[:30], round(taken, 1)))
    assert slow == []


def test_a_journal_of_two_thousand_lines_is_read_in_no_time() -> None:
    lines = [
        f"(Worker_TP{n % 8} pid={n}) INFO 11-23 [layer.py:{n}] {'word ' * 30}" for n in range(2000)
    ]
    begun = time.process_time()
    assert journal.progress(lines, PHASES).phase is None
    assert why(*lines) is None
    assert time.process_time() - begun < 2.0
