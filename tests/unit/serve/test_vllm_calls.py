"""Our calls of vllm against the signatures of the installed one. No model runs here."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib import import_module
from typing import Any, get_args
from unittest.mock import create_autospec

import pytest
from torch import nn
from transformers import AutoConfig

from actors.lm.adapter import Adapter
from actors.lm.base import load_base
from actors.lm.engine import Limits
from actors.lm.requests import Question, SampleRequest
from actors.lm.sampling.limits import limits_of
from configs.sections import ServerConfig
from serve.engines.vllm.api import Api, import_vllm
from serve.engines.vllm.arguments import (
    MAX_RANK,
    adaptable_modules,
    cache_token_bytes,
    engine_arguments,
    prompt_arguments,
    sampling_arguments,
)
from serve.engines.vllm.engine import VllmEngine
from serve.engines.vllm.meter import Meter
from serve.engines.vllm.residents import Base
from serve.engines.vllm.start import start_llm

pytest.importorskip(
    "vllm.v1.engine.async_llm",
    reason="vllm is not installed here; `make test-vllm` checks our calls of it",
)

REQUESTS = [
    SampleRequest("base", [5], max_tokens=0, prompt_logprobs=0),
    SampleRequest("one@1", [5, 6], temperature=0, top_logprobs=3),
    SampleRequest("one@1", [5, 6], temperature=1e-9, stop=("a", "bc"), prompt_logprobs=2),
    SampleRequest("base", [5], top_p=0.3, top_k=7, seed=-1, logit_bias={4: -100.0, 5: 2}),
    SampleRequest("base", [5], seed=2**70, json_schema='{"type": "boolean"}'),
    SampleRequest("base", [5], end_ids=frozenset({7, 3})),
]


@pytest.fixture(scope="module")
def api() -> Api:
    return import_vllm()


@pytest.fixture(scope="module")
def base(base_directory: str) -> Base:
    loaded = load_base(base_directory)
    limits = limits_of(loaded)
    return Base(loaded.name, loaded.digest, nn.Module.to(loaded.model, "meta"), limits)


def test_every_request_makes_sampling_params(api: Api, base: Base) -> None:
    for request in REQUESTS:
        for in_pieces in (False, True):
            given = sampling_arguments(request, api, base.limits, in_pieces=in_pieces)
            made = api.SamplingParams(**given)
            assert {name: getattr(made, name) for name in given} == given
    made = api.SamplingParams(**prompt_arguments(api, likeliest=0))
    assert (made.max_tokens, made.prompt_logprobs) == (1, 0)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_engine_is_started_with_arguments_that_vllm_has(
    api: Api, base: Base, base_directory: str, device: str
) -> None:
    config = AutoConfig.from_pretrained(base_directory)
    arguments = engine_arguments(
        base_directory,
        ServerConfig(max_adapters=3),
        base.limits,
        replace(api, device=device),
        cache_token_bytes=cache_token_bytes(config, 4),
        modules=adaptable_modules(base.skeleton),
    )
    assert "lm_head" not in arguments["lora_target_modules"]
    assert "q_proj" in arguments["lora_target_modules"]
    asked = create_autospec(api.AsyncLLM)
    start_llm(replace(api, AsyncLLM=asked), arguments, Meter(256, 1))
    [given] = asked.from_engine_args.call_args.args
    assert {name: getattr(given, name) for name in arguments} == arguments
    assert MAX_RANK in get_args(import_module("vllm.config.lora").MaxLoRARanks)


def test_the_meter_is_a_stat_logger_of_vllm() -> None:
    logger = import_module("vllm.v1.metrics.loggers").StatLoggerBase
    for name, theirs in inspect.getmembers(logger, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(getattr(Meter, name))
            assert list(ours.parameters) == list(inspect.signature(theirs).parameters), name
    stats, meter = import_module("vllm.v1.metrics.stats"), Meter(256, 2)
    steps = stats.IterationStats()
    steps.num_generation_tokens, steps.prompt_token_stats.computed = 3, 5
    meter.record(stats.SchedulerStats(kv_cache_usage=0.5), steps)
    meter.record(None, steps)
    told = meter.stats(asked=3)
    assert (told.running, told.waiting) == (2, 1)
    assert (told.cache_tokens_used, told.generated_tokens, told.prompt_tokens) == (128, 6, 10)


def test_the_repairs_fit() -> None:
    repairs = import_module("serve.engines.vllm.repairs")
    assert issubclass(repairs.AsyncScheduler, repairs.Scheduler)


def test_an_engine_calls_vllm_as_it_is(api: Api, base: Base, adapters: dict[str, Adapter]) -> None:
    """Every call is bound to the signature of the real method."""
    llm = create_autospec(api.AsyncLLM, instance=True)
    llm.errored = False
    llm.generate.side_effect = lambda *args, **options: _outputs(base.limits, *args, **options)

    async def main() -> None:
        engine = VllmEngine(llm, api, base, Meter(256, 2), max_adapters=2, max_batch=2)
        one, two = adapters.values()
        await engine.load("one@1", one)
        pieces: list[Any] = []
        samples = await engine.sample(REQUESTS, lambda i, piece: pieces.append(piece))
        assert [len(sample.token_ids) for sample in samples] == [0, 1, 1, 1, 1]
        assert len(pieces) == 4
        [scores] = await engine.score(["one@1"], [Question([5], [[6], [7, 8]])])
        assert [told.logprob for told in scores.questions[0]] == [-1.0, -2.0]
        await engine.unload("one@1")
        await engine.load("one@1", two)
        await engine.sleep()
        await engine.wake()
        await engine.close()

    asyncio.run(main())
    first, second = (call.args[0] for call in llm.add_lora.await_args_list)
    assert first.lora_name != second.lora_name
    assert first.lora_path != second.lora_path
    assert first.lora_int_id != second.lora_int_id
    llm.remove_lora.assert_awaited_once_with(first.lora_int_id)
    llm.sleep.assert_awaited_once_with(level=1, mode="wait")
    llm.wake_up.assert_awaited_once_with()
    llm.pin_lora.assert_not_called()
    llm.shutdown.assert_called_once_with()
    asked = {call.kwargs["lora_request"] for call in llm.generate.call_args_list}
    assert asked == {None, first}


async def _outputs(
    limits: Limits, prompt: Any, params: Any, request_id: str, *, lora_request: Any
) -> AsyncIterator[Any]:
    """What vllm gives for one end token."""
    outputs, logprob = import_module("vllm.outputs"), import_module("vllm.logprobs").Logprob
    ids, end = prompt["prompt_token_ids"], min(limits.end_ids)
    told = {token: logprob(-1.0, rank=1) for token in [*ids, end]}
    yield outputs.RequestOutput(
        request_id=request_id,
        prompt=None,
        prompt_token_ids=ids,
        prompt_logprobs=None
        if params.prompt_logprobs is None
        else [None, *({token: told[token]} for token in ids[1:])],
        outputs=[
            outputs.CompletionOutput(
                index=0,
                text="",
                token_ids=[end],
                cumulative_logprob=None,
                logprobs=[{end: told[end]}],
                finish_reason="stop",
            )
        ],
        finished=True,
    )
