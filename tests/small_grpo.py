"""Small runs on rewards: a task that a model of random weights learns, sampled in this process."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import torch
from local_sampler import LocalSampler
from small_base import byte_tokenizer, small_llama

from actors.lm.adapter import Adapter
from actors.lm.base import load_base
from actors.lm.messages import Message, user
from actors.lm.requests import Question, Sample
from actors.lm.sampler import Published, RemotePolicy
from actors.train.checkpoint import SavedCheckpoint, saved_checkpoints
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.grpo.run import OnGrpoStep, OnNote
from actors.train.on_torch.process import run_grpo
from configs.grpo import GrpoConfig
from configs.sections import SamplingConfig
from serve.engines.torch import TorchEngine

_TIMES = {"rollout_s", "wait_s", "train_s", "handover_s", "tokens_per_s", "memory_mb"}
# Of the sampler's own floats: their last bits are up to what else was in its batches.
_SAMPLED = {"entropy", "kl", "ratio", "abs_ratio", "ess", "probe_gap"}


@dataclass
class PlainLetters:
    """Rewards the share of an answer's characters that are ASCII: about half, untrained."""

    problems: int = 6
    held: int = 2
    digest: str = "plain letters"

    def __post_init__(self) -> None:
        self.training = [_problem(i) for i in range(self.problems)]
        self.held_out = [_problem(100 + i) for i in range(self.held)]

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        text = turns[-1]["content"]
        share = sum(c.isascii() for c in text) / max(1, len(text))
        return Reward(share, share == 1, {"characters": float(len(text))})

    async def __aenter__(self) -> "PlainLetters":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class HeldBack(PlainLetters):
    """Tells so many rewards, and the others once there is a file."""

    def __init__(self, free: int, mark: str) -> None:
        super().__init__(held=0)
        self._free, self._mark, self._told = free, mark, 0

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        self._told += 1
        while self._told > self._free and not Path(self._mark).exists():
            await asyncio.sleep(0.05)
        return await super().step(problem, turns, is_cut)


class SamplerHere:
    """A sampler that travels, and starts its engine where it is opened."""

    def __init__(self, base: str, dtype: torch.dtype = torch.float32) -> None:
        self._base, self._dtype = base, dtype
        self._local: LocalSampler | None = None

    @property
    def local(self) -> LocalSampler:
        assert self._local is not None
        return self._local

    @property
    def probe(self) -> Question | None:
        return self.local.probe

    async def open(self) -> None:
        self._local = LocalSampler(small_engine(self._base, self._dtype))

    async def publish(self, name: str, version: int, policy: Adapter | RemotePolicy) -> Published:
        return await self.local.publish(name, version, policy)

    async def retire(self, model: str) -> None:
        await self.local.retire(model)

    async def sample(
        self,
        model: str,
        prompt_ids: Sequence[int],
        n: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> list[Sample]:
        return await self.local.sample(model, prompt_ids, n, sampling, seed)

    async def sleep(self) -> None:
        await self.local.sleep()

    async def wake(self) -> None:
        await self.local.wake()

    async def close(self) -> None:
        await self.local.engine.close()


def small_engine(base: str, dtype: torch.dtype = torch.float32) -> TorchEngine:
    """With one thread, and room for a few."""
    return TorchEngine(
        load_base(base, dtype),
        max_adapters=4,
        max_batch=16,
        step_tokens=256,
        cache_tokens=2048,
        threads=1,
    )


def write_outspoken_base(folder: Path) -> str:
    """The small base with embeddings that let a few steps change what it says."""
    model = small_llama()
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(8)
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def small_grpo_config(base: str, **fields: Any) -> GrpoConfig:
    """Five steps on three problems with four answers each, saved every two; fields can be given."""
    defaults = {
        "base_model": base,
        "task": "arithmetic",
        "steps": 5,
        "problems_per_batch": 3,
        "group_size": 4,
        "max_tokens": 6,
        "max_prompt_tokens": 60,
        "max_turns": 1,
        "learning_rate": 1e-2,
        "save_every": 2,
        "eval_samples": 2,
        "lora": {"rank": 4, "alpha": 8},
    }
    return GrpoConfig.model_validate(defaults | fields)


def run_small_grpo(
    config: GrpoConfig,
    folder: Path,
    *,
    task: PlainLetters | None = None,
    sampler: SamplerHere | None = None,
    on_step: OnGrpoStep = lambda row: None,
    leaving: Callable[[], bool] = lambda: False,
    on_note: OnNote = lambda note: None,
) -> list[GrpoMetrics]:
    """Run a config in this process; returns the steps that were shown."""
    rows: list[GrpoMetrics] = []

    def shown(row: GrpoMetrics) -> None:
        rows.append(row)
        on_step(row)

    run_grpo(
        config,
        task or PlainLetters(),
        sampler or SamplerHere(config.base_model),
        run_id="run",
        folder=str(folder),
        device=torch.device("cpu"),
        on_step=shown,
        on_saved=lambda path, row: None,
        leaving=leaving,
        on_note=on_note,
    )
    return rows


def assert_same_steps(rows: Sequence[GrpoMetrics], others: Sequence[GrpoMetrics]) -> None:
    """To the bit, but for what the clock says and what a sampler's floats are part of."""

    def told(row: GrpoMetrics, names: set[str]) -> dict[str, Any]:
        return {name: value for name, value in row.fields().items() if name in names}

    for row, other in zip(rows, others, strict=True):
        names = set(row.fields()) - _TIMES - _SAMPLED
        assert told(row, names) == told(other, set(other.fields()) - _TIMES - _SAMPLED)
        assert told(row, _SAMPLED) == pytest.approx(told(other, _SAMPLED), abs=1e-6)


def rollouts_of(folder: Path) -> dict[str, bytes]:
    """The files of rollouts that a run left."""
    return {path.name: path.read_bytes() for path in sorted((folder / "rollouts").iterdir())}


def digests_of(folder: Path) -> list[tuple[int, int, str]]:
    """Step, version and digest of every checkpoint."""

    def told(checkpoint: SavedCheckpoint) -> tuple[int, int, str]:
        return checkpoint.step, checkpoint.version, checkpoint.digest

    return [told(checkpoint) for checkpoint in saved_checkpoints(str(folder))]


def _problem(i: int) -> Problem:
    return Problem(f"problem-{i}", [user("Q" * (i % 7 + 1))], worked="yes")
