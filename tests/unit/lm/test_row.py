"""Rows: what ends them, what they tell, what they refuse; no model, only logits."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_base import byte_tokenizer

from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import Piece, SampleRequest
from actors.lm.sampling.advance import advance
from actors.lm.sampling.row import Row
from actors.lm.sampling.text import decode

TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id
LIMITS = Limits(TOKENIZER, frozenset({END}), context_tokens=512, vocabulary=262)


def _row(limits: Limits = LIMITS, **fields: Any) -> Row:
    fields = {"adapter": "one", "prompt_ids": [5, 6, 7], "temperature": 0, **fields}
    return Row(SampleRequest(**fields), slot=0, adapter_digest="digest", limits=limits)


def _push(row: Row, tokens: Sequence[int]) -> list[Piece]:
    """Make the row sample these tokens, as long as it lasts."""
    pieces = []
    for token in tokens:
        if row.done:
            break
        advance([row], 9 * torch.nn.functional.one_hot(torch.tensor([token]), 262).float())
        if piece := row.take_piece():
            pieces.append(piece)
    return pieces


def test_the_end_of_turn_stops_a_row_and_stays_out_of_its_text() -> None:
    row = _row(max_tokens=4)
    _push(row, [100, END])
    sample = row.result()
    assert (sample.token_ids, sample.finish_reason) == ([100, END], "stop")
    assert sample.text == decode(TOKENIZER, [100])
    assert (sample.adapter_digest, row.sequence) == ("digest", [5, 6, 7, 100, END])


def test_the_last_token_may_bring_a_stop_string() -> None:
    row = _row(max_tokens=5, stop=("never", "llo"))
    _push(row, TOKENIZER.encode("hello"))
    assert (row.result().text, row.result().finish_reason) == ("he", "stop")
    long = _row(max_tokens=4, stop=("llo",))
    _push(long, TOKENIZER.encode("hello"))
    assert (long.result().text, long.result().finish_reason) == ("hell", "length")


@settings(deadline=None, max_examples=60)
@given(
    tokens=st.lists(st.sampled_from([*TOKENIZER.encode("ab😀"), 256, END]), max_size=40),
    stop=st.lists(st.text("ab😀�", min_size=1, max_size=3), max_size=2),
    max_tokens=st.integers(1, 30),
)
def test_pieces_make_up_the_sample(tokens: list[int], stop: list[str], max_tokens: int) -> None:
    row = _row(max_tokens=max_tokens, stop=tuple(stop), top_logprobs=2)
    pieces = _push(row, [*tokens, END])
    sample = row.result()
    assert "".join(piece.text for piece in pieces) == sample.text
    assert [token for piece in pieces for token in piece.token_ids] == sample.token_ids
    assert [told for piece in pieces for told in piece.logprobs] == sample.logprobs
    whole = decode(TOKENIZER, sample.token_ids)
    assert whole.startswith(sample.text)
    if not any(text in whole for text in stop):
        assert sample.text == whole
    assert not any(text in sample.text for text in stop)
    assert row.take_piece() is None


def test_logprobs_are_the_models_own_and_the_likeliest_come_first() -> None:
    torch.manual_seed(1)
    logits = torch.randn(3, 262)
    rows = [
        _row(temperature=3.0, top_p=0.5, seed=1, top_logprobs=3),
        _row(logit_bias={9: 100.0}, top_logprobs=1),
        _row(),
    ]
    advance(rows, logits)
    own = logits.log_softmax(-1)
    assert rows[1].token_ids == [9]
    assert rows[2].token_ids == [int(logits[2].argmax())]
    for i, row in enumerate(rows):
        [piece] = [row.take_piece()]
        assert piece is not None
        [told] = piece.logprobs
        assert told.logprob == own[i, row.token_ids[0]].item()
        best = own[i].topk(max(1, row.request.top_logprobs))
        want = list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        assert list(told.likeliest) == want[: row.request.top_logprobs]


def test_bias_shifts_the_distribution() -> None:
    count = 8000
    rows = [_row(temperature=1.0, seed=i, logit_bias={3: math.log(3.0)}) for i in range(count)]
    advance(rows, torch.zeros(count, 262))
    share = sum(row.token_ids == [3] for row in rows) / count
    exact = 3 / 264
    assert abs(share - exact) < 4 * math.sqrt(exact / count)


def test_rows_with_broken_logits_fail_alone() -> None:
    for broken in (math.nan, math.inf):
        rows = [_row(temperature=t, seed=1, top_logprobs=1) for t in (0, 1, 0, 1)]
        logits = torch.randn(4, 262)
        logits[1, 7] = logits[2, 8] = broken
        advance(rows, logits)
        assert [row.done for row in rows] == [False, True, True, False]
        with pytest.raises(BrokenAdapter, match='"one"'):
            rows[1].result()
        with pytest.raises(ValueError, match="not finished"):
            rows[0].result()


def test_prompts_are_told_in_any_chunks_and_again() -> None:
    torch.manual_seed(2)
    prompt, logits = [5, 9, 200, 3], torch.randn(4, 262)
    row = _row(prompt_ids=prompt, prompt_logprobs=2, max_tokens=0)
    row.accept_prompt(logits[:2], 0)
    row.accept_prompt(logits[1:3], 1)
    assert not row.done
    row.accept_prompt(logits[3:], 3)
    sample = row.result()
    assert (sample.token_ids, sample.text, sample.finish_reason) == ([], "", "length")
    assert sample.prompt_logprobs is not None
    own = logits.log_softmax(-1)
    assert sample.prompt_logprobs[0] is None
    for place in (1, 2, 3):
        told = sample.prompt_logprobs[place]
        assert told is not None
        assert told.logprob == own[place - 1, prompt[place]].item()
        assert [each.token_id for each in told.likeliest] == own[place - 1].topk(2).indices.tolist()


def test_a_prompt_whose_logits_are_not_finite_breaks_the_row() -> None:
    row = _row(prompt_logprobs=0, max_tokens=0)
    row.accept_prompt(torch.full((3, 262), math.nan), 0)
    assert row.done
    with pytest.raises(BrokenAdapter):
        row.result()


def test_abandoned_rows_take_nothing_more() -> None:
    row = _row()
    _push(row, [100])
    row.abandoned = True
    advance([row], torch.zeros(1, 262))
    assert (row.done, row.token_ids) == (True, [100])


@pytest.mark.parametrize(
    ("change", "field", "named"),
    [
        ({"prompt_ids": []}, "prompt", "no tokens"),
        ({"prompt_ids": [10**9]}, "prompt", "token ids must lie in"),
        ({"prompt_ids": [9] * 506, "max_tokens": 7}, "max_tokens", r"506 tokens.*\(7\).*512"),
        ({"max_tokens": 0}, "max_tokens", "max_tokens=0 must be at least 1"),
        ({"max_tokens": -1, "prompt_logprobs": 0}, "max_tokens", "at least 0"),
        ({"temperature": math.nan}, "temperature", "temperature=nan"),
        ({"temperature": -1.0}, "temperature", "temperature=-1"),
        ({"top_p": 0.0}, "top_p", "top_p=0"),
        ({"top_k": -1}, "top_k", "top_k=-1"),
        ({"stop": ("a", "")}, "stop", "stop string is empty"),
        ({"stop": ("a",) * 65}, "stop", "65 stop strings"),
        ({"top_logprobs": 21}, "top_logprobs", "top_logprobs=21"),
        ({"prompt_logprobs": -1}, "prompt_logprobs", "prompt_logprobs=-1"),
        ({"logit_bias": {262: 1.0}}, "logit_bias", r"token 262 .* 0\.\.261"),
        ({"logit_bias": {1: math.nan}}, "logit_bias", "nan"),
        ({"logit_bias": {1: 101.0}}, "logit_bias", "101"),
    ],
)
def test_requests_beyond_the_limits_are_refused(
    change: dict[str, Any], field: str, named: str
) -> None:
    with pytest.raises(BadRequest, match=named) as refusal:
        _row(**change)
    assert refusal.value.field == field


def test_the_whole_context_can_be_used() -> None:
    assert not _row(prompt_ids=[9] * 506, max_tokens=6).done
    assert not _row(LIMITS, prompt_ids=[9] * 512, max_tokens=0, prompt_logprobs=0).done


def test_without_an_end_token_rows_run_to_their_length() -> None:
    row = _row(replace(LIMITS, end_ids=frozenset()), max_tokens=2)
    _push(row, [END, END, END])
    assert (row.token_ids, row.result().finish_reason) == ([END, END], "length")


def test_a_request_with_ends_of_its_own_takes_no_others() -> None:
    row = _row(end_ids=frozenset({66}), max_tokens=4)
    _push(row, [END, 65, 66, 67])
    assert (row.token_ids, row.result().finish_reason) == ([END, 65, 66], "stop")
