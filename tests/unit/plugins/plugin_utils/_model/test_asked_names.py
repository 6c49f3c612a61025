# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that people ask for are answered, each on a basis, or refused in words that help."""

from __future__ import annotations

import pytest

from .resolving import rejection, spec

# The name that is asked for, the model that it means, and what the answer rests on.
ANSWERED = [
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen3-Next-80B-A3B-Instruct", "estimated"),
    ("Qwen3-Next-80B-A3B-Thinking", "Qwen3-Next-80B-A3B-Thinking", "estimated"),
    ("Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL-8B-Instruct", "documented"),
    ("Qwen3-VL-30B-A3B-Thinking", "Qwen3-VL-30B-A3B-Thinking", "estimated"),
    ("Qwen3-VL-235B-A22B-Instruct", "Qwen3-VL-235B-A22B-Instruct", "estimated"),
    ("Qwen3-VL-235B-A22B-Instruct-W8A8", "Qwen3-VL-235B-A22B-Instruct-W8A8", "estimated"),
    ("Qwen/Qwen3.5-27B", "Qwen3.5-27B", "estimated"),
    ("Qwen3.5-35B-A3B", "Qwen3.5-35B-A3B", "estimated"),
    ("Qwen3.5-397B-A17B", "Qwen3.5-397B-A17B", "estimated"),
    ("Qwen3.6-35B-A3B", "Qwen3.6-35B-A3B", "estimated"),
    ("Qwen3.6-27B-w8a8", "Qwen3.6-27B-w8a8", "estimated"),
    ("Qwen3-30B-A3B-Instruct-2507", "Qwen3-30B-A3B-Instruct-2507", "estimated"),
    ("Qwen/Qwen3-4B-Thinking-2507", "Qwen3-4B-Thinking-2507", "estimated"),
    ("Qwen3-235B-A22B-Instruct-2507", "Qwen3-235B-A22B-Instruct-2507", "measured"),
    ("Qwen3-Coder-30B-A3B-Instruct", "Qwen3-Coder-30B-A3B-Instruct", "documented"),
    ("Qwen/Qwen3-Coder-480B-A35B-Instruct", "Qwen3-Coder-480B-A35B", "measured"),
    ("Qwen/Qwen3-32B-FP8", "Qwen/Qwen3-32B-FP8", "estimated"),
    ("Qwen3-32B-W8A8", "Qwen3-32B-W8A8", "estimated"),
    ("Qwen3-8B-AWQ", "Qwen3-8B-AWQ", "estimated"),
    ("Qwen2.5-7B-Instruct", "Qwen2.5-7B", "measured"),
    ("Qwen2.5-72B-Instruct-GPTQ-Int4", "Qwen2.5-72B-Instruct-GPTQ-Int4", "estimated"),
    ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL-7B", "measured"),
    ("Qwen2.5-Omni-7B", "Qwen2.5-Omni-7B", "estimated"),
    ("Qwen/Qwen3-Omni-30B-A3B-Instruct", "Qwen/Qwen3-Omni-30B-A3B-Instruct", "estimated"),
    ("Qwen3-Omni-30B-A3B-Thinking", "Qwen3-Omni-30B-A3B-Thinking", "documented"),
    ("Qwen3-ASR-1.7B", "Qwen3-ASR-1.7B", "documented"),
    ("Qwen3-Embedding-8B", "Qwen3-Embedding-8B", "measured"),
    ("BAAI/bge-m3", "bge-m3", "measured"),
    ("Qwen3-Reranker-4B", "Qwen3-Reranker-4B", "measured"),
    ("bge-reranker-v2-m3", "bge-reranker-v2-m3", "measured"),
    ("Qwen3-VL-Embedding-8B", "Qwen3-VL-Embedding-8B", "estimated"),
    ("deepseek-ai/DeepSeek-V3", "DeepSeek-V3", "estimated"),
    ("DeepSeek-V3-0324", "DeepSeek-V3-0324", "estimated"),
    ("DeepSeek-R1-0528", "DeepSeek-R1-0528", "estimated"),
    ("DeepSeek-V3.1-Terminus", "DeepSeek-V3.1-Terminus", "estimated"),
    ("deepseek-ai/DeepSeek-V3.2-Exp", "deepseek-ai/DeepSeek-V3.2-Exp", "estimated"),
    ("vllm-ascend/DeepSeek-V3.2-W8A8", "DeepSeek-V3.2-W8A8", "documented"),
    ("DeepSeek-V4-Flash", "DeepSeek-V4-Flash", "estimated"),
    ("DeepSeek-V4-Pro", "DeepSeek-V4-Pro", "estimated"),
    ("DeepSeek-V2-Lite", "DeepSeek-V2-Lite", "estimated"),
    ("deepseek-ai/DeepSeek-OCR", "DeepSeek-OCR", "estimated"),
    ("moonshotai/Kimi-K2-Instruct-0905", "moonshotai/Kimi-K2-Instruct-0905", "estimated"),
    ("Kimi-K2-Thinking", "Kimi-K2-Thinking", "documented"),
    ("Kimi-K2.5", "Kimi-K2.5", "estimated"),
    ("Kimi-K2.5-w4a8", "Kimi-K2.5-W4A8", "documented"),
    ("Kimi-K2.6", "Kimi-K2.6", "estimated"),
    ("zai-org/GLM-4.5", "GLM-4.5", "estimated"),
    ("GLM-4.5-Air", "GLM-4.5-Air", "estimated"),
    ("GLM-4.5V", "GLM-4.5V", "estimated"),
    ("GLM-4.6", "GLM-4.6", "estimated"),
    ("GLM-4.7", "GLM-4.7", "estimated"),
    ("GLM-5", "GLM-5", "documented"),
    ("GLM-5-w4a8", "GLM-5-w4a8", "estimated"),
    ("GLM-5.1", "GLM-5.1", "documented"),
    ("MiniMaxAI/MiniMax-M2", "MiniMax-M2", "estimated"),
    ("MiniMax-M2.5", "MiniMax-M2.5", "estimated"),
    ("MiniMax-M1-80k", "MiniMax-M1-80k", "estimated"),
    ("MiniMax-Text-01", "MiniMax-Text-01", "estimated"),
    ("openai/gpt-oss-20b", "gpt-oss-20b", "estimated"),
    ("gpt-oss-120b", "gpt-oss-120b", "estimated"),
    ("PaddlePaddle/PaddleOCR-VL", "PaddleOCR-VL-0.9B", "documented"),
    ("gemma-3-12b-it", "gemma-3-12b-it", "estimated"),
    ("google/gemma-3-27b-it", "Gemma3-27B", "measured"),
    ("Llama-3.3-70B", "Llama-3.3-70B", "estimated"),
    ("meta-llama/Llama-3.3-70B-Instruct", "Llama-3.3-70B", "estimated"),
    ("Llama-3.1-8B-Instruct", "Llama3.1-8B", "measured"),
    ("Llama-4-Scout-17B-16E-Instruct", "Llama-4-Scout-17B-16E-Instruct", "estimated"),
    ("Mistral-7B-Instruct-v0.3", "Mistral-7B-Instruct-v0.3", "estimated"),
    ("microsoft/Phi-4", "phi-4", "estimated"),
    ("baidu/ERNIE-4.5-21B-A3B-PT", "ERNIE-4.5-21B-A3B", "estimated"),
    ("ERNIE-4.5-21B-A3B", "ERNIE-4.5-21B-A3B", "estimated"),
    ("tencent/Hunyuan-A13B-Instruct", "Hunyuan-A13B-Instruct", "estimated"),
    ("OpenGVLab/InternVL3_5-38B", "InternVL3.5-38B", "estimated"),
    ("InternVL3.5-38B", "InternVL3.5-38B", "estimated"),
    ("InternVL3-8B", "InternVL3-8B", "measured"),
    ("nvidia/Minitron-8B-Base", "Minitron-8B-Base", "documented"),
    ("deepseek-ai/DeepSeek-OCR-2", "DeepSeek-OCR-2", "estimated"),
    ("Kimi-K2.7-Code", "Kimi-K2.7-Code", "estimated"),
    ("Qwen3.8-27B", "Qwen3.8-27B", "estimated"),
    ("Qwen3.5-9B-AWQ", "Qwen3.5-9B-AWQ", "estimated"),
    ("qwen3_vl_8b_instruct", "Qwen3-VL-8B-Instruct", "documented"),
    ("/data/models/Qwen3-32B-FP8", "Qwen3-32B-FP8", "estimated"),
    ("Qwen/Qwen3-Coder-Next", "Qwen3-Coder-Next", "estimated"),
    ("Qwen2.5-Coder-32B-Instruct", "Qwen2.5-Coder-32B", "estimated"),
    ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL-3B", "estimated"),
    ("OpenGVLab/InternVL3_5-8B-hf", "InternVL3.5-8B", "estimated"),
    ("GLM-4.7-Flash", "GLM-4.7-Flash", "estimated"),
    ("unsloth/gpt-oss-120b-BF16", "unsloth/gpt-oss-120b-BF16", "estimated"),
    ("microsoft/Phi-4-mini-instruct", "Phi-4-mini-instruct", "estimated"),
    ("google/gemma-2-27b-it", "gemma-2-27b-it", "estimated"),
    ("Llama-2-70b-chat-hf", "Llama-2-70b", "estimated"),
]

REFUSED = [
    (
        "DeepSeek-V4",
        "can mean DeepSeek-V4-Flash or DeepSeek-V4-Pro. Write one of these names.",
    ),
    ("gemma-3", "gemma-3-12b-it or gemma-3-1b-it. Write one of these names."),
    ("Qwen3-VL", "Qwen3-VL-235B-A22B-Instruct or 4 more. Write one of these names."),
    ("us/Our-Model-7B", "for an estimate set estimate and name its config.json in config"),
    ("/data/DeepSeek-V4", "to serve it on your own word give path"),
    ("us/Qwen3-32B-tuned", "The closest are Qwen3-32B, Qwen/Qwen3-32B."),
    ("./Qwen3-32B", "'./Qwen3-32B'. A path on the host begins with a slash."),
    ("https://huggingface.co/Qwen/Qwen3-32B", "Write its id, OWNER/NAME, and not its address."),
    ("other/Qwen3-32B", "write model: Qwen3-32B with its id in huggingface or modelscope."),
]


@pytest.mark.parametrize(("name", "model", "basis"), ANSWERED)
def test_a_name_that_is_answered(name: str, model: str, basis: str) -> None:
    got = spec(name, estimate=True)
    assert (got["model"], got["provenance"]["basis"]) == (model, basis)
    assert got["cards"] >= 1 and got["max_model_len"] >= 4096


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_a_name_that_is_refused(name: str, words: str) -> None:
    assert words in rejection(name, estimate=True)
