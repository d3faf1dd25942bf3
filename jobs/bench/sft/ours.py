"""Ours: the SFT loop on the torch backend, in a plain process."""

import torch

from actors.lm.base import LoadedBase, load_base
from actors.lm.dense import quicken
from actors.train.metrics import StepMetrics
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora
from actors.train.on_torch.start import checkpoint_layers
from actors.train.sft_loop import SftData, sft
from jobs.bench.sft.child import Training, serve, touch
from jobs.bench.sft.rows import make_datum
from jobs.bench.sft.work import Start, Work, settings


def load(start: Start) -> LoadedBase:
    """The base."""
    dtype = torch.float32 if start.device == "cpu" else torch.bfloat16
    base = load_base(start.base, dtype, start.device)
    touch(base.model, start.device)
    return base


def prepare(start: Start, base: LoadedBase, work: Work) -> Training:
    """The loop over some work."""
    config, data = settings(start, work), SftData([make_datum(row) for row in work.rows])
    quicken(base.model)
    model = add_lora(base, config.lora, config.seed)
    backend = TorchBackend(model, seed=config.seed, micro_batch_tokens=config.micro_batch_tokens)
    if config.gradient_checkpointing:
        checkpoint_layers(model)

    def train() -> list[float]:
        steps: list[StepMetrics] = []
        sft(backend, data, config, [], on_step=steps.append, keep=lambda _: None)
        return [step.loss for step in steps]

    return train


if __name__ == "__main__":
    serve(load, prepare)
