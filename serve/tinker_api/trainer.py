"""The trainer: one actor that holds the base once and every training client's adapter on it.

Its methods run one after the other, in the order in which they were called. What a client can
cause goes back as a `Failed` value. After a request that was to change an adapter and failed, the
state of that adapter is not what its client believes: it takes nothing more.
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
import torch

from actors.lm.adapter import write_adapter
from actors.lm.base import load_base
from actors.lm.sampling.limits import limits_of
from actors.train.backend import Label
from actors.train.datum import Datum
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.process import share_threads
from actors.train.on_torch.shared_base import SharedBase
from configs.errors import UserError
from serve.openai.errors import Refused
from serve.tinker_api import wire
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import Checkpoint, Run, now
from serve.tinker_api.lora import layers_of, lora_of
from serve.tinker_api.operations import Loading, Saving, adam_of
from serve.tinker_api.store import Store

T = TypeVar("T")

_MICRO_BATCH_TOKENS = 4096


@dataclass
class _Model:
    run: Run
    backend: TorchBackend
    steps: int = 0
    saves: int = 0
    failed: str | None = None

    def label(self) -> Label:
        self.saves += 1
        return Label(self.run.id, self.saves, self.steps)


class Trainer:
    """Trains the adapters of all clients in turn."""

    def __init__(
        self,
        base_model: str,
        dtype: str,
        device: str,
        storage_root: str,
        keep: Callable[[Any], Any] = ray.put,
    ) -> None:
        share_threads(1)
        base = load_base(base_model, getattr(torch, dtype), device)
        self._limits, self._layers = limits_of(base), layers_of(base.model)
        self._shared = SharedBase(base, _MICRO_BATCH_TOKENS, reads_all=True)
        self._store, self._keep = Store(storage_root), keep
        self._models: dict[str, _Model] = {}

    def ready(self) -> int:
        """The model's context in tokens, once it is loaded."""
        return self._limits.context_tokens

    def create(self, run: Run, loading: Loading | None) -> Failed | None:
        """A new adapter, as the run says, or as a checkpoint has it."""

        def work() -> None:
            backend = self._shared.adapter(lora_of(self._layers, run), run.seed)
            try:
                if loading is not None:
                    self._take(backend, loading)
                self._store.add_run(run)
            except BaseException:
                self._shared.drop(backend)
                raise
            self._models[run.id] = _Model(run, backend)

        return _told(work)

    def run_pass(self, run_id: str, body: bytes) -> bytes | Failed:
        """`forward_backward`, or with `forward_only` a pass that leaves no gradients."""
        message = wire.parse_pass(body)

        def work(model: _Model) -> bytes:
            loss, config = wire.loss_of(message)
            datums = self._datums(message)
            run = model.backend.forward if message.forward_only else model.backend.forward_backward
            return wire.passed(run(datums, loss, config).result())

        return self._on(run_id, work, changes=not message.forward_only)

    def step(self, run_id: str, params: Mapping[str, Any]) -> float | Failed:
        """One optimiser step; the gradients' norm before clipping."""

        def work(model: _Model) -> float:
            stepped = model.backend.optim_step(adam_of(params)).result()
            model.steps += 1
            return stepped.grad_norm

        return self._on(run_id, work, changes=True)

    def load(self, run_id: str, loading: Loading) -> Failed | None:
        """Go on from a checkpoint of an adapter of the same shape."""
        return self._on(run_id, lambda model: self._take(model.backend, loading), changes=True)

    def refuse(self, run_id: str, message: str, changes: bool) -> Failed:
        """A request that cannot be; `changes` where it was to change the adapter."""
        return self._on(run_id, lambda _: Failed(message), changes=changes)

    def save(self, run_id: str, saving: Saving) -> Failed | None:
        """Write a checkpoint; one to train on from has the optimiser."""

        def work(model: _Model) -> None:
            run = model.run
            entry = Checkpoint(
                run.base_model, run.rank, run.train_mlp, run.train_attn, now().isoformat(),
                user_metadata=saving.user_metadata,
            )  # fmt: skip
            folder = self._store.begin(saving.path, entry, saving.ttl_s)
            if saving.path.kind == "weights":
                model.backend.save(folder, model.label())
            else:
                adapter = model.backend.snapshot(model.label())
                assert adapter.manifest is not None
                write_adapter(folder, adapter.config, adapter.tensors, adapter.manifest)

        return self._on(run_id, work, changes=False)

    def snapshot(self, run_id: str) -> list[Any] | Failed:
        """A reference to the adapter as it is now, in a list so that Ray hands it on as it is."""
        return self._on(
            run_id,
            lambda model: [self._keep(model.backend.snapshot(model.label()))],
            changes=False,
        )

    def drop(self, run_id: str) -> None:
        """Forget an adapter."""
        model = self._models.pop(run_id, None)
        if model is not None:
            self._shared.drop(model.backend)

    def _on(self, run_id: str, work: Callable[[_Model], T], *, changes: bool) -> T | Failed:
        model = self._models.get(run_id)
        if model is None:
            return Failed(
                "the trainer does not hold this training client any more (it was restarted); make "
                "it anew from its last checkpoint",
                "server",
            )
        if model.failed is not None:
            return Failed(
                f"an earlier request of this training client failed ({model.failed}); make it "
                "anew from its last checkpoint"
            )
        answer = _told(lambda: work(model))
        if changes and isinstance(answer, Failed):
            model.failed = str(answer)
        return answer

    def _datums(self, message: Any) -> list[Datum]:
        datums = wire.datums(message, self._limits.vocabulary)
        longest = max(map(len, datums))
        if longest > self._limits.context_tokens:
            raise ValueError(
                f"a datum has {longest} tokens, the model's context {self._limits.context_tokens}"
            )
        return datums

    def _take(self, backend: TorchBackend, loading: Loading) -> None:
        self._store.read(loading.path)
        backend.load(self._store.folder(loading.path), with_optimizer=loading.with_optimizer)


def _told(work: Callable[[], T]) -> T | Failed:
    """What the work gives, or what the client did wrong."""
    try:
        return work()
    except Failed as failure:
        return failure
    except (UserError, Refused, ValueError) as error:
        return Failed(str(error).rstrip("."))
    except Exception as error:  # a full disk, a full GPU, a fault of ours: its adapter has met it
        traceback.print_exc()
        return Failed(f"the trainer failed: {type(error).__name__}: {error}", "server")
