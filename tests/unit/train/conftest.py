"""A small base on disk, conversations, and training in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_base import byte_tokenizer, write_small_base

from actors.lm.messages import assistant, user
from actors.train.datum import Datum, conversation_datum
from actors.train.metrics import StepMetrics
from actors.train.sft_process import run_sft
from configs.sft import SftConfig


@pytest.fixture(scope="session")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a transformers directory."""
    return write_small_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def datums() -> list[Datum]:
    """Ten conversations of different lengths."""
    tokenizer = byte_tokenizer()
    return [
        conversation_datum(tokenizer, [user("Q" * (i + 1)), assistant("yes " * (i % 4 + 1))])
        for i in range(10)
    ]


@pytest.fixture
def sft_config(small_base: str) -> Callable[..., SftConfig]:
    """A config for the small base; fields can be given."""

    def make(**fields: object) -> SftConfig:
        defaults = {
            "base_model": small_base,
            "data_file": "data.jsonl",
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "warmup_steps": 2,
            "save_every": 2,
            "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
        }
        return SftConfig.model_validate(defaults | fields)

    return make


@pytest.fixture
def train_here(datums: list[Datum]) -> Callable[..., list[StepMetrics]]:
    """Run a config in this process; returns the steps that were shown."""

    def train(config: SftConfig, folder: Path, **hooks: Callable[..., None]) -> list[StepMetrics]:
        steps: list[StepMetrics] = []
        run_sft(
            config,
            datums,
            run_id="run",
            folder=str(folder),
            device=torch.device("cpu"),
            on_step=hooks.get("on_step", steps.append),
            on_saved=hooks.get("on_saved", lambda path, metrics: None),
        )
        return steps

    return train
