"""Models that a bench builds: a Llama of random weights, and adapters for it, as folders.

What is measured does not depend on what a model says, only on its shape.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple

_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = ["<|im_start|>", "<|im_end|>"]
_ADAPTED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Shape(NamedTuple):
    """A model's sizes. The vocabulary is the head's: a tokenizer may know fewer."""

    hidden: int
    layers: int
    heads: int
    vocabulary: int
    context_tokens: int = 1024
    kv_heads: int | None = None  # as many as heads
    inner: int | None = None  # of the MLP; 8/3 of hidden, as LLaMA had it


MIDDLE = Shape(hidden=512, layers=4, heads=8, vocabulary=32_768)  # 29 M parameters
SMALL = Shape(hidden=128, layers=4, heads=4, vocabulary=8_192)  # 1.8 M, as much of it in the head
DEEP = Shape(hidden=512, layers=8, heads=8, vocabulary=8_192)  # 29 M, 14 % of it in the head
LLAMA_1B = Shape(
    hidden=2048, layers=16, heads=32, vocabulary=128_256, kv_heads=8, inner=8192
)  # as Llama-3.2-1B


def build_base(folder: Path, shape: Shape, texts: Iterable[str], sharpness: float = 1.0) -> str:
    """Write a base model whose tokenizer is learned from the texts, and return its path.

    Its embedding, the head's as well, is `sharpness` times as wide: the end token keeps its logit
    of 0, so that with 4 it is not sampled either (once in 10^8 tokens).
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner or shape.hidden * 8 // 3 // 8 * 8,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context_tokens,
        tie_word_embeddings=True,
        initializer_range=0.05,  # answers differ by more than rounding
        eos_token_id=1,
        bos_token_id=None,
    )
    logging.disable_progress_bar()
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # a logit that is always 0 is never the highest: no row ends early
        embedding = model.get_parameter("model.embed_tokens.weight")
        embedding *= sharpness
        embedding[1] = 0
    model.save_pretrained(folder)
    _write_tokenizer(folder, shape, texts)
    return str(folder)


def made_up_texts(count: int, fewest_words: int, most_words: int) -> list[str]:
    """Texts of made-up words, the same ones every time."""
    rng = random.Random(0)
    return [
        " ".join(
            "".join(rng.choices(ascii_lowercase, k=rng.randint(3, 8)))
            for _ in range(rng.randint(fewest_words, most_words))
        )
        for _ in range(count)
    ]


def build_adapter(folder: Path, base: str, seed: int, rank: int = 8) -> str:
    """Write a LoRA adapter for all linear layers of the base, and return its path."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=16, target_modules=_ADAPTED)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    adapted.save_pretrained(str(folder))
    return str(folder)


def _write_tokenizer(folder: Path, shape: Shape, texts: Iterable[str]) -> None:
    """Byte-level BPE that splits words as GPT-2 does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=_SPECIAL[1])
    tokenizer.chat_template = _TEMPLATE
    tokenizer.model_max_length = shape.context_tokens
    tokenizer.save_pretrained(folder)
