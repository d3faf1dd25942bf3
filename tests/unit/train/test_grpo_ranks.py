"""Two processes: only the first asks the sampler, and they learn what one learns."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from small_grpo import (
    PlainLetters,
    SamplerHere,
    rollouts_of,
    run_small_grpo,
    small_grpo_config,
)

from actors.lm.adapter import read_adapter
from actors.lm.messages import Message
from actors.train.checkpoint import checkpoint_path
from actors.train.grpo.environment import Problem, Reply, Reward
from actors.train.on_torch.team import Team
from configs.errors import JobFailed, UserError
from configs.grpo import GrpoConfig


class Unavailable(PlainLetters):
    """A task whose rewards cannot be told."""

    async def step(
        self, problem: Problem, turns: Sequence[Message], is_cut: bool
    ) -> Reward | Reply | None:
        raise JobFailed("The judge is out of money.")


class Elsewhere(SamplerHere):
    """No business of this process."""

    async def open(self) -> NoReturn:
        raise AssertionError("a second process asks")


def rank_main(rank: int, config: GrpoConfig, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    check_team()
    sampler = (Elsewhere if rank else SamplerHere)(config.base_model)
    with pytest.raises(JobFailed, match="The judge is out of money"):
        run_small_grpo(config, folder / "unavailable", task=Unavailable(held=0), sampler=sampler)
    rows = run_small_grpo(config, folder / "two", sampler=sampler)
    torch.save([row.fields() for row in rows], folder / f"rows{rank}")
    dist.destroy_process_group()


def check_team() -> None:
    """What the first asks for, both get; meanwhile the second sees that it still waits."""
    waits: list[int] = []
    team = Team(lambda: waits.append(1))

    def slow() -> list[str]:
        for _ in range(3):
            team.waiting()
        return ["answer"]

    def refuse() -> None:
        raise UserError("No such base.")

    def break_down() -> None:
        raise KeyError("an error of ours")

    assert team.once(slow) == ["answer"]
    assert len(waits) == 3
    with pytest.raises(UserError, match="No such base"):
        team.once(refuse)
    with pytest.raises(KeyError if team.leads else RuntimeError, match="an error of ours"):
        team.once(break_down)
    if team.leads:
        team.waiting()  # between two questions nobody listens
    assert team.once(lambda: dist.get_rank()) == 0


def test_two_ranks_learn_as_one(outspoken_base: str, tmp_path: Path):
    config = small_grpo_config(
        outspoken_base,
        steps=3,
        minibatches=2,
        loss="ppo",
        kl_to_base=0.05,
        warm_start={"steps": 2, "batch_size": 4},
    )
    alone = run_small_grpo(config, tmp_path / "one")
    torch.multiprocessing.spawn(rank_main, (config, tmp_path), nprocs=2)
    assert rollouts_of(tmp_path / "two") == rollouts_of(tmp_path / "one")
    for rank in range(2):
        for found, expected in zip(torch.load(tmp_path / f"rows{rank}"), alone, strict=True):
            for name in ("reward", "loss", "grad_norm", "kl_base", "eval_reward", "start_reward"):
                told = expected.fields().get(name)
                assert found.get(name) == (told and pytest.approx(told, rel=1e-3, abs=1e-6))
    one, two = (
        read_adapter(checkpoint_path(str(tmp_path / name), 3)).tensors for name in ("one", "two")
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_process_alone_is_its_own_leader():
    waits: list[int] = []
    team = Team(lambda: waits.append(1))
    assert team.leads
    assert team.once(lambda: team.waiting()) is None
    assert waits == [1]
