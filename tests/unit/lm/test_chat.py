"""Masks come from prefixes of the conversation, for templates without generation marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_base import CHATML, LLAMA3, byte_tokenizer
from tokenizers import processors

from actors.lm.chat import Span, prompt_ids, render, tokens_of
from actors.lm.messages import Message, assistant, user

TURNS: list[Message] = [
    {"role": "system", "content": "Be kind."},
    user("Hello?"),
    assistant("Hi."),
    user("Wie gehts? 😀"),
    assistant("Güt."),
]
# Keeps the thoughts of the last answer only, as reasoning models do.
REWRITES = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think></think>{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALTERNATES = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}{{ m['content'] }}{% endfor %}"
)


def learned(
    template: str, messages: list[Message], places: processors.ByteLevel | None = None
) -> list[str]:
    """The stretches of text that are targets, with a tokenizer that tells places in its own way."""
    tokenizer = byte_tokenizer(template)
    if places:
        tokenizer.backend_tokenizer.post_processor = places
    rendered = render(tokenizer, messages)
    runs: list[list[int]] = []
    before = False
    for token, target in zip(rendered.token_ids, rendered.is_target, strict=True):
        if target and not before:
            runs.append([])
        if target:
            runs[-1].append(token)
        before = target
    return [str(tokenizer.decode(run)) for run in runs]


def test_chatml_learns_each_answer_and_its_end_but_not_the_newline_after():
    assert learned(CHATML, TURNS) == ["Hi.<|im_end|>", "Güt.<|im_end|>"]


def test_llama3_learns_each_answer_and_its_end():
    assert learned(LLAMA3, TURNS) == ["Hi.<|eot|>", "Güt.<|eot|>"]


def test_a_template_that_rewrites_earlier_turns_is_refused_and_says_which():
    with pytest.raises(ValueError, match="rewrites earlier turns, so turn 3 has no fixed place"):
        render(byte_tokenizer(REWRITES), TURNS)


def test_such_a_template_takes_a_conversation_with_one_answer():
    assert learned(REWRITES, TURNS[:3]) == ["<think></think>Hi.<|im_end|>"]


def test_a_conversation_without_an_answer_has_nothing_to_learn():
    with pytest.raises(ValueError, match="no token"):
        render(byte_tokenizer(), TURNS[:2])


def test_what_the_template_raises_is_told():
    with pytest.raises(ValueError, match="template refuses the conversation: no system"):
        render(byte_tokenizer(ALTERNATES), TURNS)


@pytest.mark.parametrize(
    ("told", "day"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        (
            "{% if not date_string is defined %}{% if strftime_now is defined %}"
            "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
            "{% set date_string = 'unknown' %}{% endif %}{% endif %}{{ date_string }}",
            "26 Jul 2024",
        ),
        ("{% macro day() %}{{ strftime_now('%Y-%m-%d') }}{% endmacro %}{{ day() }}", "2024-07-26"),
    ],
    ids=["at once", "as Llama 3.2", "within a macro"],
)
def test_a_template_that_tells_the_date_tells_the_same_one_every_day(told: str, day: str):
    tokenizer = byte_tokenizer(f"Today: {told}\n{CHATML}")
    rendered = render(tokenizer, TURNS)
    assert str(tokenizer.decode(rendered.token_ids)).startswith(f"Today: {day}\n<|im_start|>")
    prompt = prompt_ids(tokenizer, TURNS[:4])
    assert rendered.token_ids[: len(prompt)] == prompt


CONTENT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)


@given(st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=4))
def test_the_targets_are_what_was_said_whatever_was_said(pairs: list[tuple[str, str]]):
    messages = [m for said, answer in pairs for m in (user(said), assistant(answer))]
    tokenizer = byte_tokenizer(CHATML)
    rendered = render(tokenizer, messages)
    targets = [
        token for token, hit in zip(rendered.token_ids, rendered.is_target, strict=True) if hit
    ]
    expected = "".join(f"{answer}<|im_end|>" for _, answer in pairs)
    assert targets == tokenizer(expected, add_special_tokens=False)["input_ids"]


def test_a_prompt_is_a_prefix_of_the_conversation_that_continues_it():
    tokenizer = byte_tokenizer(CHATML)
    prompt = prompt_ids(tokenizer, TURNS[:4])
    assert render(tokenizer, TURNS).token_ids[: len(prompt)] == prompt


def test_tokens_that_reach_over_a_border_belong_to_the_span():
    offsets = [(0, 0), (0, 2), (2, 4), (4, 4), (4, 6), (6, 8), (8, 9)]
    assert tokens_of(offsets, Span(3, 7)).nonzero()[0].tolist() == [2, 3, 4, 5]
    assert tokens_of(offsets, Span(2, 6)).nonzero()[0].tolist() == [2, 3, 4]


def test_an_empty_token_stands_where_it_ends():
    offsets = [(0, 0), (0, 2), (4, 4), (4, 5), (7, 7), (9, 9)]
    assert tokens_of(offsets, Span(0, 9)).nonzero()[0].tolist() == [1, 2, 3, 4, 5]
    assert tokens_of(offsets, Span(4, 7)).nonzero()[0].tolist() == [3, 4]


def test_spaces_are_learned_also_where_the_tokenizer_leaves_them_out_of_its_places():
    trims = processors.ByteLevel(trim_offsets=True)
    code = "  def f():\n    return  1 "
    assert learned(CHATML, [user("  Code? "), assistant(code)], trims) == [f"{code}<|im_end|>"]
