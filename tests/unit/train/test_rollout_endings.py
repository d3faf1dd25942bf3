"""How a source of rollouts ends: by an error, by ctrl-C, in the middle of its work."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_sampler import (
    TOKENIZER,
    FakeSampler,
    FakeTask,
    open_source,
    policy,
    rollout_config,
)

from actors.lm.messages import Message
from actors.lm.requests import Sample, TokenLogprob
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.files import RolloutFiles
from actors.train.grpo.rollout import Batch
from actors.train.grpo.source import RolloutSource
from configs.errors import JobFailed, UserError
from configs.sections import SamplingConfig


def first_batch(folder: Path, task: FakeTask, sampler: FakeSampler, **fields: Any) -> None:
    with open_source(task, sampler, rollout_config(**fields), folder) as source:
        source.publish(1, policy(1))
        source.begin(1, 0, 0)
        source.next(1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda sample: replace(sample, adapter_digest="digest-0"),
            "run@1 was published as digest-1 and an answer came from digest-0: rollouts would "
            "come from another model than the one that is trained",
        ),
        (
            lambda sample: replace(sample, logprobs=sample.logprobs[1:]),
            "2 log-probabilities of 3 tokens",
        ),
        (
            lambda sample: replace(sample, logprobs=[TokenLogprob(float("nan"), ())] * 3),
            "not finite",
        ),
    ],
)
def test_samples_that_are_not_the_policys_stop_the_run(
    tmp_path: Path, spoil: Callable[[Sample], Sample], said: str
) -> None:
    sampler = FakeSampler(spoil=spoil)
    task = FakeTask()
    with pytest.raises(JobFailed, match=said):
        first_batch(tmp_path, task, sampler)
    assert sampler.closed
    assert not task.is_open
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_a_sample_too_few_stops_the_run(tmp_path: Path) -> None:
    class Short(FakeSampler):
        async def sample(
            self, model: str, prompt_ids: Sequence[int], n: int, sampling: SamplingConfig, seed: int
        ) -> list[Sample]:
            return await super().sample(model, prompt_ids, n - 1, sampling, seed)

    with pytest.raises(JobFailed, match="asked for 2 answers and gave 1"):
        first_batch(tmp_path, FakeTask(), Short())


def test_an_error_of_the_task_comes_as_itself(tmp_path: Path) -> None:
    def broken(problem: Problem, turns: Sequence[Message]) -> Reward:
        raise ZeroDivisionError(problem.key)

    with pytest.raises(ZeroDivisionError, match="train-"):
        first_batch(tmp_path, FakeTask(broken), FakeSampler())


def test_an_error_that_nobody_waits_for_comes_with_the_next_question(tmp_path: Path) -> None:
    publishing, failed = threading.Event(), threading.Event()

    class Leaving(FakeSampler):
        async def retire(self, model: str) -> None:
            await asyncio.to_thread(publishing.wait)
            failed.set()
            raise JobFailed(f"{model} does not go")

    with open_source(FakeTask(), Leaving(), rollout_config(), tmp_path) as source:
        source.publish(1, policy(1))
        source.publish(2, policy(2))
        publishing.set()
        assert failed.wait(60)
        with pytest.raises(JobFailed, match="run@1 does not go"):
            source.evaluate()
        with pytest.raises(JobFailed, match="run@1 does not go"):
            source.publish(3, policy(3))


class Patient(FakeTask):
    """Its judge never comes to an end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.asked = threading.Event()
        self.cancelled = 0

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            assert self.is_open
            self.cancelled += 1
        return None


def test_it_can_be_closed_while_judges_are_asked(tmp_path: Path) -> None:
    task, sampler = Patient(), FakeSampler()
    with open_source(task, sampler, rollout_config(), tmp_path) as source:
        source.publish(1, policy(1))
        source.begin(1, 0, 0)
        assert task.asked.wait(60)
    assert task.cancelled
    assert not task.is_open
    assert sampler.closed
    assert not [thread for thread in threading.enumerate() if thread.name == "rollouts"]


def test_one_who_waits_is_seen_and_may_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.train.grpo.loop_thread._TICK_S", 0.01)
    task, ticks = Patient(), 0

    def tick() -> None:
        nonlocal ticks
        if task.asked.is_set():
            ticks += 1
        if ticks == 3:
            raise KeyboardInterrupt

    with open_source(task, FakeSampler(), rollout_config(), tmp_path, tick) as source:
        source.publish(1, policy(1))
        source.begin(1, 0, 0)
        with pytest.raises(KeyboardInterrupt):
            source.next(1)
    assert not task.is_open


def test_what_cannot_be_opened_is_told_and_closed(tmp_path: Path) -> None:
    class Absent(FakeSampler):
        async def open(self) -> None:
            raise UserError("there is no server")

    class Locked(FakeTask):
        async def __aenter__(self) -> FakeTask:
            raise UserError("there is no judge")

    task = FakeTask()
    with (
        pytest.raises(UserError, match="there is no server"),
        open_source(task, Absent(), rollout_config(), tmp_path),
    ):
        pass
    assert not task.is_open
    with (
        pytest.raises(UserError, match="there is no judge"),
        open_source(Locked(), FakeSampler(), rollout_config(), tmp_path),
    ):
        pass


def test_closed_twice_or_never_opened_it_is_quiet(tmp_path: Path) -> None:
    files = RolloutFiles(str(tmp_path))
    task, config = FakeTask(), rollout_config()
    source = RolloutSource(task, FakeSampler(), TOKENIZER, config, name="run", files=files)
    source.close()
    source.open()
    source.close()
    source.close()
    with pytest.raises(RuntimeError, match="not open"):
        source.next(1)


def test_the_sampler_sleeps_when_nothing_is_under_way(tmp_path: Path) -> None:
    sampler = FakeSampler()
    with open_source(FakeTask(), sampler, rollout_config(), tmp_path) as source:
        for version in (1, 2):
            source.publish(version, policy(version))
        source.sleep()
        assert list(sampler.live) == ["run@2"]
        source.wake()


class SlowFiles(RolloutFiles):
    """Writes when it may, and fails where it is to."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        super().__init__(str(folder))
        self.may, self._error = threading.Event(), error

    def keep(self, step: int, batch: Batch) -> None:
        self.may.wait()
        if self._error:
            raise self._error
        super().keep(step, batch)


def begun(files: RolloutFiles) -> RolloutSource:
    source = RolloutSource(
        FakeTask(), FakeSampler(), TOKENIZER, rollout_config(), name="run", files=files
    )
    source.open()
    source.publish(1, policy(1))
    source.begin(1, 0, 0)
    return source


@pytest.mark.parametrize("end", ["publish", "close"])
def test_rollouts_are_kept_beside_the_learning_and_before_anything_rests_on_it(
    tmp_path: Path, end: str
) -> None:
    files = SlowFiles(tmp_path)
    source = begun(files)
    source.next(1)
    assert files.read(1) == []
    threading.Timer(0.05, files.may.set).start()
    if end == "publish":
        source.publish(2, policy(2))
        assert len(files.read(1)) == 6
    source.close()
    assert len(files.read(1)) == 6


def test_rollouts_that_cannot_be_kept_end_the_run(tmp_path: Path) -> None:
    files = SlowFiles(tmp_path, JobFailed("The disk is full."))
    source = begun(files)
    source.next(1)
    files.may.set()
    with pytest.raises(JobFailed, match="The disk is full"):
        source.publish(2, policy(2))
    source.close()
