"""Planted faults, each of which a run catches: what answers is not what is trained, or broke."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_grpo import PlainLetters, SamplerHere, digests_of, run_small_grpo, small_grpo_config

from actors.lm.adapter import Adapter
from actors.lm.requests import BASE, Sample
from actors.lm.sampler import Published, RemotePolicy
from actors.train.backend import AdamParams, Done, Stepped
from actors.train.grpo.handover import Movement
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.on_torch.backend import TorchBackend
from configs.errors import JobFailed
from configs.sections import SamplingConfig

TASK = PlainLetters(held=0)


class Faulty(SamplerHere):
    """Right until the second version."""

    first: Published | None = None

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        published = await super().publish(name, version, policy)
        if self.first is None:
            self.first = published
            return published
        return self.twisted(published, self.first)

    def twisted(self, published: Published, first: Published) -> Published:
        return published


class NeverDelivered(Faulty):
    """Goes on with the first adapter, and knows it."""

    def twisted(self, published: Published, first: Published) -> Published:
        return replace(first, model=published.model)


class SaysItWasDelivered(Faulty):
    """Goes on with the first adapter under the digest of the new one."""

    def twisted(self, published: Published, first: Published) -> Published:
        return replace(first, model=published.model, digest=published.digest)


class AnswersByTheBase(SamplerHere):
    """Whatever is asked for, the base answers, under the digest of what was asked for."""

    tells = True

    async def sample(self, model: str, *arguments: Any, **fields: Any) -> list[Sample]:
        digest = self.local.engine.adapters()[model]
        samples = await super().sample(BASE, *arguments, **fields)
        return samples if self.tells else [replace(s, adapter_digest=digest) for s in samples]


class LiesOfTheBase(AnswersByTheBase):
    tells = False


class AtAnotherTemperature(SamplerHere):
    """Samples, and tells log-probabilities, at twice the temperature."""

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        warmer = sampling.model_copy(update={"temperature": 2 * sampling.temperature})
        return await super().sample(model, prompt_ids, n, warmer, seed)


@pytest.mark.parametrize(
    ("sampler", "told"),
    [
        (NeverDelivered, r"Version 2 was published as \w{12}, and run-\w{4}@2 answers as \w{12}"),
        (SaysItWasDelivered, r"run-\w{4}@2 gives a probe's tokens log-probabilities that are up"),
        (AnswersByTheBase, r"run-\w{4}@1 was published as \w+ and an answer came from"),
        (LiesOfTheBase, r"Step 1: ratio is .*what was sampled from is not what is trained"),
        (AtAnotherTemperature, r"Step 1: .*kl is .*another version or temperature"),
    ],
)
def test_rollouts_of_another_policy_stop_the_run(
    outspoken_base: str, tmp_path: Path, sampler: type[SamplerHere], told: str
):
    warm = {"steps": 5, "learning_rate": 0.1} if sampler is LiesOfTheBase else {}
    config = small_grpo_config(
        outspoken_base, learning_rate=0.1, on_alarm="stop", max_tokens=2, warm_start=warm
    )
    with pytest.raises(JobFailed, match=told):
        run_small_grpo(config, tmp_path, task=TASK, sampler=sampler(outspoken_base))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_sampler_that_stands_still_is_seen_however_small_the_steps(
    outspoken_base: str, tmp_path: Path, dtype: str
):
    """What it says of the probe stays nearer to the trainer's word than any limit on the gap."""
    config = small_grpo_config(
        outspoken_base, learning_rate=4e-5, max_tokens=2, dtype=dtype, server={"dtype": dtype}
    )
    rows: list[GrpoMetrics] = []
    sampler = SaysItWasDelivered(outspoken_base, getattr(torch, dtype))
    with pytest.raises(JobFailed, match=r"run-\w{4}@4 says of a probe what it said 3 versions ago"):
        run_small_grpo(config, tmp_path, task=TASK, sampler=sampler, on_step=rows.append)
    assert [row.step for row in rows] == [1, 2]
    assert all((row.probe_gap or 0.0) < config.max_probe_gap / 10 for row in rows)


@pytest.mark.parametrize("learning_rate", [4e-5, 1e-2])
@pytest.mark.parametrize("server", ["bfloat16", "float32"])
def test_what_bfloat16_rounds_stops_no_run(
    outspoken_base: str, tmp_path: Path, server: str, learning_rate: float
):
    config = small_grpo_config(
        outspoken_base,
        dtype="bfloat16",
        server={"dtype": server},
        learning_rate=learning_rate,
        max_tokens=2,
        on_alarm="stop",
    )
    sampler = SamplerHere(outspoken_base, getattr(torch, server))
    rows = run_small_grpo(config, tmp_path, task=TASK, sampler=sampler)
    assert len(rows) == config.steps
    if server == "float32":  # the limit of float32 would have stopped it
        assert max(row.probe_gap or 0.0 for row in rows) > 1e-3


def test_the_limit_on_the_gap_is_that_of_the_coarser_side():
    limits = {
        "float32": small_grpo_config("tiny"),
        "trainer": small_grpo_config("tiny", dtype="bfloat16"),
        "server": small_grpo_config("tiny", server={"dtype": "bfloat16"}),
        "given": small_grpo_config("tiny", dtype="bfloat16", alarms={"max_probe_gap": 0.5}),
    }
    found = {name: config.max_probe_gap for name, config in limits.items()}
    assert found == {"float32": 1e-3, "trainer": 0.1, "server": 0.1, "given": 0.5}


def test_rounding_alone_is_a_movement():
    """Where it hides what was learned, on both sides: neither stands still."""
    noise, movement = np.random.default_rng(1), Movement(0.1)
    assert all(movement.follows(*noise.normal(size=(2, 3))) for _ in range(2000))


def test_a_sampler_whose_last_bits_change_stands_still_as_well():
    noise, movement = np.random.default_rng(1), Movement(0.1)
    learned, told = np.cumsum(noise.normal(size=(9, 3)), axis=0), noise.normal(size=(9, 3)) / 100
    told[:4] += learned[:4]
    assert [movement.follows(*both) for both in zip(learned, told, strict=True)][:6] == [True] * 6
    assert not movement.follows(learned[-1], told[-1])


def test_an_alarm_can_be_told_alone(outspoken_base: str, tmp_path: Path):
    config = small_grpo_config(outspoken_base, steps=2)
    sampler = AtAnotherTemperature(outspoken_base)
    rows = run_small_grpo(config, tmp_path, task=TASK, sampler=sampler)
    assert len(rows) == 2
    assert all("kl is" in " ".join(row.alarms) for row in rows)


class WithoutAProbe(AtAnotherTemperature):
    probe = None


@pytest.mark.parametrize("on_alarm", ["warn", "rollback"])
def test_without_a_probe_the_alarm_is_no_matter_of_choice(
    outspoken_base: str, tmp_path: Path, on_alarm: str
):
    config = small_grpo_config(outspoken_base, steps=2, on_alarm=on_alarm)
    with pytest.raises(JobFailed, match=r"Step 1: kl is .*whatever on_alarm says.*does not score"):
        run_small_grpo(config, tmp_path, task=TASK, sampler=WithoutAProbe(outspoken_base))


def test_a_correct_temperature_raises_no_alarm(outspoken_base: str, tmp_path: Path):
    config = small_grpo_config(outspoken_base, steps=2, temperature=2.0, on_alarm="stop")
    rows = run_small_grpo(config, tmp_path, task=TASK)
    assert all(row.kl < 1e-6 for row in rows)


Poison = Callable[[set[int]], None]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """Gradients that are not numbers at some of the optimiser's steps, counted from 1."""

    def plant(at: set[int]) -> None:
        taken, step = [0], TorchBackend.optim_step

        def optim_step(self: TorchBackend, adam: AdamParams) -> Done[Stepped]:
            taken[0] += 1
            if taken[0] in at:
                self._flat.grads[0] = torch.nan
            return step(self, adam)

        monkeypatch.setattr(TorchBackend, "optim_step", optim_step)

    return plant


@pytest.mark.parametrize("on_alarm", ["warn", "stop"])
def test_what_is_not_a_number_ends_the_run(
    outspoken_base: str, tmp_path: Path, poison: Poison, on_alarm: str
):
    poison({3})
    config = small_grpo_config(outspoken_base, on_alarm=on_alarm, max_tokens=2)
    with pytest.raises(JobFailed, match=r"Step 3: grad_norm is nan.*lower learning_rate"):
        run_small_grpo(config, tmp_path, task=TASK)
    assert [step for step, _, _ in digests_of(tmp_path)] == [2]


def test_a_run_goes_back_to_its_last_checkpoint_and_on_from_there(
    outspoken_base: str, tmp_path: Path, poison: Poison
):
    poison({4})
    config = small_grpo_config(outspoken_base, on_alarm="rollback", steps=6, max_tokens=3)
    rows = run_small_grpo(config, tmp_path / "run", task=TASK)
    assert [row.rolled_back_to for row in rows] == [None, None, None, 2, None, None]
    assert [row.step for row in rows] == [1, 2, 3, 4, 5, 6]
    # Nothing is kept of the step that broke, and versions are never used twice.
    saved = digests_of(tmp_path / "run")
    assert [(step, version) for step, version, _ in saved] == [(0, 1), (2, 3), (6, 7)]

    def cut(row: GrpoMetrics) -> None:
        if row.step == 5:
            raise KeyboardInterrupt

    poison({4})
    with pytest.raises(KeyboardInterrupt):
        run_small_grpo(config, tmp_path / "cut", task=TASK, on_step=cut)
    poison({2})
    run_small_grpo(config, tmp_path / "cut", task=TASK)
    assert digests_of(tmp_path / "cut") == saved


def test_a_run_that_does_not_get_on_ends(outspoken_base: str, tmp_path: Path, poison: Poison):
    poison(set(range(3, 20)))
    config = small_grpo_config(outspoken_base, on_alarm="rollback", steps=9, max_tokens=2)
    with pytest.raises(JobFailed, match=r"Step 5: .*went back to its last checkpoint 2 times"):
        run_small_grpo(config, tmp_path, task=TASK)
    assert [step for step, _, _ in digests_of(tmp_path)] == [0, 2]
