"""What the endpoint takes, learned from its 429s: calls in flight, and calls begun a second.

Opening: both double every half second while calls wait, until the first 429 or the maximum. The
calls begin evenly spread: behind a 429, which a gateway answers at once, are as many as the rate
times the time until it is read, and so an almost even rate opens soonest.
Afterwards: one cut per episode of 429s, then growth along `Ceiling` while the value is what holds
calls back and all is clean. An episode is the 429s of calls that were sent before its cut.

Calls in flight alone cannot hold a limit on calls a second (at 50 ms, 10 a second is half a call in
flight), and a rate alone cannot hold a limit on calls in flight; so both are kept. The doubling
until the first 429, x0.8 per episode and growth only over 80 % use are inspect_ai's.
"""

import math

from actors.pool.limiter.admissions import Admissions
from actors.pool.limiter.ceiling import Ceiling
from actors.pool.limiter.messages import NOTHING_LEARNED, Learned

_OPENING_IN_FLIGHT = 160.0
_DOUBLING_S = 0.5
_OPENING_SPREAD_S = 0.22  # to begin as many calls as may be in flight
_OPEN = 16.0  # times the maximum: then nothing holds the rate back
_SATURATED = 0.8  # of the limit in use
_CUT = 0.8
_GUESS = 0.5  # of a rate that held a burst, or let nothing in
_RATE_KEPT = 0.9  # measured, so it need not be far below
_LEAST_PER_S = 0.5
_SETTLE_S = 0.1  # nobody sends after a cut, until all gates know
_AFTER_SERVER_ERROR_S = 1.0  # no growth
_LONGEST_STEP_S = 0.25  # between reports; more is silence, not clean time
_PAUSE_CAP_S = 120.0
_LONG_PAUSE_S = 1.0  # a bucket may have filled up in it
_IDLE_S = 5.0
_IDLE_COUNTS = 0.05  # as much as clean time
_REOPENS = 4.0  # a ceiling that idleness has raised so much is forgotten


class Adaptive:
    """The state, moved on by reports; every time is the limiter's clock in seconds."""

    def __init__(self, now_s: float) -> None:
        self._learned = NOTHING_LEARNED._replace(epoch=1, opening=_OPENING_IN_FLIGHT)
        self._admissions = Admissions(now_s)
        self._at_s = self._demand_s = now_s
        self._was_waiting = False
        self._growth_from_s = self._paused_until_s = -math.inf

    @property
    def epoch(self) -> int:
        """Which cut was the last."""
        return self._learned.epoch

    def learned(self, now_s: float) -> Learned:
        """What to remember elsewhere."""
        return self._learned._replace(paused_s=max(0.0, self._paused_until_s - now_s))

    def recall(self, learned: Learned, now_s: float) -> None:
        """Take over what an earlier limiter knew."""
        self._learned = learned
        self.pause(learned.paused_s, now_s)

    def in_flight(self, most: int) -> int:
        """Calls in flight that the endpoint is trusted with, 1 to `most`."""
        opening, ceiling = self._learned.opening, self._learned.in_flight
        value = opening if ceiling is None else ceiling.value
        return most if value is None else max(1, min(most, int(value)))

    def per_s(self, most: int) -> float | None:
        """Calls begun a second; None where nothing holds them back."""
        if self._learned.per_s is not None:
            return max(_LEAST_PER_S, self._learned.per_s.value)
        opening = self._learned.opening
        # The rate goes on doubling past the last permit: a jump would hide the first 429.
        if opening is None or opening >= _OPEN * most:
            return None
        return opening / _OPENING_SPREAD_S

    def advance(self, in_flight: int, waiting: int, usable: int, most: int, now_s: float) -> None:
        """Time passes with so many calls in flight and waiting, in the whole cluster.

        `usable` of `most` are what the jobs that have calls to make could have in flight.
        """
        if waiting or in_flight:
            if now_s - self._demand_s > _IDLE_S:
                self._grow_idle(now_s - self._demand_s)
            self._demand_s = now_s
        elapsed_s = min(now_s - self._at_s, _LONGEST_STEP_S)
        self._at_s = now_s
        was_waiting, self._was_waiting = self._was_waiting, waiting > 0
        if now_s < max(self._growth_from_s, self._paused_until_s):
            return
        opening, calls, rate = self._learned[1:4]
        if opening is not None:
            if waiting and was_waiting:  # all the time, as far as one can tell
                grown = opening * 2 ** (elapsed_s / _DOUBLING_S)
                self._learned = self._learned._replace(
                    opening=min(grown, max(opening, _OPEN * most))
                )
            return
        limit = self.in_flight(most)
        if calls is not None and in_flight >= _SATURATED * limit and calls.value < most:
            calls = calls.later(elapsed_s)
        # Calls that wait with permits to spare wait for the rate.
        if rate is not None and waiting and in_flight < min(limit, usable):
            rate = rate.later(elapsed_s)
        else:
            self._admissions.slack(elapsed_s)
        self._learned = self._learned._replace(in_flight=calls, per_s=rate)

    def count(self, sent: int, rate_limited: int, late: int) -> None:
        """Calls sent and 429s since the last report, `late` of these from before the last cut."""
        self._admissions.add(sent, rate_limited, late)

    def server_error(self, now_s: float) -> None:
        """5xx are no reason to cut and none to grow."""
        self._growth_from_s = now_s + _AFTER_SERVER_ERROR_S

    def rate_limited(self, in_flight: int, most: int, now_s: float) -> None:
        """429s of calls sent since the last cut, with so many calls in flight: the next cut."""
        height = self.in_flight(most)
        if self._learned.opening is not None:
            height = min(height, max(1, in_flight))  # it ran ahead of the calls
        calls = Ceiling(float(height), kept=_CUT, back_s=1.0)
        self._learned = Learned(self.epoch + 1, None, calls, self._cut_rate(now_s), 0.0)
        self.pause(_SETTLE_S, now_s)

    def pause(self, duration_s: float, now_s: float) -> None:
        """Nobody sends for so long."""
        until_s = now_s + min(duration_s, _PAUSE_CAP_S)
        self._paused_until_s = max(self._paused_until_s, until_s)
        if duration_s > _LONG_PAUSE_S:
            self._admissions.slack(duration_s)

    def _cut_rate(self, now_s: float) -> Ceiling:
        """Measured where that can be, else guessed; a guess is left behind sooner."""
        admissions, old = self._admissions, self._learned.per_s
        was_measuring, storm = admissions.is_measuring, admissions.none_since_mark
        measured = admissions.mark(now_s)
        if old is None:
            per_s, sure = admissions.per_s(now_s) * _GUESS, False
        elif measured is None or storm:
            per_s, sure = old.value * (_GUESS if was_measuring else _CUT), False
        elif old.kept * old.height < measured.per_s < _CUT * old.value:
            # A long climb from below: calls were let in no faster because none came faster.
            per_s, sure = (measured.per_s + old.value) / 2, measured.is_sure
        else:
            per_s, sure = measured
        return Ceiling(max(_LEAST_PER_S, per_s), kept=_RATE_KEPT, back_s=3.0 if sure else 1.0)

    def _grow_idle(self, idle_s: float) -> None:
        self._admissions.slack(idle_s)
        calls, rate = self._learned.in_flight, self._learned.per_s
        if calls is None or rate is None:
            return
        calls, rate = (each.later(idle_s * _IDLE_COUNTS) for each in (calls, rate))
        forgotten = calls.value > _REOPENS * calls.height and rate.value > _REOPENS * rate.height
        opening = _OPENING_IN_FLIGHT if forgotten else None
        kept = (None, None) if forgotten else (calls, rate)
        self._learned = self._learned._replace(opening=opening, in_flight=kept[0], per_s=kept[1])
