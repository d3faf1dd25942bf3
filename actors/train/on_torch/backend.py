"""The verbs of training in plain torch: one process, or one of many under torch.distributed.

Knows no Ray. Each rank computes its share of the batch; gradients are added over the ranks at
the optimiser step. Losses are sums, so the number of ranks changes nothing but rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import peft
import torch
import torch.distributed as dist
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from actors.lm.adapter import Adapter, read_adapter, write_adapter
from actors.train.backend import AdamParams, Done, Label, Passed, Stepped
from actors.train.datum import Datum
from actors.train.losses import LossName
from actors.train.on_torch.dropout import LoraDropout, pass_key
from actors.train.on_torch.flat import FlatParameters
from actors.train.on_torch.optimizer_state import read_optimizer, write_optimizer
from actors.train.on_torch.passes import Passes
from actors.train.on_torch.peft_files import adapter_of, take_weights
from configs.errors import UserError


class TorchBackend:
    """Trains one LoRA of a peft model. The base stays in evaluation mode; LoRA dropout is on."""

    def __init__(
        self,
        model: peft.PeftModel,
        *,
        seed: int,
        micro_batch_tokens: int | None,
        adapter: str = "default",
        reads_all: bool = False,
        on_micro_batch: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare to train `adapter`, the model's active one.

        Args:
            model: the base with its LoRA, on the device that it trains on.
            seed: of dropout.
            micro_batch_tokens: tokens that go through the model at once; None: what suits it.
            adapter: its name in the model.
            reads_all: log-probabilities are computed also where nothing is learnt.
            on_micro_batch: called whenever one has been computed.
        """
        self._model, self._seed, self._name = model, seed, adapter
        model.eval()
        base = cast(PreTrainedModel, model.get_base_model())
        self._passes = Passes(
            base,
            LoraDropout(model, adapter),
            micro_batch_tokens=micro_batch_tokens,
            reads_all=reads_all,
            on_micro_batch=on_micro_batch,
        )
        self.rank, self.world_size = self._passes.rank, self._passes.world_size
        is_wide = base.dtype in (torch.float32, torch.float64)
        for module in model.modules():
            if isinstance(module, BaseTunerLayer):  # else peft makes float32 copies of its inputs
                module.cast_input_dtype_enabled = is_wide  # type: ignore[bad-argument-type]
        self._flat = FlatParameters(
            (name.replace(f".{adapter}.", ".default."), parameter)
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        )
        vector = self._flat.vector
        self._adam = torch.optim.AdamW([vector])
        # AdamW makes its state at the first step; made here, there is one to save and load at 0.
        self._adam.state[vector] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(vector.data),
            "exp_avg_sq": torch.zeros_like(vector.data),
        }
        self._passes_since_step = 0

    def forward(
        self,
        datums: Sequence[Datum],
        loss: LossName,
        loss_config: Mapping[str, float] | None = None,
    ) -> Done[Passed]:
        """The loss of a batch without dropout, nothing learnt from it."""
        self._activate()
        return Done(self._passes.run(datums, loss, loss_config or {}, None))

    def reference(
        self, datums: Sequence[Datum], loss_config: Mapping[str, float] | None = None
    ) -> Done[Passed]:
        """What the base says of the targets that cross_entropy looks at."""
        self._activate()
        with self._model.disable_adapter():
            return Done(self._passes.run(datums, "cross_entropy", loss_config or {}, None))

    def forward_backward(
        self,
        datums: Sequence[Datum],
        loss: LossName,
        loss_config: Mapping[str, float] | None = None,
    ) -> Done[Passed]:
        """Add the gradients of this rank's share of the batch."""
        self._activate()
        step = int(self._adam.state[self._flat.vector]["step"])
        key = pass_key(self._seed, step, self._passes_since_step)
        self._passes_since_step += 1
        return Done(self._passes.run(datums, loss, loss_config or {}, key))

    def optim_step(self, adam: AdamParams) -> Done[Stepped]:
        """One AdamW step on the gradients of all ranks."""
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
        self._clear()
        return Done(Stepped(float(norm)))

    def save(self, folder: str, label: Label) -> str:
        """Write the PEFT directory and the optimiser (rank 0); returns the folder."""
        if self.rank == 0:
            adapter = adapter_of(self._model, self._name, label)
            assert adapter.manifest is not None
            write_optimizer(folder, self._adam.state[self._flat.vector], self._flat.layout)
            write_adapter(folder, adapter.config, adapter.tensors, adapter.manifest)
        return folder

    def load(self, path: str, *, with_optimizer: bool = True) -> None:
        """Take weights from a folder that `save` wrote for the same LoRA, and the optimiser.

        Without it, AdamW begins anew, as that of a fresh backend does.
        """
        adapter, base = read_adapter(path), self._model.peft_config[self._name]
        if adapter.base_model != base.base_model_name_or_path:
            raise UserError(
                f"{path}: was trained on {adapter.base_model}, not on "
                f"{base.base_model_name_or_path}."
            )
        own = self._adam.state[self._flat.vector]
        fresh = {name: torch.zeros_like(tensor) for name, tensor in own.items()}
        state = read_optimizer(path, self._flat.layout) if with_optimizer else fresh
        take_weights(self._model, self._name, adapter, path)
        for name, tensor in state.items():
            own[name].copy_(tensor)
        self._clear()

    def snapshot(self, label: Label) -> Adapter:
        """The adapter as it is now; later steps do not change it."""
        return adapter_of(self._model, self._name, label)

    def _activate(self) -> None:
        if self._model.active_adapters != [self._name]:
            self._model.set_adapter(self._name)

    def _clear(self) -> None:
        self._flat.grads.zero_()
        self._passes_since_step = 0
