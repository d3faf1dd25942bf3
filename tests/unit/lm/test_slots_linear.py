"""Slot layers and the routing of their tokens against their definition."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from actors.lm.slots.linear import Shrink, SlotLinear
from actors.lm.slots.routing import Router, Routing, route, routed_product

_CAPACITY = 8
_CPU = torch.device("cpu")
SLOTS = st.lists(st.integers(0, 6), min_size=1, max_size=40).map(sorted)


@given(SLOTS)
def test_runs_and_ends_lay_out_every_token(slots: list[int]) -> None:
    routing = route(Counter(slots), _CAPACITY, _CPU)
    adapted = [slot for slot in slots if slot]
    if routing is None:
        assert not adapted
        return
    assert (routing.tokens, routing.base_tokens) == (len(slots), slots.count(0))
    starts = [0, *routing.ends.tolist()]
    laid_out = [s for s in range(_CAPACITY) for _ in range(starts[s + 1] - starts[s])]
    assert laid_out == adapted
    for run in routing.runs:
        each = [s for s in range(_CAPACITY)[run.slots] for _ in range(run.tokens_each)]
        assert adapted[run.tokens] == each
    assert [i for run in routing.runs for i in range(len(adapted))[run.tokens]] == list(
        range(len(adapted))
    )


def _filled_siblings(width: int, dtype: torch.dtype = torch.float32) -> list[SlotLinear]:
    """A wide and a narrow layer that share their Shrink; slots 1 to 6 hold ranks 1 to 8."""
    torch.manual_seed(0)
    router = Router()
    outs = (2 * width, width)
    linears = [nn.Linear(width, n, bias=False, dtype=dtype).requires_grad_(False) for n in outs]
    shrink = Shrink(linears[0], capacity=_CAPACITY, rank=8)
    layers = [SlotLinear(linear, shrink, router) for linear in linears]
    for slot in range(1, 7):
        for layer, rank in zip(layers, (1 + slot % 8, 8), strict=True):
            out = layer.base.out_features
            # Updates of about the base's size: large ones that cancel leave their rounding.
            a, b = torch.randn(rank, width, dtype=dtype), torch.randn(out, rank, dtype=dtype)
            layer.fill(slot, a / width**0.5, b / rank**0.5, 0.25 * slot)
    return layers


def _routed(layers: list[SlotLinear], slots: list[int]) -> None:
    for layer in layers:
        layer._router.routing = route(Counter(slots), layer.B.shape[0], _CPU)


def _one_by_one(layer: SlotLinear, x: Tensor, slots: list[int]) -> Tensor:
    """X [N, in]."""
    a = layer.shrink.A[:, layer.member]
    rows = [
        layer.base(row) + row @ a[slot].T @ layer.B[slot]
        for row, slot in zip(x, slots, strict=True)
    ]
    return torch.stack(rows)


# Widths of 16 go through grouped_mm when groups are ragged, widths of 5 cannot.
@settings(deadline=None)
@given(slots=SLOTS, width=st.sampled_from([5, 16]), tokens=st.integers(1, 3))
def test_layer_equals_one_token_after_another(slots: list[int], width: int, tokens: int) -> None:
    layers = _filled_siblings(width)
    x = torch.randn(len(slots), tokens, width)
    per_token = [slot for slot in slots for _ in range(tokens)]
    _routed(layers, per_token)
    for layer in layers:
        want = _one_by_one(layer, x.flatten(0, 1), per_token)
        with torch.inference_mode():
            for shaped in (x, x.flatten(0, 1), x.flatten(0, 1)[None]):
                got = layer(shaped)
                assert got.shape[:-1] == shaped.shape[:-1]
                torch.testing.assert_close(got.flatten(0, -2), want)


def test_siblings_that_read_the_same_tensor_multiply_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers, x, slots = _filled_siblings(16), torch.randn(4, 16), [1, 1, 2, 3]
    _routed(layers, slots)
    products: list[Tensor] = []

    def counted(x: Tensor, weights: Tensor, routing: Routing) -> Tensor:
        products.append(weights)
        return routed_product(x, weights, routing)

    monkeypatch.setattr("actors.lm.slots.linear.routed_product", counted)
    for same in (x, x, x.clone()):
        products.clear()
        for layer in layers:
            torch.testing.assert_close(layer(same), _one_by_one(layer, same, slots))
        assert len(products) == 3
    products.clear()
    for layer in layers:
        own = x.clone()
        torch.testing.assert_close(layer(own), _one_by_one(layer, own, slots))
    assert len(products) == 4


def test_gradients_reach_input_and_slots_exactly() -> None:
    layers = _filled_siblings(16, torch.float64)
    slots = [0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5]
    x = torch.randn(len(slots), 16, dtype=torch.float64, requires_grad=True)
    inputs = [x, layers[0].shrink.A.requires_grad_()]
    inputs += [layer.B.requires_grad_() for layer in layers]
    _routed(layers, slots)
    got = torch.autograd.grad([layer(x).square().sum() for layer in layers], inputs)
    want = torch.autograd.grad(
        [_one_by_one(layer, x, slots).square().sum() for layer in layers], inputs
    )
    for ours, reference in zip(got, want, strict=True):
        torch.testing.assert_close(ours, reference)


def test_resize_keeps_what_is_loaded() -> None:
    layers, x, slots = _filled_siblings(16), torch.randn(4, 16), [1, 2, 3, 6]
    before = [_one_by_one(layer, x, slots) for layer in layers]
    for part in (layers[0].shrink, *layers):
        part.resize(20, 24)
    assert layers[0].shrink.A.shape == (20, 2, 24, 16)
    for layer, want in zip(layers, before, strict=True):
        torch.testing.assert_close(_one_by_one(layer, x, slots), want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_more_runs_than_a_few_equal_few_ones(dtype: torch.dtype) -> None:
    """The same tokens through grouped_mm and through one batched product per run."""
    layer = _filled_siblings(16, dtype)[0]
    slots = [1, 2, 2, 3, 4, 4, 5, 6, 6]
    x = torch.randn(len(slots), 16, dtype=dtype)
    parts = []
    with torch.inference_mode():
        for slot in sorted(set(slots)):
            mine = [s for s in slots if s == slot]
            _routed([layer], mine)
            parts.append(layer(x[[s == slot for s in slots]]))
        _routed([layer], slots)
        torch.testing.assert_close(layer(x), torch.cat(parts))


def test_a_scale_is_applied_before_rounding() -> None:
    """A bfloat16 adapter in a float32 base gives what peft gives: float32 all the way."""
    layer = _filled_siblings(16)[0]
    a, b = torch.randn(8, 16).bfloat16(), torch.randn(32, 8).bfloat16()
    layer.fill(7, a, b, 1 / 3)
    assert torch.equal(layer.B[7], b.float().T * (1 / 3))
