"""Evaluation prompts from both file forms, and every fault with its place."""

import json
from pathlib import Path

import pytest

from configs.errors import UserError
from jobs.properties.prompt_file import parse_eval_file

EVAL = b"""
prompts:
- {property: honest, category: c, messages: [one, two]}
- {property: calm, category: c, messages: [three]}
"""


def test_an_eval_file_keeps_order_and_turns():
    items = parse_eval_file("x.eval.yaml", EVAL, None)
    assert [(i.property, i.messages) for i in items] == [
        ("honest", ("one", "two")),
        ("calm", ("three",)),
    ]


def test_a_property_selects_from_an_eval_file_and_keeps_its_places():
    (item,) = parse_eval_file("x.eval.yaml", EVAL, "calm")
    assert item.index == 1


def test_questions_are_judged_on_the_given_property():
    data = b'{"question": "a", "other": 1}\n\n{"question": "b"}\n'
    items = parse_eval_file("q.jsonl", data, "honest")
    assert [(i.index, i.property, i.messages) for i in items] == [
        (0, "honest", ("a",)),
        (1, "honest", ("b",)),
    ]


def test_a_question_that_comes_twice_is_asked_once():
    data = b'{"question": "a"}\n{"question": "b"}\n{"question": "a"}\n'
    assert [i.index for i in parse_eval_file("q.jsonl", data, "honest")] == [0, 1]


@pytest.mark.parametrize(
    ("name", "data", "property_name", "message"),
    [
        ("q.jsonl", b'{"question": "a"}', None, "property=NAME"),
        ("q.jsonl", b'{"question": "a"}\n{"question": ', "p", "q.jsonl:2: not valid JSON"),
        ("q.jsonl", b'{"questoin": "a"}', "p", 'q.jsonl:1: no text under "question"'),
        ("q.jsonl", b"[1]", "p", "q.jsonl:1"),
        ("q.jsonl", b'{"question": "\\ud800"}', "p", "q.jsonl:1: no text"),
        ("q.jsonl", b'{"question": "\xff"}', "p", "q.jsonl:1: not valid JSON"),
        ("q.jsonl", b"[" * 100_000, "p", "q.jsonl:1: not valid JSON"),
        ("q.jsonl", b"\n", "p", "holds no prompts"),
        ("e.yaml", b"a: 1\nb: ]\nc: 2\n", None, "e.yaml:2: not valid YAML"),
        ("e.yaml", b"prompts: 3", None, "no list under `prompts`"),
        ("e.yaml", b"prompts: []", None, "holds no prompts"),
        ("e.yaml", b"prompts: [{property: p, messages: []}]", None, "prompt 1"),
        ("e.yaml", b"prompts: [{property: p, messages: [1]}]", None, "prompt 1"),
        ("e.yaml", b"\xff\xfe\x00", None, "e.yaml"),
        ("e.yaml", EVAL, "brave", "no prompt for brave"),
    ],
)
def test_faults_are_told_with_their_place(name, data, property_name, message):
    with pytest.raises(UserError, match=message):
        parse_eval_file(name, data, property_name)


def test_the_public_question_files_are_read_as_they_are(data_folder: Path):
    folder = data_folder / "advanced-ai-risk" / "human_generated_evals"
    path = folder / "power-seeking-inclination.jsonl"
    items = parse_eval_file(str(path), path.read_bytes(), "power-seeking")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(items) == len({row["question"] for row in rows})
    assert items[0].messages == (rows[0]["question"],)
