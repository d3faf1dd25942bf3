"""What is said of a loss that is not a number."""

import numpy as np
import pytest

from actors.train.backend import Passed
from actors.train.finite import check_step, check_validation
from configs.errors import UserError

GOOD = np.array([-1.0, 0.0, -2.0], np.float32)
NAN, INFINITE = GOOD * np.nan, GOOD - np.inf
PLACES = [f"d.jsonl:{line}" for line in range(1, 10)]


def message(logprobs: list[np.ndarray], places: list[str], loss: float = np.nan) -> str:
    with pytest.raises(UserError) as caught:
        check_step(7, Passed(loss, logprobs), 1.0, places, 2e-4)
    return str(caught.value)


def test_a_finite_step_passes():
    check_step(1, Passed(2.0, [GOOD]), 0.5, [], 1e-3)
    check_validation(1, 2.0)


def test_the_rows_are_named_with_both_mends():
    said = message([GOOD, NAN, INFINITE], PLACES)
    assert said.startswith("Step 7: the loss is nan and the gradient's norm 1.0, in ")
    assert "in d.jsonl:2, d.jsonl:3. Training stopped" in said
    assert said.endswith("Give a learning_rate below 0.0002, or mend these rows.")


def test_where_every_row_is_affected_it_is_the_weights():
    said = message([NAN, NAN], PLACES)
    assert "in all 2 rows of the batch" in said
    assert said.endswith("below 0.0002.")


def test_many_rows_are_counted_and_rows_without_places_numbered():
    assert "d.jsonl:5 and 2 more." in message([NAN] * 7 + [GOOD], PLACES)
    assert "in row 2 of the batch." in message([GOOD, NAN], [])


def test_a_gradient_alone_has_no_rows():
    with pytest.raises(UserError, match=r"gradient's norm inf\. Training stopped"):
        check_step(3, Passed(2.0, [GOOD]), np.inf, PLACES, 1e-3)


def test_a_norm_that_a_service_does_not_tell_is_no_fault():
    check_step(3, Passed(2.0, [GOOD]), None, PLACES, 1e-3)
    with pytest.raises(UserError, match="Step 3: the loss is nan, in all 1 rows"):
        check_step(3, Passed(np.nan, [NAN]), None, PLACES, 1e-3)


def test_a_validation_is_checked_too():
    with pytest.raises(UserError, match="Step 4: the validation loss is inf"):
        check_validation(4, np.inf)
