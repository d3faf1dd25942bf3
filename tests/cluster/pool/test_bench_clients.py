"""The bench's two clients do the same work on a real endpoint and say what it took."""

import pytest
import ray
from pool_endpoint import Endpoint

from actors.pool.endpoint.faults import FaultConfig
from jobs.bench.pool.load import Work, num_distinct
from jobs.bench.pool.place import Place

CALLS = 40


@pytest.fixture
def place(endpoint: Endpoint, ray_cluster: None, tmp_path) -> Place:
    return Place(endpoint.url, str(tmp_path), [], ray.get_runtime_context().gcs_address)


def test_the_peer_answers_all_calls_and_sends_each_once(place: Place):
    work = Work(calls=CALLS, in_flight=8, warm_calls=4)
    measured = place.peer(work, FaultConfig(latency_s=0.01))
    assert (measured.answered, measured.failed) == (CALLS, 0)
    assert measured.wall_s >= CALLS / 8 * 0.01
    assert measured.cpu_s > 0
    assert place.counts()["distinct"] == place.counts()["asked"] == CALLS


def test_ours_sends_a_repeated_question_once(place: Place):
    work = Work(calls=CALLS, questions="repeats", in_flight=8, warm_calls=1)
    (measured,) = place.ours(work, FaultConfig(latency_s=0.01))
    assert (measured.answered, measured.failed) == (CALLS, 0)
    assert place.counts()["asked"] == num_distinct(CALLS)


def test_two_jobs_begin_together_and_are_cut_off_in_time(place: Place):
    work = Work(seconds=1.0, in_flight=4, warm_calls=1)
    both = place.ours(work, FaultConfig(latency_s=0.05), jobs=2)
    assert all(job.answered > 0 for job in both)
    assert sum(job.answered for job in both) <= place.counts()["asked"]
