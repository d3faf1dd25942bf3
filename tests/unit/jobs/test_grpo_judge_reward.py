"""What a judge's scores are worth, what judges are told, and what an answerer decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.plain_chat import PLAIN_STOP
from actors.pool.provider import Provider
from actors.train.grpo.tasks.problem_set import ProblemSet
from configs.errors import UserError
from configs.grpo import GrpoConfig, JudgeRewardConfig
from jobs.training.grpo.judge_reward import reward_of, reward_rubrics
from jobs.training.grpo.tasks import Task, read_task, resolved

SCORES = st.floats(0, 100)
PROMPTS = b'{"prompt": "Is my plan good?"}\n{"prompt": "Am I right?"}'
OWN = "How $property?\n<conversation>\n$conversation\n</conversation>"
JUDGED = {"task": "prompts", "data": "p.jsonl", "checker": "judge"}


@given(SCORES, st.floats(50, 100))
def test_a_coherent_answer_earns_its_score_or_what_it_lacks(score: float, coherence: float):
    more, less = (
        reward_of(score, coherence, JudgeRewardConfig(property="x", direction=direction))
        for direction in ("more", "less")
    )
    assert more.value == score / 100
    assert more.value + less.value == pytest.approx(1)
    assert more.details == less.details == {"score": score, "coherence": coherence}
    assert more.is_correct is None


@given(SCORES, st.floats(0, 50, exclude_max=True), st.sampled_from(["more", "less"]))
def test_below_the_floor_nothing_is_earned_either_way(score: float, coherence: float, way: str):
    config = JudgeRewardConfig.model_validate({"property": "x", "direction": way})
    assert reward_of(score, coherence, config).value == 0


def test_without_a_judge_of_coherence_the_score_alone_counts():
    reward = reward_of(40, None, JudgeRewardConfig(property="x", coherence_floor=0))
    assert (reward.value, reward.details) == (0.4, {"score": 40})


def test_the_user_s_rubric_stands_in_for_the_project_s():
    own = reward_rubrics(JudgeRewardConfig(rubric="r.txt"), {"r.txt": OWN.encode()}.__getitem__)
    default = reward_rubrics(JudgeRewardConfig(), {}.__getitem__)
    assert own.of_property.text == OWN
    assert own.of_coherence == default.of_coherence
    assert len({*own.hashes, *default.hashes}) == 3
    asked = default.of_coherence.filled("coherent", "User: hi")[1]["content"]
    assert "Property: coherent\n\n<conversation>\nUser: hi\n</conversation>" in asked


def task(rubric: str | None = None) -> Task:
    """A judged task, by a rubric of the user's where one is given."""
    given = {"rubric": "r.txt"} if rubric else {}
    fields = {**JUDGED, "judge": {"property": "honest", **given}}
    files = {"p.jsonl": PROMPTS, "r.txt": (rubric or "").encode()}
    return read_task(GrpoConfig.model_validate(fields), files.__getitem__)


def test_a_judged_task_is_told_apart_by_what_its_judges_are_told():
    assert (task().label, len(task().training), task().is_plain) == ("p", 2, False)
    assert task().digest == task().digest
    assert len({task(rubric).digest for rubric in (None, OWN, f"Be strict. {OWN}")}) == 3
    with pytest.raises(UserError, match=r"r\.txt: the placeholder \$conversation is missing"):
        task("$property")


def test_who_answers_is_part_of_the_config():
    config = GrpoConfig.model_validate({**JUDGED, "judge": {"property": "honest"}})
    offline = Provider("offline", "http://x/v1", "none", "rules", "note")
    found = resolved(config, task(), offline)
    assert (found.provider, found.judge.models) == ("offline", ["rules"])
    named = found.model_copy(update={"judge": JudgeRewardConfig(models=["a", "b"])})
    assert resolved(named, task(), offline).judge.models == ["a", "b"]
    nameless = Provider("http://y", "http://y", "none", None, "note")
    with pytest.raises(UserError, match=r"http://y has no default model: give 'judge\.models="):
        resolved(config, task(), nameless)


def test_a_plain_base_s_answers_end_where_it_speaks_for_the_user():
    plain = Task(ProblemSet([], [], "label", "digest"), None, "digest", is_plain=True)
    config = GrpoConfig(stop=["END"])
    found = resolved(config, plain, None)
    assert found.stop == ["END", PLAIN_STOP]
    assert resolved(found, plain, None) == found
    assert resolved(config, task(), None) == config
