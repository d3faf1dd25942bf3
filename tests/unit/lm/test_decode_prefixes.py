"""What rows of one adapter begin with is computed once, and never taken from another adapter."""

from dataclasses import replace

import pytest
from decoding import ROOMY, Decoder

from actors.lm.adapter import read_adapter
from actors.lm.base import LoadedBase
from actors.lm.requests import SampleRequest

_PROMPT = [(7 * i) % 240 + 5 for i in range(70)]  # 4 blocks and 6 tokens


@pytest.fixture
def decoder(base: LoadedBase, adapter_paths: dict[str, str]) -> Decoder:
    decoder = Decoder(base)
    for name in ("plain", "attention"):
        decoder.slots[name] = decoder.bank.load(read_adapter(adapter_paths[name]))
    decoder.limits = replace(decoder.limits, end_ids=frozenset())
    return decoder


def _request(name: str = "plain", extra: int = 0) -> SampleRequest:
    return SampleRequest(name, [*_PROMPT, *([200] * extra)], max_tokens=4, temperature=0.0)


def test_rows_that_come_together_compute_their_common_prefix_once(decoder: Decoder) -> None:
    decoder.run([decoder.row(_request()) for _ in range(8)])
    stats = decoder.stepper.stats()
    assert stats.prompt_tokens == 70 + 7 * 6
    assert stats.cached_prompt_tokens == 7 * 64


def test_a_prefix_outlives_its_rows(decoder: Decoder) -> None:
    first, second = decoder.row(_request()), decoder.row(_request())
    decoder.run([first])
    decoder.run([second])
    assert second.token_ids == first.token_ids
    assert decoder.stepper.stats().cached_prompt_tokens == 64


def test_what_was_sampled_is_a_prefix_of_the_next_turn(decoder: Decoder) -> None:
    first = decoder.row(replace(_request(), max_tokens=20))
    decoder.run([first])
    turn = replace(_request(), prompt_ids=[*first.sequence, 9, 9])
    second = decoder.row(turn)
    decoder.run([second])
    assert decoder.stepper.stats().cached_prompt_tokens == 80  # of 89 that were computed


def test_adapters_do_not_share_prefixes(decoder: Decoder) -> None:
    decoder.run([decoder.row(_request(name)) for name in ("plain", "attention", "base")])
    assert decoder.stepper.stats().cached_prompt_tokens == 0


def test_an_adapter_in_a_former_ones_slot_sees_nothing_of_it(
    decoder: Decoder, adapter_paths: dict[str, str]
) -> None:
    slot = decoder.slots["plain"]
    decoder.run([decoder.row(_request())])
    other = decoder.row(_request("attention"))
    decoder.run([other])
    decoder.bank.unload(slot)
    decoder.stepper.forget(slot)
    decoder.slots["again"] = decoder.bank.load(read_adapter(adapter_paths["attention"]))
    assert decoder.slots["again"] == slot, "the test needs the slot to be used again"
    row = decoder.row(_request("again"))
    decoder.run([row])
    assert row.token_ids == other.token_ids
    assert decoder.stepper.stats().cached_prompt_tokens == 0


def test_a_row_that_tells_of_its_prompt_computes_it(decoder: Decoder) -> None:
    decoder.run([decoder.row(_request())])
    row = decoder.row(replace(_request(), prompt_logprobs=0))
    decoder.run([row])
    assert decoder.stepper.stats().cached_prompt_tokens == 0
    told = row.result().prompt_logprobs
    assert told is not None
    assert [place is None for place in told] == [True, *([False] * 69)]


def test_a_leader_that_is_abandoned_is_followed_by_another(base: LoadedBase) -> None:
    decoder = Decoder(base, {**ROOMY, "step_tokens": 20})
    rows = [decoder.row(_request("base")) for _ in range(3)]
    for row in rows:
        decoder.stepper.add(row)
    decoder.stepper.step()
    assert decoder.stepper.stats().running == 1, "followers wait for the leader"
    rows[0].abandoned = True
    decoder.run([])
    assert rows[1].token_ids == rows[2].token_ids
    assert len(rows[1].token_ids) == 4
    assert decoder.stepper.stats().running == decoder.stepper.stats().waiting == 0
