# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make three tiny models with random weights, the same each time.

    make_models.py FOLDER

tiny-decoder (Qwen3, 2048 tokens, several shards with an index), tiny-embedding (Bert, 512 tokens)
and tiny-reranker (Bert with one label, 512 tokens). They say nothing sensible, in the very formats
that real ones come in. Runs in an environment that has torch and transformers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

TEXT = "each host carries the cards that its models need and every service has one port"
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def texts() -> Iterator[str]:
    words = TEXT.split()
    for row in range(400):
        yield " ".join(words[(row * 7 + place * place) % len(words)] for place in range(12))


def tokenizer(special: list[str]) -> Tokenizer:
    """Byte-level BPE, whose training gives the same each time (WordPiece's does not)."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=sorted(alphabet)
    )
    made.train_from_iterator(texts(), trainer)
    return made


def decoder(folder: Path) -> None:
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]),
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        model_max_length=2048,
        chat_template=CHAT,
    )
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,  # the least that the CPU's attention has
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(1)
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="60KB")
    words.save_pretrained(folder)


def bert(folder: Path, build: type, seed: int, **more: int) -> None:
    base = tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    base.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, base.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    words = PreTrainedTokenizerFast(
        tokenizer_object=base,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=words.pad_token_id,
        **more,
    )
    torch.manual_seed(seed)
    build(config).save_pretrained(folder)
    words.save_pretrained(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = Path(sys.argv[1])
    decoder(root / "tiny-decoder")
    bert(root / "tiny-embedding", BertModel, 2)
    bert(root / "tiny-reranker", BertForSequenceClassification, 3, num_labels=1)
    for path in root.rglob("*"):
        # They are read by the services' own user.
        path.chmod(0o755 if path.is_dir() else 0o644)
