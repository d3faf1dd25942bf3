"""Small training runs: a config, a few conversations, and the same run without Ray."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import torch
from small_base import byte_tokenizer
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.adapter import MANIFEST
from actors.lm.messages import Conversation, assistant, user
from actors.train.checkpoint import (
    REMOTE,
    Cursor,
    SavedCheckpoint,
    checkpoint_path,
    saved_checkpoints,
    write_cursor,
)
from actors.train.data.datums import Rules, make_datums
from actors.train.data.problems import Problems
from actors.train.data.row import Row
from actors.train.datum import Datum
from actors.train.metrics import OnStep, StepMetrics
from actors.train.on_torch.process import run_sft, share_threads
from actors.train.sft_loop import SftData
from configs.sft import SftConfig


class Trained(NamedTuple):
    """What a run left."""

    folder: Path
    steps: list[StepMetrics]
    saved: list[SavedCheckpoint]


def conversation_datum(tokenizer: PreTrainedTokenizerBase, messages: Conversation) -> Datum:
    """A conversation of which the answers are learned."""
    row, rules, problems = Row("row", messages), Rules("assistant", 2048, "error"), Problems()
    ((_, datum),) = make_datums(tokenizer, [row], rules, problems).taught
    return datum


def small_datums(rows: int) -> list[Datum]:
    """Conversations of different lengths, for the byte tokenizer."""
    tokenizer = byte_tokenizer()
    return [
        conversation_datum(tokenizer, [user("Q" * (i + 1)), assistant("yes " * (i % 4 + 1))])
        for i in range(rows)
    ]


def small_config(base: str, **fields: object) -> SftConfig:
    """Two epochs of batches of four, a checkpoint every two steps; fields can be given."""
    defaults = {
        "base_model": base,
        "data_file": "data.jsonl",
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "save_every": 2,
        "lora": {"rank": 4, "alpha": 8},
    }
    return SftConfig.model_validate(defaults | fields)


def service_config(base: str, **fields: object) -> SftConfig:
    """Three steps on Tinker with a checkpoint after each; fields can be given."""
    defaults = {"backend": "tinker", "epochs": 1, "save_every": 1, "lora": {"rank": 4}}
    return small_config(base, **(defaults | fields))


def some_step(step: int, **fields: Any) -> StepMetrics:
    """The metrics of a step of no run; fields can be given."""
    numbers: dict[str, Any] = {
        "epoch": 0.1,
        "loss": 2.0,
        "tokens": 10,
        "target_tokens": 5,
        "learning_rate": 1e-4,
        "grad_norm": 1.0,
        "tokens_per_s": 100.0,
        "memory_mb": 50.0,
    }
    return StepMetrics(step, **(numbers | fields))


def remote_checkpoint(folder: str, history: list[StepMetrics], version: int) -> str:
    """One whose weights a service keeps: no adapter has to be made for it."""
    step = history[-1].step
    path = checkpoint_path(folder, step)
    write_cursor(path, Cursor(history, "data"))
    fs, root = fsspec.core.url_to_fs(path)
    manifest = {"step": step, "version": version, "digest": f"path:{step}"}
    fs.pipe_file(f"{root}/{MANIFEST}", json.dumps(manifest).encode())
    fs.pipe_file(f"{root}/{REMOTE}", b"{}")
    return path


def train_in_process(
    config: SftConfig,
    datums: Sequence[Datum],
    folder: Path,
    on_step: OnStep | None = None,
    validation: Sequence[Datum] = (),
) -> list[StepMetrics]:
    """Run a config in this process; returns the steps that were shown."""
    steps: list[StepMetrics] = []
    run_sft(
        config,
        SftData(datums, validation),
        run_id="run",
        folder=str(folder),
        device=torch.device("cpu"),
        on_step=on_step or steps.append,
        on_saved=lambda path, metrics: None,
    )
    return steps


def undisturbed(config: SftConfig, datums: Sequence[Datum], folder: Path) -> list[SavedCheckpoint]:
    """The checkpoints of a run in this process, with as many threads as one worker has."""
    threads = torch.get_num_threads()
    share_threads(1)
    train_in_process(config, datums, folder)
    torch.set_num_threads(threads)
    return saved_checkpoints(str(folder))
