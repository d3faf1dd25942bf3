"""Reinforcement on the service: it samples, scores and trains; what it loses is gone on with."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tinker
from small_base import byte_tokenizer
from small_grpo import PlainLetters, small_grpo_config
from tinker_front import Opened

from actors.lm.adapter import Adapter
from actors.lm.sampler import RemotePolicy
from actors.train.backend import AdamParams, Label
from actors.train.checkpoint import SavedCheckpoint
from actors.train.datum import Datum
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.on_tinker.backend import TinkerBackend
from actors.train.on_tinker.lora import service_lora
from actors.train.on_tinker.service import open_service
from actors.train.on_tinker.trainer import train_grpo_on_tinker
from configs.errors import UserError
from configs.grpo import GrpoConfig
from configs.sections import SamplingConfig
from serve.tinker_policy import TinkerSampler

pytestmark = pytest.mark.usefixtures("to_front")


@pytest.fixture
def config(small_base: str) -> GrpoConfig:
    fields: dict[str, Any] = {"backend": "tinker", "steps": 3, "save_every": 1, "kl_to_base": 0.01}
    return small_grpo_config(small_base, **fields, lora={"rank": 4, "alpha": 32})


def train(
    config: GrpoConfig, folder: Path, on_step: Any = lambda row: None
) -> list[SavedCheckpoint]:
    tokenizer = byte_tokenizer()
    return train_grpo_on_tinker(
        config,
        PlainLetters(),
        partial(TinkerSampler, base_model=config.base_model, tokenizer=tokenizer),
        run_id="run",
        folder=str(folder),
        on_step=on_step,
        sleep=lambda seconds: None,
    )


def test_the_service_samples_and_trains(config: GrpoConfig, tmp_path: Path) -> None:
    rows: list[GrpoMetrics] = []
    saved = train(config, tmp_path, rows.append)
    assert [row.step for row in rows] == [1, 2, 3]
    assert [one.version for one in saved] == [2, 3, 4]
    for row in rows:
        assert row.abs_ratio == pytest.approx(1, abs=1e-3)
        assert row.probe_gap is not None
        assert row.probe_gap < 1e-3
        assert row.kl_base is not None
        assert not row.alarms
    first, *_, last = [row.kl_base or 0.0 for row in rows]
    assert first == pytest.approx(0, abs=1e-6)  # a fresh adapter is the base
    assert last > 1e-6


def test_a_service_that_loses_the_trainer_is_gone_on_with(
    config: GrpoConfig, front: Opened, tmp_path: Path
) -> None:
    steps: list[int] = []

    def lose(row: GrpoMetrics) -> None:
        steps.append(row.step)
        if row.step == 2:
            trainer = front.front.training._trainer.actor
            for run in list(trainer._tenants):
                trainer.drop(run)

    assert len(train(config, tmp_path, lose)) == 3
    assert steps == [1, 2, 3]


def test_a_service_that_does_not_score_is_told_of(
    config: GrpoConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(self: tinker.SamplingClient, prompt: tinker.ModelInput) -> list[float]:
        raise tinker.TinkerError("no such thing here")

    monkeypatch.setattr(tinker.SamplingClient, "compute_logprobs_async", refuse)
    monkeypatch.setattr("serve.tinker_policy.is_not_offered", lambda error: True)
    rows: list[GrpoMetrics] = []
    train(config.model_copy(update={"steps": 1}), tmp_path, rows.append)
    assert [row.probe_gap for row in rows] == [None]
    assert "does not score" in caplog.text


def test_versions_answer_beside_each_other(small_base: str, datums: list[Datum]) -> None:
    """Each by the weights that it was saved with, and none once it is retired."""
    lora = service_lora(small_grpo_config(small_base, lora={"rank": 4, "alpha": 32}))
    sampling = SamplingConfig(max_tokens=6, stop=["\n"])

    async def main(sampler: TinkerSampler, backend: TinkerBackend) -> None:
        await sampler.open()
        assert sampler.probe is not None
        published = []
        for version in (1, 2):
            policy = backend.snapshot(Label("run", version, version - 1))
            published.append(await sampler.publish("run-1", version, policy))
            assert published[-1].digest == policy.digest
            backend.forward_backward(datums, "cross_entropy").result()
            backend.optim_step(AdamParams(learning_rate=0.1)).result()
        assert [one.model for one in published] == ["run-1@1", "run-1@2"]
        assert published[0].probe != pytest.approx(published[1].probe, abs=1e-3)
        asked = [sampler.sample(one.model, [72, 105], 3, sampling, seed=2**40) for one in published]
        for one, group in zip(published, await asyncio.gather(*asked), strict=True):
            assert [sample.adapter_digest for sample in group] == [one.digest] * 3
            assert len({tuple(sample.token_ids) for sample in group}) > 1
            assert all(len(sample.logprobs) == len(sample.token_ids) for sample in group)
        await sampler.retire("run-1@1")
        with pytest.raises(KeyError):
            await sampler.sample("run-1@1", [72], 1, sampling, seed=1)
        gone = RemotePolicy(policy.path.replace("policy-000002", "policy-000009"), "path:")
        with pytest.raises(UserError, match="not on the service"):
            await sampler.publish("run-1", 9, gone)
        with pytest.raises(TypeError):
            await sampler.publish("run-1", 3, Adapter({}, {}))
        await sampler.close()

    with open_service() as service:
        backend = TinkerBackend(service, small_base, lora, 0, patience_s=60)
        asyncio.run(main(TinkerSampler(service, small_base, byte_tokenizer()), backend))
