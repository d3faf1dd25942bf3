"""Batches ahead of the trainer: which version samples what, and that nothing depends on luck."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
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
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.lm.messages import Message
from actors.lm.requests import Sample
from actors.lm.sampler import Published
from actors.train.grpo.ahead import Ahead
from actors.train.grpo.background import Background
from actors.train.grpo.collect import Collector
from actors.train.grpo.environment import Problem, Reward
from actors.train.grpo.rollout import Batch
from actors.train.grpo.versions import Version, Versions
from configs.errors import JobFailed
from configs.sections import SamplingConfig

paces = st.integers(0, 1000)


def seldom(problem: Problem, turns: Sequence[Message]) -> Reward:
    """A quarter of the answers is right, so most groups of two say nothing."""
    return Reward(float(int(turns[-1]["content"]) % 4 == 0))


def train(
    folder: Path | str,
    *,
    sampler: FakeSampler | None = None,
    task: FakeTask | None = None,
    done: int = 0,
    position: int = 0,
    rollbacks: int = 0,
    **fields: Any,
) -> list[Batch]:
    """The batches of a run that goes on after `done` steps and learns nothing."""
    config = rollout_config(**fields)
    batches = []
    with open_source(task or FakeTask(), sampler or FakeSampler(), config, folder) as source:
        source.publish(done + 1, policy(done + 1))
        source.begin(done + 1, position, rollbacks)
        for step in range(done + 1, config.steps + 1):
            batches.append(source.next(step))
            source.publish(step + 1, policy(step + 1))
        source.sleep()  # when all is retired that will be
    return batches


def versions(batch: Batch) -> set[int]:
    turns = (turn for g in batch.groups_P for rollout in g.rollouts_G for turn in rollout.turns)
    return {turn.version for turn in turns}


def keys(batch: Batch) -> list[str]:
    return [group.problem.key for group in batch.groups_P]


@settings(max_examples=20)
@given(k=st.integers(0, 3), pace=paces, no_signal=st.sampled_from(["drop", "replace"]))
def test_no_rollout_is_staler_than_allowed(k: int, pace: int, no_signal: str) -> None:
    sampler = FakeSampler(pace)
    with TemporaryDirectory() as folder:
        batches = train(
            folder,
            sampler=sampler,
            task=FakeTask(seldom, pace=pace),
            steps=6,
            max_staleness=k,
            no_signal=no_signal,
        )
    for step, batch in enumerate(batches, start=1):
        assert versions(batch) <= set(range(max(1, step - k), step + 1))
    # The sampler itself asserts that nothing is asked of a version that went.
    assert list(sampler.live) == ["run@7"]
    assert sampler.most_live <= k + 2
    assert sampler.most_busy <= 3


def test_a_synchronous_batch_is_its_own_versions(tmp_path: Path) -> None:
    assert [versions(batch) for batch in train(tmp_path)] == [{1}, {2}, {3}]


class Gated(FakeSampler):
    """Answers a question when it is told to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gates: list[asyncio.Event] = []

    async def sample(
        self, model: str, prompt_ids: Sequence[int], n: int, sampling: SamplingConfig, seed: int
    ) -> list[Sample]:
        gate = asyncio.Event()
        self.gates.append(gate)
        samples = await super().sample(model, prompt_ids, n, sampling, seed)
        await gate.wait()
        return samples


async def settled() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def test_each_group_takes_the_newest_version_and_keeps_it() -> None:
    """With two versions of staleness, a batch holds rollouts of two."""

    async def body() -> None:
        config = rollout_config(max_staleness=2, problems_per_batch=2)
        sampler, task, gone = Gated(), FakeTask(is_open=True), []
        held = Versions(gone.append)
        room = asyncio.Semaphore(2)
        background = Background()
        ahead = Ahead(Collector(task, sampler, TOKENIZER, config, held, room, 512), background)

        async def publish(number: int) -> None:
            held.add(Version(number, await sampler.publish("run", number, policy(number))))
            await settled()

        await publish(1)
        await ahead.begin(1, 0, 0)
        await settled()
        for gate in sampler.gates[:2]:  # the first batch
            gate.set()
            await settled()
        assert versions(await ahead.next(1)) == {1}
        sampler.gates[2].set()  # half of the second, which gives half of the third its place
        await settled()
        await publish(2)
        assert gone == []
        for gate in sampler.gates[3:]:
            gate.set()
            await settled()
        sampler.gates[-1].set()
        assert versions(await ahead.next(2)) == {1}
        third = await ahead.next(3)
        assert [
            {turn.version for turn in group.rollouts_G[0].turns} for group in third.groups_P
        ] == [{1}, {2}]
        assert gone == ["run@1"]
        await background.end()

    asyncio.run(body())


def test_a_version_goes_with_its_last_user() -> None:
    gone: list[str] = []
    held = Versions(gone.append)
    held.add(Version(1, Published("a@1", "x")))
    with held.newest() as first, held.newest():
        held.add(Version(2, Published("a@2", "y")))
        with held.newest() as second:
            assert (first.number, second.number) == (1, 2)
        assert gone == []
    assert gone == ["a@1"]
    held.add(Version(3, Published("a@3", "z")))
    assert gone == ["a@1", "a@2"]


@settings(max_examples=12)
@given(one=paces, other=paces, no_signal=st.sampled_from(["drop", "replace"]))
def test_rollouts_do_not_depend_on_who_finishes_first(one: int, other: int, no_signal: str) -> None:
    kept = []
    for pace in (one, other):
        with TemporaryDirectory() as folder:
            task = FakeTask(seldom, pace=pace)
            train(folder, sampler=FakeSampler(pace), task=task, no_signal=no_signal)
            kept.append([p.read_bytes() for p in sorted(Path(folder).rglob("*.jsonl"))])
    assert len(kept[0]) == 3
    assert kept[0] == kept[1]


@pytest.mark.parametrize("no_signal", ["drop", "replace"])
def test_a_run_that_continues_samples_the_same(tmp_path: Path, no_signal: str) -> None:
    fields: dict[str, Any] = {"steps": 5, "no_signal": no_signal}
    whole = train(tmp_path / "whole", task=FakeTask(seldom), **fields)
    for done in range(1, 5):
        position = whole[done - 1].position
        rest = train(
            tmp_path / "whole",
            sampler=FakeSampler(done),
            task=FakeTask(seldom, pace=done),
            done=done,
            position=position,
            **fields,
        )
        assert rest[0].groups_P == whole[done].groups_P
    assert len(list((tmp_path / "whole").rglob("*.jsonl"))) == 5  # nothing was kept twice


def test_after_a_rollback_other_rollouts_are_sampled_from_the_version_that_follows(
    tmp_path: Path,
) -> None:
    config = rollout_config(steps=4, max_staleness=1)
    sampler = FakeSampler()
    with open_source(FakeTask(), sampler, config, tmp_path) as source:
        source.publish(1, policy(1))
        source.begin(1, 0, 0)
        first = source.next(1)
        source.publish(2, policy(2))
        source.begin(2, first.position, 1)
        second = source.next(2)
    assert versions(second) == {2}
    (plain, *_) = train(tmp_path / "plain", done=1, position=first.position, max_staleness=1)
    assert keys(plain) == keys(second)
    assert plain.groups_P != second.groups_P


def test_groups_without_signal_are_replaced_until_there_are_enough(tmp_path: Path) -> None:
    batches = train(tmp_path, task=FakeTask(seldom), no_signal="replace", steps=8)
    position = 0
    for batch in batches:
        signal = [len(set(group.rewards_G)) > 1 for group in batch.groups_P]
        assert sum(signal) == 3 or len(signal) == 9
        assert signal[-1] or len(signal) == 9  # none is drawn for nothing
        assert batch.replaced == len(signal) - 3
        position += len(signal)
        assert batch.position == position
    assert any(0 < batch.replaced < 6 for batch in batches)


def test_the_search_for_signal_ends(tmp_path: Path) -> None:
    task = FakeTask(lambda problem, turns: Reward(1.0))
    (batch,) = train(tmp_path, task=task, no_signal="replace", steps=1)
    assert (len(batch.groups_P), batch.replaced, batch.position) == (9, 6, 9)


def test_without_replacement_positions_are_known_ahead(tmp_path: Path) -> None:
    task = FakeTask(lambda problem, turns: Reward(1.0))
    batches = train(tmp_path, task=task, max_staleness=2)
    assert [batch.position for batch in batches] == [3, 6, 9]
    assert [batch.replaced for batch in batches] == [0, 0, 0]
    assert len({key for batch in batches for key in keys(batch)}) == 9  # an epoch is not over


def test_a_problem_that_a_batch_holds_twice_is_sampled_twice(tmp_path: Path) -> None:
    (batch,) = train(tmp_path, task=FakeTask(problems=1), steps=1)
    answers = [[r.turns[0].text for r in group.rollouts_G] for group in batch.groups_P]
    assert len({tuple(group) for group in answers}) == 3


def test_a_batch_without_any_reward_stops_the_run(tmp_path: Path) -> None:
    task = FakeTask(lambda problem, turns: None)
    with pytest.raises(JobFailed, match="Step 1: the reward of none"):
        train(tmp_path, task=task)
