"""The trainer: one actor that holds the base once and every training client's adapter on it.

Its methods run one after the other, in the order in which they were called. What a client can
cause goes back as a `Failed` value. After a request that was to change an adapter and failed, the
state of that adapter is not what its client believes: it takes nothing more.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import ray
import torch

from actors.lm.base import load_base
from actors.lm.sampling.limits import limits_of
from actors.train.on_torch.process import share_threads
from actors.train.on_torch.shared_base import SharedBase
from serve.tinker_api import wire
from serve.tinker_api.faults import told
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import Run
from serve.tinker_api.lora import layers_of, lora_of
from serve.tinker_api.operations import Loading, Saving
from serve.tinker_api.paths import CheckpointPath
from serve.tinker_api.runs import Runs
from serve.tinker_api.store import Store
from serve.tinker_api.tenant import Tenant

T = TypeVar("T")


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
        self._shared = SharedBase(base, None, reads_all=True)
        self._root, self._keep = storage_root, keep
        self._runs, self._store = Runs(storage_root), Store(storage_root)
        self._tenants: dict[str, Tenant] = {}

    def ready(self) -> int:
        """The model's context in tokens, once it is loaded."""
        return self._limits.context_tokens

    def create(self, run: Run, loading: Loading | None) -> Failed | None:
        """A new adapter, as the run says, or as a checkpoint has it."""

        def work() -> None:
            tenant = Tenant(run, self._shared.adapter(lora_of(self._layers, run), run.seed))
            try:
                if loading is not None:
                    tenant.load(self._store, loading)
                self._runs.add(run)
            except BaseException:
                self._shared.drop(tenant.backend)
                raise
            self._tenants[run.id] = tenant

        return told(work, self._root)

    def run_pass(self, run_id: str, body: bytes) -> bytes | Failed:
        """`forward_backward`, or with `forward_only` a pass that leaves no gradients."""
        message = wire.parse_pass(body)
        changes = not message.forward_only
        return self._on(run_id, lambda one: one.run_pass(message, self._limits), changes=changes)

    def step(self, run_id: str, params: Mapping[str, Any]) -> float | Failed | None:
        """One optimiser step; the gradients' norm before clipping."""
        return self._on(run_id, lambda one: one.step(params), changes=True)

    def load(self, run_id: str, loading: Loading) -> Failed | None:
        """Go on from a checkpoint of an adapter of the same shape."""
        return self._on(run_id, lambda one: one.load(self._store, loading), changes=True)

    def refuse(self, run_id: str, message: str, changes: bool) -> Failed:
        """A request that cannot be; `changes` where it was to change the adapter."""
        return self._on(run_id, lambda _: Failed(message), changes=changes)

    def save(self, run_id: str, saving: Saving) -> Failed | None:
        """Write a checkpoint."""
        return self._on(run_id, lambda one: one.save(self._store, saving), changes=False)

    def snapshot(self, run_id: str) -> list[Any] | Failed:
        """A reference to the adapter as it is now, in a list so that Ray hands it on as it is."""
        return self._on(run_id, lambda one: [self._keep(one.snapshot())], changes=False)

    def expire(self, path: CheckpointPath) -> None:
        """Remove a checkpoint whose time is over."""
        self._store.expire(path)

    def drop(self, run_id: str) -> None:
        """Forget an adapter."""
        tenant = self._tenants.pop(run_id, None)
        if tenant is not None:
            self._shared.drop(tenant.backend)

    def _on(self, run_id: str, work: Callable[[Tenant], T], *, changes: bool) -> T | Failed:
        tenant = self._tenants.get(run_id)
        if tenant is None:
            return Failed(
                "the trainer does not hold this training client (it could not be made, or the "
                "trainer was restarted since); make it anew from its last checkpoint",
                "server",
            )
        if tenant.failed is not None:
            return Failed(
                f"an earlier request of this training client failed ({tenant.failed}); make it "
                "anew from its last checkpoint"
            )
        answer = told(lambda: work(tenant), self._root)
        if changes and isinstance(answer, Failed):
            tenant.failed = str(answer)
        return answer
