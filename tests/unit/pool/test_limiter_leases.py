"""Leases: the total keeps to the limit, what is not renewed comes back, rebirth loses nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pool.limiter.leases import TTL_S
from actors.pool.limiter.limiter import Limiter
from actors.pool.limiter.messages import NOTHING_LEARNED, Lease, Limits, Report

LIMITS = Limits(100, None, None)
QUIET = Report("job", "worker", LIMITS, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, NOTHING_LEARNED)
WORKERS = [("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")]


class Talk:
    """A limiter, and what each worker was told last."""

    def __init__(self) -> None:
        self.limiter, self.now_s = Limiter(0.0), 0.0
        self.leases: dict[tuple[str, str], tuple[Lease, float]] = {}

    def say(self, job: str, worker: str, **fields: Any) -> Lease:
        told = self.leases.get((job, worker))
        learned = told[0].learned if told else NOTHING_LEARNED
        held = told[0].permits if told and self.is_good(told) else 0
        report = QUIET._replace(job=job, worker=worker, learned=learned, permits=held)
        lease = self.limiter.report(report._replace(**fields), self.now_s)
        self.leases[job, worker] = lease, self.now_s
        return lease

    def is_good(self, told: tuple[Lease, float]) -> bool:
        return self.now_s < told[1] + told[0].ttl_s

    def leased(self, of_job: str = "") -> int:
        return sum(
            told[0].permits
            for (job, _), told in self.leases.items()
            if job.startswith(of_job) and self.is_good(told)
        )

    def wait(self, duration_s: float) -> None:
        self.now_s += duration_s


SAYINGS = st.tuples(
    st.sampled_from(WORKERS),
    st.floats(0.001, 1.5),  # seconds since the one before
    st.integers(0, 60),  # calls in flight, as far as permits allow
    st.integers(0, 200),  # calls that wait
    st.integers(0, 5),  # 429s if 1, 5xx if 2
)


@given(sayings=st.lists(SAYINGS, max_size=60))
def test_who_gets_permits_gets_them_from_within_the_limit(sayings):
    talk = Talk()
    for (job, worker), elapsed_s, in_flight, waiting, event in sayings:
        talk.wait(elapsed_s)
        told = talk.leases.get((job, worker))
        running = min(in_flight, told[0].permits) if told and talk.is_good(told) else 0
        lease = talk.say(
            job,
            worker,
            in_flight=running,
            waiting=waiting,
            sent=in_flight,
            rate_limited=int(event == 1),
            rate_limited_now=int(event == 1),
            server=int(event == 2),
        )
        limit = talk.limiter.load(talk.now_s).limit
        assert 1 <= limit <= 3 * LIMITS.max_in_flight
        if lease.permits:
            assert talk.leased() <= limit
            assert talk.leased(job) <= LIMITS.max_in_flight


def test_a_dead_worker_s_permits_come_back_when_its_lease_expires():
    talk = Talk()
    for _ in range(60):
        talk.wait(0.05)
        held = talk.say("a", "1", in_flight=100, waiting=50).permits
    assert held == LIMITS.max_in_flight
    assert talk.say("a", "2", waiting=100).permits == 0
    talk.wait(TTL_S + 1)
    assert talk.say("a", "2", waiting=100).permits == LIMITS.max_in_flight


def test_a_lease_that_is_given_back_is_free_at_once():
    talk = Talk()
    talk.say("a", "1", in_flight=0, waiting=100)
    talk.say("a", "1", leaving=True)
    assert talk.say("b", "1", waiting=10).permits == 11


def running_together(**fields: Any) -> dict[str, int]:
    """What two jobs have in flight that always want more, the one with two workers."""
    talk, running = Talk(), dict.fromkeys(WORKERS[:3], 0)
    for _ in range(100):
        for job, worker in running:
            talk.wait(0.02)
            lease = talk.say(job, worker, in_flight=running[job, worker], waiting=300, **fields)
            running[job, worker] = lease.permits
    return {"a": running["a", "1"] + running["a", "2"], "b": running["b", "1"]}


def test_two_jobs_get_the_same_whatever_their_workers():
    # 5xx keep it from opening any further than it began.
    assert running_together(server=1) == {"a": 80, "b": 80}


def test_each_job_gets_what_it_may_have_where_the_endpoint_takes_it():
    assert running_together() == {"a": LIMITS.max_in_flight, "b": LIMITS.max_in_flight}


def test_a_job_that_joins_late_is_served_at_once():
    talk = Talk()
    for _ in range(60):
        talk.wait(0.05)
        talk.say("a", "1", in_flight=100, waiting=50)
    assert talk.say("b", "1", waiting=200).permits == LIMITS.max_in_flight


def test_the_strictest_rate_holds_and_is_shared():
    talk = Talk()
    slow, slower = Limits(100, 1200.0, None), Limits(100, 600.0, 60_000.0)
    for _ in range(5):
        talk.wait(0.1)
        a = talk.say("a", "1", limits=slow, waiting=10)
        b = talk.say("b", "1", limits=slower, waiting=10)
    assert a.requests_per_s == pytest.approx(5)
    assert b.requests_per_s == pytest.approx(5)
    assert (a.tokens_per_s, b.tokens_per_s) == (pytest.approx(500), pytest.approx(500))


@pytest.mark.parametrize("is_503", [False, True])
def test_retry_after_reaches_who_never_met_it(is_503: bool):
    talk = Talk()
    talk.say("a", "1")
    before = talk.say("b", "1", waiting=5).learned.epoch
    met = {"server": 1} if is_503 else {"rate_limited": 1, "rate_limited_now": 1}
    talk.say("a", "1", sent=1, retry_after_s=7.0, **met)
    talk.wait(2.0)
    learned = talk.say("b", "1", waiting=5).learned
    assert learned.paused_s == pytest.approx(5)
    assert learned.epoch == before + (not is_503)


def test_429s_of_one_episode_are_one_cut():
    talk = Talk()
    for job, worker in WORKERS:
        talk.say(job, worker, waiting=10)
    before = talk.leases["a", "1"][0].learned.epoch
    for job, worker in WORKERS:
        talk.wait(0.02)
        talk.say(job, worker, sent=3, rate_limited=3, rate_limited_now=3)
    assert talk.say("a", "1").learned.epoch == before + 1


def test_a_reborn_limiter_goes_on_where_the_first_ended():
    talk = Talk()
    for _ in range(60):
        talk.wait(0.05)
        talk.say("a", "1", in_flight=40, waiting=50, sent=4)
    talk.say("a", "1", in_flight=40, waiting=50, rate_limited=1, rate_limited_now=1)
    talk.wait(0.2)
    known = talk.say("a", "1", in_flight=40, waiting=50)
    talk.limiter = Limiter(talk.now_s)
    again = talk.say("a", "1", in_flight=known.permits, waiting=50)
    assert again.permits == known.permits < LIMITS.max_in_flight
    assert again.learned == known.learned
    # Until every gate has reported nobody gets more than it held.
    assert talk.say("c", "1", waiting=50).permits == 0
    talk.wait(1.0)
    for _ in range(2):
        talk.wait(0.1)
        talk.say("a", "1", in_flight=10, waiting=50)
    assert talk.say("c", "1", waiting=50).permits > 0


def test_a_lease_that_shrank_counts_in_full_until_its_holder_has_heard_of_it():
    talk = Talk()
    for _ in range(40):
        talk.wait(0.05)
        talk.say("a", "1", in_flight=10, waiting=200)
    assert talk.leases["a", "1"][0].permits == 100
    talk.say("a", "2", waiting=200)
    assert talk.say("a", "1", in_flight=10, waiting=200).permits == 50
    # It may have sent 90 more while that was on its way.
    assert talk.say("a", "2", waiting=200).permits == 0
    talk.say("a", "1", in_flight=30, waiting=200)
    assert talk.say("a", "2", waiting=200).permits == 50
