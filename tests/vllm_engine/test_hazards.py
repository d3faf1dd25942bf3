"""What was seen to go wrong in vllm 0.32, and must not through our engine."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from looped_engine import LoopedEngine
from vllm_tests import greedy, inside, load_all, run

from actors.lm.adapter import Adapter
from actors.lm.refusals import BrokenAdapter, RefusedAdapter
from actors.lm.requests import SampleRequest
from serve.engines.vllm import residents

LONG = [5 + i % 90 for i in range(300)]  # more than two blocks of the prefix cache


def test_a_name_that_comes_back_answers_with_its_new_content(
    engine: LoopedEngine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        one, two = adapters["plain"], adapters["attention"]
        await load_all(engine, {"other@1": two, "name@1": one})
        right = await greedy(engine, "other@1", LONG)
        old = await greedy(engine, "name@1", LONG)
        before = engine.stats().cached_prompt_tokens
        assert await greedy(engine, "name@1", LONG) == old
        assert engine.stats().cached_prompt_tokens > before  # there is a prefix cache
        await engine.unload("name@1")
        await engine.load("name@1", two)
        new = await greedy(engine, "name@1", LONG)
        assert new != old
        assert new == right

    run(main())


def test_an_adapter_that_vllm_refuses_is_refused_and_nothing_else_happens(
    engine: LoopedEngine, adapters: dict[str, Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        one = adapters["plain"]
        await engine.load("one@1", one)
        before = await greedy(engine, "one@1", LONG)
        foreign = {k.replace("q_proj", "qq_proj"): v for k, v in one.tensors.items()}
        # Ours would refuse it first.
        monkeypatch.setattr(residents, "check_adapter", lambda *_: None)
        with pytest.raises(RefusedAdapter, match="qq_proj"):
            await engine.load("bad@1", replace(one, tensors=foreign))
        engine.check_alive()
        assert list(engine.adapters()) == ["base", "one@1"]
        assert await greedy(engine, "one@1", LONG) == before

    run(main())


def test_more_adapters_than_places_answer_in_one_batch(
    engine: LoopedEngine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await load_all(engine, adapters)
        names = ["base", *adapters] * 3
        alone = {name: await greedy(engine, name, [5, 6]) for name in ["base", *adapters]}
        assert len({tuple(tokens) for tokens in alone.values()}) == len(alone)
        requests = [SampleRequest(name, [5, 6], max_tokens=8, temperature=0) for name in names]
        for name, sample in zip(names, await engine.sample(requests), strict=True):
            assert sample.token_ids == alone[name], name

    run(main())


def test_base_rows_beside_adapters_stay_the_base(
    engine: LoopedEngine, adapters: dict[str, Adapter]
) -> None:
    """The CPU build answers them with the adapter in the last place."""

    async def main() -> None:
        alone = await greedy(engine, "base", [5, 6])
        await load_all(engine, adapters)
        for name in adapters:
            requests = [
                SampleRequest(each, [5, 6], max_tokens=8, temperature=0)
                for each in [name, "base"] * 3
            ]
            samples = await engine.sample(requests)
            assert [sample.token_ids for sample in samples[1::2]] == [alone] * 3, name

    run(main())


def test_numbers_that_are_not_finite_stay_with_their_adapter(
    engine: LoopedEngine, adapters: dict[str, Adapter]
) -> None:
    """Cache blocks are used again as they were left."""

    async def main() -> None:
        one = adapters["plain"]
        huge = replace(one, tensors={key: 1e20 * value for key, value in one.tensors.items()})
        await load_all(engine, {"one@1": one, "huge@1": huge})
        alone = await greedy(engine, "one@1", LONG)
        for _ in range(3):
            with pytest.raises(BrokenAdapter, match="huge@1"):
                await greedy(engine, "huge@1", LONG)
        for shift in range(1, 20):  # prompts that no block in the cache fits
            await greedy(engine, "base", [shift, *LONG])
        assert await greedy(engine, "one@1", LONG) == alone

    run(main())


def test_prompts_are_told_by_the_adapter_that_was_asked(
    engine: LoopedEngine, adapters: dict[str, Adapter]
) -> None:
    """With adapters in the head, vllm mixes them up in a batch, or dies."""

    async def main() -> None:
        await load_all(engine, adapters)
        requests = [
            SampleRequest(name, LONG[: 9 + i], max_tokens=0, prompt_logprobs=2)
            for i, name in enumerate(["base", *adapters] * 2)
        ]
        together = await engine.sample(requests)
        for request, sample in zip(requests, together, strict=True):
            [alone] = await engine.sample([request])
            told, right = sample.prompt_logprobs, alone.prompt_logprobs
            assert told is not None
            assert right is not None
            assert [place and place.logprob for place in told[1:]] == pytest.approx(
                [place and place.logprob for place in right[1:]], abs=1e-4
            )

    run(main())


def test_files_are_private_and_leave_with_their_adapter(
    engine: LoopedEngine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await engine.load("one@1", adapters["plain"])
        lora = inside(engine)._residents.find("one@1").lora
        assert lora is not None
        folder = Path(lora.lora_path)
        assert folder.parent.stat().st_mode & 0o077 == 0
        assert folder.exists()
        await engine.unload("one@1")
        assert not folder.exists()

    run(main())


def test_requests_and_loads_wait_while_it_sleeps(
    engine: LoopedEngine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        alone = await greedy(engine, "base", [5, 6])
        running = asyncio.create_task(greedy(engine, "base", [5, 6]))
        await asyncio.sleep(0)
        await engine.there(inside(engine).sleep())
        late = [
            asyncio.create_task(greedy(engine, "base", [5, 6])),
            asyncio.create_task(engine.load("one@1", adapters["plain"])),
        ]
        done, _ = await asyncio.wait(late, timeout=0.5)
        assert not done
        await engine.there(inside(engine).wake())
        assert await running == await late[0] == alone
        assert await late[1] == adapters["plain"].digest

    run(main())
