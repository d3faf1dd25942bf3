"""What every engine tells of its model: the numbers of a plain forward pass, and no others."""

import random
from dataclasses import replace
from typing import Any

import pytest
from engine_tests import ENGINE, NEAR, assert_tells, load_all, mixed, plain_logprobs, run

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.refusals import BadRequest
from actors.lm.requests import Question, SampleRequest


def test_log_probabilities_are_the_models_own(
    engine: Engine, adapters: dict[str, Adapter], references: dict[str, Any]
) -> None:
    requests = mixed(
        ["base", *adapters], 9,
        temperature=1.7, top_p=0.9, top_k=50, seed=3, logit_bias={40: 2.0}, top_logprobs=3,
    )  # fmt: skip

    async def main() -> None:
        await load_all(engine, adapters)
        for request, sample in zip(requests, await engine.sample(requests), strict=True):
            ids = [*request.prompt_ids, *sample.token_ids]
            own = plain_logprobs(references[request.adapter], ids)
            assert sample.prompt_logprobs is None
            first = len(request.prompt_ids)
            for i, told in enumerate(sample.logprobs):
                assert_tells(told, own[first + i - 1], ids[first + i], 3)

    run(main())


def test_who_wants_them_at_its_own_temperature_is_told_these(
    engine: Engine, references: dict[str, Any]
) -> None:
    """Beside rows that do not, and whatever the temperature: greedy rows are told those at 1."""
    heats = [0.0, 1.0] if ENGINE == "vllm" else [0.0, 0.5, 1.0, 1.7, 1e-30, 1e30]
    requests = [
        SampleRequest("base", [5, 6, 7], 4, temperature=heat, seed=1, tempered=tempered)
        for heat in heats
        for tempered in (True, False)
    ]

    async def main() -> None:
        samples = await engine.sample(requests)
        for request, sample in zip(requests, samples, strict=True):
            ids = [*request.prompt_ids, *sample.token_ids]
            own = plain_logprobs(references["base"], ids)[2:-1]
            heat = request.temperature if request.tempered else 0.0
            own = (own.double() / (heat or 1.0)).log_softmax(-1)
            for told, token, place in zip(sample.logprobs, sample.token_ids, own, strict=True):
                assert abs(told.logprob - place[token].item()) < NEAR
        alike, plain = samples[0::2], samples[1::2]
        assert [one.token_ids for one in alike] == [one.token_ids for one in plain]
        if ENGINE == "vllm":
            with pytest.raises(BadRequest, match="temperature 1 only"):
                await engine.sample([replace(requests[0], temperature=0.5)])

    run(main())


@pytest.mark.parametrize(("max_tokens", "likeliest"), [(0, 0), (1, 1), (3, 5)])
def test_prompts_have_log_probabilities_too(
    engine: Engine,
    adapters: dict[str, Adapter],
    references: dict[str, Any],
    max_tokens: int,
    likeliest: int,
) -> None:
    rng = random.Random(2)
    prompts = [[rng.randrange(5, 250) for _ in range(n)] for n in (1, 2, 30, 300)]

    async def main() -> None:
        await load_all(engine, adapters)
        requests = [
            SampleRequest(
                name, prompt, max_tokens, temperature=0, seed=None, prompt_logprobs=likeliest
            )
            for name in ("base", "one@1")
            for prompt in prompts
        ]
        # Once more: a prompt that is in a cache by now has its numbers all the same.
        for _ in range(2):
            for request, sample in zip(requests, await engine.sample(requests), strict=True):
                assert len(sample.token_ids) <= max_tokens
                assert sample.prompt_logprobs is not None
                assert sample.prompt_logprobs[0] is None
                own = plain_logprobs(references[request.adapter], request.prompt_ids)
                for place in range(1, len(request.prompt_ids)):
                    told = sample.prompt_logprobs[place]
                    assert_tells(told, own[place - 1], request.prompt_ids[place], likeliest)

    run(main())


def test_scores_are_sums_of_a_plain_forward_pass(
    engine: Engine, adapters: dict[str, Adapter], references: dict[str, Any]
) -> None:
    rng = random.Random(3)
    questions = [
        Question(
            [rng.randrange(5, 250) for _ in range(rng.randint(1, 60))],
            [[9, rng.randrange(256)], [9], [9, 8, rng.randrange(256)], [rng.randrange(256)]],
        )
        for _ in range(12)
    ]
    names = ["base", *adapters]

    async def main() -> None:
        await load_all(engine, adapters)
        for name, scores in zip(names, await engine.score(names, questions), strict=True):
            for question, told in zip(questions, scores.questions, strict=True):
                for continuation, (logprob, is_greedy) in zip(
                    question.continuations, told, strict=True
                ):
                    want, greedy = _score(references[name], question.context_ids, continuation)
                    assert abs(logprob - want) < NEAR * len(continuation)
                    assert is_greedy == greedy

    run(main())


def test_greedy_continuations_are_known_as_such(
    engine: Engine, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        await load_all(engine, adapters)
        for name in ("base", *adapters):
            request = SampleRequest(name, [5, 6, 7], max_tokens=4, temperature=0)
            [sample] = await engine.sample([request])
            best = sample.token_ids
            other = [*best[:-1], (best[-1] + 1) % 256]
            [scores] = await engine.score([name], [Question([5, 6, 7], [best, other])])
            [told] = scores.questions
            assert [each.is_greedy for each in told] == [True, False]
            assert abs(told[0].logprob - sum(each.logprob for each in sample.logprobs)) < 4 * NEAR

    run(main())


def _score(model: Any, context: Any, continuation: Any) -> tuple[float, bool]:
    own = plain_logprobs(model, [*context, *continuation])[len(context) - 1 : -1]
    picked = [own[i, token].item() for i, token in enumerate(continuation)]
    return sum(picked), own.argmax(-1).tolist() == list(continuation)
