"""Batches of rollouts that a small model could have said, and a backend that shows gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from small_base import byte_tokenizer, small_llama

from actors.lm.base import LoadedBase
from actors.lm.messages import user
from actors.train.backend import AdamParams, Done, Stepped
from actors.train.datum import Datum
from actors.train.grpo.environment import Problem, Reward
from actors.train.grpo.rollout import Batch, Group, Rollout, Turn
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora
from configs.grpo import GrpoConfig
from configs.sections import LoraConfig

_VOCABULARY = 262


class ShownBackend(TorchBackend):
    """Keeps the gradient of every step."""

    gradients: list[torch.Tensor]

    def optim_step(self, adam: AdamParams) -> Done[Stepped]:
        """As any other."""
        self.gradients = [*getattr(self, "gradients", []), self._flat.grads.clone()]
        return super().optim_step(adam)


def shown_backend(
    dtype: torch.dtype = torch.float64, micro_batch_tokens: int | None = None
) -> ShownBackend:
    """A small policy that says something else than its base."""
    small = small_llama(dtype).eval().requires_grad_(False)
    base = LoadedBase("small", small, byte_tokenizer(), "digest")
    model = add_lora(base, LoraConfig(rank=4, alpha=8), seed=3).to(dtype)
    torch.manual_seed(11)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.2)
    return ShownBackend(model, seed=0, micro_batch_tokens=micro_batch_tokens)


def grpo_config(**fields: Any) -> GrpoConfig:
    """Of tasks made here; fields can be given."""
    return GrpoConfig.model_validate({"task": "arithmetic", "max_tokens": 16} | fields)


def small_batch(
    backend: TorchBackend,
    rewards_P: Sequence[Sequence[float]],
    temperature: float = 1.0,
    cut: Sequence[int] = (),
    seed: int = 0,
) -> Batch:
    """Answers of 1 to 9 tokens, as if `backend` had said them; `cut` are rollouts, by number."""
    rng = np.random.default_rng(seed)
    numbers = iter(range(sum(map(len, rewards_P))))
    groups = []
    for problem, rewards_G in enumerate(rewards_P):
        prompt = rng.integers(0, _VOCABULARY, 3).tolist()
        rollouts = [
            _rollout(backend, prompt, rng, reward, temperature, next(numbers) in cut)
            for reward in rewards_G
        ]
        groups.append(Group(Problem(str(problem), [user("?")]), rollouts))
    return Batch(groups, position=len(groups))


def _rollout(
    backend: TorchBackend,
    prompt: list[int],
    rng: np.random.Generator,
    reward: float,
    temperature: float,
    is_cut: bool,
) -> Rollout:
    said = rng.integers(0, _VOCABULARY, rng.integers(1, 10)).tolist()
    ids = np.array(prompt + said)
    weights = np.array([0.0] * (len(prompt) - 1) + [1.0] * len(said), np.float32)
    whole = Datum(ids[:-1], ids[1:], weights)
    passed = backend.forward([whole], "cross_entropy", {"temperature": temperature}).result()
    logprobs = passed.logprobs[0][len(prompt) - 1 :].tolist()
    return Rollout([Turn(prompt, said, logprobs, "", 1, is_cut)], Reward(reward), 0)
