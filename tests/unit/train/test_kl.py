"""Estimators of the divergence against the exact one of a small categorical distribution."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from actors.train.grpo.kl import k1, k2, k3

LOGPROBS = st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0)), min_size=1, max_size=8)


@given(LOGPROBS)
def test_k2_and_k3_are_never_below_nothing(pairs: list[tuple[float, float]]):
    policy, other = torch.tensor(pairs, dtype=torch.float64).unbind(dim=1)
    assert (k3(policy, other) >= 0).all()
    assert (k2(policy, other) >= 0).all()
    assert not k3(policy, policy).any()


def distributions(seed: int) -> tuple[Tensor, Tensor]:
    """Logits of a policy over five tokens, and the log-probabilities of another's."""
    torch.manual_seed(seed)
    logits = torch.randn(5, dtype=torch.float64, requires_grad=True)
    return logits, torch.randn(5, dtype=torch.float64).log_softmax(-1)


def exact(logits: Tensor, other: Tensor) -> Tensor:
    policy = logits.log_softmax(-1)
    return (policy.exp() * (policy - other)).sum()


@given(st.integers(0, 99))
def test_the_means_of_k1_and_k3_are_the_divergence(seed: int):
    logits, other = distributions(seed)
    policy = logits.log_softmax(-1)
    for estimator in (k1, k3):
        mean = (policy.exp() * estimator(policy, other)).sum()
        torch.testing.assert_close(mean, exact(logits, other))


@given(st.integers(0, 99))
def test_as_a_loss_only_k2_goes_down_the_divergence(seed: int):
    logits, other = distributions(seed)
    (truth,) = torch.autograd.grad(exact(logits, other), logits)
    policy = logits.log_softmax(-1)
    found = {
        estimator: torch.autograd.grad(  # the mean over what is sampled, whose odds are held fixed
            (policy.detach().exp() * estimator(policy, other)).sum(), logits, retain_graph=True
        )[0]
        for estimator in (k1, k2, k3)
    }
    torch.testing.assert_close(found[k2], truth)
    torch.testing.assert_close(found[k1], torch.zeros_like(truth))
    assert (found[k3] - truth).abs().max() > 1e-3
