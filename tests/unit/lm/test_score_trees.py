"""A question's rows: every continuation keeps the tokens, positions and view it has alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.requests import Question
from actors.lm.scoring.batches import batch_of, cut
from actors.lm.scoring.tree import Tree, trees_of

_CPU = torch.device("cpu")
_TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=6)  # few, so that beginnings are shared
_QUESTIONS = st.lists(
    st.builds(Question, _TOKENS, st.lists(_TOKENS, min_size=1, max_size=5)), min_size=1, max_size=4
)
_ROOMY = {"max_tokens": 1000, "reach": 1000}


def _trees(questions: list[Question], **bounds: int) -> list[Tree]:
    return [tree for i, q in enumerate(questions) for tree in trees_of(i, q, **bounds)]


@given(_QUESTIONS, st.integers(1, 20), st.integers(0, 12))
def test_every_token_is_predicted_from_what_stands_before_it_and_nothing_else(
    questions: list[Question], max_tokens: int, reach: int
) -> None:
    trees = _trees(questions, max_tokens=max_tokens, reach=reach)
    batch = batch_of(trees, questions, torch.float32, _CPU)
    rows, length = batch.token_ids.shape
    positions = batch.positions
    if positions is None:
        positions = torch.arange(length).expand(rows, length)
    visible = torch.ones(length, length).tril().bool().expand(rows, length, length)
    if batch.mask is not None:
        visible = batch.mask[:, 0] == 0
    told: dict[tuple[int, int], list[tuple[list[int], int]]] = {}
    for pair, token, owner in zip(
        batch.pairs.tolist(), batch.predicted.tolist(), batch.owners.tolist(), strict=True
    ):
        row, place = divmod(int(batch.reads[pair]), length)
        seen = visible[row, place]
        assert positions[row, seen].tolist() == list(range(int(seen.sum())))
        before = batch.token_ids[row, seen].tolist()
        told.setdefault(batch.continuations[owner], []).append((before, token))
    assert told == {
        (q, c): [
            ([*question.context_ids, *continuation[:i]], token)
            for i, token in enumerate(continuation)
        ]
        for q, question in enumerate(questions)
        for c, continuation in enumerate(question.continuations)
    }


@given(_QUESTIONS, st.integers(1, 20), st.integers(0, 12))
def test_bounds_hold_except_for_a_single_continuation(
    questions: list[Question], max_tokens: int, reach: int
) -> None:
    for tree in _trees(questions, max_tokens=max_tokens, reach=reach):
        if len(tree.paths) > 1:
            assert len(tree) <= max_tokens
            assert max(tree.positions) < reach
        else:
            assert tree.is_chain


@given(_QUESTIONS)
def test_a_beginning_is_computed_once(questions: list[Question]) -> None:
    for question, tree in zip(questions, _trees(questions, **_ROOMY), strict=True):
        beginnings = {tuple(c[:i]) for c in question.continuations for i in range(1, len(c))}
        assert len(tree) == len(question.context_ids) + len(beginnings)


def test_letters_behind_one_bracket() -> None:
    question = Question([7, 8], [[1, 2, 5], [1, 3, 5]])  # " (A)" and " (B)"
    (tree,) = trees_of(0, question, **_ROOMY)
    assert tree.token_ids == [7, 8, 1, 2, 3]
    assert tree.positions == [0, 1, 2, 3, 3]
    assert tree.paths == {0: [1, 2, 3], 1: [1, 2, 4]}
    batch = batch_of([tree], [question], torch.float32, _CPU)
    assert batch.mask is not None
    assert (batch.mask[0, 0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 0, 1],
    ]
    assert batch.reads.tolist() == [1, 2, 3, 4]


def test_rows_that_are_chains_need_no_mask() -> None:
    questions = [Question([7, 8], [[1, 2, 3], [1, 2]]), Question([7], [[1]])]
    batch = batch_of(_trees(questions, **_ROOMY), questions, torch.float32, _CPU)
    assert batch.mask is None
    assert batch.positions is None


@given(_QUESTIONS, st.integers(0, 30), st.integers(0, 12))
def test_batches_hold_every_tree_once_and_keep_their_bounds(
    questions: list[Question], max_tokens: int, max_reads: int
) -> None:
    trees = _trees(questions, **_ROOMY)
    batches = list(cut(trees, max_tokens, max_reads))
    assert sorted(t.question for batch in batches for t in batch) == list(range(len(trees)))
    for batch in batches:
        if len(batch) > 1:
            assert len(batch) * max(map(len, batch)) <= max_tokens
            assert sum(len(tree.reads) for tree in batch) <= max_reads
            assert len({tree.is_chain for tree in batch}) == 1
