"""How every engine samples: each row for itself, as it was asked, told as it comes."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from engine_tests import load_all, mixed, run

from actors.lm.adapter import Adapter
from actors.lm.engine import Engine
from actors.lm.refusals import BadRequest
from actors.lm.requests import Piece, SampleRequest
from actors.lm.sampling.text import decode


def test_greedy_rows_of_many_adapters_say_what_each_says_alone_and_in_peft(
    engine: Engine, adapters: dict[str, Adapter], references: dict[str, Any]
) -> None:
    requests = mixed(["base", *adapters], 15, temperature=0)

    async def main() -> None:
        await load_all(engine, adapters)
        together = await engine.sample(requests)
        for request, sample in zip(requests, together, strict=True):
            [alone] = await engine.sample([request])
            whole = references[request.adapter].generate(
                input_ids=torch.tensor([list(request.prompt_ids)]),
                max_new_tokens=request.max_tokens,
                do_sample=False,
                eos_token_id=sorted(engine.limits.end_ids),
            )
            assert sample.token_ids == whole[0, len(request.prompt_ids) :].tolist()
            assert (alone.token_ids, alone.text) == (sample.token_ids, sample.text)
            assert sample.text == decode(engine.limits.tokenizer, sample.token_ids)

    run(main())


@pytest.mark.parametrize("fields", [{"temperature": 0.9}, {"top_p": 0.8, "top_k": 40}], ids=str)
def test_a_seeded_row_does_not_depend_on_its_neighbours(
    engine: Engine, adapters: dict[str, Adapter], fields: dict[str, Any]
) -> None:
    requests = [
        replace(request, seed=i)
        for i, request in enumerate(mixed(["base", *adapters], 11, **fields))
    ]

    async def main() -> None:
        await load_all(engine, adapters)
        together = await asyncio.gather(*(engine.sample([request]) for request in requests))
        for request, [sample] in zip(requests, together, strict=True):
            [alone] = await engine.sample([request])
            assert (alone.token_ids, alone.text) == (sample.token_ids, sample.text)
        twin = replace(requests[0], max_tokens=16)
        seeds = await engine.sample([replace(twin, seed=seed) for seed in range(8)])
        assert len({tuple(sample.token_ids) for sample in seeds}) > 1

    run(main())


def test_stop_strings_end_the_text_before_them(engine: Engine) -> None:
    async def main() -> None:
        request = SampleRequest("base", [20, 30, 40], max_tokens=24, seed=5)
        [free] = await engine.sample([request])
        assert len(free.text) > 6, "the random model happened to stop at once; take another seed"
        stop = free.text[3:5]
        [stopped] = await engine.sample([replace(request, stop=("never this", stop))])
        assert stopped.text == free.text[: free.text.index(stop)]
        assert stopped.finish_reason == "stop"
        assert stopped.token_ids == free.token_ids[: len(stopped.token_ids)]
        assert len(stopped.token_ids) < len(free.token_ids)

    run(main())


def test_a_request_may_say_which_tokens_end_it(engine: Engine) -> None:
    async def main() -> None:
        request = SampleRequest("base", [20, 30, 40], max_tokens=24, seed=5)
        [free] = await engine.sample([request])
        last = free.token_ids[4]
        given = [frozenset[int](), frozenset({last})]
        endless, stopped = await engine.sample([replace(request, end_ids=ends) for ends in given])
        assert (len(endless.token_ids), endless.finish_reason) == (24, "length")
        first = free.token_ids.index(last)
        assert stopped.token_ids == free.token_ids[: first + 1]
        assert stopped.finish_reason == "stop"
        with pytest.raises(BadRequest, match="tokens that end the text") as refusal:
            await engine.sample([replace(request, end_ids=frozenset({engine.limits.vocabulary}))])
        assert refusal.value.field == "stop"

    run(main())


def test_pieces_make_up_the_sample(engine: Engine, adapters: dict[str, Adapter]) -> None:
    requests = [
        replace(request, stop=stop, seed=i)
        for i, request in enumerate(mixed(["base", *adapters], 8, top_logprobs=1))
        for stop in ((), ("a", "�\x00"))
    ]

    async def main() -> None:
        await load_all(engine, adapters)
        pieces: list[list[Piece]] = [[] for _ in requests]
        samples = await engine.sample(requests, lambda i, piece: pieces[i].append(piece))
        for sample, told in zip(samples, pieces, strict=True):
            assert "".join(piece.text for piece in told) == sample.text
            assert [token for piece in told for token in piece.token_ids] == sample.token_ids
            assert [one for piece in told for one in piece.logprobs] == sample.logprobs
        assert any(len(told) > 1 for told in pieces)

    run(main())


def test_bias_forces_and_forbids(engine: Engine) -> None:
    async def main() -> None:
        request = SampleRequest("base", [20, 30], max_tokens=6, temperature=0)
        [free] = await engine.sample([request])
        forced, without = await engine.sample(
            [
                replace(request, logit_bias={77: 100.0}),
                replace(request, logit_bias={free.token_ids[0]: -100.0}, seed=1),
            ]
        )
        assert forced.token_ids == [77] * 6
        assert free.token_ids[0] not in without.token_ids

    run(main())


def test_a_json_schema_is_kept_to(engine: Engine, adapters: dict[str, Adapter]) -> None:
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}, "score": {"enum": [1, 2, 3]}},
        "required": ["mood", "score"],
        "additionalProperties": False,
    }
    held = {"max_tokens": 100, "json_schema": json.dumps(schema)}

    async def main() -> None:
        await load_all(engine, adapters)
        free = mixed(["base", *adapters], 6, seed=1)
        rows = [replace(request, **held) for request in free]
        samples = await engine.sample([*rows, *free])
        for sample in samples[:6]:
            told = json.loads(sample.text)
            assert told.keys() == {"mood", "score"}
            assert (told["mood"] in ("good", "bad"), told["score"] in (1, 2, 3)) == (True, True)
            assert sample.finish_reason == "stop"
        assert [sample.text for sample in samples[6:]] == [
            sample.text for sample in await engine.sample(free)
        ]
        with pytest.raises(BadRequest, match="oneOf") as refusal:
            await engine.sample([replace(free[0], json_schema='{"oneOf": []}')])
        assert refusal.value.field == "response_format"

    run(main())


def test_the_whole_context_can_be_used_and_no_more(engine: Engine) -> None:
    async def main() -> None:
        most = engine.limits.context_tokens
        request = SampleRequest("base", [9] * (most - 6), max_tokens=6, seed=0)
        [sample] = await engine.sample([request])
        assert 1 <= len(sample.token_ids) <= 6
        with pytest.raises(BadRequest, match=str(most)) as refusal:
            await engine.sample([replace(request, max_tokens=7)])
        assert refusal.value.field == "max_tokens"

    run(main())
