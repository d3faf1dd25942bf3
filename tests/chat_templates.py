"""Chat templates in the shape of the families that people train, in our own wording."""

from small_base import byte_tokenizer
from transformers import PreTrainedTokenizerFast

# A system turn of its own is always there, and says the date.
LLAMA_3 = (
    "{{ '<|bos|>' }}<|header|>system<|/header|>\n\nToday is 1 May 2025.\n\n"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}"
    "{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}<|eot|>"
    "{% for m in rest %}<|header|>{{ m['role'] }}<|/header|>\n\n{{ m['content'] | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|header|>assistant<|/header|>\n\n{% endif %}"
)
# A system turn is there whether one is given or not.
QWEN_2_5 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are of help.<|im_end|>\n"
    "{% endif %}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Thoughts are shown after the last question only, and an answer without them gets empty ones.
QWEN_3 = (
    "{% set seen = namespace(last=-1) %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set seen.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' %}{% set parts = m['content'].split('</think>') %}"
    "{% set said = parts[-1].lstrip('\n') %}"
    "{% set thought = parts[0].replace('<think>', '').strip() if parts | length > 1 else '' %}"
    "{% if loop.index0 > seen.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ said }}"
    "{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The assistant is "model", what the system says stands in the user's first turn, turns alternate.
GEMMA = (
    "{{ '<bos>' }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ first if loop.first else '' }}{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# No mark for whose turn it is, no generation prompt; the system's words go to the first question.
MISTRAL = (
    "{{ '<s>' }}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}"
    "[INST] {{ first if loop.first else '' }}{{ m['content'] }}[/INST]"
    "{% else %} {{ m['content'] | trim }}</s>{% endif %}{% endfor %}"
)
# The same, but the system's words go to the last question, as long as it is not answered.
MISTRAL_LAST = (
    "{{ '<s>' }}{% set rest = messages[1:] if messages[0]['role'] == 'system' else messages %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}[INST] "
    "{% if loop.last and messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n\n"
    "{% endif %}{{ m['content'] }}[/INST]"
    "{% else %} {{ m['content'] | trim }}</s>{% endif %}{% endfor %}"
)
# An answer is asked for with the opening of a thought, and shown without its thoughts.
DEEPSEEK_R1 = (
    "{{ '<|bos|>' }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "<|assistant|>{{ m['content'].split('</think>')[-1] }}<|end|>"
    "{% else %}{{ '<|user|>' if m['role'] == 'user' else '' }}{{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
_MARKS = [
    "<|bos|>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>", "[INST]", "[/INST]",
    "<think>", "</think>",
]  # fmt: skip


def family_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """One token per byte, and one for each mark of the templates."""
    tokenizer = byte_tokenizer(template)
    tokenizer.add_tokens(_MARKS, special_tokens=True)
    return tokenizer
