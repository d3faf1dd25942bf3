"""Continuous batching: a mixed batch, each row alone, and peft with transformers say the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from decoding import ROOMY, TIGHT, Decoder, generated, requests
from peft import PeftModel
from transformers import LlamaForCausalLM

from actors.lm.adapter import read_adapter
from actors.lm.base import LoadedBase, load_base
from actors.lm.decode.memory import CacheMemory
from actors.lm.dense import quicken
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import SampleRequest

Start = Callable[..., Decoder]


@pytest.fixture
def start(base_directory: str, adapter_paths: dict[str, str]) -> Start:
    """Starts a decoder with all adapters loaded; end tokens do not end a row."""

    def started(dtype: torch.dtype = torch.float32, **options: int) -> Decoder:
        decoder = Decoder(load_base(base_directory, dtype), {**ROOMY, **options})
        for name, path in adapter_paths.items():
            decoder.slots[name] = decoder.bank.load(read_adapter(path))
        decoder.limits = replace(decoder.limits, end_ids=frozenset())
        return decoder

    return started


def _peft(adapter_paths: dict[str, str], base: str, dtype: torch.dtype) -> dict[str, Any]:
    models: dict[str, Any] = {"base": LlamaForCausalLM.from_pretrained(base, dtype=dtype)}
    for name, path in adapter_paths.items():
        plain = LlamaForCausalLM.from_pretrained(base, dtype=dtype)
        models[name] = PeftModel.from_pretrained(plain, path, autocast_adapter_dtype=False)
    return models


@pytest.mark.parametrize("options", [ROOMY, TIGHT], ids=["roomy", "tight"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_greedy_rows_of_many_adapters_equal_peft(
    start: Start, adapter_paths: dict[str, str], base_directory: str, options: dict[str, int],
    dtype: torch.dtype,
) -> None:  # fmt: skip
    decoder = start(dtype, **options)
    wanted = requests(24, list(decoder.slots), temperature=0.0)
    rows = [decoder.row(request) for request in wanted]
    decoder.run(rows[:16], late=rows[16:])
    models = _peft(adapter_paths, base_directory, dtype)
    for request, row in zip(wanted, rows, strict=True):
        assert row.token_ids == generated(models[request.adapter], request)


@pytest.mark.parametrize("options", [{"temperature": 0.8}, {"temperature": 1.2, "top_p": 0.7}])
def test_a_seeded_row_does_not_depend_on_its_neighbours(
    start: Start, options: dict[str, Any]
) -> None:
    decoder, tight = start(), start(**TIGHT)
    wanted = [
        replace(request, seed=i)
        for i, request in enumerate(requests(16, list(decoder.slots), **options))
    ]
    together = [decoder.row(request) for request in wanted]
    decoder.run(together)
    crowded = [tight.row(request) for request in wanted]
    tight.run(crowded)
    for i, request in enumerate(wanted):
        alone = decoder.row(request)
        decoder.run([alone])
        assert alone.token_ids == together[i].token_ids == crowded[i].token_ids
        told, want = alone.result().logprobs, together[i].result().logprobs
        assert [p.logprob for p in told] == pytest.approx([p.logprob for p in want], abs=1e-3)


@pytest.mark.parametrize("options", [ROOMY, TIGHT], ids=["roomy", "tight"])
@pytest.mark.parametrize("quick", [False, True])
def test_log_probabilities_equal_a_plain_forward_pass(
    start: Start, base_directory: str, options: dict[str, int], quick: bool
) -> None:
    decoder = start(**options)
    if quick:
        quicken(decoder.base.model)
    rows = [decoder.row(r) for r in requests(12, ["base"], temperature=0.0, prompt_logprobs=0)]
    decoder.run(rows)
    plain = load_base(base_directory).model
    for row in rows:
        sample, prompt = row.result(), len(row.request.prompt_ids)
        ids = torch.tensor([row.sequence])
        with torch.inference_mode():
            logprobs = plain(input_ids=ids).logits[0, :-1].log_softmax(-1)
        want = logprobs.gather(1, ids[0, 1:, None]).squeeze(1).tolist()
        assert sample.prompt_logprobs is not None
        told = [p.logprob for p in (*sample.prompt_logprobs[1:], *sample.logprobs) if p]
        assert len(told) == len(want) == prompt - 1 + len(row.token_ids)
        assert told == pytest.approx(want, abs=1e-4)


def test_rows_are_turned_out_and_come_back_where_room_is_short(start: Start) -> None:
    decoder = start(cache_tokens=512, step_tokens=64, max_rows=16)
    wanted = [SampleRequest("base", [9 + i] * 20, max_tokens=100, temperature=0) for i in range(8)]
    rows = [decoder.row(request) for request in wanted]
    decoder.run(rows)
    assert decoder.stepper.stats().prompt_tokens > 8 * 20 - 8 * 16, "nobody was turned out"
    for row in rows:
        alone = decoder.row(row.request)
        decoder.run([alone])
        assert alone.token_ids == row.token_ids


def test_a_request_that_never_fits_is_refused(start: Start) -> None:
    decoder = start(cache_tokens=256)
    room = 256 * 3 // 4
    fits = SampleRequest("base", [9] * 100, max_tokens=room - 100, temperature=0)
    decoder.stepper.check(fits)
    row = decoder.row(fits)
    decoder.run([row])
    assert len(row.token_ids) == room - 100
    with pytest.raises(BadRequest, match=f"93.*exceed the {room} tokens") as refused:
        decoder.stepper.check(replace(fits, max_tokens=room - 99))
    assert refused.value.field == "max_tokens"


def test_the_whole_context_can_be_used(start: Start) -> None:
    decoder = start()
    row = decoder.row(SampleRequest("plain", [9] * 505, max_tokens=7, seed=0))
    decoder.run([row])
    assert len(row.token_ids) == 7


def test_an_abandoned_row_leaves_at_the_next_step(start: Start) -> None:
    decoder = start()
    rows = [decoder.row(SampleRequest("base", [9], max_tokens=n)) for n in (2, 400, 400, 8)]
    for row in rows:
        decoder.stepper.add(row)
    for _ in range(2):
        decoder.stepper.step()
    rows[1].abandoned = rows[2].abandoned = True
    changed = decoder.stepper.step()
    assert set(changed) == {*rows[1:]}
    assert decoder.stepper.stats().running == 1
    assert [len(row.token_ids) for row in rows] == [2, 2, 2, 3]


def test_a_broken_row_does_not_touch_its_neighbours(
    start: Start, adapter_paths: dict[str, str]
) -> None:
    decoder = start()
    request = SampleRequest("plain", [20, 30] * 20, max_tokens=5, seed=1)
    want = decoder.row(request)
    decoder.run([want])
    huge = read_adapter(adapter_paths["attention"])
    for tensor in huge.tensors.values():
        tensor.mul_(1e30)
    decoder.slots["huge"] = decoder.bank.load(huge)
    for _ in range(2):  # the second time in cells that the broken rows have left
        broken = [decoder.row(replace(request, adapter="huge")) for _ in range(3)]
        rows = [decoder.row(request) for _ in range(3)]
        decoder.run([*broken, *rows])
        assert all(row.result().token_ids == want.token_ids for row in rows)
        for row in broken:
            with pytest.raises(BrokenAdapter, match="huge"):
                row.result()


def test_a_failed_step_fails_its_rows_and_leaves_nothing_behind(
    start: Start, base: LoadedBase
) -> None:
    decoder = start()
    request = SampleRequest("plain", [20, 30] * 20, max_tokens=5, temperature=0)
    want = decoder.row(request)
    decoder.run([want])
    hook = decoder.base.model.register_forward_pre_hook(_fails)
    rows = [decoder.row(request) for _ in range(3)]
    for row in rows:
        decoder.stepper.add(row)
    with pytest.raises(torch.OutOfMemoryError):
        decoder.stepper.step()
    hook.remove()
    dropped = decoder.stepper.drop_running()
    assert dropped
    assert set(dropped) <= set(rows)
    assert decoder.stepper.stats().cache_tokens_used == 0
    again = decoder.row(request)
    decoder.run([again])
    assert again.token_ids == want.token_ids


def test_who_left_before_a_step_failed_is_told_of(start: Start) -> None:
    decoder = start()
    rows = [decoder.row(SampleRequest("base", [9], max_tokens=9)) for _ in range(3)]
    for row in rows[:2]:
        decoder.stepper.add(row)
    decoder.stepper.step()
    decoder.stepper.add(rows[2])
    rows[0].abandoned = rows[2].abandoned = True
    hook = decoder.base.model.register_forward_pre_hook(_fails)
    with pytest.raises(torch.OutOfMemoryError):
        decoder.stepper.step()
    hook.remove()
    assert set(decoder.stepper.drop_running()) == {*rows}
    assert decoder.stepper.step() == []


def test_memory_that_is_not_to_be_had_fails_the_row_that_needs_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = start(max_rows=4)
    rows = [decoder.row(SampleRequest("base", [9] * 5, max_tokens=4, seed=i)) for i in range(6)]
    for row in rows:
        decoder.stepper.add(row)
    with monkeypatch.context() as patch:
        patch.setattr(CacheMemory, "clear", _fails)
        with pytest.raises(torch.OutOfMemoryError):
            decoder.stepper.step()
    assert decoder.stepper.drop_running() == rows[:1]
    decoder.run([])
    assert [len(row.token_ids) for row in rows] == [0, 4, 4, 4, 4, 4]


def _fails(*_: Any) -> None:
    raise torch.OutOfMemoryError("out of memory")
