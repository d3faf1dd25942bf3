"""Sampler and trainer say the same of the sampler's own tokens, whatever the adapter went through.

Three large steps are what shows an adapter that never arrived; a resumed trainer is what shows one
that was applied twice.
"""

import asyncio
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from local_sampler import LocalSampler
from small_grpo import small_engine, small_grpo_config
from small_training import small_datums

from actors.train.backend import AdamParams, Label
from actors.train.datum import normalised
from actors.train.grpo.environment import Reward
from actors.train.grpo.handover import log_likelihoods, probe_gap
from actors.train.grpo.rollout import Rollout, Turn, datums_of
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.start import start_backend
from configs.sections import SamplingConfig

ASKED = [72, 105, 33, 10]


class Gap(NamedTuple):
    """Between trainer and sampler, over tokens."""

    mean: float  # of |trainer - sampler|
    ratio: float  # mean of exp|trainer - sampler|
    kl: float  # k3
    probe: float  # the widest of the probe, per token


async def gap_of(
    backend: TorchBackend, sampler: LocalSampler, version: int, temperature: float
) -> Gap:
    """What both say of sampled answers, and of the probe."""
    adapter = backend.snapshot(Label("run", version, version))
    published = await sampler.publish("run", version, adapter)
    assert published.digest == adapter.digest
    settings = SamplingConfig(temperature=temperature, max_tokens=8)
    samples = await sampler.sample(published.model, ASKED, 24, settings, seed=version)
    turns = [
        Turn(ASKED, s.token_ids, [t.logprob for t in s.logprobs], s.text, version, is_cut=False)
        for s in samples
    ]
    datums = [next(datums_of(Rollout([turn], Reward(0.0), seed=0))) for turn in turns]
    passing = backend.forward(datums, "importance_sampling", {"temperature": temperature})
    said = [np.asarray(datum.advantages) != 0 for datum in datums]
    trainer, told = (
        np.concatenate([values[where] for values, where in zip(arrays, said, strict=True)])
        for arrays in (passing.result().logprobs, [np.asarray(d.logprobs) for d in datums])
    )
    apart = trainer.astype(np.float64) - told
    return Gap(
        mean=float(np.abs(apart).mean()),
        ratio=float(np.exp(np.abs(apart)).mean()),
        kl=float((np.exp(apart) - 1 - apart).mean()),
        probe=probe_gap(sampler.probe, log_likelihoods(backend, sampler.probe), published.probe),
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_they_agree_after_init_after_large_steps_and_after_resume(
    outspoken_base: str, tmp_path: Path, temperature: float
):
    config = small_grpo_config(outspoken_base)
    cpu = torch.device("cpu")

    async def gaps() -> list[Gap]:
        sampler = LocalSampler(small_engine(outspoken_base))
        backend, found = start_backend(config, cpu), []
        found.append(await gap_of(backend, sampler, 1, temperature))
        before = log_likelihoods(backend, sampler.probe)
        for _ in range(3):
            backend.forward_backward(normalised(small_datums(4)), "cross_entropy")
            backend.optim_step(AdamParams(learning_rate=0.1))
        moved = probe_gap(sampler.probe, log_likelihoods(backend, sampler.probe), before)
        assert moved > 0.1  # an adapter that did not arrive would be seen
        found.append(await gap_of(backend, sampler, 2, temperature))
        backend.save(str(tmp_path), Label("run", 2, 3))
        resumed = start_backend(config, cpu)
        resumed.load(str(tmp_path))
        found.append(await gap_of(resumed, sampler, 3, temperature))
        await sampler.engine.close()
        return found

    for gap in asyncio.run(gaps()):
        assert gap.mean < 1e-4
        assert gap.ratio < 1.01
        assert gap.kl < 1e-3
        assert gap.probe < 1e-4
