"""Who gets how many tokens of a step. Pure.

A row that is being sampled brings one token, a row whose prompt is read brings a chunk. Sampled
rows come first, so that a long prompt never holds up what others are writing; what is left goes
to prompts in the order of their arrival, so that the oldest is always read on.
"""

from collections.abc import Sequence


def share_tokens(missing: Sequence[int], step_tokens: int) -> list[int]:
    """Tokens of each row in the next step.

    Args:
        missing: how many tokens of each row the model has not seen yet, at least 1; rows are in
            the order of their admission.
        step_tokens: tokens of the step, at least as many as there are rows. Thus a row that
            misses one token always gets it, and something is left for the oldest prompt.
    """
    left = step_tokens - sum(count == 1 for count in missing)
    given = []
    for count in missing:
        share = 1 if count == 1 else min(count, left)
        left -= share if count > 1 else 0
        given.append(share)
    return given
