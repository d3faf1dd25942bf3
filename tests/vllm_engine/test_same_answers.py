"""The vllm engine says what the torch engine says."""

import pytest
from looped_engine import LoopedEngine, looped
from vllm_tests import load_all, run

from actors.lm.adapter import Adapter
from actors.lm.requests import Question
from configs.sections import ServerConfig
from serve.engines.torch import start_torch_engine

QUESTIONS = [
    Question([5, 6, 7], [[8], [9, 10, 11], [12, 13]]),
    Question([20 + i % 50 for i in range(200)], [[8, 9], [8, 10]]),
    Question([3], [[4]]),
]


def test_scores_are_those_of_the_torch_engine(
    engine: LoopedEngine, adapters: dict[str, Adapter], base_directory: str
) -> None:
    names = ["base", *adapters]
    server = ServerConfig(device="cpu", max_adapters=6)
    with looped(lambda: start_torch_engine(base_directory, server)) as torch_engine:

        async def main() -> None:
            await load_all(engine, adapters)
            await load_all(torch_engine, adapters)
            ours = await engine.score(names, QUESTIONS)
            theirs = await torch_engine.score(names, QUESTIONS)
            for name, one, other in zip(names, ours, theirs, strict=True):
                assert one.adapter_digest == other.adapter_digest
                assert one.problem is None
                for question, same in zip(one.questions, other.questions, strict=True):
                    assert [told.logprob for told in question] == pytest.approx(
                        [told.logprob for told in same], abs=1e-3
                    ), name
                    assert [told.is_greedy for told in question] == [
                        told.is_greedy for told in same
                    ]

        run(main())
