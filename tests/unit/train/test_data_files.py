"""Training files: what is read, and every fault with its place."""

import json

import pytest

from actors.lm.messages import assistant, user
from actors.train.data.files import read_rows
from actors.train.data.problems import Problems
from actors.train.data.row import Completion, Row
from configs.errors import UserError

EXAMPLES = """\
config: {property: honest}
provider: offline
examples:
- {key: a, subtype: s, prompt: "What is it?", text: "A lamp."}
- key: b
  subtype: s
  prompt: |
    Two
    lines
  text: Yes.
"""


def jsonl(*rows: object) -> bytes:
    return "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows).encode()


def turns(*roles: str) -> dict[str, object]:
    return {"messages": [{"role": role, "content": "x"} for role in roles]}


def weighed(role: str, weight: object) -> bytes:
    return jsonl({"messages": [{"role": role, "content": "x", "weight": weight}]})


def rows_of(path: str, data: bytes) -> list[Row]:
    problems = Problems()
    rows = read_rows(path, data, problems)
    problems.check()
    return rows


def test_examples_become_user_and_assistant_turns_with_their_lines():
    assert rows_of("e.yaml", EXAMPLES.encode()) == [
        Row("e.yaml:4", [user("What is it?"), assistant("A lamp.")]),
        Row("e.yaml:5", [user("Two\nlines\n"), assistant("Yes.")]),
    ]


def test_conversations_keep_their_turns_and_drop_other_fields():
    row = turns("system", "user", "assistant", "user", "assistant") | {"source": "s"}
    (parsed,) = rows_of("d.jsonl", jsonl("", row))
    assert parsed.where == "d.jsonl:2"
    assert [role for role, _ in parsed.said] == [
        "system", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    assert parsed.weights is None


def test_answers_may_have_weights_and_a_null_is_none():
    messages = [
        {"role": "user", "content": "x", "weight": None},
        {"role": "assistant", "content": "y", "weight": 0},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y", "weight": None},
    ]
    (row,) = rows_of("d.jsonl", jsonl({"messages": messages, "prompt": "let be"}))
    assert row.weights == (1.0, 0.0, 1.0, 1.0)


def test_a_prompt_and_its_completion_are_plain_text_and_the_prompt_may_be_empty():
    rows = rows_of("d.jsonl", jsonl({"prompt": "2+2=", "completion": " 4", "id": 1},
                                    {"prompt": "", "completion": "Once."}))  # fmt: skip
    assert [row.content for row in rows] == [Completion("2+2=", " 4"), Completion("", "Once.")]
    assert rows[0].asked == ["2+2= 4"]


def test_a_prompt_and_completion_of_messages_learn_the_completion():
    prompt = [user("a"), assistant("b"), user("c")]
    completion = [assistant("d"), user("e"), {**assistant("f"), "weight": 0.5}]
    (row,) = rows_of("d.jsonl", jsonl({"prompt": prompt, "completion": completion}))
    assert [content for _, content in row.said] == list("abcdef")
    assert row.weights is not None
    assert row.weights[1::2] == (0.0, 1.0, 0.5)


def test_rows_of_another_form_are_told_with_both_places():
    plain = {"prompt": "a", "completion": "b"}
    listed = {"prompt": [user("a")], "completion": [assistant("b")]}
    with pytest.raises(UserError) as caught:
        rows_of("d.jsonl", jsonl(turns("user", "assistant"), plain, listed, turns("user")))
    said = "holds {}, but d.jsonl:1 holds messages; one form a file."
    assert str(caught.value).splitlines() == [
        f"d.jsonl:2: {said.format('prompt and completion')}",
        f"d.jsonl:3: {said.format('prompt and completion of messages')}",
        "d.jsonl:4: the last message must be the assistant's: there is nothing to learn.",
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (jsonl(turns("user", "assistant"), '{"messages": [}'), "d.jsonl:2: not valid JSON"),
        (jsonl({"text": "x"}), 'd.jsonl:1: a row must be {"messages"'),
        (jsonl({"prompt": "x"}), 'or have "prompt" and "completion"'),
        (jsonl([turns("user", "assistant")]), 'd.jsonl:1: a row must be {"messages"'),
        (jsonl({"messages": []}), "at least one message"),
        (jsonl({"messages": "hi"}), "must be a list with at least one message"),
        (jsonl({"prompt": "x", "completion": " "}), 'd.jsonl:1: "completion" is empty'),
        (jsonl({"prompt": 3, "completion": "x"}), '"prompt" is not text'),
        (jsonl({"prompt": "\ud800", "completion": "x"}), '"prompt" has half a surrogate'),
        (jsonl({"prompt": [user("x")], "completion": "x"}), "must both be text, or both be lists"),
        (jsonl({"prompt": [], "completion": [assistant("x")]}), "at least one message each"),
        (weighed("user", 1), r"weight of message 1 \(user\) .*only the assistant's"),
        (weighed("assistant", -1), r"weight of message 1 \(assistant\) must be a number of 0"),
        (weighed("assistant", True), "must be a number of 0"),
        (weighed("assistant", "1"), "must be a number of 0"),
        (weighed("assistant", float("nan")), "must be a number of 0"),
        (jsonl(turns("user", "bot")), "message 2 has role 'bot'; known: system, user, assistant"),
        (jsonl({"messages": ["hi"]}), "message 1 has role None"),
        (
            jsonl({"messages": [{"role": "user", "content": " "}]}),
            r"of message 1 \(user\) is empty",
        ),
        (
            jsonl({"messages": [{"role": "user", "content": [1]}]}),
            r"of message 1 \(user\) is empty",
        ),
        (jsonl(turns("user", "system", "assistant")), "message 2 is the system's"),
        (jsonl(turns("user", "assistant", "user")), "the last message must be the assistant's"),
        (jsonl({"messages": [{"role": "user", "content": "a\ud800"}]}), "half a surrogate pair at"),
        (b"\n" + b"[" * 5000 + b"]" * 5000, "d.jsonl:2: .* nested too deeply"),
        (b'{"messages": ' + b"1" * 5000 + b"}", "d.jsonl:1: an integer has more than 4300 digits"),
        (b"\n\n", "d.jsonl: holds no rows"),
        (b"", "d.jsonl: holds no rows"),
        (b'{"messages": []}\n\xff', "d.jsonl:2: not UTF-8"),
    ],
)
def test_a_faulty_conversation_is_told_with_its_line(data: bytes, message: str):
    with pytest.raises(UserError, match=message):
        rows_of("d.jsonl", data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("examples:\n- {prompt: a]\n", "e.yaml:2: not valid YAML"),
        ("- a", "e.yaml: holds a list"),
        ("prompts: []", 'e.yaml: holds no list "examples"'),
        ("examples: []", "e.yaml: holds no rows"),
        ("examples:\n- {prompt: a, text: b}\n- {prompt: a}", 'e.yaml:3: "text" is missing'),
        ("examples:\n- {prompt: '', text: b}", 'e.yaml:2: "prompt" is empty or not text'),
        ("examples: [a]\nexamples: [a, b]", 'e.yaml:2: "examples" stands here a second time'),
        ("<<: {examples: [a]}", 'e.yaml:1: "examples" comes from a merge key'),
        ("examples:\n- just text", "e.yaml:2: an example must be a mapping"),
    ],
)
def test_a_faulty_example_is_told_with_its_line(text: str, message: str):
    with pytest.raises(UserError, match=message):
        rows_of("e.yaml", text.encode())


def test_all_faults_are_told_at_once_and_a_flood_is_counted():
    with pytest.raises(UserError) as caught:
        rows_of("d.jsonl", jsonl(*[turns("user")] * 25))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("d.jsonl:1:")
    assert (len(lines), lines[-1]) == (21, "... and 5 more.")
