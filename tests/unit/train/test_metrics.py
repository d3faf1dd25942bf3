"""What steps say: the file of metrics, the best validation, patience."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_training import some_step

from actors.store.storage import Storage
from actors.train.metrics import (
    MetricsFile,
    StepMetrics,
    best_validation,
    lost_patience,
    process_memory_mb,
)
from configs.errors import JobFailed

LOSSES = st.lists(st.none() | st.integers(0, 5), max_size=30)


def history_of(losses: list[int | None]) -> list[StepMetrics]:
    return [some_step(i + 1, validation_loss=loss) for i, loss in enumerate(losses)]


@given(LOSSES, st.integers(0, 4))
def test_patience_ends_where_the_last_validations_all_were_no_better(
    losses: list[int | None], patience: int
):
    measured = [loss for loss in losses if loss is not None]
    earlier, last = measured[:-patience] if patience else measured, measured[-patience:]
    expected = bool(patience and earlier and len(last) == patience and min(last) >= min(earlier))
    assert lost_patience(history_of(losses), patience) == expected


def test_the_first_of_equally_good_validations_is_the_best():
    best = best_validation(history_of([None, 3, 2, None, 2, 4]))
    assert best is not None
    assert best.step == 3
    assert best_validation(history_of([None, None])) is None


def test_the_file_has_every_step_once(tmp_path: Path):
    storage = Storage(str(tmp_path))
    first = MetricsFile(storage, "runs/r/metrics.jsonl")
    assert [first.add(some_step(number)) for number in (1, 2, 3)] == [True] * 3
    path = tmp_path / "runs" / "r" / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 4, "los')  # a kill in the middle of a line
    again = MetricsFile(storage, "runs/r/metrics.jsonl")
    assert [again.add(some_step(number)) for number in (2, 3, 4)] == [False, False, True]
    again.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


def test_a_step_that_was_done_again_and_came_out_otherwise_has_another_line(tmp_path: Path):
    storage = Storage(str(tmp_path))

    def add(step: int, tokens: int) -> bool:
        return MetricsFile(storage, "m.jsonl").add(some_step(step, tokens=tokens))

    asked = [(1, 10), (2, 10), (1, 10), (2, 12), (2, 12), (3, 9)]
    assert [add(*row) for row in asked] == [True, True, False, True, False, True]
    rows = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [(row["step"], row["tokens"]) for row in rows] == [(1, 10), (2, 10), (2, 12), (3, 9)]


def test_a_line_has_what_its_step_measured(tmp_path: Path):
    file = MetricsFile(Storage(str(tmp_path)), "metrics.jsonl")
    file.add(some_step(1))
    file.add(some_step(2, validation_loss=1.5, grad_norm=None))
    first, second = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert set(first) == {
        "step", "epoch", "loss", "tokens", "target_tokens", "learning_rate", "grad_norm",
        "tokens_per_s", "memory_mb",
    }  # fmt: skip
    assert second["validation_loss"] == 1.5
    assert "grad_norm" not in second


def test_on_an_object_store_the_file_appears_at_the_end():
    storage = Storage("memory://metrics-test")
    file = MetricsFile(storage, "metrics.jsonl")
    file.add(some_step(1))
    assert not storage.exists("metrics.jsonl")
    file.close()
    assert json.loads(storage.read("metrics.jsonl"))["step"] == 1


def test_a_full_disk_is_told(tmp_path: Path):
    file = MetricsFile(Storage(str(tmp_path)), "metrics.jsonl")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(JobFailed, match=r"metrics.jsonl cannot be written: No space left"):
        file.add(some_step(1))


def test_memory_is_that_of_this_process():
    before = process_memory_mb()
    held = b"x" * 200_000_000
    assert process_memory_mb() > before + 100
    del held
