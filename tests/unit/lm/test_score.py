"""Scores: what each adapter says alone, whoever shares its row, its batch or its layers."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from small_scoring import alone, finished
from torch import nn

from actors.lm.adapter import read_adapter
from actors.lm.base import LoadedBase, load_base
from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest
from actors.lm.requests import Question, Scores
from actors.lm.scoring.score import check_questions, score
from actors.lm.slots.bank import SlotBank

_STEP_TOKENS = 64


@pytest.fixture
def bank(base: LoadedBase) -> SlotBank:
    torch.set_num_threads(1)
    return SlotBank(base, max_adapters=8)


def _load(bank: SlotBank, adapter_paths: dict[str, str]) -> dict[str, int]:
    return {name: bank.load(read_adapter(path)) for name, path in adapter_paths.items()}


def _layers(bank: SlotBank) -> nn.ModuleList:
    return cast(nn.ModuleList, bank.base.model.base_model.layers)


def _questions(count: int) -> list[Question]:
    """Contexts of 1 to 20 tokens; continuations that share beginnings, or are the same."""
    torch.manual_seed(0)
    questions = []
    for i in range(count):
        ids = torch.randint(5, 250, (60,)).tolist()
        stem = ids[20:22]
        continuations = [[*stem, 7], [*stem, 8, 9], ids[30:40], [*stem, 7], [3]]
        questions.append(Question(ids[: 1 + i % 20], continuations[: 1 + i % 5]))
    return questions


def _scored(bank: SlotBank, slots: Sequence[int], questions: list[Question]) -> list[Scores]:
    digests = [f"digest {slot}" for slot in slots]
    return finished(score(bank, slots, digests, questions, _STEP_TOKENS))[0]


def _check(bank: SlotBank, slots: Sequence[int], questions: list[Question]) -> None:
    for slot, scores in zip(slots, _scored(bank, slots, questions), strict=True):
        assert scores.adapter_digest == f"digest {slot}"
        assert scores.problem is None
        for question, told in zip(questions, scores.questions, strict=True):
            want = alone(bank, slot, question)
            assert [x.is_greedy for x in told] == [x.is_greedy for x in want]
            got = [x.logprob for x in told]
            assert got == pytest.approx([x.logprob for x in want], abs=4e-6, rel=0)


def test_base_and_adapters_of_all_shapes_at_once(
    bank: SlotBank, adapter_paths: dict[str, str]
) -> None:
    slots = [0, *_load(bank, adapter_paths).values()]
    _check(bank, slots, _questions(30))


def test_slots_in_any_order_and_more_than_once(
    bank: SlotBank, adapter_paths: dict[str, str]
) -> None:
    slots = _load(bank, adapter_paths)
    _check(bank, [slots["rslora"], 0, slots["plain"], 0], _questions(5))


def test_nobody_says_nothing_to_no_questions(bank: SlotBank) -> None:
    assert _scored(bank, [], _questions(2)) == []
    assert _scored(bank, [0], []) == [Scores("digest 0", [])]


def test_a_pass_is_bounded_however_many_adapters_there_are(
    bank: SlotBank, adapter_paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.lm.scoring.score._MIN_PASS_TOKENS", 0)
    slots = [0, *_load(bank, adapter_paths).values()]
    passed: list[int] = []
    _layers(bank)[-1].register_forward_pre_hook(
        lambda _, args: passed.append(args[0].shape[0] * args[0].shape[1])
    )
    questions = _questions(10)
    _, yields = finished(score(bank, slots, ["-"] * len(slots), questions, _STEP_TOKENS))
    assert max(passed) <= _STEP_TOKENS
    assert yields == len(passed)
    _check(bank, slots, questions)


def test_the_logits_of_a_pass_are_bounded(
    bank: SlotBank, adapter_paths: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 20 * 262  # those of 20 places
    monkeypatch.setattr("actors.lm.scoring.score._MAX_PASS_LOGITS", most)
    slots = [0, *_load(bank, adapter_paths).values()]
    counts: list[int] = []
    bank.base.model.lm_head.register_forward_hook(
        lambda _, args, output: counts.append(output.numel())
    )
    questions = _questions(10)
    _scored(bank, slots, questions)
    assert max(counts) <= most
    _check(bank, slots, questions)


def test_layers_below_the_lowest_adapted_one_are_computed_once(
    bank: SlotBank, adapter_paths: dict[str, str]
) -> None:
    last = [bank.load(read_adapter(adapter_paths["last"])) for _ in range(3)]
    rows: list[int] = []
    for layer in _layers(bank):
        layer.register_forward_hook(lambda _, args, output: rows.append(len(output)))
    questions = _questions(5)[2:]  # trees, which share a batch
    _scored(bank, [0, *last], questions)
    assert rows == [3, 4 * 3]
    _check(bank, [0, *last], questions)


def test_the_head_is_applied_where_it_is_read(bank: SlotBank) -> None:
    places: list[int] = []
    bank.base.model.lm_head.register_forward_hook(
        lambda _, args, output: places.append(output.shape[:-1].numel())
    )
    _scored(bank, [0], [Question([5] * 50, [[6, 7, 9], [6, 8, 9]])])
    assert places == [4]


def test_greedy_is_what_greedy_sampling_gives(bank: SlotBank) -> None:
    ids = torch.tensor([[5, 6, 7]])
    model: Any = bank.base.model
    sampled = model.generate(ids, do_sample=False, max_new_tokens=4)[0, 3:].tolist()
    other = [*sampled[:3], (sampled[3] + 1) % 262]
    (scores,) = _scored(bank, [0], [Question([5, 6, 7], [sampled, other, sampled[:2]])])
    assert [told.is_greedy for told in scores.questions[0]] == [True, False, True]


def test_the_model_is_as_before_afterwards(bank: SlotBank, adapter_paths: dict[str, str]) -> None:
    ids = torch.tensor([[5, 6, 7]])
    before = bank.base.model(input_ids=ids).logits
    steps = score(bank, [0, *_load(bank, adapter_paths).values()], [""] * 6, _questions(90), 1)
    next(steps)  # between two passes
    torch.testing.assert_close(bank.base.model(input_ids=ids).logits, before)
    finished(steps)
    torch.testing.assert_close(bank.base.model(input_ids=ids).logits, before)


def test_a_broken_adapter_is_a_problem_of_its_own(
    bank: SlotBank, adapter_paths: dict[str, str]
) -> None:
    broken = read_adapter(adapter_paths["plain"])
    for tensor in broken.tensors.values():
        tensor.mul_(1e30)
    slots = [bank.load(broken), *_load(bank, adapter_paths).values()]
    questions = _questions(8)
    alone_, *others = _scored(bank, slots, questions)
    assert alone_.questions == []
    assert alone_.problem is not None
    assert "not finite" in alone_.problem
    assert all(scores.problem is None for scores in others)
    _check(bank, slots[1:], questions)


def test_bfloat16_says_about_the_same(base_directory: str, adapter_paths: dict[str, str]) -> None:
    bank = SlotBank(load_base(base_directory, torch.bfloat16), max_adapters=8)
    slots = [0, *_load(bank, adapter_paths).values()]
    questions = _questions(10)
    for slot, scores in zip(slots, _scored(bank, slots, questions), strict=True):
        for question, told in zip(questions, scores.questions, strict=True):
            for got, want in zip(told, alone(bank, slot, question), strict=True):
                assert got.logprob == pytest.approx(want.logprob, rel=0.03)


def test_what_cannot_be_scored_is_refused(base: LoadedBase) -> None:
    limits = Limits(base.tokenizer, frozenset(), context_tokens=512, vocabulary=262)
    good = Question([5], [[6]])
    check_questions([good, Question([5] * 511, [[6], [261]])], limits)
    for context, continuations, named in (
        ([], [[5]], "question 1: its context holds no tokens"),
        ([5], [], "question 1 has no continuations"),
        ([5], [[6], []], "question 1: a continuation holds no tokens"),
        ([5], [[6], [-1]], "question 1: token ids must lie in 0..261"),
        ([262], [[6]], "question 1: token ids"),
        ([5] * 511, [[6], [6, 7]], "context of 512"),
    ):
        with pytest.raises(BadRequest, match=named):
            check_questions([good, Question(context, continuations)], limits)
