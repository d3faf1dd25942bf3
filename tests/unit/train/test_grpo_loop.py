"""The whole loop in one process: it learns, measures when it should, and takes turns."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from small_grpo import PlainLetters, SamplerHere, digests_of, run_small_grpo, small_grpo_config

from actors.lm.adapter import Adapter
from actors.lm.messages import Message
from actors.lm.requests import Sample
from actors.lm.sampler import Published, RemotePolicy
from actors.train.checkpoint import checkpoint_path, read_cursor
from actors.train.grpo import loop
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.metrics import GrpoMetrics
from configs.errors import JobFailed, UserError


class Mixed(PlainLetters):
    """Each answer gets the reward of the one that was looked at before it."""

    _last: Reward | Reply | None = Reward(0.5)

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        earned, self._last = self._last, await super().step(problem, turns, is_cut)
        return earned


def rise(rows: Sequence[GrpoMetrics]) -> float:
    """Of the reward, from the first steps to the last."""
    before, after = (fmean(row.reward for row in some) for some in (rows[:5], rows[-5:]))
    return after - before


def test_it_learns_and_from_mixed_up_rewards_it_does_not(outspoken_base: str, tmp_path: Path):
    config = small_grpo_config(
        outspoken_base, steps=24, problems_per_batch=4, group_size=8, save_every=24
    )
    rows = run_small_grpo(config, tmp_path / "learns")
    assert [row.step for row in rows] == list(range(1, 25))
    assert [row.version for row in rows] == list(range(2, 26))
    assert all(row.alarms == [] for row in rows)
    control = run_small_grpo(config, tmp_path / "control", task=Mixed())
    assert rise(rows) > rise(control) + 0.08


@pytest.mark.parametrize(
    ("every", "held", "measured"), [(0, 2, [5]), (2, 2, [2, 4, 5]), (2, 0, [])]
)
def test_held_out_problems_are_measured_before_the_first_step_and_when_it_is_time(
    outspoken_base: str, tmp_path: Path, every: int, held: int, measured: list[int]
):
    config = small_grpo_config(outspoken_base, eval_every=every, max_tokens=2)
    rows = run_small_grpo(config, tmp_path, task=PlainLetters(held=held))
    assert [row.step for row in rows if row.eval_greedy is not None] == measured
    assert [row.step for row in rows if row.start_reward is not None] == [1] * bool(held)
    fields = rows[-1].fields()
    assert ("eval_pass@2" in fields) == bool(held)
    assert fields["reward/characters"] > 0


def test_it_runs_ahead_by_as_many_versions_as_it_may(outspoken_base: str, tmp_path: Path):
    config = small_grpo_config(outspoken_base, max_staleness=1, steps=6)
    rows = run_small_grpo(config, tmp_path)
    assert len(rows) == 6
    assert all(row.max_staleness <= 1 for row in rows)
    assert all(row.alarms == [] for row in rows)


class Turns(SamplerHere):
    """Notes what it is asked for."""

    def __init__(self, base: str, events: list[str]) -> None:
        super().__init__(base)
        self._events = events

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        self._events.append("publish")
        return await super().publish(name, version, policy)

    async def sample(self, *arguments: Any, **fields: Any) -> list[Sample]:
        if self._events[-1] != "sample":
            self._events.append("sample")
        return await super().sample(*arguments, **fields)

    async def sleep(self) -> None:
        self._events.append("sleep")
        await super().sleep()

    async def wake(self) -> None:
        self._events.append("wake")
        await super().wake()


def test_on_shared_gpus_the_sampler_sleeps_while_the_trainer_learns(
    outspoken_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    events: list[str] = []
    learn = loop.learn

    def learning(*arguments: Any) -> Any:
        events.append("learn")
        return learn(*arguments)

    monkeypatch.setattr(loop, "learn", learning)
    config = small_grpo_config(outspoken_base, share_gpus=True, steps=2)
    task = PlainLetters(held=0)
    run_small_grpo(config, tmp_path, task=task, sampler=Turns(outspoken_base, events))
    assert events == [
        "publish",
        *["sample", "sleep", "learn", "wake", "publish"],
        *["sample", "sleep", "learn", "wake", "publish"],
    ]


def test_a_warm_start_is_the_checkpoint_of_step_0(outspoken_base: str, tmp_path: Path):
    warm = {"steps": 20, "batch_size": 6, "learning_rate": 2e-2}
    config = small_grpo_config(outspoken_base, warm_start=warm, steps=2)
    notes: list[str] = []
    rows = run_small_grpo(config, tmp_path, on_note=notes.append)
    assert notes == ["warm start 10/20", "warm start 20/20"]
    assert rows[0].start_greedy == 1  # it says yes
    assert [(step, version) for step, version, _ in digests_of(tmp_path)] == [(0, 1), (2, 3)]
    cursor = read_cursor(checkpoint_path(str(tmp_path), 0), GrpoMetrics)
    assert (cursor.history, cursor.state) == ([], {"position": 0, "rollbacks": 0})
    assert run_small_grpo(config, tmp_path) == rows  # nothing is left to do


def test_a_warm_start_needs_answers(outspoken_base: str, tmp_path: Path):
    class Unanswered(PlainLetters):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.training = [Problem(p.key, p.messages) for p in self.training]

    config = small_grpo_config(outspoken_base, warm_start={"steps": 1})
    with pytest.raises(UserError, match=r"none of this task's do; give warm_start\.steps=0"):
        run_small_grpo(config, tmp_path, task=Unanswered())


def test_a_step_without_any_reward_ends_the_run(outspoken_base: str, tmp_path: Path):
    class Silent(PlainLetters):
        async def step(self, problem: Problem, turns: Sequence[Any], is_cut: bool) -> None:
            return None

    with pytest.raises(JobFailed, match="Step 1: the reward of none of its rollouts could be had"):
        run_small_grpo(small_grpo_config(outspoken_base), tmp_path, task=Silent(held=0))
