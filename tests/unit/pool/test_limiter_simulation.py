"""What the limiter makes of simulated endpoints: the figures it is held to, on a fake clock."""

import pytest
from limiter_simulation import World, answered

SECONDS = 15.0


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("retry_after_s", [None, 1.0])
@pytest.mark.parametrize(("per_s", "latency_s"), [(100, 0.2), (100, 0.05), (1000, 0.2)])
def test_a_limited_rate_is_used_and_hardly_ever_exceeded(
    per_s: int, latency_s: float, retry_after_s: float | None, workers: int
):
    world = World(latency_s=latency_s, per_s=per_s, retry_after_s=retry_after_s)
    world.job("job", workers, most=1024)
    world.run(SECONDS)
    assert world.endpoint.admitted >= 0.90 * per_s * SECONDS
    assert world.share_429 <= 0.02


def test_a_busy_client_that_sees_its_429s_late_is_held_too():
    world = World(latency_s=0.2, per_s=100, refusal_s=0.02)
    world.job("job")
    world.run(SECONDS)
    assert world.endpoint.admitted >= 0.90 * 100 * SECONDS
    assert world.share_429 <= 0.02


@pytest.mark.parametrize(("per_s", "latency_s"), [(10, 0.05), (10, 0.2), (100, 2.0)])
def test_rates_that_calls_in_flight_cannot_express(per_s: int, latency_s: float):
    world = World(latency_s=latency_s, per_s=per_s)
    world.job("job", workers=2, most=1024)
    world.run(SECONDS)
    assert world.endpoint.admitted >= 0.85 * per_s * SECONDS
    assert world.share_429 <= 0.09  # the opening alone meets a dozen


@pytest.mark.parametrize("later_s", [0.0, 5.0])
def test_two_jobs_share_it(later_s: float):
    world = World(latency_s=0.2, per_s=100)
    first = world.job("first", workers=1)
    world.run(later_s)
    before, admitted = answered(first), world.endpoint.admitted
    second = world.job("second", workers=3)
    world.run(later_s + SECONDS)
    both = [answered(first) - before, answered(second)]
    assert world.endpoint.admitted - admitted >= 0.90 * 100 * SECONDS
    assert min(both) / sum(both) >= 0.40


@pytest.mark.parametrize("workers", [1, 4])
def test_it_opens_to_256_calls_in_a_fraction_of_a_second(workers: int):
    world = World(latency_s=1.0)
    job = world.job("job", workers, most=256, calls=2000)
    world.clock.run(done=lambda: answered(job) == 2000)
    assert world.clock.now_s <= 8.45
    assert world.endpoint.most_seen == 256


def test_two_jobs_at_their_own_limits_do_not_halve_each_other():
    world = World(latency_s=1.0)
    jobs = [world.job("first", most=128)]
    world.run(3.0)
    jobs.append(world.job("second", workers=2, most=128))
    before = [answered(job) for job in jobs]
    world.run(13.0)
    assert world.endpoint.most_seen == 256
    # The first second of the one that came late has no answers.
    assert answered(jobs[0]) - before[0] >= 0.95 * 128 * 10
    assert answered(jobs[1]) >= 0.85 * 128 * 10


@pytest.mark.parametrize("most_in_flight", [10, 50])
def test_a_limit_on_calls_in_flight_is_found_too(most_in_flight: int):
    world = World(latency_s=0.2, most_in_flight=most_in_flight)
    world.job("job", workers=2)
    world.run(30.0)
    assert world.endpoint.admitted >= 0.80 * most_in_flight / 0.2 * 30
    assert world.share_429 <= 0.02


def test_an_outage_of_429s_is_probed_gently_and_recovered_from():
    world = World(latency_s=0.2, per_s=100)
    world.job("job", workers=2)
    world.run(5.0)
    world.endpoint.down, before = True, world.endpoint.rate_limited
    world.run(35.0)
    assert world.endpoint.rate_limited - before <= 100
    world.endpoint.down = False
    world.run(65.0)
    admitted = world.endpoint.admitted
    world.run(75.0)
    assert world.endpoint.admitted - admitted >= 0.90 * 100 * 10


def test_retry_after_on_a_503_stops_all_workers_and_cuts_nothing():
    world = World(latency_s=0.2, per_s=100)
    world.job("first", workers=2)
    world.job("second", workers=2)
    world.run(8.0)
    world.endpoint.overloaded, world.endpoint.retry_after_s = True, 3.0
    world.run(8.1)  # in which all have heard of it
    turned_away, admitted = world.endpoint.turned_away, world.endpoint.admitted
    assert 0 < turned_away <= 10
    epoch = world.limiter._adaptive.epoch
    world.run(10.9)
    assert (world.endpoint.turned_away, world.endpoint.admitted) == (turned_away, admitted)
    world.endpoint.overloaded = False
    world.run(11.5)
    assert world.endpoint.admitted > admitted
    assert world.limiter._adaptive.epoch == epoch


def test_requests_and_tokens_a_minute_hold():
    world = World(latency_s=0.05)
    world.job("job", workers=3, rpm=1200.0)
    world.run(20.0)
    assert 0.90 * 400 <= world.endpoint.admitted <= 400 + 20
    world = World(latency_s=0.05)
    world.job("job", workers=3, tpm=60_000.0, tokens=50)
    world.run(20.0)
    assert 0.90 * 400 <= world.endpoint.admitted <= 400 + 20
    assert world.endpoint.rate_limited == 0
