"""Training files: what is read, and every fault with its place."""

import json

import pytest
from small_base import byte_tokenizer

from actors.lm.messages import assistant, user
from actors.train.data.rows import Row, make_datums, parse_conversations, parse_examples
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


def test_examples_become_user_and_assistant_turns_with_their_lines():
    assert parse_examples("e.yaml", EXAMPLES.encode()) == [
        Row("e.yaml:4", [user("What is it?"), assistant("A lamp.")]),
        Row("e.yaml:5", [user("Two\nlines\n"), assistant("Yes.")]),
    ]


def test_conversations_keep_their_turns_and_drop_other_fields():
    row = turns("system", "user", "assistant", "user", "assistant") | {"source": "s"}
    (parsed,) = parse_conversations("d.jsonl", jsonl("", row))
    assert parsed.where == "d.jsonl:2"
    assert [m["role"] for m in parsed.messages] == [
        "system", "user", "assistant", "user", "assistant",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (jsonl(turns("user", "assistant"), '{"messages": [}'), "d.jsonl:2: not valid JSON"),
        (jsonl({"text": "x"}), 'd.jsonl:1: a row must be {"messages"'),
        (jsonl({"messages": []}), "at least one message"),
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
        parse_conversations("d.jsonl", data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("examples:\n- {prompt: a]\n", "e.yaml:2: not valid YAML"),
        ("- a", "e.yaml: holds list"),
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
        parse_examples("e.yaml", text.encode())


def test_all_faults_are_told_at_once_and_a_flood_is_counted():
    with pytest.raises(UserError) as caught:
        parse_conversations("d.jsonl", jsonl(*[turns("user")] * 25))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("d.jsonl:1:")
    assert (len(lines), lines[-1]) == (21, "... and 5 more.")


def test_a_row_that_is_too_long_is_told_with_the_mend():
    rows = [Row("d.jsonl:1", [user("a"), assistant("b")])]
    with pytest.raises(UserError, match=r"d.jsonl:1: 2\d tokens, more than .* max_tokens=2\d\."):
        make_datums(byte_tokenizer(), rows, max_tokens=10)


def test_a_row_without_target_tokens_is_named():
    template = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}"
    tokenizer = byte_tokenizer(template + "{% endfor %}")
    with pytest.raises(UserError, match=r"d\.jsonl:9: no token of an assistant's turn"):
        make_datums(tokenizer, [Row("d.jsonl:9", [user("a"), assistant("b")])], max_tokens=99)
