"""The verbs of training in plain torch: one process, or one of many under torch.distributed.

Knows no Ray. Each rank computes its share of the batch; gradients are added over the ranks at
the optimiser step. Losses are sums, so the number of ranks changes nothing but rounding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import peft
import torch
import torch.distributed as dist
import torch.nn.functional as F
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from transformers import PreTrainedModel

from actors.lm.adapter import Manifest, adapter_digest, read_adapter, write_adapter
from actors.train.backend import AdamParams, Label
from actors.train.datum import Datum
from actors.train.on_torch.flat import FlatParameters
from actors.train.losses import LOSSES, LossName
from actors.train.on_torch.microbatch import MicroBatch, collate, microbatches, shard
from actors.train.on_torch.optimizer_state import read_optimizer, write_optimizer
from configs.errors import UserError


class TorchBackend:
    """Trains the LoRA of a peft model. The base stays in evaluation mode; LoRA dropout is on."""

    def __init__(self, model: peft.PeftModel, *, seed: int, micro_batch_tokens: int) -> None:
        self._model, self._seed, self._micro_batch_tokens = model, seed, micro_batch_tokens
        parallel = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if parallel else 0
        self.world_size = dist.get_world_size() if parallel else 1
        head = cast(PreTrainedModel, model.get_base_model()).get_output_embeddings()
        if head is None:
            raise TypeError(f"{type(model.get_base_model()).__name__} is no causal language model")
        self._head = head
        model.eval()
        for name, module in model.named_modules():
            if "lora_dropout" in name:
                module.train()
        self._flat = FlatParameters((n, p) for n, p in model.named_parameters() if p.requires_grad)
        vector = self._flat.vector
        self._adam = torch.optim.AdamW([vector])
        # AdamW makes its state at the first step; made here, there is one to save and load at 0.
        self._adam.state[vector] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(vector.data),
            "exp_avg_sq": torch.zeros_like(vector.data),
        }
        self._passes = 0

    def forward_backward(self, datums: Sequence[Datum], loss: LossName) -> float:
        """Add the gradients of this rank's share of the batch; returns the whole batch's loss."""
        device = self._flat.vector.device
        torch.manual_seed(self._dropout_seed())
        self._passes += 1
        total = torch.zeros((), dtype=torch.float64, device=device)
        mine = shard(datums, self.rank, self.world_size)
        for rows in microbatches(mine, self._micro_batch_tokens):
            batch = collate(rows, device)
            value = LOSSES[loss](self._target_logprobs(batch), batch.weights)
            value.backward()
            total += value.detach()
        if self.world_size > 1:
            dist.all_reduce(total)
        return float(total)

    def optim_step(self, adam: AdamParams) -> float:
        """One AdamW step on the gradients of all ranks; returns their norm before clipping."""
        if self.world_size > 1:
            dist.all_reduce(self._flat.grads)
        norm = self._flat.grads.norm()
        if adam.grad_clip_norm:
            self._flat.grads.mul_(torch.clamp(adam.grad_clip_norm / (norm + 1e-6), max=1.0))
        self._adam.param_groups[0].update(
            lr=adam.learning_rate,
            betas=(adam.beta1, adam.beta2),
            eps=adam.eps,
            weight_decay=adam.weight_decay,
        )
        self._adam.step()
        self._flat.grads.zero_()
        self._passes = 0
        return float(norm)

    def save(self, folder: str, label: Label) -> Manifest:
        """Write the PEFT directory and the optimiser (rank 0); every rank gets the manifest."""
        config, tensors = self._adapter()
        manifest = Manifest(
            name=label.name,
            version=label.version,
            step=label.step,
            run=label.name,
            base_model=config["base_model_name_or_path"],
            digest=adapter_digest(config, tensors),
        )
        if self.rank == 0:
            write_optimizer(folder, self._adam.state[self._flat.vector], self._flat.layout)
            write_adapter(folder, config, tensors, manifest)
        return manifest

    def load(self, folder: str) -> None:
        """Take weights and optimiser from a folder that `save` wrote for the same LoRA."""
        config, _ = self._adapter()
        adapter = read_adapter(folder)
        if adapter.base_model != config["base_model_name_or_path"]:
            raise UserError(
                f"{folder}: was trained on {adapter.base_model}, "
                f"not on {config['base_model_name_or_path']}."
            )
        state = read_optimizer(folder, self._flat.layout)
        set_peft_model_state_dict(self._model, adapter.tensors)
        for name, tensor in self._adam.state[self._flat.vector].items():
            tensor.copy_(state[name])
        self._flat.grads.zero_()
        self._passes = 0

    def _adapter(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        config = self._model.peft_config["default"].to_dict() | {"inference_mode": True}
        plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
        # Otherwise peft asks the hub whether the base has other embeddings than this one.
        tensors = get_peft_model_state_dict(self._model, save_embedding_layers=False)
        return plain, {k: v.detach().cpu().contiguous() for k, v in tensors.items()}

    def _target_logprobs(self, batch: MicroBatch) -> torch.Tensor:
        """Log-probabilities of the targets [N]; logits exist at those positions only."""
        with _only_positions(self._head, batch.is_target):
            logits = self._model(
                input_ids=batch.token_ids, attention_mask=batch.attention_mask, use_cache=False
            ).logits
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return -F.cross_entropy(logits, batch.target_ids, reduction="none")

    def _dropout_seed(self) -> int:
        """Dropout is a function of where the run is, so that a resumed run needs no RNG state."""
        step = int(self._adam.state[self._flat.vector]["step"])
        entropy = np.random.SeedSequence([self._seed, step, self._passes, self.rank])
        return int(entropy.generate_state(1, np.uint64)[0])


@contextmanager
def _only_positions(head: torch.nn.Module, keep: torch.Tensor) -> Iterator[None]:
    """While open, the head sees the hidden states [B, T, H] at `keep` [B, T] only, as [N, H].

    Done before the head rather than after the model, so that whatever a model does to its logits
    (soft caps, scales) still happens.
    """
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0][keep],))
    try:
        yield
    finally:
        hook.remove()
