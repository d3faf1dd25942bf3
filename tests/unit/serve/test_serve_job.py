"""How the `serve` job waits: for a signal, a second one, or the loss of its shelf."""

import signal
import threading
from collections.abc import Iterator

import pytest

from configs.errors import JobFailed
from jobs.serving.serve import _until_interrupted


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_waiting(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.serving.serve._SECONDS_BETWEEN_LOOKS", 0.01)
    at_once = threading.Event()

    def has_shelf() -> bool:
        signal.raise_signal(number)
        return True

    _until_interrupted(has_shelf, at_once)
    assert not at_once.is_set()
    signal.raise_signal(number)
    assert at_once.is_set()


def test_without_its_shelf_the_job_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.serving.serve._SECONDS_BETWEEN_LOOKS", 0.01)
    at_once = threading.Event()
    with pytest.raises(JobFailed, match=r"shelf.* died.* starts the server again"):
        _until_interrupted(lambda: False, at_once)
    assert at_once.is_set()
