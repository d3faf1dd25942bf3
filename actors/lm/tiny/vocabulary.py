"""The tiny model's tokenizer: byte-level BPE learned from its dialogues, and its chat template."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from actors.lm.messages import Conversation

PAD, END = "<|pad|>", "<|end|>"
_SPECIAL = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>"]
# Every turn ends with the same mark, so each prefix of a conversation renders to a prefix of it.
_CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)


def learn_tokenizer(
    conversations: Sequence[Conversation], size: int, max_tokens: int
) -> PreTrainedTokenizerFast:
    """A tokenizer of `size` tokens for contexts of `max_tokens`; any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (message["content"] for messages in conversations for message in messages)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=_SPECIAL[2:],
        chat_template=_CHAT_TEMPLATE,
        model_max_length=max_tokens,
        clean_up_tokenization_spaces=False,
    )
