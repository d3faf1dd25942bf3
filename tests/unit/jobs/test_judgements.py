"""Judgements serve every run that asks the same; failures belong to their run."""

from pathlib import Path

from actors.pool.requests import Failure
from actors.store.records import Records
from actors.store.storage import Storage
from jobs.properties.judge import Judged
from jobs.properties.judgements import Judgements

FAILED = Judged("b", {"outcome": "failed"}, Failure("b", "rejected", "HTTP 404", 1, 0.0))


def of_run(folder: Path, run: str) -> Judgements:
    storage = Storage(str(folder))
    return Judgements(Records(storage, "shared"), Records(storage, f"{run}/failed"))


def test_another_run_finds_what_was_judged_and_asks_again_what_failed(tmp_path: Path):
    first = of_run(tmp_path, "first")
    first.append(Judged("a", {"outcome": "answered"}))
    first.append(FAILED)
    first.flush()
    again, other = of_run(tmp_path, "first"), of_run(tmp_path, "other")
    assert (len(again), len(other)) == (2, 1)
    assert again["b"]["outcome"] == "failed"
    assert other["a"]["outcome"] == "answered"
    assert "b" not in other


def test_what_another_run_was_answered_takes_the_place_of_a_failure(tmp_path: Path):
    of_run(tmp_path, "first").append(FAILED)
    of_run(tmp_path, "other").append(Judged("b", {"outcome": "answered"}))
    assert of_run(tmp_path, "first")["b"]["outcome"] == "answered"
