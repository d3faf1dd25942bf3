"""The bench of reinforcement learning on a small base: both sides do the same, and its clock."""

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from small_base import byte_tokenizer, write_small_base
from small_grpo import SamplerHere
from transformers import AutoTokenizer

from actors.lm.chat import prompt_ids
from actors.lm.messages import assistant, user
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.on_torch.process import run_grpo
from configs.bench import BenchConfig
from configs.errors import UserError
from jobs.bench.figures import Skipped
from jobs.bench.grpo.groups import GROUPS, opened
from jobs.bench.grpo.ours import measured
from jobs.bench.grpo.place import Place
from jobs.bench.grpo.task import environment, share_of_vowels
from jobs.bench.grpo.timed import Handover, TimedSampler, read_times
from jobs.bench.grpo.work import Measured, Start, Work, settings
from jobs.bench.model import made_up_texts

WORK = Work(
    questions=["Why so?", "How come it is?"],
    group_size=8,
    max_tokens=24,
    warm_steps=1,
    steps=2,
    micro_batch=8,
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    torch.set_num_threads(1)
    base = write_small_base(tmp_path_factory.mktemp("base"))
    return Start(base=base, folder=str(tmp_path_factory.mktemp("written")))


def took(wall_s: float, handovers_s: list[float] | None = None) -> Measured:
    return Measured(
        wall_s=wall_s,
        tokens=1,
        reward=0.1,
        spread=0.01,
        sampling_s=1.0,
        handovers_s=handovers_s or [],
    )


def run_ours(start: Start, folder: Path) -> tuple[list[GrpoMetrics], list[Handover]]:
    """Our side without Ray."""
    times, rows = str(folder / "times.jsonl"), []
    sampler = TimedSampler(SamplerHere(start.base), [1, 2, 3], times)
    run_grpo(
        settings(start, WORK),
        environment(WORK),
        pickle.loads(pickle.dumps(sampler)),  # as it travels to the trainer's process
        run_id="bench",
        folder=str(folder),
        device=torch.device("cpu"),
        on_step=rows.append,
        on_saved=lambda path, row: None,
    )
    return rows, read_times(times)


def test_ours_takes_all_questions_at_every_step_and_is_timed(start: Start, tmp_path: Path) -> None:
    rows, times = run_ours(start, tmp_path)
    assert [row.groups for row in rows] == [len(WORK.questions)] * 3
    assert all(0 < row.tokens <= WORK.tokens for row in rows)
    assert len(times) == len(rows)
    moments = [moment for one in times for moment in one]
    assert moments == sorted(moments)
    found = measured(WORK, rows, times)
    assert found.wall_s == times[2].stepped_s - times[0].stepped_s
    assert found.handovers_s == [one.said_s - one.stepped_s for one in times[1:]]
    assert found.reward == pytest.approx((rows[1].reward + rows[2].reward) / 2)
    with pytest.raises(RuntimeError, match="2 of 3 steps"):
        measured(WORK, rows, times[1:])


def test_trl_samples_and_learns_what_it_is_given(start: Start) -> None:
    trl = pytest.importorskip("trl", reason="the peer of `bench grpo` is in the extra `bench`")
    from jobs.bench.grpo.trl import arguments, train

    found = train(start, WORK)
    assert 0 < found.tokens <= WORK.tokens
    assert 0 < found.sampling_s < found.wall_s
    given = arguments(start, settings(start, WORK), WORK)
    assert isinstance(given, trl.GRPOConfig)
    # One batch of answers a step, and with it no pass for the old policy's log-probabilities.
    assert given.generation_batch_size == WORK.answers
    assert given.gradient_accumulation_steps % given.steps_per_generation == 0
    assert (given.beta, given.temperature, given.use_vllm) == (0, 1, False)


def test_both_sides_read_the_same_prompts(start: Start) -> None:
    theirs: Any = AutoTokenizer.from_pretrained(start.base)
    for text in made_up_texts(3, 6, 18):
        read = theirs.apply_chat_template([user(text)], add_generation_prompt=True)
        assert read["input_ids"] == prompt_ids(byte_tokenizer(), [user(text)])


def test_an_answer_is_worth_its_vowels(start: Start) -> None:
    assert share_of_vowels("aeiou") == 1
    assert share_of_vowels("bad!") == 0.25
    assert share_of_vowels("") == 0
    task = environment(WORK)
    reward = asyncio.run(task.step(task.training[0], [assistant("so")], is_cut=True))
    assert reward is not None
    assert reward.value == 0.5


class Told:
    """A place whose sides took what is told."""

    work = WORK

    def __init__(self, **sides: list[Measured]) -> None:
        self._sides = sides
        self.asked: list[tuple[str, int, bool]] = []

    def measured(self, name: str, *works: Work, one_thread: bool) -> list[Measured]:
        self.asked += [(name, work.max_staleness, one_thread) for work in works]
        return [self._sides[name].pop(0) for _ in works]


def test_a_step_is_compared_with_trls_and_with_one_that_samples_ahead() -> None:
    told = Told(trl=[took(30.0)], ours=[took(15.0, [0.3, 0.1, 0.2]), took(10.0, [0.9])])
    values = GROUPS[0].measure(told).values
    assert values == {"step": 2.0, "handover_ms": 200.0, "staleness": 1.5}
    assert told.asked == [("trl", 0, True), ("ours", 0, True), ("ours", 1, True)]


def test_a_step_is_compared_on_all_cores() -> None:
    told = Told(trl=[took(30.0)], ours=[took(10.0)])
    assert GROUPS[1].measure(told).values == {"step_all_cores": 3.0}
    assert told.asked == [("trl", 0, False), ("ours", 0, False)]


def test_a_side_that_sampled_less_than_it_should_counts_for_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short:
        def __init__(self, *_: object, **__: object) -> None: ...

        def answer(self, *_: object) -> Measured:
            return took(1.0)

        def close(self) -> None: ...

    monkeypatch.setattr("jobs.bench.grpo.place.Side", Short)
    monkeypatch.setattr(Place, "base", start.base)
    with opened(BenchConfig()) as place, pytest.raises(RuntimeError, match="1 of 6144 tokens"):
        place.measured("ours", place.work, one_thread=True)


def test_without_trl_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.bench.grpo.place.find_spec", lambda name: None)
    with opened(BenchConfig()) as place, pytest.raises(Skipped, match=r"\[bench\]"):
        place.measured("trl", place.work, one_thread=True)


def test_it_measures_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(UserError, match="RAY_ADDRESS"), opened(BenchConfig()):
        raise AssertionError("there is nothing to open")
