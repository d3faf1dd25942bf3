"""Two processes, each with the whole base or with a part of it, train what one process trains."""

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from small_rollouts import grpo_config, small_batch
from small_training import small_config, small_datums
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from actors.lm.adapter import read_adapter
from actors.train.backend import AdamParams, Label
from actors.train.datum import normalised
from actors.train.grpo.learn import learn
from actors.train.on_torch import start
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.start import start_backend
from configs.errors import UserError
from configs.sft import SftConfig


def train(backend: TorchBackend, folder: str, drops: bool) -> list[tuple[float, float]]:
    """Three steps on batches of different sizes, one of them of a single row."""
    datums, told = small_datums(9), []
    for rows in (datums[:8], datums[8:], datums[2:7]):
        seen = backend.forward(normalised(rows), "cross_entropy").result()
        base = backend.reference(normalised(rows)).result()
        passed = backend.forward_backward(normalised(rows), "cross_entropy").result()
        is_other = drops and bool(told)  # at first the adapter adds nothing that could be dropped
        assert (seen.loss != pytest.approx(passed.loss, rel=1e-5)) == is_other
        stepped = backend.optim_step(AdamParams(learning_rate=1e-2)).result()
        assert [len(values) for values in passed.logprobs] == [len(datum) for datum in rows]
        said = -sum(
            float(values @ np.asarray(datum.weights))
            for values, datum in zip(passed.logprobs, normalised(rows), strict=True)
        )
        assert said == pytest.approx(passed.loss, rel=1e-5)  # the other rank's rows included
        assert (base.loss != pytest.approx(seen.loss, rel=1e-5)) == bool(told)
        told += [(passed.loss, stepped.grad_norm), (seen.loss, base.loss)]
    backend.save(folder, Label("run", 1, 3))
    return told


def learn_from_rewards(config: SftConfig) -> list[dict[str, Any]]:
    """What is told of three batches of rollouts, learned from in one update and in several."""
    backend = start_backend(config, torch.device("cpu"))
    several: dict[str, Any] = {
        "loss": "gspo",
        "minibatches": 2,
        "kl_to_base": 0.1,
        "kl_in": "k2",
        "clip_high": 1e-3,
    }
    told: list[dict[str, Any]] = []
    for fields in ({"truncated_is": 2.0}, several, {"reduction": "dr_grpo", "temperature": 0.7}):
        batch = small_batch(backend, [[1, 0, 0, 1], [0, 0.5, 1], [1, 1]])
        learnt = learn(backend, batch, grpo_config(**fields), AdamParams(learning_rate=1e-2))
        numbers = {name: value for name, value in asdict(learnt).items() if value is not None}
        del numbers["advantages_P"]
        told.append(numbers)
    return told


def rank_main(rank: int, ways: dict[str, SftConfig], folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    for way, config in ways.items():
        backend = start_backend(config, torch.device("cpu"))
        parts = {type(p) for n, p in backend._model.named_parameters() if ".layers." in n}
        assert (DTensor in parts) == (config.sharding == "fsdp")
        told = train(backend, str(folder / way), config.lora.dropout > 0)
        torch.save(told, folder / f"{way}{rank}")
        if not config.lora.dropout:  # which is none of GRPO's
            torch.save(learn_from_rewards(config), folder / f"learnt-{way}{rank}")
    dist.destroy_process_group()


def test_two_ranks_train_as_one(small_base: str, tmp_path: Path):
    config = partial(small_config, small_base, micro_batch_tokens=100)
    dropping = {"lora": {"rank": 4, "alpha": 8, "dropout": 0.3}}
    alone = {
        drops: train(start_backend(c, torch.device("cpu")), str(tmp_path / f"alone{drops}"), drops)
        for drops, c in ((False, config()), (True, config(**dropping)))
    }
    sharded = {"sharding": "fsdp", "gradient_checkpointing": True}
    ways = {
        "replicated": config(),
        "fsdp": config(**sharded),
        "dropout": config(**dropping, **sharded),
    }
    learnt = learn_from_rewards(config())
    torch.multiprocessing.spawn(rank_main, (ways, tmp_path), nprocs=2)
    for way, trained in ways.items():
        drops = trained.lora.dropout > 0
        for rank in range(2):
            told = torch.load(tmp_path / f"{way}{rank}")
            for found, expected in zip(told, alone[drops], strict=True):
                assert found == pytest.approx(expected, rel=1e-4)
            if not drops:
                rewarded = torch.load(tmp_path / f"learnt-{way}{rank}")
                for found, expected in zip(rewarded, learnt, strict=True):
                    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
        one = read_adapter(str(tmp_path / f"alone{drops}")).tensors
        two = read_adapter(str(tmp_path / way)).tensors
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5)


def test_a_base_that_is_loaded_here_and_trained_elsewhere_keeps_torchs_layers(
    small_base: str, monkeypatch: pytest.MonkeyPatch
):
    found: list[set[type]] = []

    def shard(model: PreTrainedModel, device: torch.device) -> None:
        assert (model.device.type, device.type) == ("cpu", "meta")
        found.append({type(m) for m in model.modules() if isinstance(m, torch.nn.Linear)})

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(start, "shard_layers", shard)
    monkeypatch.setattr(start, "TorchBackend", lambda model, **_: model)
    start_backend(small_config(small_base, sharding="fsdp"), torch.device("meta"))
    assert found == [{torch.nn.Linear}]


def test_a_base_in_four_bits_needs_a_gpu(small_base: str):
    with pytest.raises(UserError, match=r"quantization=nf4 needs a CUDA GPU.*quantization=none"):
        start_backend(small_config(small_base, quantization="nf4"), torch.device("cpu"))
