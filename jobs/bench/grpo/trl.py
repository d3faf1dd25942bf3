"""The peer: TRL's GRPOTrainer with peft and transformers' generation, in one process.

It samples all answers of a step in one batch, then learns from them in micro-batches, and makes
one optimiser step, in which the old policy is the policy itself.
"""

import os
import tempfile
import time
from functools import partial
from statistics import mean
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer

from actors.lm.messages import Message, user
from configs.grpo import GrpoConfig as Settings
from jobs.bench.grpo.child import serve, started
from jobs.bench.grpo.task import share_of_vowels
from jobs.bench.grpo.work import Measured, Start, Work, settings
from jobs.bench.sft.plain import lora_config


class _Watch(TrainerCallback):
    """What answers are worth, and when: a step's have been sampled then. And when steps ended."""

    def __init__(self) -> None:
        self.sampled_s: list[float] = []
        self.ended_s: list[float] = []

    def rewards(self, completions: list[list[Message]], **_: Any) -> list[float | None]:
        self.sampled_s.append(time.perf_counter())
        return [share_of_vowels(turns[-1]["content"]) for turns in completions]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ended_s.append(time.perf_counter())


def train(start: Start, work: Work) -> Measured:
    """Its trainer over some work."""
    config, watch = settings(start, work), _Watch()
    disable_progress_bars()
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(start.base, dtype=torch.float32),
        reward_funcs=watch.rewards,
        args=arguments(start, config, work),
        train_dataset=Dataset.from_list([{"prompt": [user(text)]} for text in work.questions]),
        processing_class=AutoTokenizer.from_pretrained(start.base, padding_side="left"),
        peft_config=lora_config(config),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "reward" in row][work.warm_steps :]
    ended_s, sampled_s = watch.ended_s[work.warm_steps - 1 :], watch.sampled_s[work.warm_steps :]
    sampling_s = [said - began for said, began in zip(sampled_s, ended_s[:-1], strict=True)]
    return Measured(
        wall_s=ended_s[-1] - ended_s[0],
        tokens=round(mean(row["completions/mean_length"] for row in rows) * work.answers),
        reward=mean(row["reward"] for row in rows),
        spread=mean(row["reward_std"] for row in rows),
        sampling_s=mean(sampling_s),
        handovers_s=[],
    )


def arguments(start: Start, ours: Settings, work: Work) -> GRPOConfig:
    """Its defaults, but for what has to be the same on both sides, and what makes it quicker."""
    return GRPOConfig(
        output_dir=tempfile.mkdtemp(dir=start.folder),
        use_cpu=True,
        bf16=False,
        num_generations=work.group_size,
        max_completion_length=work.max_tokens,
        temperature=ours.temperature,
        per_device_train_batch_size=work.micro_batch,
        gradient_accumulation_steps=work.answers // work.micro_batch,
        max_steps=ours.steps,
        scale_rewards="none",  # the reward less its group's mean, as ours
        learning_rate=ours.learning_rate,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        max_grad_norm=ours.max_grad_norm,
        seed=ours.seed,
        gradient_checkpointing=False,  # its default computes activations twice; ours does not
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def main() -> None:
    """Train on one core or on all."""
    start = started()
    logging.disable_progress_bar()
    torch.set_num_threads(1 if start.one_thread else len(os.sched_getaffinity(0)))
    serve(partial(train, start))


if __name__ == "__main__":
    main()
