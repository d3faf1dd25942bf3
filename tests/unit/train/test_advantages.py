"""Advantages against closed forms, and which groups and rollouts have any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actors.lm.messages import user
from actors.train.grpo.advantages import advantages
from actors.train.grpo.environment import Problem, Reward
from actors.train.grpo.filters import group_has_signal, has_signal, is_learned, rewards_of
from actors.train.grpo.rollout import Group, Rollout, Turn
from configs.grpo import AdvantageName

REWARDS = st.integers(2, 9).flatmap(
    lambda size: arrays(float, (3, size), elements=st.floats(-9, 9))
)
NAMES: tuple[AdvantageName, ...] = ("mean", "std", "leave_one_out")


def group(rewards: list[float], cut: tuple[int, ...] = ()) -> Group:
    turns = [Turn([1], [2], [-1.0], "", 1, i in cut) for i in range(len(rewards))]
    rollouts = [Rollout([t], Reward(r), 0) for t, r in zip(turns, rewards, strict=True)]
    return Group(Problem("sum", [user("?")]), rollouts)


@given(REWARDS, st.sampled_from(NAMES))
def test_those_of_every_group_sum_to_nothing(rewards_PG: np.ndarray, name: AdvantageName):
    found = advantages(rewards_PG, name)
    assert found.shape == rewards_PG.shape
    assert found.sum(axis=-1) == pytest.approx(0, abs=1e-6)


@given(REWARDS, st.sampled_from(NAMES), st.floats(-5, 5))
def test_a_bonus_for_all_changes_nothing(rewards: np.ndarray, name: AdvantageName, bonus: float):
    found = advantages(rewards + bonus, name)
    assert found == pytest.approx(advantages(rewards, name), abs=1e-6)


@given(REWARDS)
def test_leave_one_out_is_the_reward_less_what_the_others_got(rewards_PG: np.ndarray):
    for rewards, found in zip(rewards_PG, advantages(rewards_PG, "leave_one_out"), strict=True):
        others = [np.delete(rewards, i).mean() for i in range(len(rewards))]
        assert found == pytest.approx(rewards - others, abs=1e-9)


def test_closed_forms():
    rewards = np.array([1.0, 0, 0, 1])
    assert advantages(rewards, "mean").tolist() == [0.5, -0.5, -0.5, 0.5]
    assert advantages(rewards, "leave_one_out") == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    assert advantages(rewards, "std") == pytest.approx(np.array([1, -1, -1, 1]) * 0.75**0.5, 1e-5)
    assert advantages(10 * rewards, "std") == pytest.approx(advantages(rewards, "std"), rel=1e-5)


def test_the_spread_of_equal_rewards_is_not_blown_up():
    assert advantages(np.full(7, 0.1), "std") == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_group_of_one_has_no_baseline(name: AdvantageName):
    with pytest.raises(ValueError, match="a group of 1 has no baseline"):
        advantages(np.array([[1.0], [0.0]]), name)


@given(st.floats(-9, 9), st.lists(st.floats(0, 1e-6), min_size=2, max_size=8))
def test_rewards_that_are_as_good_as_equal_are_no_signal(reward: float, off: list[float]):
    rewards = reward + np.array(off) * 0.999
    assert not has_signal(rewards)
    assert has_signal(np.append(rewards, reward + 2.1e-6))


def test_signal_of_odd_groups():
    assert not has_signal(np.array([]))
    assert not has_signal(np.array([1.0]))
    assert has_signal(np.array([1.0, np.nan]))  # it must not go unseen


def test_answers_that_were_cut():
    some = group([1, 0, 1], cut=(0,))
    assert rewards_of(some, "keep").tolist() == rewards_of(some, "mask").tolist() == [1, 0, 1]
    assert rewards_of(some, "penalise").tolist() == [0, 0, 1]
    learned = {how: [is_learned(r, how) for r in some.rollouts_G] for how in ("keep", "mask")}
    assert learned == {"keep": [True] * 3, "mask": [False, True, True]}


def test_what_is_done_with_them_decides_over_the_group():
    assert group_has_signal(group([1, 0], cut=(0,)), "keep")
    assert not group_has_signal(group([1, 0], cut=(0,)), "penalise")
    assert group_has_signal(group([1, 1], cut=(0,)), "penalise")
    assert group_has_signal(group([1, 0], cut=(0,)), "mask")
    assert not group_has_signal(group([1, 0], cut=(0, 1)), "mask")
