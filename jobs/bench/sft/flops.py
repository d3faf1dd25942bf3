"""How much of a device's arithmetic training uses (MFU; Chowdhery et al. 2022, appendix B).

There a learned weight takes 6 operations a token: 2 forward, 2 for the gradient of its input and 2
for its own. A frozen one takes 4. Attention takes 12 L H Q T a token where every token sees all T;
each sees those before it, half of them on average. Nothing is counted that is computed twice, or
for padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

# Dense bfloat16, from NVIDIA's data sheets, in 10^12 operations a second.
_PEAKS = {"A100": 312, "H100": 989, "H200": 989, "B200": 2250, "L4": 121, "L40S": 362}


class Weights(NamedTuple):
    """A model's weights, by how they are used."""

    body: int  # frozen linear layers, at every position
    head: int  # frozen, at positions that teach something
    adapter: int  # learned, at every position
    attention: int  # layers x heads x width of a head


def operations(weights: Weights, lengths: Sequence[int], targets: int) -> float:
    """Operations of a step on rows of these lengths, forward and backward."""
    tokens, pairs = sum(lengths), sum(length * length for length in lengths) / 2
    return (
        (4 * weights.body + 6 * weights.adapter) * tokens
        + 4 * weights.head * targets
        + 12 * weights.attention * pairs
    )


def peak_per_s(device_name: str) -> float | None:
    """What a device of this name can do in bfloat16, operations a second; None: not known."""
    words = device_name.replace("-", " ").split()
    return next((_PEAKS[word] * 1e12 for word in words if word in _PEAKS), None)
