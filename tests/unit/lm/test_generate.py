"""Generation: a mixed batch, each row alone, and peft with transformers say the same tokens."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from actors.lm.adapter import read_adapter
from actors.lm.base import LoadedBase
from actors.lm.decode.batch import generate
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import Sample, SampleRequest
from actors.lm.sampling.row import Row, cut_at_stop, decode, limits_of
from actors.lm.slots.bank import SlotBank


class Sampler:
    """The core without an engine: load adapters, sample requests in one batch."""

    def __init__(self, base: LoadedBase, adapter_paths: dict[str, str]) -> None:
        self.bank, self.limits = SlotBank(base, max_adapters=8), limits_of(base)
        self.slots = {"base": 0}
        for name, path in adapter_paths.items():
            self.slots[name] = self.bank.load(read_adapter(path))

    def __call__(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        rows = [
            Row(r, slot=self.slots[r.adapter], adapter_digest="", limits=self.limits)
            for r in requests
        ]
        finished = list(generate(self.bank, rows))
        assert sorted(map(id, finished)) == sorted(map(id, rows))
        return [row.result() for row in rows]


@pytest.fixture
def sampler(base: LoadedBase, adapter_paths: dict[str, str]) -> Sampler:
    return Sampler(base, adapter_paths)


def _requests(count: int, names: Sequence[str], **options: Any) -> list[SampleRequest]:
    rng = random.Random(1)
    return [
        SampleRequest(
            adapter=rng.choice(names),
            prompt_ids=[rng.randrange(5, 250) for _ in range(rng.randint(1, 20))],
            max_tokens=rng.randint(1, 16),
            seed=i,
            **options,
        )
        for i in range(count)
    ]


def test_greedy_rows_of_many_adapters_equal_peft(
    sampler: Sampler, base: LoadedBase, adapter_paths: dict[str, str]
) -> None:
    requests = _requests(24, list(sampler.slots), temperature=0)
    models: dict[str, Any] = {"base": LlamaForCausalLM.from_pretrained(base.name)}
    for name, path in adapter_paths.items():
        plain = LlamaForCausalLM.from_pretrained(base.name)
        models[name] = PeftModel.from_pretrained(plain, path)
    for request, sample in zip(requests, sampler(requests), strict=True):
        prompt = torch.tensor([list(request.prompt_ids)])
        whole = models[request.adapter].generate(
            input_ids=prompt, max_new_tokens=request.max_tokens, do_sample=False
        )
        assert sample.token_ids == whole[0, prompt.shape[1] :].tolist()


@pytest.mark.parametrize("options", [{"temperature": 0.8}, {"temperature": 1.2, "top_p": 0.7}])
def test_a_seeded_row_does_not_depend_on_its_neighbours(
    sampler: Sampler, options: dict[str, float]
) -> None:
    requests = _requests(16, list(sampler.slots), **options)
    together = sampler(requests)
    for request, sample in zip(requests, together, strict=True):
        alone = sampler([request])[0]
        assert alone.token_ids == sample.token_ids
        torch.testing.assert_close(alone.logprobs, sample.logprobs, atol=1e-3, rtol=1e-3)


def test_an_abandoned_row_leaves_its_batch(sampler: Sampler) -> None:
    limits = replace(sampler.limits, end_ids=frozenset())
    rows = [
        Row(SampleRequest("base", [9], max_tokens=n), slot=0, adapter_digest="", limits=limits)
        for n in (2, 400, 400, 8)
    ]
    running = generate(sampler.bank, rows)
    assert next(running) is rows[0]
    rows[1].abandoned = rows[2].abandoned = True
    assert list(running) == [rows[3]]
    assert [len(row.token_ids) for row in rows] == [2, 2, 2, 8]


def test_logprobs_are_the_models_own(sampler: Sampler, base: LoadedBase) -> None:
    request = SampleRequest("base", [7, 8, 9], max_tokens=6, temperature=3.0, top_p=0.9, seed=3)
    sample = sampler([request])[0]
    ids = torch.tensor([[7, 8, 9, *sample.token_ids]])
    with torch.inference_mode():
        logprobs = base.model(input_ids=ids).logits[0].log_softmax(-1)
    want = [logprobs[2 + i, token].item() for i, token in enumerate(sample.token_ids)]
    torch.testing.assert_close(sample.logprobs, want, atol=1e-4, rtol=1e-4)


def test_stop_strings_end_the_text_before_them(sampler: Sampler, base: LoadedBase) -> None:
    request = SampleRequest("plain", [20, 30, 40], max_tokens=24, temperature=1.0, seed=5)
    free = sampler([request])[0]
    assert len(free.text) > 6, "the random model happened to stop at once; take another seed"
    stop = free.text[3:5]
    stopped = sampler([replace(request, stop=("never this", stop))])[0]
    assert stopped.text == free.text[: free.text.index(stop)]
    assert stopped.finish_reason == "stop"
    assert stop in decode(base.tokenizer, stopped.token_ids)
    assert len(stopped.token_ids) < len(free.token_ids)


def test_the_end_of_turn_stops_a_row_and_stays_out_of_its_text(
    sampler: Sampler, base: LoadedBase
) -> None:
    end = base.tokenizer.eos_token_id
    request = SampleRequest("base", [5, 6, 7], max_tokens=4)
    row = Row(request, slot=0, adapter_digest="", limits=sampler.limits)
    for token in (100, end):
        row.accept(token, -1.0)
    sample = row.result()
    assert (sample.token_ids, sample.finish_reason) == ([100, end], "stop")
    assert sample.text == decode(base.tokenizer, [100])


def test_text_is_cut_at_the_first_stop_of_any() -> None:
    assert cut_at_stop("a--b##c", ("##", "--")) == "a"
    assert cut_at_stop("abc", ("x",)) == "abc"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompt_ids": []}, "no tokens"),
        ({"prompt_ids": [10**9]}, "token ids must lie in"),
        ({"prompt_ids": [9] * 506, "max_tokens": 7}, r"506 tokens\) and completion \(7\).*512"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": -1.0}, "temperature=-1"),
        ({"top_p": 0.0}, "top_p=0"),
        ({"stop": ("a", "")}, "stop string is empty"),
    ],
)
def test_requests_beyond_the_limits_are_refused(
    base: LoadedBase, change: dict[str, Any], named: str
) -> None:
    request = replace(SampleRequest("base", [9]), **change)
    with pytest.raises(BadRequest, match=named):
        Row(request, slot=0, adapter_digest="", limits=limits_of(base))


def test_the_whole_context_can_be_used(sampler: Sampler) -> None:
    request = SampleRequest("base", [9] * 506, max_tokens=6, seed=0)
    assert len(sampler([request])[0].token_ids) <= 6


def test_a_broken_row_does_not_touch_its_neighbours(
    base: LoadedBase, adapter_paths: dict[str, str]
) -> None:
    sampler = Sampler(base, adapter_paths)
    request = SampleRequest("plain", [20, 30], max_tokens=5, seed=1)
    want = sampler([request])[0]
    huge = read_adapter(adapter_paths["attention"])
    for tensor in huge.tensors.values():
        tensor.mul_(1e30)
    slot = sampler.bank.load(huge)
    broken = Row(
        replace(request, adapter="huge"), slot=slot, adapter_digest="", limits=sampler.limits
    )
    row = Row(request, slot=sampler.slots["plain"], adapter_digest="", limits=sampler.limits)
    list(generate(sampler.bank, [broken, row]))
    assert row.result().token_ids == want.token_ids
    with pytest.raises(BrokenAdapter, match="huge"):
        broken.result()
