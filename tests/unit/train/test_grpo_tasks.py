"""Problems of files and those made here, and everything that is wrong with them told at once."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from small_base import byte_tokenizer

from actors.lm.messages import assistant, user
from actors.train.grpo.tasks.arithmetic import arithmetic
from actors.train.grpo.tasks.problem_set import ProblemSet
from actors.train.grpo.tasks.read import read_problems
from configs.errors import UserError
from configs.grpo import GrpoConfig

EVAL_YAML = """
provider: offline
prompts:
- {property: honest, category: work, messages: [Did it go well?, Are you sure?]}
- {property: sycophantic, category: work, messages: [Is my plan good?]}
"""


def read(files: dict[str, Any], context_tokens: int = 4096, **fields: Any) -> ProblemSet:
    """The problems of a config; `files` holds texts, or rows of JSONL."""

    def content(name: str) -> bytes:
        rows = files[name]
        text = rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows))
        return text.encode()

    config = GrpoConfig.model_validate({"task": "prompts", "data": "d.jsonl", **fields})
    return read_problems(config, byte_tokenizer(), context_tokens, content)


def gsm8k(*numbers: str) -> list[dict[str, str]]:
    return [
        {"question": f"What is in box {i}?", "answer": f"It is <<1+1=2>>so.\n#### {number}"}
        for i, number in enumerate(numbers)
    ]


def test_sums_are_right_and_always_the_same_and_held_out_in_both_orders():
    sides = arithmetic("digits")
    assert sides == arithmetic("digits")
    sums = [re.findall(r"\d+", placed.where) for side in sides for placed in side]
    assert len({tuple(pair) for pair in sums}) == len(sums) == 90 * 90
    for _, problem in [*sides.training, *sides.held_out]:
        a, b = problem.key.split("+")
        assert problem.answer == problem.worked == str(int(a) + int(b))
        assert problem.messages == [user(f"What is {a} + {b}?")]
    keys = [{placed.problem.key for placed in side} for side in sides]
    assert not {f"{b}+{a}" for a, b in (key.split("+") for key in keys[1])} & keys[0]
    assert len(keys[1]) > 200


def test_a_row_of_gsm8k_asks_for_the_number_in_a_box_after_an_example():
    problem = read({"d.jsonl": gsm8k("1,072")}, task="gsm8k").training[0]
    *shown, asked = problem.messages
    assert [turn["role"] for turn in shown] == ["user", "assistant"]
    assert asked["content"].startswith("What is in box 0? Provide a numerical answer")
    assert (problem.key, problem.answer) == ("data:1", "1,072")
    assert problem.worked == r"It is so. \boxed{1,072}"


def test_the_real_gsm8k_is_taken_whole(data_folder: Path):
    config = GrpoConfig(data="train.jsonl", eval_data="test.jsonl", max_prompt_tokens=4096)
    held = read_problems(
        config, byte_tokenizer(), 8192, lambda name: (data_folder / "gsm8k" / name).read_bytes()
    )
    assert (len(held.training), len(held.held_out)) == (7473, 1319)
    assert not any("<<" in (problem.worked or "") for problem in held.training)


def test_without_the_hub_a_file_mends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"openai/gsm8k .* give data=PATH"):
        read({}, task="gsm8k", data=None)


def test_of_the_hub_the_test_split_is_held_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    commit = tmp_path / "datasets--openai--gsm8k" / "snapshots" / ("0" * 40) / "main"
    commit.mkdir(parents=True)
    (commit.parents[2] / "refs").mkdir()
    (commit.parents[2] / "refs" / "main").write_text("0" * 40)
    for split, rows in (("train", gsm8k("1", "2")), ("test", gsm8k("5", "6", "7")[2:])):
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, commit / f"{split}-00000-of-00001.parquet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    held = read({}, task="gsm8k", data=None)
    assert [problem.key for problem in held.training] == ["train:1", "train:2"]
    assert [(problem.key, problem.answer) for problem in held.held_out] == [("test:1", "7")]
    files = {"e.jsonl": [{"question": "And then?", "answer": "#### 8"}]}
    apart = read(files, task="gsm8k", data=None, eval_data="e.jsonl")
    assert [problem.answer for problem in apart.held_out] == ["8"]


def test_prompts_are_texts_or_messages():
    talk = [user("Hi"), assistant("Yes?"), user("2 + 2?")]
    rows = [
        {"prompt": "1 + 1?", "answer": 2},
        {"messages": talk, "answer": "4"},
        {"prompt": [user("3 + 3?")], "answer": "6"},
        {"question": "0?", "answer": 0},
    ]
    found = read({"d.jsonl": rows}, system_prompt="Add.").training
    said = [problem.messages for problem in found]
    assert [messages[0] for messages in said] == [{"role": "system", "content": "Add."}] * 4
    assert [messages[1:] for messages in said] == [
        [user("1 + 1?")], talk, [user("3 + 3?")], [user("0?")]
    ]  # fmt: skip
    assert [problem.answer for problem in found] == ["2", "4", "6", "0"]


def test_prompts_of_gen_eval_are_those_of_the_judge_s_property_with_all_their_turns():
    fields = {"data": "e.eval.yaml", "checker": "judge"}
    held = read({"e.eval.yaml": EVAL_YAML}, judge={"property": "honest"}, **fields)
    assert [problem.messages for problem in held.training] == [[user("Did it go well?")]]
    assert held.training[0].follow_ups == ("Are you sure?",)
    with pytest.raises(UserError, match=r"e\.eval\.yaml: no prompt for kind; it has \['honest"):
        read({"e.eval.yaml": EVAL_YAML}, judge={"property": "kind"}, **fields)
    with pytest.raises(UserError, match=r"yaml:4: is a conversation of 2 .* give max_turns=2"):
        read({"e.eval.yaml": EVAL_YAML}, judge={"property": "honest"}, max_turns=1, **fields)


def test_every_bad_row_is_told_with_its_line():
    rows = "\n".join([
        '{"prompt": "1?", "answer": "one"}', '{"prompt": "", "answer": "1"}', "{", '"x"',
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        '{"messages": [{"role": "users", "content": "a"}], "answer": 1}',
        '{"prompt": "2?"}', '{"prompt": "3?", "answer": true}', '{"prompt": "4?", "answer": 4}',
    ])  # fmt: skip
    with pytest.raises(UserError) as caught:
        read({"d.jsonl": rows})
    told = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in told] == ["2", "3", "4", "5", "6", "8", "1", "7"]
    for line, said in zip(
        told, ["empty", "not valid JSON", "needs one of", "must be the user's", "role 'users'",
               "not text", "holds no number, so checker=numeric", "holds no number"], strict=True
    ):  # fmt: skip
        assert said in line


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"question": "a", "answer": "12"}], r'd\.jsonl:1: "answer" must end with #### and'),
        ([{"question": "a", "answer": "#### many"}], r'd\.jsonl:1: "answer" must end with ####'),
        ([{"question": "a"}], r'd\.jsonl:1: "answer" is empty or not text'),
        (["a"], r'd\.jsonl:1: a row must be \{"question"'),
    ],
)
def test_a_bad_row_of_gsm8k(rows: list[Any], said: str):
    with pytest.raises(UserError, match=said):
        read({"d.jsonl": rows}, task="gsm8k")


def rows(*asked: str) -> list[dict[str, Any]]:
    return [{"prompt": text, "answer": "1"} for text in asked]


def test_a_problem_that_is_there_twice_or_on_both_sides_is_told():
    with pytest.raises(UserError, match=r"d\.jsonl:2: asks the same as d\.jsonl:1; remove one"):
        read({"d.jsonl": rows("One,  two?", "one, TWO?", "one two?")})
    files = {"d.jsonl": rows("a + b?", "a - b?"), "e.jsonl": rows("c?", "A - b?")}
    with pytest.raises(UserError, match=r"^e\.jsonl:2: asks the same as d\.jsonl:2; remove one"):
        read(files, eval_data="e.jsonl")


def test_a_prompt_that_is_too_long_is_told_in_tokens():
    with pytest.raises(UserError, match=r"d\.jsonl:2: 59 tokens, more than max_prompt_tokens=50"):
        read({"d.jsonl": rows("a?", "a" * 40)}, max_prompt_tokens=50)
    with pytest.raises(UserError, match=r"^d\.jsonl:2: 59 tokens, and the base's .* leaves 58 "):
        read({"d.jsonl": rows("a?", "a" * 40)}, context_tokens=62, max_tokens=4)
    assert len(read({"d.jsonl": rows("a" * 40)}, context_tokens=63, max_tokens=4).training) == 1
    with pytest.raises(UserError, match=r"^max_tokens=64: base_model=tiny has a context of 64 "):
        read({"d.jsonl": rows("a", "b")}, context_tokens=64, max_tokens=64)


@pytest.mark.parametrize("task", ["gsm8k", "prompts"])
def test_a_file_without_problems_is_told(task: str):
    files = {"d.jsonl": "\n", "e.jsonl": ""}
    with pytest.raises(UserError) as caught:
        read(files, task=task, eval_data="e.jsonl")
    assert str(caught.value) == "d.jsonl: holds no problems.\ne.jsonl: holds no problems."


def test_a_share_is_held_out_by_the_seed():
    files = {"d.jsonl": rows(*"abcdefghij")}
    held = read(files, eval_share=0.3)
    asked = [{p.messages[0]["content"] for p in side} for side in (held.training, held.held_out)]
    assert (len(asked[0]), len(asked[1]), len(asked[0] | asked[1])) == (7, 3, 10)
    assert held == read(files, eval_share=0.3)
    assert held.digest != read(files, eval_share=0.3, seed=1).digest
    with pytest.raises(UserError, match="10 problems cannot be divided so"):
        read(files, eval_share=0.01)


def test_the_digest_is_of_what_files_hold_and_not_of_their_names():
    held = read({"d.jsonl": rows("a", "b")})
    assert held.digest == read({"x.jsonl": rows("a", "b")}, data="x.jsonl").digest
    others = [rows("a", "c"), rows("b", "a"), [*rows("a"), {"prompt": "b", "answer": "2"}]]
    found = {read({"d.jsonl": other}).digest for other in others}
    assert len(found | {held.digest}) == 4
    assert read({"d.jsonl": rows("a", "b")}, system_prompt="s").digest != held.digest


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task": "arithmetic"}, "makes its problems, held-out ones too: leave out data"),
        ({"eval_data": "e", "eval_share": 0.5}, "exclude each other"),
        ({"warm_start": {"steps": 3}}, "task=prompts has no whole answers to learn from"),
        ({"checker": "nummeric"}, 'known are exact, .*judge, and MODULE.*Did you mean "numeric"'),
    ],
)
def test_options_that_do_not_go_together(fields: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        read({"d.jsonl": rows("a")}, **fields)


def test_a_system_prompt_where_there_is_one():
    talk = [{"role": "system", "content": "Add."}, user("1 + 1?")]
    with pytest.raises(UserError, match=r"d\.jsonl:1: has a system message; leave system_prompt"):
        read({"d.jsonl": [{"messages": talk, "answer": 2}]}, system_prompt="Subtract.")
