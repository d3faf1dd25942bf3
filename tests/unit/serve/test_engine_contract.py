"""What every engine must do with names: load, answer by, unload; and who is harmed by whom."""

import asyncio
from dataclasses import replace

import pytest
from engine_tests import load_all, run

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import Question, SampleRequest

QUESTIONS = [Question([5], [[6], [7, 8]])]


def test_replies_name_the_digest_that_answered(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await load_all(engine, adapters)
        names = ["one@1", "base", "two@1", "one@1"]
        requests = [SampleRequest(name, [5, 6], max_tokens=3, temperature=0) for name in names]
        samples = await engine.sample(requests)
        known = engine.adapters()
        assert known.keys() == {"base", *adapters}
        assert [sample.adapter_digest for sample in samples] == [known[name] for name in names]
        scores = await engine.score(names, QUESTIONS)
        assert [each.adapter_digest for each in scores] == [known[name] for name in names]
        assert scores[0] == scores[3]
        assert len({str(each.questions) for each in scores}) == 3

    run(main())


def test_unknown_names_never_fall_through_to_base(engine: Engine) -> None:
    async def main() -> None:
        with pytest.raises(UnknownAdapter, match="Loaded: base"):
            await engine.sample([SampleRequest("base", [5]), SampleRequest("nobody@1", [5])])
        with pytest.raises(UnknownAdapter):
            await engine.score(["base", "nobody@1"], QUESTIONS)
        with pytest.raises(UnknownAdapter):
            await engine.unload("nobody@1")

    run(main())


def test_unload_lets_answers_finish_and_makes_room(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await load_all(engine, adapters)
        third = adapters["one@1"]
        assert engine.max_adapters == 2
        with pytest.raises(RefusedAdapter, match="2 "):
            await engine.load("three@1", third)
        request = SampleRequest("one@1", [5, 6], max_tokens=40, temperature=0)
        [alone] = await engine.sample([request])
        running = asyncio.create_task(engine.sample([request] * 6))
        await asyncio.sleep(0)
        await engine.unload("one@1")
        with pytest.raises(UnknownAdapter):
            await engine.sample([request])
        assert [sample.token_ids for sample in await running] == [alone.token_ids] * 6
        await engine.load("three@1", third)
        [again] = await engine.sample([replace(request, adapter="three@1")])
        assert again.token_ids == alone.token_ids

    run(main())


def test_a_name_keeps_its_content(engine: Engine, adapters: dict[str, Adapter]) -> None:
    async def main() -> None:
        one, two = adapters.values()
        await engine.load("one@1", one)
        assert await engine.load("one@1", one) == one.digest
        with pytest.raises(RefusedAdapter, match="another content"):
            await engine.load("one@1", two)
        with pytest.raises(RefusedAdapter):
            await engine.load("base", one)
        with pytest.raises(RefusedAdapter):
            await engine.unload("base")

    run(main())


def test_the_same_name_with_other_content_answers_anew(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        one, two = adapters.values()
        request = SampleRequest("it@1", [7] * 100, max_tokens=8, temperature=0)
        await engine.load("it@1", one)
        [before] = await engine.sample([request])
        await engine.unload("it@1")
        await engine.load("it@1", two)
        await engine.load("other@1", one)
        [after] = await engine.sample([request])
        [still] = await engine.sample([replace(request, adapter="other@1")])
        assert after.token_ids != before.token_ids == still.token_ids
        assert (before.adapter_digest, after.adapter_digest) == (one.digest, two.digest)

    run(main())


def test_a_refused_adapter_leaves_nothing_behind(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        one = adapters["one@1"]
        foreign = replace(one, config=one.config | {"base_model_name_or_path": "somebody/else"})
        with pytest.raises(RefusedAdapter, match="somebody/else"):
            await engine.load("foreign@1", foreign)
        assert list(engine.adapters()) == ["base"]
        await load_all(engine, adapters)

    run(main())


def test_callers_that_go_away_harm_nobody(engine: Engine) -> None:
    async def main() -> None:
        request = SampleRequest("base", [5], max_tokens=400, seed=3)
        leaving = [asyncio.create_task(engine.sample([request, request])) for _ in range(6)]
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        outcomes = await asyncio.gather(*leaving, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError | list) for each in outcomes)
        [sample] = await engine.sample([SampleRequest("base", [5], max_tokens=2, seed=1)])
        assert 1 <= len(sample.token_ids) <= 2
        while (stats := engine.stats()).running + stats.waiting:
            await asyncio.sleep(0.01)

    run(main())


def test_a_broken_adapter_fails_alone(engine: Engine, adapters: dict[str, Adapter]) -> None:
    one = adapters["one@1"]
    huge = replace(one, tensors={name: tensor * 1e30 for name, tensor in one.tensors.items()})

    async def main() -> None:
        await engine.load("one@1", one)
        await engine.load("huge@1", huge)
        request = SampleRequest("one@1", [5, 6], max_tokens=8, seed=1)
        [alone] = await engine.sample([request])
        broken, whole = await asyncio.gather(
            engine.sample([replace(request, adapter="huge@1")]),
            engine.sample([request]),
            return_exceptions=True,
        )
        assert isinstance(broken, BrokenAdapter)
        assert "huge@1" in str(broken)
        assert isinstance(whole, list)
        assert whole[0].token_ids == alone.token_ids
        good, bad = await engine.score(["one@1", "huge@1"], QUESTIONS)
        assert good.problem is None
        assert bad.problem
        assert not any(bad.questions)

    run(main())


def test_a_bad_request_in_a_call_stops_all_of_it(engine: Engine) -> None:
    async def main() -> None:
        good = SampleRequest("base", [5], max_tokens=2)
        with pytest.raises(BadRequest) as refusal:
            await engine.sample([good, replace(good, top_p=2.0)])
        assert refusal.value.field == "top_p"
        with pytest.raises(BadRequest, match="no tokens"):
            await engine.score(["base"], [*QUESTIONS, Question([], [[6]])])

    run(main())
