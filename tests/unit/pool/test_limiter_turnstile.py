"""A worker's side of its lease: who may go, what a 429 stops here, what a report says."""

import math

from actors.pool.limiter.messages import NOTHING_LEARNED, Ended, Lease, Limits
from actors.pool.limiter.turnstile import Turnstile

LIMITS = Limits(100, None, None)
OK, FULL = Ended("ok"), Ended("rate_limited")


def lease(permits: int = 10, epoch: int = 1, paused_s: float = 0.0, **fields) -> Lease:
    learned = NOTHING_LEARNED._replace(epoch=epoch, paused_s=paused_s)
    made = Lease(permits, None, None, 3.0, 0.1, learned)
    return made._replace(**fields)


def turnstile(first: Lease | None = None) -> Turnstile:
    made = Turnstile("job", "worker", LIMITS)
    made.take(first or lease(), 0.0)
    return made


def test_permits_are_for_calls_in_flight_and_end_with_the_lease():
    gate = turnstile(lease(permits=2))
    sent = [gate.send(0, 0.0) for _ in range(2)]
    assert gate.wait_s(0, 0.0) == math.inf
    gate.end(sent[0], OK, 0.1)
    assert gate.wait_s(0, 0.1) == 0
    assert gate.wait_s(0, 3.0) == math.inf
    assert Turnstile("job", "worker", LIMITS).wait_s(0, 0.0) == math.inf


def test_a_429_stops_what_is_here_until_the_limiter_has_heard_of_it():
    gate = turnstile()
    one, two = gate.send(0, 0.0), gate.send(0, 0.0)
    gate.end(one, FULL, 0.1)
    assert gate.wait_s(0, 0.1) > 0
    told = gate.report(5, 0.1)
    assert (told.rate_limited, told.rate_limited_now, told.sent) == (1, 1, 2)
    gate.take(lease(epoch=2), 0.11)
    assert gate.wait_s(0, 0.11) == 0
    gate.end(two, FULL, 0.12)  # sent before the cut
    assert gate.report(5, 0.12).rate_limited_now == 0


def test_a_lease_that_crossed_a_429_does_not_lift_the_hold():
    gate = turnstile()
    call = gate.send(0, 0.0)
    gate.report(1, 0.0)
    gate.end(call, FULL._replace(retry_after_s=2.0), 0.01)
    gate.take(lease(), 0.02)
    assert gate.wait_s(0, 0.02) > 1.9
    assert gate.report(1, 0.02).retry_after_s == 2.0


def test_a_503_with_retry_after_stops_what_is_here_and_is_told_as_a_5xx():
    gate = turnstile()
    first, second = gate.send(0, 0.0), gate.send(0, 0.0)
    gate.end(first, Ended("server"), 0.1)
    assert not gate.is_urgent
    assert gate.wait_s(0, 0.1) == 0
    gate.end(second, Ended("server", 0, 2.0), 0.1)
    assert gate.is_urgent
    gate.take(lease(), 0.1)  # it was under way
    assert gate.wait_s(0, 0.1) == 2.0
    told = gate.report(1, 0.1)
    assert (told.server, told.retry_after_s, told.rate_limited) == (2, 2.0, 0)
    gate.take(lease(paused_s=1.9), 0.2)
    assert gate.wait_s(0, 2.0) > 0
    assert gate.wait_s(0, 2.2) == 0


def test_calls_begin_evenly_spread():
    gate = turnstile(lease(requests_per_s=10.0))
    gate.send(0, 0.0)
    assert gate.wait_s(0, 0.0) == 0.1
    gate.send(0, 0.1)
    assert gate.wait_s(0, 0.15) > 0


def test_tokens_that_were_estimated_too_low_are_a_debt():
    gate = turnstile(lease(tokens_per_s=100.0))
    gate.take(lease(tokens_per_s=100.0), 2.0)
    call = gate.send(10, 2.0)
    gate.end(call, Ended("ok", tokens=300), 2.1)
    assert gate.wait_s(10, 2.1) >= 2
    assert gate.report(0, 2.1).tokens == 300


def test_a_report_that_did_not_arrive_is_said_again():
    gate = turnstile()
    gate.end(gate.send(4, 0.0), FULL, 0.0)
    lost = gate.report(3, 0.0)
    gate.send(0, 0.1)
    gate.unsaid(lost)
    again = gate.report(3, 0.2)
    assert (again.sent, again.tokens, again.rate_limited_now) == (2, 0, 1)


def test_a_permit_that_is_not_used_is_as_if_it_never_was():
    gate = turnstile(lease(permits=1))
    gate.take_back(gate.send(7, 0.0), 0.0)
    assert (gate.in_flight, gate.wait_s(0, 0.0)) == (0, 0)
    assert gate.report(0, 0.0).sent == 0
