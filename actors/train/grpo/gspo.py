"""Group sequence policy optimisation: one ratio a sequence (Zheng et al. 2025)."""

from collections.abc import Mapping

from torch import Tensor

from actors.train.losses import TokenInputs, ppo


def log_sequence_ratio(logprobs: Tensor, old: Tensor) -> Tensor:
    """The mean log ratio over the sequence's tokens, log s of eq. 7; 0 where it has none."""
    return (logprobs - old).sum() / max(1, len(logprobs))


def gspo(logprobs: Tensor, old: Tensor, advantages: Tensor, config: Mapping[str, float]) -> Tensor:
    """-min(s * A, clip(s) * A) summed over a sequence's tokens, from arrays [T] of what it said.

    In the form by tokens (eq. 14), whose ratio has the value of s and the token's own slope: with
    the same A everywhere its gradient is that of the sequence's.
    """
    moved = (logprobs - log_sequence_ratio(logprobs, old)).detach()
    return ppo(logprobs, TokenInputs(sampled_logprobs=moved, advantages=advantages), config)
