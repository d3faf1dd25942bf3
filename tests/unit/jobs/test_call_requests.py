"""What a call asks for: bounds of its length are sent, and tell records apart."""

import pytest

from actors.lm.messages import user
from configs.eval import EvalConfig
from configs.generate import GenerateConfig
from configs.sections import WriterConfig
from jobs.judging.rubrics import Rubric
from jobs.properties.calls import writer_request
from jobs.properties.generate_calls import stages
from jobs.properties.judge import Judges
from jobs.properties.schemas import Example


def test_a_writer_s_bound_is_sent_and_part_of_the_key():
    messages = [user("Hello")]
    free = writer_request(WriterConfig(), messages, Example)
    bound = writer_request(WriterConfig(max_tokens=300), messages, Example)
    assert (free.max_tokens, bound.max_tokens) == (None, 300)
    assert free.key != bound.key
    config = GenerateConfig(property="honest", max_tokens=300)
    assert {stage.request.max_tokens for stage in stages(config, None)} == {300}


@pytest.mark.parametrize(("score", "sent"), [("verdict", 200), ("number", None)])
def test_a_verdict_s_bound_is_sent_and_part_of_the_key(score: str, sent: int | None):
    def asked(**fields: object):
        config = EvalConfig.model_validate(
            {"eval_file": "x", "judge_models": ["m"], "judge_score": score, **fields}
        )
        judges = Judges(config, {"honest": Rubric("$property $conversation")})
        return judges.requests("c", "honest", [user("Hi")])["m"]

    free, bound = asked(), asked(judge_max_tokens=200)
    assert (free.max_tokens, bound.max_tokens) == (None, sent)
    # A number has room of its own.
    assert (free.key != bound.key) == (score == "verdict")
