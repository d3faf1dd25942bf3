"""What is told of failed workers, in one line each."""

import pytest
from ray.train.v2._internal.exceptions import (
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)

from actors.train.on_ray.failures import reason

ENDED = RuntimeError("The actor died.\n\tpid: 7\nThe actor is dead because its node has died.\n")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no such file"), "ValueError: no such file"),
        (ValueError(), "ValueError:"),
        (
            WorkerHealthCheckFailedError("Worker info: ...", ENDED),
            "RuntimeError: The actor is dead because its node has died.",
        ),
        (WorkerHealthCheckTimeoutError("..."), "its process did not answer for hang_timeout_s."),
    ],
)
def test_a_failure_is_told_in_a_line(error: Exception, expected: str):
    assert reason(error) == expected


def test_a_long_reason_is_cut():
    assert len(reason(ValueError("word " * 1000))) <= 400
