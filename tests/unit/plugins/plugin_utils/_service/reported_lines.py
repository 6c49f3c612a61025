# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of journals as users reported them, and what they mean."""

from __future__ import annotations

# What the engine prints when another reason has brought it down; it comes after every failure.
CONSEQUENCES = [
    "(EngineCore_DP0 pid=9) ERROR 11-23 17:44:01 [core.py:700] EngineCore failed to start.",
    "Traceback (most recent call last):",
    "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore_DP0': 1}",
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace "
    "(above) for the root cause.",
    "(APIServer pid=7) ERROR 11-23 17:44:01 [async_llm.py:702] AsyncLLM output_handler failed.",
    "vllm@chat.service: Main process exited, code=exited, status=1/FAILURE",
    "vllm@chat.service: Failed with result 'exit-code'.",
]

# A line as reported, the failure that it is, and figures that are taken out of it. Sources: those
# of the entries in vars/failures/.
_WAITS = "group: waiting for rank 1 (npu-02, 10.0.0.2) since 2026-11-29 18:38:01 +0000; "
_MEMBER_WAITS = _WAITS.replace("rank 1 (npu-02, 10.0.0.2)", "rank 0 (npu-01, 10.0.0.1)")
LINES: list[tuple[str, str, dict[str, str]]] = [
    (
        "group: settings of the group: protocol 2, this program knows 1",
        "group-settings",
        {"problem": "settings of the group: protocol 2, this program knows 1"},
    ),
    (
        _WAITS + "10.0.0.2 (npu-02) has other settings",
        "group-other-settings",
        {"host": "10.0.0.2 (npu-02)"},
    ),
    (
        _MEMBER_WAITS + "the leader npu-01 refuses: other settings than the leader; lost rank 0",
        "group-other-settings",
        {"leader": "the leader npu-01"},
    ),
    (
        _WAITS + "fd00::2 (npu-02) has another secret",
        "group-secret",
        {"host": "fd00::2 (npu-02)"},
    ),
    (
        _MEMBER_WAITS + "the leader npu-01 does not know the secret of the group",
        "group-secret",
        {"host": "npu-01"},
    ),
    (
        _MEMBER_WAITS + "the leader npu-01 refuses: another version of the protocol",
        "group-protocol",
        {"host": "npu-01"},
    ),
    (
        _WAITS + "10.0.0.2 (npu-02) is a member of another service",
        "group-member",
        {"host": "10.0.0.2 (npu-02)"},
    ),
    (
        _WAITS + "address 10.0.0.1, port 20000 cannot be used: Address already in use",
        "group-port",
        {"what": "address 10.0.0.1, port 20000", "why": "Address already in use"},
    ),
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
    ("aclrtGetDeviceCount failed, error code is 207004", "no-card", {}),
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
        "oom-kill",
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
    (
        "KeyError: 'model.layers.0.mlp.gate'",
        "unrecognised",
        {"error": "KeyError: 'model.layers.0.mlp.gate'"},
    ),
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
