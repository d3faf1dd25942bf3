"""What every engine must do: each one of `serve.engines` is tested."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.refusals import BadRequest, RefusedAdapter, UnknownAdapter
from actors.lm.requests import SampleRequest, ScoreRequest

T = TypeVar("T")


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 60))


async def _load(engine: Engine, adapters: dict[str, Adapter]) -> None:
    for name, adapter in adapters.items():
        assert await engine.load(name, adapter) == adapter.digest


def test_replies_name_the_digest_that_answered(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await _load(engine, adapters)
        names = ["one@1", "base", "two@1", "one@1"]
        requests = [SampleRequest(name, [5, 6], max_tokens=3, temperature=0) for name in names]
        samples = await engine.sample(requests)
        known = engine.adapters()
        assert known.keys() == {"base", *adapters}
        assert [sample.adapter_digest for sample in samples] == [known[name] for name in names]
        scores = await engine.score([ScoreRequest(name, [5], [[6], [7, 8]]) for name in names])
        assert [score.adapter_digest for score in scores] == [known[name] for name in names]
        assert scores[0] == scores[3]
        assert len({tuple(score.loglikelihoods) for score in scores}) == 3

    _run(main())


def test_concurrent_callers_get_what_they_get_alone(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    names = ["base", *adapters]
    requests = [
        SampleRequest(names[i % 3], [5 + i, 9], max_tokens=2 + i, temperature=0.9, seed=i)
        for i in range(11)
    ]

    async def main() -> None:
        await _load(engine, adapters)
        together = await asyncio.gather(*(engine.sample([request]) for request in requests))
        for request, [sample] in zip(requests, together, strict=True):
            [alone] = await engine.sample([request])
            assert (alone.token_ids, alone.text) == (sample.token_ids, sample.text)

    _run(main())


def test_unknown_names_never_fall_through_to_base(engine: Engine) -> None:
    async def main() -> None:
        with pytest.raises(UnknownAdapter, match="Loaded: base"):
            await engine.sample([SampleRequest("base", [5]), SampleRequest("nobody@1", [5])])
        with pytest.raises(UnknownAdapter):
            await engine.score([ScoreRequest("nobody@1", [5], [[6]])])
        with pytest.raises(UnknownAdapter):
            await engine.unload("nobody@1")

    _run(main())


def test_unload_lets_answers_finish_and_makes_room(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await _load(engine, adapters)
        third = adapters["one@1"]
        with pytest.raises(RefusedAdapter, match="2 places"):
            await engine.load("three@1", third)
        request = SampleRequest("one@1", [5, 6], max_tokens=40, temperature=0)
        [alone] = await engine.sample([request])
        running = asyncio.create_task(engine.sample([request] * 6))
        await asyncio.sleep(0)
        await engine.unload("one@1")
        assert running.done()
        assert [sample.token_ids for sample in running.result()] == [alone.token_ids] * 6
        with pytest.raises(UnknownAdapter):
            await engine.sample([request])
        await engine.load("three@1", third)
        [again] = await engine.sample([replace(request, adapter="three@1")])
        assert again.token_ids == alone.token_ids

    _run(main())


def test_a_name_keeps_its_content(engine: Engine, adapters: dict[str, Adapter]) -> None:
    async def main() -> None:
        one, two = adapters.values()
        await engine.load("one@1", one)
        await engine.load("one@1", one)
        with pytest.raises(RefusedAdapter, match="another content"):
            await engine.load("one@1", two)
        with pytest.raises(RefusedAdapter):
            await engine.load("base", one)
        with pytest.raises(RefusedAdapter):
            await engine.unload("base")

    _run(main())


def test_a_refused_adapter_leaves_nothing_behind(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        one = adapters["one@1"]
        foreign = replace(one, config=one.config | {"base_model_name_or_path": "somebody/else"})
        with pytest.raises(RefusedAdapter, match="somebody/else"):
            await engine.load("foreign@1", foreign)
        assert list(engine.adapters()) == ["base"]

    _run(main())


def test_a_caller_that_goes_away_harms_nobody(engine: Engine) -> None:
    async def main() -> None:
        leaving = [
            asyncio.create_task(engine.sample([SampleRequest("base", [5], max_tokens=200)]))
            for _ in range(6)
        ]
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        [sample] = await engine.sample([SampleRequest("base", [5], max_tokens=2, seed=1)])
        assert 1 <= len(sample.token_ids) <= 2

    _run(main())


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    prompt=st.lists(st.integers(-1, 270), max_size=6),
    max_tokens=st.integers(-1, 8) | st.just(10**6),
    temperature=st.floats(),
    top_p=st.floats(-0.5, 1.5),
    stop=st.lists(st.text(max_size=3), max_size=2),
    seed=st.none() | st.integers(),
)
def test_any_request_is_answered_or_refused(engine: Engine, **fields: Any) -> None:
    request = SampleRequest(
        "base",
        fields["prompt"],
        fields["max_tokens"],
        fields["temperature"],
        fields["top_p"],
        tuple(fields["stop"]),
        fields["seed"],
    )
    try:
        [sample] = _run(engine.sample([request]))
    except BadRequest:
        return
    assert 1 <= len(sample.token_ids) == len(sample.logprobs) <= request.max_tokens
    assert not any(stop in sample.text for stop in request.stop)
