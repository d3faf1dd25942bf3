"""The bench of fine-tuning on a small base: all sides learn the same, and its arithmetic."""

import json
import random
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from small_base import byte_tokenizer, write_small_base

from configs.bench import BenchConfig
from configs.errors import UserError
from jobs.bench.figures import Skipped
from jobs.bench.sft.flops import Weights, operations, peak_per_s
from jobs.bench.sft.gpu import llama_weights
from jobs.bench.sft.groups import GROUPS, opened
from jobs.bench.sft.rows import Problem, in_batches, make_datum, make_row, read_problems
from jobs.bench.sft.work import Measured, Row, Start, Work, settings
from jobs.bench.side import Side

_WORDS = ["apples", "seven", "bought", "each", "dozen", "sold", "half", "price", "left", "more"]


def problem(rng: random.Random) -> Problem:
    return Problem(*(" ".join(rng.choices(_WORDS, k=rng.randint(2, 12))) for _ in range(2)))


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    rng, tokenizer = random.Random(0), byte_tokenizer()
    return [make_row(tokenizer, problem(rng)) for _ in range(10)]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    torch.set_num_threads(1)
    base = write_small_base(tmp_path_factory.mktemp("base"))
    return Start(base=base, device="cpu", folder=str(tmp_path_factory.mktemp("written")))


def losses(name: str, start: Start, work: Work) -> list[float]:
    side: Any = import_module(f"jobs.bench.sft.{name}")
    return side.prepare(start, side.load(start), work)()


def test_a_row_is_counted_without_its_last_token(rows: list[Row]) -> None:
    work = Work(rows=rows, batch_size=4)
    datums = [make_datum(row) for row in rows]
    assert work.lengths == [len(datum) for datum in datums]
    assert work.tokens == sum(work.lengths)
    assert work.targets == sum(datum.target_tokens for datum in datums)
    assert work.steps == 3


def test_every_row_is_in_one_batch(rows: list[Row], start: Start) -> None:
    work = Work(rows=rows, batch_size=4)
    batches = in_batches(settings(start, work), rows)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    given = [row.token_ids for row in rows]
    assert sorted(row.token_ids for batch in batches for row in batch) == sorted(given)


def test_ours_learns_what_a_plain_loop_learns(rows: list[Row], start: Start) -> None:
    work = Work(rows=rows, batch_size=4)
    expected = losses("plain", start, work)
    assert len(expected) == work.steps
    assert losses("ours", start, work) == pytest.approx(expected, abs=1e-5)
    split = work.model_copy(update={"micro_batch_tokens": 128, "gradient_checkpointing": True})
    assert losses("ours", start, split) == pytest.approx(expected, abs=1e-5)


def test_ours_learns_what_trl_learns(rows: list[Row], start: Start) -> None:
    pytest.importorskip("trl", reason="the peer of `bench sft` is in the extra `bench`")
    work = Work(rows=rows, batch_size=4)
    expected = pytest.approx(losses("ours", start, work), abs=1e-4)
    assert losses("trl", start, work) == expected
    checkpointed = work.model_copy(update={"gradient_checkpointing": True})
    assert losses("trl", start, checkpointed) == expected
    laid = work.model_copy(update={"arrangement": "padding_free"})
    assert losses("trl", start, laid) == expected
    packed = work.model_copy(update={"arrangement": "packed"})
    assert losses("trl", start, packed)


def test_a_side_is_a_process_that_measures_itself(rows: list[Row], start: Start) -> None:
    work = Work(rows=rows[:4], batch_size=2)
    side = Side("jobs.bench.sft.ours", start, core=None)
    try:
        measured = side.answer(work, Measured)
    finally:
        side.close()
    assert measured.losses == pytest.approx(losses("ours", start, work), abs=1e-5)
    assert measured.cpu_s > 0
    assert measured.peak_mb > 0


def test_frozen_weights_take_four_operations_learned_ones_six() -> None:
    weights = Weights(body=100, head=10, adapter=5, attention=0)
    assert operations(weights, [3, 4], targets=2) == (4 * 100 + 6 * 5) * 7 + 4 * 10 * 2
    # Causal attention alone: 2 products of T x T / 2 x width forward, twice that backward.
    attention = Weights(body=0, head=0, adapter=0, attention=8)
    assert operations(attention, [10], targets=0) == 3 * 2 * 2 * (10 * 10 / 2) * 8


def test_the_shape_has_the_parameters_of_llama_3_2_1b() -> None:
    weights, norms = llama_weights(), 33 * 2048
    assert weights.body + weights.head + norms == 1_235_814_400


@pytest.mark.parametrize(
    ("name", "peak"),
    [("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA GeForce 256", None)],
)
def test_a_devices_peak_is_known_by_its_name(name: str, peak: float | None) -> None:
    assert peak_per_s(name) == peak


def test_problems_are_read_in_their_order(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"q{i}", "answer": f"a{i}"}) for i in range(3)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert list(read_problems(tmp_path / "train.jsonl"))[2] == Problem("q2", "a2")
    with opened(BenchConfig(data_dir=str(tmp_path))) as place, pytest.raises(Skipped, match="cuda"):
        place.needs("cuda")


@pytest.mark.parametrize(
    ("data_dir", "message"), [(None, "data_dir="), ("/nowhere", "/nowhere: holds no train.jsonl")]
)
def test_without_the_data_it_says_what_to_give(data_dir: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message), opened(BenchConfig(data_dir=data_dir)):
        raise AssertionError("there is nothing to open")


def test_figures_have_names_of_their_own() -> None:
    names = [figure.name for group in GROUPS for figure in group.figures]
    assert len(set(names)) == len(names)
