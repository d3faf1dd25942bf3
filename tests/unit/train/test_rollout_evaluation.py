"""Held-out problems: means, pass@k, and curves that can be compared."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from fake_sampler import FakeSampler, FakeTask, open_source, policy, rollout_config
from hypothesis import given
from hypothesis import strategies as st

from actors.lm.messages import Message
from actors.train.grpo.environment import Problem, Reward
from actors.train.grpo.evaluation import Evaluated, pass_at


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_choices_with_a_right_answer(
    right: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(right)))
    share = fmean(any(chosen) for chosen in combinations(right, k))
    assert pass_at(len(right), sum(right), k) == pytest.approx(share)


def even(problem: Problem, turns: Sequence[Message]) -> Reward:
    """Half of the answers is right."""
    value = int(turns[-1]["content"])
    return Reward(value / 100, is_correct=value % 2 == 0)


def evaluated(
    folder: Path, task: FakeTask, *numbers: int, pace: int = 0, **fields: Any
) -> list[Evaluated]:
    """What versions of these numbers are worth."""
    sampler = FakeSampler(pace)
    with open_source(task, sampler, rollout_config(**fields), folder) as source:
        told = []
        for number in numbers:
            source.publish(number, policy(number))
            told.append(source.evaluate())
    return told


def test_it_measures_greedy_and_sampled_answers(tmp_path: Path) -> None:
    sampler = FakeSampler()
    config = rollout_config(temperature=0.7)
    with open_source(FakeTask(even), sampler, config, tmp_path) as source:
        source.publish(1, policy(1))
        told = source.evaluate()
    assert sampler.heats == {0.0: 5, 0.7: 20}
    assert (told.problems, told.lost) == (5, 0)
    assert told.greedy is not None
    assert told.reward is not None
    assert 0.1 <= told.greedy < 1
    assert 0.1 <= told.reward < 1
    assert told.passes is not None
    assert list(told.passes) == ["1", "2", "4"]
    assert 0 < told.passes["1"] < told.passes["2"] < told.passes["4"] <= 1


def test_its_seeds_are_the_same_at_every_version(tmp_path: Path) -> None:
    first, later = evaluated(tmp_path, FakeTask(even), 1, 9)
    assert first == later
    assert [first] == evaluated(tmp_path, FakeTask(even, pace=3), 4, pace=5)
    assert [first] != evaluated(tmp_path, FakeTask(even), 1, seed=1)


def test_no_pass_at_k_where_nothing_is_right_or_wrong(tmp_path: Path) -> None:
    (told,) = evaluated(tmp_path, FakeTask(), 1, eval_problems=2)
    assert told.passes is None
    assert told.problems == 2


def test_rewards_that_could_not_be_had_are_left_out(tmp_path: Path) -> None:
    def judged(problem: Problem, turns: Sequence[Message]) -> Reward | None:
        return None if int(turns[-1]["content"]) % 4 else Reward(1.0, is_correct=True)

    (told,) = evaluated(tmp_path, FakeTask(judged), 1)
    assert told.lost > 5
    assert told.reward == 1.0
    assert told.passes is not None
    assert set(told.passes.values()) == {1.0}
    assert "4" not in told.passes  # no problem has four rewards


def test_nothing_held_out_has_no_mean(tmp_path: Path) -> None:
    task = FakeTask(even)
    task.held_out = []
    assert evaluated(tmp_path, task, 1) == [Evaluated(None, None, None, 0, 0)]
