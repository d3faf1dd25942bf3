"""Token buckets: never more than the rate and the burst allow, debts are paid, waits are exact."""

from hypothesis import given
from hypothesis import strategies as st

from actors.pool.endpoint.faults import FaultConfig, request_bucket
from actors.pool.limiter.buckets import TokenBucket

RATES = st.floats(0.1, 1000)
STEPS = st.lists(st.tuples(st.floats(0, 2), st.floats(0.1, 5)), min_size=1, max_size=40)


@given(rate=RATES, burst=st.floats(5, 50), steps=STEPS)
def test_no_more_is_taken_than_the_rate_and_the_burst_allow(rate: float, burst: float, steps):
    bucket, now_s, taken = TokenBucket(rate, burst, 0.0, burst), 0.0, 0.0
    for elapsed_s, amount in steps:
        now_s += elapsed_s
        taken += amount if bucket.take(amount, now_s) else 0
        assert taken <= burst + rate * now_s + 1e-6


@given(rate=RATES, spent=st.floats(0, 500), amount=st.floats(0.1, 40))
def test_who_waits_as_told_finds_it_there(rate: float, spent: float, amount: float):
    bucket = TokenBucket(rate, 20, 0.0, 20)
    bucket.spend(spent, 0.0)
    wait_s = bucket.wait_s(amount, 0.0)
    if wait_s > 1e-3:
        assert bucket.wait_s(amount, wait_s * 0.99) > 0
    assert bucket.wait_s(amount, wait_s) == 0


def test_a_debt_is_paid_before_anything_else_goes():
    bucket = TokenBucket(10, 10, 0.0, 10)
    bucket.spend(40, 0.0)
    assert bucket.wait_s(5, 0.0) == 3.5
    bucket.reshape(0, 10, 1.0)
    assert bucket.wait_s(5, 100.0) == float("inf")


def test_the_endpoint_lets_a_second_s_worth_in_at_once():
    bucket = request_bucket(FaultConfig(requests_per_s=5), 100.0)
    assert bucket is not None
    assert [bucket.take(1, 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [bucket.take(1, 100.4) for _ in range(3)] == [True, True, False]
    assert request_bucket(FaultConfig(), 0.0) is None
