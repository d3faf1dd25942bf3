"""The peer: TRL's SFTTrainer with peft, on the batches that ours trains on, in the same order.

Padded is how it comes. Without padding it lays the rows of a batch end to end, or packs all rows
into sequences of one length beforehand. It wants flash-attention for both, which no CPU has; with
torch's attention transformers makes a mask of who sees whom, and the losses are the same.
"""

import tempfile
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PrinterCallback
from trl import SFTConfig, SFTTrainer

from configs.sft import SftConfig as Settings
from jobs.bench.sft.child import Training, serve, touch
from jobs.bench.sft.plain import labels, lora_config
from jobs.bench.sft.rows import in_batches
from jobs.bench.sft.work import Start, Work, settings


def load(start: Start) -> PreTrainedModel:
    """The base."""
    model = AutoModelForCausalLM.from_pretrained(start.base, dtype=torch.float32)
    touch(model, start.device)
    return model


def prepare(start: Start, model: PreTrainedModel, work: Work) -> Training:
    """Its trainer over some work."""
    ours = settings(start, work)
    rows = [row for batch in in_batches(ours, work.rows) for row in batch]
    disable_progress_bars()
    trainer = SFTTrainer(
        model,
        args=_arguments(start, ours, work),
        train_dataset=Dataset.from_list(
            [{"input_ids": row.token_ids, "labels": labels(row)} for row in rows]
        ),
        processing_class=AutoTokenizer.from_pretrained(start.base),
        peft_config=lora_config(ours),
    )
    trainer.remove_callback(PrinterCallback)

    def train() -> list[float]:
        trainer.train()
        return [row["loss"] for row in trainer.state.log_history if "loss" in row]

    return train


def _arguments(start: Start, ours: Settings, work: Work) -> SFTConfig:
    """Its defaults, but for what has to be the same on both sides."""
    return SFTConfig(
        output_dir=tempfile.mkdtemp(dir=start.folder),
        use_cpu=True,
        bf16=False,
        train_sampling_strategy="sequential",
        num_train_epochs=1,
        learning_rate=ours.learning_rate,
        warmup_steps=ours.warmup_steps,
        adam_beta2=0.95,
        max_grad_norm=ours.max_grad_norm,
        seed=ours.seed,
        gradient_checkpointing=work.gradient_checkpointing,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **_arranged(work),
    )


def _arranged(work: Work) -> dict[str, Any]:
    if work.arrangement == "padded":
        return {"per_device_train_batch_size": work.batch_size}
    if work.arrangement == "padding_free":
        return {
            "per_device_train_batch_size": work.batch_size,
            "padding_free": True,
            "max_length": None,
        }
    # Attention costs the square of a sequence here, so a batch is two of them rather than one.
    half = -(-work.tokens // work.steps // 2)
    return {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "packing": True,
        "max_length": max(half, *work.lengths) + 1,
    }


if __name__ == "__main__":
    serve(load, prepare)
