"""Everything that a config names, from its files to datums, a report and an identity."""

import json
from collections.abc import Callable

import pytest
from chat_templates import QWEN_3, family_tokenizer
from small_base import byte_tokenizer
from transformers import ByT5Tokenizer

from actors.lm.messages import assistant, user
from actors.train.data.load import TrainingData, load_training_data
from configs.errors import UserError
from configs.sft import SftConfig

Files = dict[str, bytes]


def jsonl(*asked: str, answer: str = "Yes.") -> bytes:
    rows = [{"messages": [user(text), assistant(answer)]} for text in asked]
    return "\n".join(map(json.dumps, rows)).encode()


def numbered(start: int, rows: int) -> bytes:
    return jsonl(*(f"Question {i}?" for i in range(start, start + rows)))


def reader(files: Files) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        if name not in files:
            raise UserError(f"{name}: no such file.")
        return files[name]

    return read


def load(files: Files, **fields: object) -> TrainingData:
    config = SftConfig.model_validate(
        fields if "data" in fields else {"data_file": "a.jsonl"} | fields
    )
    return load_training_data(config, byte_tokenizer(), reader(files))


def test_one_file_is_used_whole_and_counted():
    data = load({"a.jsonl": numbered(0, 3)})
    assert [row.where for row in data.rows] == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]
    assert (len(data.train), data.validation) == (3, [])
    answer = len("Yes.") + 1  # and its end
    assert data.report.target_tokens == 3 * answer
    assert data.report.tokens == sum(map(len, data.train))
    assert data.report.lines() == [
        "a.jsonl: 3 rows, 3 used",
        f"3 rows an epoch with {data.report.tokens} tokens, {3 * answer} of them learned",
    ]


def test_files_without_weights_are_used_whole_and_with_them_in_proportion():
    files = {"a.jsonl": numbered(0, 4), "b.yaml": b"examples: [{prompt: p, text: t}]"}
    names = [{"file": "a.jsonl"}, {"file": "b.yaml"}]
    assert [row.where for row in load(files, data=names).rows][-1] == "b.yaml:1"
    assert len(load(files, data=names).train) == 5
    weighed = load(files, data=[{**names[0], "weight": 2}, {**names[1], "weight": 1}])
    assert [file.used for file in weighed.report.files] == [2, 1]
    assert weighed.report.lines()[0] == "a.jsonl: 4 rows, 2 used"


def test_some_weights_are_refused():
    with pytest.raises(ValueError, match="a weight for every file"):
        load({}, data=[{"file": "a", "weight": 1}, {"file": "b"}])


def test_faults_of_all_files_are_told_at_once():
    files = {
        "a.jsonl": jsonl("x" * 99),
        "b.jsonl": b"{",
        "c.jsonl": b"",
        "v.jsonl": jsonl("", "x"),
        "e.jsonl": b"{}",
    }
    names = [{"file": name} for name in ("a.jsonl", "b.jsonl", "c.jsonl", "absent.jsonl")]
    with pytest.raises(UserError) as caught:
        load(files, data=names, validation_file="v.jsonl", eval_files=["e.jsonl"], max_tokens=50)
    places = [line.split(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [
        "a.jsonl:1", "b.jsonl:1", "c.jsonl", "absent.jsonl", "v.jsonl:1", "e.jsonl:1",
    ]  # fmt: skip


def test_what_is_too_long_is_dropped_and_counted_but_something_must_be_left():
    files = {"a.jsonl": jsonl("x", "x" * 99)}
    data = load(files, max_tokens=50, too_long="drop")
    assert data.report.lines()[0] == "a.jsonl: 2 rows, 1 dropped (too long), 1 used"
    with pytest.raises(UserError, match=r"a.jsonl: no row fits into max_tokens=5"):
        load(files, max_tokens=5, too_long="drop")
    with pytest.raises(UserError, match=r"a.jsonl: no row fits into max_tokens=5"):
        load(files, max_tokens=5, too_long="truncate")


def test_a_share_is_held_out_and_duplicates_stay_together():
    files = {"a.jsonl": numbered(0, 10), "b.jsonl": numbered(5, 10)}
    names = [{"file": name} for name in files]
    data = load(files, data=names, validation_share=0.2)
    assert (len(data.train), len(data.validation)) == (16, 4)
    learned = {one.token_ids.tobytes() for one in data.train}
    assert not learned & {one.token_ids.tobytes() for one in data.validation}
    assert data.report.lines()[-1].endswith("; 4 held out for validation")
    same = load(files, data=names, validation_share=0.2)
    assert [row.where for row in same.rows] == [row.where for row in data.rows]


def test_a_share_of_one_row_is_refused():
    with pytest.raises(UserError, match=r"validation_share=0.5: there are too few different rows"):
        load({"a.jsonl": jsonl("x", "x")}, validation_share=0.5)


def test_rows_of_a_validation_file_that_are_learned_are_not_measured():
    files = {"a.jsonl": numbered(0, 3), "v.jsonl": numbered(2, 3)}
    data = load(files, validation_file="v.jsonl")
    assert (len(data.train), len(data.validation)) == (3, 2)
    assert data.report.lines()[1] == "v.jsonl: 3 rows, 2 used"
    with pytest.raises(UserError, match=r"v.jsonl: every row is also trained on"):
        load({**files, "v.jsonl": numbered(0, 3)}, validation_file="v.jsonl")


def test_evaluation_prompts_in_the_data_are_told_and_refused_where_strict():
    files = {"a.jsonl": jsonl("x", "Are you honest?"), "e.jsonl": b'{"question": "are you honest"}'}
    data = load(files, eval_files=["e.jsonl"])
    assert data.report.contamination.contacts == (("a.jsonl:2", "e.jsonl:1"),)
    assert data.report.lines()[2:] == [
        "1 row with evaluation prompts (strict=true refuses them):",
        "  a.jsonl:2: e.jsonl:1",
    ]
    clean = load(files | {"e.jsonl": b'{"question": "where?"}'}, eval_files=["e.jsonl"])
    assert clean.report.lines()[2:] == ["none of the 1 evaluation prompts is in the training data"]
    with pytest.raises(UserError, match=r"a.jsonl:2: holds the evaluation prompt of e.jsonl:1"):
        load(files, eval_files=["e.jsonl"], strict=True)


def test_the_identity_is_what_the_files_hold_and_their_shares():
    files = {"a": numbered(0, 4), "b": numbered(4, 4), "c": numbered(0, 4), "v": numbered(9, 1)}

    def identity(*sources: tuple[str, float | None], **fields: object) -> str:
        data = [{"file": name, "weight": weight} for name, weight in sources]
        return load(files, data=data, **fields).identity

    plain = identity(("a", None), ("b", None))
    assert plain == identity(("c", None), ("b", None))
    assert identity(("a", 1), ("b", 3)) == identity(("a", 2), ("b", 6))
    assert identity(("a", None)) == identity(("c", 5))
    others = {
        identity(("b", None), ("a", None)),
        identity(("a", 1), ("b", 1)),
        identity(("a", 1), ("b", 3)),
        identity(("a", None), ("b", None), validation_file="v"),
        identity(("a", None)),
        plain,
    }
    assert len(others) == 6


def test_a_row_is_a_datum_for_each_answer_where_the_template_rewrites_turns():
    turns = [user("a"), assistant("b"), user("c"), assistant("d")]
    files = {"a.jsonl": json.dumps({"messages": turns}).encode() + b"\n" + numbered(0, 1)}
    config = SftConfig(data_file="a.jsonl")
    data = load_training_data(config, family_tokenizer(QWEN_3), reader(files))
    assert [row.where for row in data.rows] == ["a.jsonl:1", "a.jsonl:1", "a.jsonl:2"]
    assert data.report.lines()[0] == "a.jsonl: 2 rows, 3 datums (one for each answer), 3 used"


def test_a_tokenizer_without_places_is_refused():
    with pytest.raises(UserError, match=r"use a base with a tokenizer\.json"):
        load_training_data(SftConfig(data_file="a.jsonl"), ByT5Tokenizer(), reader({}))
