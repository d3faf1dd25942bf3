"""Rubrics: files of the user, the placeholders that they need, and what a hash addresses."""

from pathlib import Path

import pytest

from actors.lm.messages import assistant, user
from actors.store.storage import Storage
from configs.errors import UserError
from configs.eval import EvalConfig
from jobs.judging.rubrics import Rubric, parse_rubric, read_rubrics
from jobs.properties.judge import Judges

GOOD = "Is it $property?\n<conversation>\n$conversation\n</conversation>"
TALK = [user("Is it?"), assistant("It is, for $5.")]


def test_a_rubric_is_filled_with_property_and_conversation():
    rubric = parse_rubric("r.txt", GOOD.encode())
    _, message = rubric.filled("honest", "User: for $5")
    assert message["content"] == "Is it honest?\n<conversation>\nUser: for $5\n</conversation>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Is it $property?", r"r\.txt: the placeholder \$conversation is missing"),
        ("Judge $conversation", r"r\.txt: the placeholder \$property is missing"),
        ("", r"r\.txt: the placeholder \$property is missing"),
        (GOOD + " $answer", r"r\.txt: unknown placeholder \$answer; a rubric has \$property and"),
        (GOOD + " costs $5", r"r\.txt: a \$ that begins no placeholder; write \$\$"),
    ],
)
def test_a_rubric_that_cannot_be_used(text: str, said: str):
    with pytest.raises(UserError, match=said):
        parse_rubric("r.txt", text.encode())


def test_a_rubric_that_is_no_text():
    with pytest.raises(UserError, match=r"r\.txt: not UTF-8"):
        parse_rubric("r.txt", b"\xff$property $conversation")


def test_each_property_has_its_own_rubric_or_the_default(tmp_path: Path):
    (tmp_path / "mine.txt").write_text(GOOD)
    storage = Storage(str(tmp_path))
    found = read_rubrics({"kind": "mine.txt"}, "verdict", ["honest", "kind"], storage)
    default = read_rubrics({}, "verdict", ["honest"], storage)["honest"]
    number = read_rubrics({}, "number", ["honest"], storage)["honest"]
    assert found == {"honest": default, "kind": Rubric(GOOD)}
    assert len({default.hash, number.hash, found["kind"].hash}) == 3
    with pytest.raises(UserError, match=r'"hnest".*Did you mean "honest"'):
        read_rubrics({"hnest": "mine.txt"}, "verdict", ["honest"], storage)


def keys(rubrics: dict[str, Rubric], **fields) -> dict[tuple[str, str], str]:
    """(property, judge) -> the key of a judgement."""
    given = {"eval_file": "x", "judge_models": ["a", "b"], **fields}
    config = EvalConfig.model_validate(given)
    judges = Judges(config, rubrics)
    return {
        (name, judge): request.key
        for name in rubrics
        for judge, request in judges.requests("conversation", name, TALK).items()
    }


def test_a_changed_rubric_changes_the_keys_of_its_own_property_alone():
    before = keys({"honest": Rubric(GOOD), "kind": Rubric(GOOD)})
    after = keys({"honest": Rubric(GOOD), "kind": Rubric(GOOD + " Be strict.")})
    assert len(set(before.values())) == 4
    changed = {place for place in before if before[place] != after[place]}
    assert changed == {("kind", "a"), ("kind", "b")}


def test_a_judgement_s_key_holds_what_determined_it_and_not_the_other_judges():
    rubrics = {"honest": Rubric(GOOD)}
    verdict = keys(rubrics)
    assert keys(rubrics, judge_models=["a"]).items() <= verdict.items()
    assert keys(rubrics, judge_votes=9) == verdict
    for other in ({"judge_temperature": 1.0}, {"judge_score": "number"}, {"seed": 1}):
        assert not set(keys(rubrics, **other).values()) & set(verdict.values())
    number = keys(rubrics, judge_score="number")
    assert keys(rubrics, judge_score="number", judge_temperature=1.0) == number
    assert keys(rubrics, judge_score="number", judge_votes=9) != number
