"""A step's learning on a real small policy: its gradients, and what it says about itself."""

import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from small_rollouts import ShownBackend, grpo_config, shown_backend, small_batch
from torch import Tensor

from actors.lm.messages import user
from actors.train.backend import AdamParams
from actors.train.grpo.advantages import advantages
from actors.train.grpo.environment import Problem, Reward
from actors.train.grpo.learn import Learnt, learn
from actors.train.grpo.lessons import lessons_of
from actors.train.grpo.objective import ask
from actors.train.grpo.reductions import token_factors
from actors.train.grpo.rollout import Batch, Group, Rollout, Turn
from configs.grpo import GrpoConfig, PolicyLossName, ReductionName

REWARDS = [[1, 0, 0, 1], [0, 0.5, 1], [1, 1]]
LOSSES: tuple[PolicyLossName, ...] = get_args(PolicyLossName)
ADAM = AdamParams(learning_rate=1e-2)


def rollouts_of(batch: Batch) -> list[tuple[Rollout, float]]:
    """With their advantages, of groups with signal."""
    return [
        (rollout, advantage)
        for group in batch.groups_P
        if np.ptp(group.rewards_G)
        for rollout, advantage in zip(
            group.rollouts_G, advantages(group.rewards_G, "mean").tolist(), strict=True
        )
    ]


def by_hand(
    batch: Batch, config: GrpoConfig, weights: tuple[float, ...] | None = None
) -> dict[str, Tensor]:
    """REINFORCE by autograd through all logits: -sum of factor * advantage * logprob."""
    model = shown_backend()._model
    told = rollouts_of(batch)
    lengths = [rollout.num_tokens for rollout, _ in told]
    factors = token_factors(lengths, config.reduction, config.max_tokens).tolist()
    total = torch.zeros((), dtype=torch.float64)
    for i, ((rollout, advantage), factor) in enumerate(zip(told, factors, strict=True)):
        (turn,) = rollout.turns
        ids = torch.tensor([*turn.prompt_ids, *turn.token_ids])
        logits = model(input_ids=ids[None, :-1]).logits[0] / config.temperature
        said = logits.log_softmax(-1).gather(1, ids[1:, None])[-len(turn.token_ids) :]
        total = total - factor * advantage * (weights[i] if weights else 1) * said.sum()
    total.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}  # type: ignore


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


def learnt(batch: Batch, **fields: Any) -> tuple[Learnt, ShownBackend]:
    backend = shown_backend()
    return learn(backend, batch, grpo_config(**fields), ADAM), backend


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("reduction", get_args(ReductionName))
def test_one_update_is_reinforce(reduction: ReductionName, temperature: float):
    fields: dict[str, Any] = {"reduction": reduction, "temperature": temperature}
    batch = small_batch(shown_backend(), REWARDS, temperature)
    expected = flat(by_hand(batch, grpo_config(**fields)))
    assert expected.abs().max() > 1e-3
    for loss in LOSSES:
        found, backend = learnt(batch, loss=loss, **fields)
        torch.testing.assert_close(backend.gradients[0], expected, rtol=1e-5, atol=1e-7)
        assert found.grad_norm == pytest.approx(expected.norm().item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_where_old_is_new_the_ratio_is_one_and_the_gradient_reinforces(loss: PolicyLossName):
    """The first of several updates, whose old policy a pass before it told."""
    batch = small_batch(shown_backend(), REWARDS, 0.6)
    fields: dict[str, Any] = {"loss": loss, "epochs": 2, "clip_low": 1e-9, "clip_high": 1e-9}
    config = grpo_config(temperature=0.6, **fields)
    found, backend = learnt(batch, temperature=0.6, **fields)
    first, second = backend.gradients
    expected = flat(by_hand(batch, config))
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-7)
    assert (second - first).abs().max() > 1e-3
    # With so little room the second update is clipped; the first would be, were its ratio not 1.
    assert found.clipped == 0 if loss == "importance_sampling" else 0.1 < found.clipped <= 0.5


def test_tokens_the_sampler_found_less_likely_weigh_more_up_to_the_cap():
    """Truncated importance sampling, and the raw ratio in what is told."""
    batch = small_batch(shown_backend(), REWARDS)
    gaps = [0.2, -0.3, 1.5, 0.0, 0.9, 0.1, -1.0]  # trainer - sampler, a rollout
    shifted = shifted_by(batch, [*gaps, 0.0, 0.0])
    weights = tuple(min(math.exp(gap), 2.0) for gap in gaps)
    expected = flat(by_hand(batch, grpo_config(), weights))
    for fields in ({}, {"kl_to_base": 1e-12}):  # by one pass, and by a pass for old ones before
        found, backend = learnt(shifted, truncated_is=2.0, **fields)
        torch.testing.assert_close(backend.gradients[0], expected, rtol=1e-5, atol=1e-6)
        taught = [(r, gap) for (r, a), gap in zip(rollouts_of(batch), gaps, strict=True)]
        if not fields:  # a rollout whose advantage is 0 is not looked at
            taught = [(r, gap) for (r, a), gap in zip(rollouts_of(batch), gaps, strict=True) if a]
        ratios = np.concatenate([[math.exp(gap)] * r.num_tokens for r, gap in taught])
        assert found.ratio == pytest.approx(ratios.mean(), rel=1e-5)
        assert found.abs_ratio == pytest.approx(np.maximum(ratios, 1 / ratios).mean(), rel=1e-5)
        assert found.ess == pytest.approx(ratios.mean() ** 2 / (ratios**2).mean(), rel=1e-5)
        assert found.kl == pytest.approx((ratios - 1 - np.log(ratios)).mean(), rel=1e-4)


def shifted_by(batch: Batch, gaps: list[float]) -> Batch:
    """As if the sampler had found every token of a rollout that much less likely."""
    rest = iter(gaps)

    def shifted(rollout: Rollout) -> Rollout:
        (turn,), gap = rollout.turns, next(rest)
        return replace(
            rollout, turns=[replace(turn, logprobs=[told - gap for told in turn.logprobs])]
        )

    groups = [replace(g, rollouts_G=[shifted(r) for r in g.rollouts_G]) for g in batch.groups_P]
    return replace(batch, groups_P=groups)


def test_without_a_cap_the_samplers_numbers_change_nothing_that_is_learned():
    batch = small_batch(shown_backend(), REWARDS)
    shifted = shifted_by(batch, [0.5] * 9)
    for fields in ({}, {"loss": "ppo", "minibatches": 2}, {"kl_to_base": 0.1}):
        (plain, one), (other, two) = learnt(batch, **fields), learnt(shifted, **fields)
        assert all(map(torch.equal, one.gradients, two.gradients))
        assert other.ratio == pytest.approx(math.exp(0.5) * plain.ratio, rel=1e-5)


def test_with_a_cap_the_samplers_last_bits_reach_the_gradients_and_change_them_no_more_than_that():
    batch = small_batch(shown_backend(), REWARDS)
    rounded = shifted_by(batch, [1e-6, -1e-6] * 4 + [1e-6])
    for fields in ({}, {"loss": "ppo", "kl_to_base": 0.1}):
        (_, one), (_, two) = (learnt(of, truncated_is=2.0, **fields) for of in (batch, rounded))
        assert not torch.equal(one.gradients[0], two.gradients[0])
        torch.testing.assert_close(one.gradients[0], two.gradients[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("reduction", "fields"),
    [("token", {}), ("sequence", {"kl_to_base": 0.2, "kl_in": "k2"}), ("dr_grpo", {"epochs": 2})],
)
def test_micro_batches_change_nothing(reduction: ReductionName, fields: dict[str, Any]):
    batch = small_batch(shown_backend(), REWARDS)
    told, gradients = [], []
    for tokens in (1, 30, 4000):
        backend = shown_backend(micro_batch_tokens=tokens)
        config = grpo_config(reduction=reduction, loss="ppo", **fields)
        found = learn(backend, batch, config, ADAM)
        told.append((found.loss, found.kl, found.kl_base, found.grad_norm))
        gradients.append(torch.cat(backend.gradients))
    for numbers, gradient in zip(told, gradients, strict=True):
        assert numbers == pytest.approx(told[0], rel=1e-6, abs=1e-9)
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-5, atol=1e-8)


def test_minibatches_and_epochs_are_drawn_by_seed_and_batch():
    batch = small_batch(shown_backend(), REWARDS)
    fields: dict[str, Any] = {"loss": "cispo", "minibatches": 3, "epochs": 2}

    def gradients(batch: Batch, seed: int) -> list[Tensor]:
        return learnt(batch, seed=seed, **fields)[1].gradients

    first = gradients(batch, 0)
    assert len(first) == 6
    assert all(map(torch.equal, first, gradients(batch, 0)))
    for other in (gradients(batch, 1), gradients(replace(batch, position=9), 0)):
        assert not any(map(torch.equal, first, other))
    # More of them than sequences: none is empty.
    assert len(learnt(batch, minibatches=50)[1].gradients) == 7


def test_a_divergence_in_the_reward_is_taken_from_every_tokens_advantage():
    """Without rewards that differ by much, what is learned is to go back to the base."""
    batch = small_batch(shown_backend(), [[0, 1e-5], [1, 1 + 1e-5]])
    backend, distances = shown_backend(), []
    config = grpo_config(kl_to_base=1.0, loss="ppo")
    for _ in range(5):
        found = learn(backend, batch, config, AdamParams(learning_rate=3e-3))
        distances.append(found.kl_base)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.9 * distances[0]


@pytest.mark.parametrize("place", ["k2", "k3"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_divergence_in_the_loss_pulls_to_the_base(place: str, loss: PolicyLossName):
    batch = small_batch(shown_backend(), [[0, 1e-5], [1, 1 + 1e-5]], temperature=1.3)
    backend, distances = shown_backend(), []
    config = grpo_config(kl_to_base=1.0, kl_in=place, loss=loss, temperature=1.3)
    for _ in range(3):
        found = learn(backend, batch, config, AdamParams(learning_rate=3e-3))
        distances.append(found.kl_base)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.97 * distances[0]


def test_a_batch_without_signal_is_looked_at_and_changes_nothing():
    backend = shown_backend()
    before = backend._flat.vector.detach().clone()
    batch = shifted_by(small_batch(backend, [[1, 1], [0, 0, 0]]), [0.1] * 5)
    found = learn(backend, batch, grpo_config(), ADAM)
    assert torch.equal(backend._flat.vector, before)
    assert (found.no_signal, found.loss, found.grad_norm, found.clipped) == (2, 0.0, 0.0, 0.0)
    assert found.ratio == pytest.approx(math.exp(0.1), rel=1e-5)
    assert [told.tolist() for told in found.advantages_P] == [[0, 0], [0, 0, 0]]
    nothing = learn(backend, Batch([]), grpo_config(), ADAM)
    assert (nothing.loss, nothing.ratio, nothing.ess, nothing.entropy) == (0, 1, 1, 0)


def test_groups_without_signal_are_dropped_and_counted():
    batch = small_batch(shown_backend(), REWARDS)
    found, backend = learnt(batch)
    assert found.no_signal == 1
    assert found.advantages_P[0].tolist() == [0.5, -0.5, -0.5, 0.5]
    assert found.advantages_P[2].tolist() == [0, 0]
    without = replace(batch, groups_P=batch.groups_P[:2])
    assert torch.equal(learnt(without)[1].gradients[0], backend.gradients[0])


def test_groups_of_one_that_others_were_lost_of_are_without_signal():
    found, backend = learnt(small_batch(shown_backend(), [[1], []]))
    assert found.no_signal == 2
    assert not hasattr(backend, "gradients")


def test_masked_answers_teach_nothing_and_count_nothing():
    batch = small_batch(shown_backend(), [[1, 0, 0.5]], cut=(0,))
    found, backend = learnt(batch, overlong="mask")
    rest = [lesson.advantage for lesson in lessons_of(batch, grpo_config(overlong="mask"))[0]]
    assert rest == [-0.5, 0.0]
    assert found.advantages_P[0].tolist() == [0.5, -0.5, 0.0]
    all_masked, untouched = learnt(
        small_batch(backend, REWARDS, cut=tuple(range(9))), overlong="mask"
    )
    assert not hasattr(untouched, "gradients")
    assert all_masked.no_signal == 3
    assert all(map(math.isfinite, (all_masked.loss, all_masked.ratio, all_masked.kl)))


@pytest.mark.parametrize("kl", [0.0, 0.1])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_minibatch_that_is_all_masked_stays_one_that_can_be_learned_from(
    loss: PolicyLossName, kl: float
):
    backend = shown_backend()
    config = grpo_config(loss=loss, kl_to_base=kl, kl_in="k3")
    (lesson, *_), *_ = lessons_of(small_batch(backend, REWARDS), config)
    zeros = np.zeros(len(lesson.datum), np.float32)
    masked = replace(lesson.datum, weights=zeros, advantages=zeros)
    assert ask(backend, [masked], [zeros], config).result().loss == 0
    assert backend.optim_step(ADAM).result().grad_norm == 0


def test_what_is_not_a_number_reaches_what_is_told():
    batch = small_batch(shown_backend(), REWARDS)
    broken = shown_backend()
    with torch.no_grad():
        broken._flat.vector[0] = math.nan
    found = learn(broken, batch, grpo_config(), ADAM)
    assert all(map(math.isnan, (found.loss, found.grad_norm or 0, found.ratio, found.kl)))
    told = small_batch(shown_backend(), [[math.nan, 1], [0, 1]])
    assert math.isnan(learnt(told)[0].loss)


def test_a_conversation_is_one_sequence_and_teaches_where_the_policy_spoke():
    """Its second prompt goes on from the first turn; one that does not makes a second sequence."""
    first = Turn([5, 6], [7, 8], [-1.0, -2.0], "", 1, False)
    on, anew = ([5, 6, 7, 8, 9], 1), ([5, 9], 2)
    for prompt, sequences in (on, anew):
        turns = [first, Turn(prompt, [3], [-0.5], "", 1, False)]
        rollouts = [Rollout(turns, Reward(reward), 0) for reward in (0.0, 1.0)]
        batch = Batch([Group(Problem("p", [user("?")]), rollouts)])
        lessons = lessons_of(batch, grpo_config()).lessons_D
        assert [lesson.advantage for lesson in lessons] == [-0.5] * sequences + [0.5] * sequences
        assert sum(int(lesson.said.sum()) for lesson in lessons) == 6
        assert learnt(batch)[0].entropy == pytest.approx(3.5 / 3)
