"""The quick linear layers compute, and hand back, what torch's own do."""

import pytest
import torch
from torch import nn

from actors.lm.dense import quicken


def pair(bias: bool, **options: object) -> tuple[nn.Module, nn.Module]:
    """A small stack of frozen layers as torch has it, and the same one quickened."""
    stacks = []
    for _ in range(2):
        torch.manual_seed(0)
        layers = nn.Linear(24, 40, bias=bias), nn.SiLU(), nn.Linear(40, 16, bias=bias)
        stacks.append(nn.Sequential(*layers).requires_grad_(False).to(**options))  # type: ignore
    quicken(stacks[1])
    return stacks[0], stacks[1]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (2, 5, 24), (0, 24)])
def test_products_and_gradients_are_torchs(bias: bool, shape: tuple[int, ...]):
    plain, quick = pair(bias)
    assert [type(layer) for layer in quick] != [type(layer) for layer in plain]  # type: ignore
    inputs = [torch.randn(shape, generator=torch.manual_seed(1)).requires_grad_() for _ in "ab"]
    expected, found = plain(inputs[0]), quick(inputs[1])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for answer in (expected, found):
        answer.transpose(0, -1).square().sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=0, atol=1e-5)


def test_gradients_that_come_transposed_or_repeated_are_read_right():
    plain, quick = pair(bias=False)
    inputs = [torch.randn(6, 24, generator=torch.manual_seed(1)).requires_grad_() for _ in "ab"]
    grown = torch.randn(16, 6, generator=torch.manual_seed(2)).t()
    for stack, states in zip((plain, quick), inputs, strict=True):
        stack(states).backward(grown, retain_graph=True)
        stack(states).backward(torch.ones(1).expand(6, 16))
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=0, atol=1e-5)


def test_what_learns_or_is_wide_is_left_alone():
    layer = nn.Linear(4, 4)
    quicken(layer)
    assert type(layer) is nn.Linear
    _, wide = pair(bias=True, dtype=torch.float64)
    assert type(wide[0]) is nn.Linear  # type: ignore[index]


def test_a_layer_that_learns_later_gets_its_gradient():
    _, quick = pair(bias=True)
    quick.requires_grad_(True)
    quick(torch.randn(7, 24)).sum().backward()
    assert all(parameter.grad is not None for parameter in quick.parameters())
