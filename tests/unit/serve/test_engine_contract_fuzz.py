"""Any requests at once: each is answered for itself or refused, and none hangs."""

import asyncio
import json
from typing import Any

from engine_tests import ENGINE, load_all, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.refusals import BadRequest, UnknownAdapter
from actors.lm.requests import Question, Sample, SampleRequest

SCHEMAS = st.sampled_from(
    ['{"enum": ["a", "bc"]}', '{"type": "object"}', '{"type": "no"}', "{", '{"$ref": "#"}']
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "adapter": st.sampled_from(["base", "one@1", "two@1", "one", ""]),
    "prompt_ids": st.lists(st.integers(-1, 270), max_size=6)
    | st.integers(0, 600).map(lambda count: [9] * count),
    "max_tokens": st.integers(-1, 8) | st.just(10**6),
    "temperature": st.sampled_from([0, 0.7, 1.0, 1e39]) | st.floats(),
    "top_p": st.just(1.0) | st.floats(-0.5, 1.5),
    "top_k": st.integers(-1, 300),
    "stop": st.lists(st.text(max_size=3), max_size=2).map(tuple),
    "seed": st.none() | st.integers(),
    "logit_bias": st.dictionaries(st.integers(-1, 270), st.floats(), max_size=2),
    "top_logprobs": st.integers(-1, 22),
    "prompt_logprobs": st.none() | st.integers(-1, 22),
    "json_schema": st.none() | SCHEMAS,
    "tempered": st.booleans(),
}


def _request(fields: dict[str, Any]) -> SampleRequest:
    return SampleRequest(**fields)


REQUIRED = ("adapter", "prompt_ids")
# Most fields at their defaults: all odd at once would hardly ever be answered.
REQUESTS = st.fixed_dictionaries(
    {name: FIELDS[name] for name in REQUIRED},
    optional={name: values for name, values in FIELDS.items() if name not in REQUIRED},
).map(lambda fields: _request({"max_tokens": 4} | fields))
FUZZ = settings(
    deadline=None,
    max_examples=60 if ENGINE == "torch" else 30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _check(request: SampleRequest, sample: Sample) -> None:
    assert len(sample.token_ids) == len(sample.logprobs) <= request.max_tokens
    assert len(sample.token_ids) >= min(1, request.max_tokens)
    assert not any(stop in sample.text for stop in request.stop)
    assert all(len(told.likeliest) == request.top_logprobs for told in sample.logprobs)
    assert (sample.prompt_logprobs is None) == (request.prompt_logprobs is None)
    if request.json_schema and sample.finish_reason == "stop" and not request.stop:
        json.loads(sample.text)


@FUZZ
@given(requests=st.lists(REQUESTS, min_size=1, max_size=6))
def test_any_requests_are_answered_or_refused(
    engine: Engine, adapters: dict[str, Adapter], requests: list[SampleRequest]
) -> None:
    async def one(request: SampleRequest) -> Sample | None:
        try:
            [sample] = await engine.sample([request])
        except (BadRequest, UnknownAdapter):
            return None
        return sample

    async def main() -> None:
        await load_all(engine, adapters)
        known = engine.adapters()
        together = await asyncio.gather(*map(one, requests))
        for request, sample in zip(requests, together, strict=True):
            if sample is None:
                continue
            _check(request, sample)
            assert sample.adapter_digest == known[request.adapter]
            if request.temperature == 0 or request.seed is not None:
                again = await one(request)
                assert again is not None
                assert again.token_ids == sample.token_ids

    run(main())


IDS = st.lists(st.integers(-1, 270), max_size=5)


@FUZZ
@given(
    names=st.lists(st.sampled_from(["base", "one@1", "two@1", "nobody"]), max_size=3),
    questions=st.lists(st.builds(Question, IDS, st.lists(IDS, max_size=3)), max_size=4),
)
def test_any_questions_are_answered_or_refused(
    engine: Engine, adapters: dict[str, Adapter], names: list[str], questions: list[Question]
) -> None:
    async def main() -> Any:
        await load_all(engine, adapters)
        return await engine.score(names, questions)

    try:
        scores = run(main())
    except (BadRequest, UnknownAdapter):
        return
    assert len(scores) == len(names)
    for each in scores:
        assert [len(told) for told in each.questions] == [len(q.continuations) for q in questions]
