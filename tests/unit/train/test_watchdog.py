"""The watch over a training process, with a clock of the test's own."""

import threading

from actors.train.on_ray.watchdog import Watchdog


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_hang_is_told_with_its_step_and_its_place():
    clock = Clock()
    watchdog = Watchdog(60.0, on_hang=lambda message: None, clock=clock)
    clock.now_s = 1000.0
    assert watchdog.fault() is None  # a base loads for as long as it takes
    watchdog.tick()
    watchdog.tick(steps=11)
    clock.now_s = 1060.0
    assert watchdog.fault() is None
    watchdog.tick()  # a micro-batch of a long pass
    clock.now_s = 1120.5
    message = watchdog.fault()
    assert message is not None
    assert message.startswith("Step 12 made no progress for 60 s (hang_timeout_s)")
    assert "test_watchdog.py" in message


def test_its_thread_calls_back_once_and_ends():
    told = threading.Event()
    clock = Clock()
    with Watchdog(0.05, on_hang=lambda message: told.set(), clock=clock) as watchdog:
        watchdog.tick()
        clock.now_s = 1.0
        assert told.wait(30)
