"""A peer: peft and the loop that most people write, rows of a batch padded to the longest."""

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.train.sft_loop import adam_at
from configs.training import TrainingConfig
from jobs.bench.sft.child import Training, serve, touch
from jobs.bench.sft.rows import in_batches
from jobs.bench.sft.work import Row, Start, Work, settings

IGNORED = -100  # transformers' label of what is not learned
_PAD = 0


def load(start: Start) -> PreTrainedModel:
    """The base."""
    dtype = torch.float32 if start.device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(start.base, dtype=dtype).to(start.device)
    touch(model, start.device)
    return model


def prepare(start: Start, base: PreTrainedModel, work: Work) -> Training:
    """The loop over some work."""
    config = settings(start, work)
    batches = in_batches(config, work.rows)
    torch.manual_seed(config.seed)
    model = get_peft_model(base, lora_config(config))
    learned = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(learned, betas=(0.9, 0.95), weight_decay=config.weight_decay)

    def train() -> list[float]:
        losses = []
        for step, rows in enumerate(batches):
            adam.param_groups[0]["lr"] = adam_at(config, step, len(batches)).learning_rate
            loss = model(**_padded(rows, start.device), use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, config.max_grad_norm)
            adam.step()
            adam.zero_grad()
            losses.append(loss.item())
        return losses

    return train


def lora_config(config: TrainingConfig) -> LoraConfig:
    """The adapter that ours trains."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # type: ignore[bad-argument-type]
        lora_dropout=config.lora.dropout,
        target_modules="all-linear",
    )


def labels(row: Row) -> list[int]:
    """What transformers learns of a row: its targets."""
    told = zip(row.token_ids, row.is_target, strict=True)
    return [token if is_target else IGNORED for token, is_target in told]


def _padded(rows: list[Row], device: str) -> dict[str, torch.Tensor]:
    tokens = [torch.tensor(row.token_ids) for row in rows]
    told = [torch.tensor(labels(row)) for row in rows]
    seen = [torch.ones_like(one) for one in tokens]
    columns = {
        "input_ids": pad_sequence(tokens, batch_first=True, padding_value=_PAD),
        "labels": pad_sequence(told, batch_first=True, padding_value=IGNORED),
        "attention_mask": pad_sequence(seen, batch_first=True, padding_value=0),
    }
    return {name: column.to(device) for name, column in columns.items()}


if __name__ == "__main__":
    serve(load, prepare)
