"""What of a row is learned, on templates of the families that people train."""

import numpy as np
import pytest
from chat_templates import (
    DEEPSEEK_R1,
    GEMMA,
    LLAMA_3,
    MISTRAL,
    MISTRAL_LAST,
    QWEN_2_5,
    QWEN_3,
    family_tokenizer,
)
from hypothesis import given
from hypothesis import strategies as st
from small_base import CHATML, byte_tokenizer

from actors.lm.messages import Conversation, Message, assistant, user
from actors.train.data.datums import Rules, Tokenized, make_datums
from actors.train.data.problems import Problems
from actors.train.data.row import Completion, Row
from actors.train.datum import Datum
from configs.errors import UserError

SYSTEM: Message = {"role": "system", "content": "Be kind."}
TALK: Conversation = [user("Hello?"), assistant("Hi."), user("Wie gehts? 😀"), assistant("Güt.")]
RULES = Rules("assistant", 2048, "error")
# Template, what opens an answer that is learned, what closes it.
FAMILIES = {
    "llama-3": (LLAMA_3, "", "<|eot|>"),
    "qwen-2.5": (QWEN_2_5, "", "<|im_end|>"),
    "gemma": (GEMMA, "", "<end_of_turn>"),
    "mistral": (MISTRAL, " ", "</s>"),
}


def made(template: str, row: Row, rules: Rules = RULES) -> Tokenized:
    problems = Problems()
    tokenized = make_datums(family_tokenizer(template), [row], rules, problems)
    problems.check()
    return tokenized


def learned(template: str, datum: Datum) -> list[tuple[str, float]]:
    """The stretches of like weight that are learned, as text."""
    tokenizer = family_tokenizer(template)
    assert datum.weights is not None
    edges = np.flatnonzero(np.diff(datum.weights)) + 1
    stretches = zip(np.split(datum.target_ids, edges), np.split(datum.weights, edges), strict=True)
    return [(str(tokenizer.decode(ids)), float(w[0])) for ids, w in stretches if w[0]]


def texts(template: str, row: Row, rules: Rules = RULES) -> list[str]:
    return [text for _, datum in made(template, row, rules).taught
            for text, _ in learned(template, datum)]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("system", [[], [SYSTEM]], ids=["plain", "system"])
def test_every_answer_is_learned_with_its_end(family: str, system: Conversation):
    template, opening, end = FAMILIES[family]
    row = Row("d:1", [*system, *TALK])
    assert texts(template, row) == [f"{opening}Hi.{end}", f"{opening}Güt.{end}"]
    assert texts(template, row, RULES._replace(train_on="last_assistant")) == [
        f"{opening}Güt.{end}"
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_all_learns_everything_after_the_first_token(family: str):
    template = FAMILIES[family][0]
    ((_, datum),) = made(template, Row("d:1", TALK), RULES._replace(train_on="all")).taught
    assert datum.target_tokens == len(datum)


def test_qwen3_keeps_the_last_thoughts_only_so_each_answer_is_a_datum_of_its_own():
    talk = [
        user("a"), assistant("<think>\none\n</think>\n\nb"),
        user("c"), assistant("<think>\ntwo\n</think>\n\nd"),
    ]  # fmt: skip
    (_, first), (_, second) = made(QWEN_3, Row("d:1", talk)).taught
    thought = "<think>\n{}\n</think>\n\n{}<|im_end|>"
    assert learned(QWEN_3, first) == [(thought.format("one", "b"), 1.0)]
    assert learned(QWEN_3, second) == [(thought.format("two", "d"), 1.0)]
    whole = str(family_tokenizer(QWEN_3).decode(second.token_ids))
    assert "one" not in whole
    assert texts(QWEN_3, Row("d:1", talk), RULES._replace(train_on="last_assistant")) == [
        thought.format("two", "d")
    ]


def test_qwen3_without_thoughts_learns_that_there_are_none():
    assert texts(QWEN_3, Row("d:1", TALK[:2])) == ["<think>\n\n</think>\n\nHi.<|im_end|>"]


def test_a_template_that_shows_the_system_only_before_the_answer_is_refused():
    assert texts(MISTRAL_LAST, Row("d:1", TALK)) == [" Hi.</s>", " Güt.</s>"]
    with pytest.raises(UserError, match=r"d:1: .* say in the user's turn what the system's says"):
        made(MISTRAL_LAST, Row("d:1", [SYSTEM, *TALK]))


@pytest.mark.parametrize("messages", [TALK[:2], TALK, [SYSTEM, *TALK]])
def test_an_answer_that_is_shown_otherwise_than_it_is_asked_for_is_refused(messages: Conversation):
    """Its opening is told; nobody is blamed for earlier turns or for what the system says."""
    place = 2 if messages[0]["role"] == "user" else 3
    message = rf"turn {place} with '.*<think>\\n' and .*; write the row as plain text"
    with pytest.raises(UserError, match=message) as refusal:
        made(DEEPSEEK_R1, Row("d:1", messages))
    assert "rewrites" not in str(refusal.value)
    assert "system" not in str(refusal.value)


def test_the_system_is_spoken_of_only_where_it_speaks():
    # The question is shown otherwise once it is answered.
    template = (
        "{% for m in messages %}{{ m['content'] }}{% if loop.last and m['role'] == 'user' %}?"
        "{% endif %}|{% endfor %}"
    )
    with pytest.raises(UserError, match=r"rewrites earlier turns.*; write the row as plain text"):
        made(template, Row("d:1", TALK[:2]))
    with pytest.raises(UserError, match="say in the user's turn what the system's says"):
        made(template, Row("d:1", [SYSTEM, *TALK[:2]]))


def test_weights_are_the_answers_own_and_0_is_not_learned():
    row = Row("d:1", TALK, (1.0, 0.0, 1.0, 0.5))
    ((_, datum),) = made(QWEN_2_5, row).taught
    assert learned(QWEN_2_5, datum) == [("Güt.<|im_end|>", 0.5)]
    ((_, datum),) = made(QWEN_2_5, row, RULES._replace(train_on="all")).taught
    assert [weight for _, weight in learned(QWEN_2_5, datum)] == [1.0, 1.0, 0.5, 1.0]
    assert "Hi." not in "".join(text for text, _ in learned(QWEN_2_5, datum))


def test_plain_text_learns_the_completion_and_an_end_that_is_written_once():
    for completion in ("4", "4<|im_end|>"):
        row = Row("d:1", Completion("2+2=", completion))
        assert texts(CHATML, row) == ["4<|im_end|>"]
    assert texts(CHATML, row, RULES._replace(train_on="all")) == ["+2=4<|im_end|>"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row("d:9", Completion("", "x")), "d:9: every token would be learned; .* train_on=all"),
        (Row("d:9", TALK, (1.0, 0.0, 1.0, 0.0)), "d:9: no token of an assistant's turn to learn"),
        (Row("d:9", [user("a"), user("b"), assistant("c")]), "d:9: .* must take turns"),
    ],
)
def test_a_mask_that_teaches_nothing_or_everything_names_its_row(row: Row, message: str):
    with pytest.raises(UserError, match=message):
        made(GEMMA, row)


def test_an_answer_to_nothing_is_refused():
    with pytest.raises(UserError, match="d:9: the assistant speaks first"):
        made(QWEN_2_5, Row("d:9", [assistant("Hi.")]))


def test_a_template_that_leaves_the_answer_out_teaches_nothing():
    template = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}"
    with pytest.raises(UserError, match="d:1: no token of an assistant's turn"):
        made(template + "{% endfor %}", Row("d:1", TALK))


def test_a_long_row_is_an_error_or_cut_or_dropped():
    rows = [Row("d:1", [user("a"), assistant("b" * 9)]), Row("d:2", [user("a" * 99), *TALK[1:2]])]
    tokenizer = byte_tokenizer()
    problems = Problems()
    make_datums(tokenizer, rows, RULES._replace(max_tokens=30), problems)
    with pytest.raises(UserError, match=r"d:1: 31 tokens, more than max_tokens=30; .*\nd:2: 123"):
        problems.check()
    dropped = make_datums(tokenizer, rows, Rules("assistant", 30, "drop"), Problems())
    assert (dropped.taught, dropped.dropped, dropped.truncated) == ([], 2, 0)
    cut = make_datums(tokenizer, rows, Rules("assistant", 30, "truncate"), Problems())
    ((row, datum),) = cut.taught
    assert (row.where, len(datum), cut.dropped, cut.truncated) == ("d:1", 29, 1, 1)


ODD = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="<[")
CONTENT = st.text(ODD, min_size=1, max_size=20).map(str.strip).filter(bool)
WEIGHTS = st.sampled_from([0.0, 0.5, 1.0])


@given(
    st.sampled_from(sorted(FAMILIES)),
    st.booleans(),
    st.lists(st.tuples(CONTENT, CONTENT, WEIGHTS), min_size=1, max_size=4),
)
def test_targets_are_exactly_what_was_said_and_its_end(
    family: str, system: bool, pairs: list[tuple[str, str, float]]
):
    template, opening, end = FAMILIES[family]
    messages = [m for asked, answer, _ in pairs for m in (user(asked), assistant(answer))]
    weights = [w for *_, weight in pairs for w in (1.0, weight)]
    if system:
        messages, weights = [SYSTEM, *messages], [1.0, *weights]
    if not any(weight for *_, weight in pairs):
        return
    ((_, datum),) = made(template, Row("d:1", messages, tuple(weights))).taught
    assert learned(template, datum) == [
        (f"{opening}{answer}{end}", weight) for _, answer, weight in pairs if weight
    ]
