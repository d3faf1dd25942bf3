"""Stop on what is not a number, and say where it stood."""

import math
from collections.abc import Sequence

import numpy as np

from actors.train.backend import Passed
from configs.errors import UserError

_SHOWN = 5


def check_step(
    step: int,
    passed: Passed,
    grad_norm: float | None,
    places: Sequence[str],
    learning_rate: float,
) -> None:
    """UserError when a step's loss or gradient is not finite.

    Args:
        step: its number, from 1.
        passed: what its pass found.
        grad_norm: of its gradient, where it is known.
        places: `file:line` of the batch's rows, or nothing where they have none.
        learning_rate: the peak that the user gave.
    """
    if math.isfinite(passed.loss) and (grad_norm is None or math.isfinite(grad_norm)):
        return
    rows = faulty_rows(passed)
    norm = "" if grad_norm is None else f" and the gradient's norm {grad_norm}"
    raise UserError(
        f"Step {step}: the loss is {passed.loss}{norm}"
        f"{_whose(rows, len(passed.logprobs), places)}. Training stopped; the checkpoints before "
        f"this step are kept. Give a learning_rate below {learning_rate}"
        f"{', or mend these rows' if 0 < len(rows) < len(passed.logprobs) else ''}."
    )


def check_validation(step: int, loss: float) -> None:
    """UserError when the loss on held-out rows is not finite."""
    if not math.isfinite(loss):
        raise UserError(
            f"Step {step}: the validation loss is {loss}. Training stopped; the checkpoints "
            "before this step are kept. Give a lower learning_rate, or mend the validation rows."
        )


def faulty_rows(passed: Passed) -> list[int]:
    """Numbers of the datums whose log-probabilities are not all finite."""
    return [i for i, values in enumerate(passed.logprobs) if not np.isfinite(values).all()]


def _whose(rows: Sequence[int], of: int, places: Sequence[str]) -> str:
    if not rows:
        return ""
    if len(rows) == of:
        return f", in all {of} rows of the batch"
    named = [places[row] if places else f"row {row + 1} of the batch" for row in rows]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return f", in {', '.join(named[:_SHOWN])}{more}"
