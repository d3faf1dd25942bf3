"""One training client's adapter in the trainer, and what its requests do to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.lm.adapter import Adapter, write_adapter
from actors.lm.sampling.limits import Limits
from actors.train.backend import Label
from actors.train.datum import Datum
from actors.train.on_torch.backend import TorchBackend
from configs.errors import UserError
from serve.tinker_api import wire
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import Checkpoint, Run, now
from serve.tinker_api.operations import Loading, Saving, adam_of
from serve.tinker_api.store import Store


@dataclass
class Tenant:
    """The adapter, how far it is, and why it takes nothing more."""

    run: Run
    backend: TorchBackend
    steps: int = 0
    saves: int = 0
    failed: str | None = None

    def run_pass(self, message: Any, limits: Limits) -> bytes:
        """A pass, as the request's protobuf has it; its answer in bytes."""
        loss, config = wire.loss_of(message)
        datums = _datums(message, limits)
        run = self.backend.forward if message.forward_only else self.backend.forward_backward
        return wire.passed(run(datums, loss, config).result())

    def step(self, params: Mapping[str, Any]) -> float | None:
        """One optimiser step; the gradients' norm before clipping."""
        stepped = self.backend.optim_step(adam_of(params)).result()
        self.steps += 1
        return stepped.grad_norm

    def load(self, store: Store, loading: Loading) -> None:
        """Go on from a checkpoint of an adapter of the same shape."""
        path, run = loading.path, self.run
        saved, manifest = store.read(path), store.manifest(path)
        shape = saved.rank, saved.train_mlp, saved.train_attn
        if shape != (run.rank, run.train_mlp, run.train_attn):
            raise Failed(
                f"{path} has rank {saved.rank} with train_mlp={saved.train_mlp} and "
                f"train_attn={saved.train_attn}, and this training client another LoRA; make one "
                "with create_training_client_from_state"
            )
        folder = store.folder(path)
        try:
            self.backend.load(folder, with_optimizer=loading.with_optimizer)
        except UserError as error:
            raise Failed(str(error).replace(folder, str(path)).rstrip(".")) from None
        self.steps = manifest.step

    def save(self, store: Store, saving: Saving) -> None:
        """Write a checkpoint; one to train on from has the optimiser."""
        run = self.run
        entry = Checkpoint(
            run.base_model, run.rank, run.train_mlp, run.train_attn, now().isoformat(),
            user_metadata=saving.user_metadata,
        )  # fmt: skip
        folder = store.begin(saving.path, entry, saving.ttl_s)
        if saving.path.kind == "weights":
            self.backend.save(folder, self._label())
        else:
            adapter = self.snapshot()
            assert adapter.manifest is not None
            write_adapter(folder, adapter.config, adapter.tensors, adapter.manifest)

    def snapshot(self) -> Adapter:
        """The adapter as it is now."""
        return self.backend.snapshot(self._label())

    def _label(self) -> Label:
        self.saves += 1
        return Label(self.run.id, self.saves, self.steps)


def _datums(message: Any, limits: Limits) -> list[Datum]:
    datums = wire.datums(message, limits.vocabulary)
    longest = max(map(len, datums))
    if longest > limits.context_tokens:
        raise ValueError(
            f"a datum has {longest} tokens, the model's context {limits.context_tokens}"
        )
    return datums
