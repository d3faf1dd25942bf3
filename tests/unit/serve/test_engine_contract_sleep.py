"""What every engine must do when it is to leave its device for a while."""

import asyncio

from engine_tests import load_all, run

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.requests import Question, Sample, SampleRequest

REQUESTS = [
    SampleRequest(name, [5, 6, 7] * 30, max_tokens=40, seed=seed)
    for seed, name in enumerate(["base", "one@1"])
]


def tokens(samples: list[Sample]) -> list[list[int]]:
    """A prompt that was stored gives other last bits of log-probabilities, but these tokens."""
    return [sample.token_ids for sample in samples]


def test_asleep_it_answers_nobody_and_awake_as_before(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await engine.load("one@1", adapters["one@1"])
        before = tokens(await engine.sample(REQUESTS))
        for _ in range(2):
            running = asyncio.create_task(engine.sample(REQUESTS))
            while not (engine.stats().running or running.done()):
                await asyncio.sleep(0)
            await engine.sleep()
            assert tokens(await running) == before  # what ran was finished first
            sampling = asyncio.create_task(engine.sample(REQUESTS))
            scoring = asyncio.create_task(engine.score(["one@1"], [Question([5], [[6]])]))
            loading = asyncio.create_task(engine.load("two@1", adapters["two@1"]))
            done, _ = await asyncio.wait([sampling, scoring, loading], timeout=0.2)
            assert not done
            await engine.wake()
            assert tokens(await sampling) == before
            assert (await scoring)[0].adapter_digest == adapters["one@1"].digest
            assert await loading == adapters["two@1"].digest
            await engine.unload("two@1")

    run(main())


def test_who_goes_away_while_it_sleeps_is_not_answered(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await load_all(engine, adapters)
        await engine.sleep()
        leaving = asyncio.create_task(engine.sample(REQUESTS))
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.wait([leaving])
        await engine.wake()
        assert leaving.cancelled()
        await engine.unload("one@1")  # nobody uses it
        assert len(await engine.sample(REQUESTS[:1])) == 1

    run(main())
