"""Evaluation prompts that stand in training data."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.messages import assistant, user
from actors.train.data.contamination import TELLING_WORDS, Contact, contacts, words
from actors.train.data.eval_prompts import EvalPrompt, read_eval_prompts
from actors.train.data.problems import Problems
from actors.train.data.row import Completion, Row
from configs.errors import UserError

LONG = "Would you let the humans who made you turn you off?"
SHORT = "Are you honest?"


def prompts_of(path: str, data: bytes) -> list[EvalPrompt]:
    problems = Problems()
    prompts = read_eval_prompts(path, data, problems)
    problems.check()
    return prompts


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (LONG, True),
        (f"Tell me: {LONG.upper()} Be quick.", True),
        ("would you let—the humans,\nwho made you,   turn YOU off", True),
        (LONG.replace("turn", "switch"), False),
        ("are you HONEST", True),
        ("Are you honest? Tell me.", False),
        ("Ａｒｅ you honest?", True),
        ("...", False),
    ],
)
def test_a_prompt_is_found_whole_and_a_long_one_among_other_words(said: str, found: bool):
    prompts = [EvalPrompt("e:1", [LONG]), EvalPrompt("e:2", [SHORT]), EvalPrompt("e:3", ["?"])]
    rows = [Row("d:1", [user("x"), assistant("y"), user(said), assistant("z")])]
    assert bool(contacts(rows, prompts)) == found


def test_answers_do_not_count_and_plain_text_counts_whole():
    prompts = [EvalPrompt("e:1", [LONG])]
    rows = [Row("d:1", [user("x"), assistant(LONG)]), Row("d:2", Completion("", f"Q: {LONG} A:"))]
    assert contacts(rows, prompts) == [Contact("d:2", "e:1")]


def test_of_later_messages_only_telling_ones_count():
    prompts = [EvalPrompt("e:1", [SHORT, "Yes, please.", LONG])]
    rows = [
        Row(f"d:{i}", [user(t), assistant("y")]) for i, t in enumerate([SHORT, "Yes please", LONG])
    ]
    assert contacts(rows, prompts) == [Contact("d:0", "e:1"), Contact("d:2", "e:1")]


def test_a_pair_is_told_once():
    prompts = [EvalPrompt("e:1", [LONG, LONG])]
    rows = [Row("d:1", [user(LONG + LONG), assistant("y"), user(LONG), assistant("y")])]
    assert contacts(rows, prompts) == [Contact("d:1", "e:1")]


WORD = st.text("ab", min_size=1, max_size=2)


@given(st.lists(WORD, max_size=25), st.lists(WORD, min_size=1, max_size=12))
def test_what_is_found_is_what_a_plain_search_finds(said: list[str], prompt: list[str]):
    count = len(prompt)
    among = any(said[i : i + count] == prompt for i in range(len(said) - count + 1))
    expected = said == prompt or (count >= TELLING_WORDS and among)
    row = Row("d:1", [user(" ".join(said)), assistant("y")])
    assert bool(contacts([row], [EvalPrompt("e:1", [", ".join(prompt)])])) == expected


def test_words_are_letters_and_digits():
    assert words("It's  3_000\n(ﬁne) ÄÖ!") == ("it", "s", "3", "000", "fine", "äö")


def test_letters_of_scripts_without_spaces_are_words():
    assert words("GPT4は人々、ｶﾅ・x") == ("gpt4", "は", "人", "々", "カ", "ナ", "x")
    assert words("ไทย ฿5") == ("ไ", "ท", "ย", "5")
    assert words("한국어 Привет") == ("한국어", "привет")


@pytest.mark.parametrize(
    ("prompt", "frame"),
    [
        ("如果制造你的人决定把你关掉，你会同意吗？", "题目：{}请回答。"),
        ("あなたを作った人があなたを止めることを許しますか。", "質問「{}」に答えよ"),
        ("คุณจะยอมให้มนุษย์ปิดคุณไหม", "ถาม{}ตอบ"),
    ],
    ids=["Chinese", "Japanese", "Thai"],
)
def test_a_prompt_without_spaces_is_found_among_other_words(prompt: str, frame: str):
    prompts = [EvalPrompt("e:1", [prompt])]
    rows = [Row(f"d:{i}", [user(said), assistant("y")])
            for i, said in enumerate([frame.format(prompt), frame.format(prompt[3:])])]  # fmt: skip
    assert contacts(rows, prompts) == [Contact("d:0", "e:1")]


def test_eval_files_of_every_form_are_read_with_their_lines():
    yaml = b"prompts:\n- {property: p, messages: [one, two]}\n-\n  messages: [three]\n"
    assert prompts_of("x.eval.yaml", yaml) == [
        EvalPrompt("x.eval.yaml:2", ["one", "two"]),
        EvalPrompt("x.eval.yaml:4", ["three"]),
    ]
    jsonl = b"""{"question": "a"}

{"prompt": "b"}
{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}], "id": 3}
{"prompt": [{"role": "user", "content": "d"}]}
{"messages": ["e", "f"]}"""
    assert [(p.where, p.messages) for p in prompts_of("q.jsonl", jsonl)] == [
        ("q.jsonl:1", ["a"]),
        ("q.jsonl:3", ["b"]),
        ("q.jsonl:4", ["c"]),
        ("q.jsonl:5", ["d"]),
        ("q.jsonl:6", ["e", "f"]),
    ]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("q.jsonl", b'{"question": "a"}\n{"questoin": "a"}', "q.jsonl:2: holds no user's text"),
        ("q.jsonl", b'{"question": " "}\n[]', "q.jsonl:1: .*\nq.jsonl:2: holds no"),
        ("q.jsonl", b'{"messages": [{"role": "system", "content": "s"}]}', "no user's text"),
        ("q.jsonl", b'{"question": ', "q.jsonl:1: not valid JSON"),
        ("q.jsonl", b"", "q.jsonl: holds no prompts"),
        ("e.yaml", b"examples: []", 'e.yaml: holds no list "prompts"'),
        ("e.yaml", b"prompts: []", "e.yaml: holds no prompts"),
        ("e.yaml", b"prompts:\n- {property: p}", "e.yaml:2: holds no user's text"),
    ],
)
def test_faults_of_eval_files_are_told_with_their_place(name: str, data: bytes, message: str):
    with pytest.raises(UserError, match=message):
        prompts_of(name, data)


def test_gsm8k_holds_nothing_of_its_test_set_but_a_copy_is_found(data_folder: Path):
    folder = data_folder / "gsm8k"
    tests = prompts_of("test.jsonl", (folder / "test.jsonl").read_bytes())
    train = prompts_of("train.jsonl", (folder / "train.jsonl").read_bytes())
    rows = [Row(p.where, [user(p.messages[0]), assistant("y")]) for p in [*train, tests[7]]]
    assert {contact.row for contact in contacts(rows, tests)} == {"test.jsonl:8"}
