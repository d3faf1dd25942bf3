"""The verbs of training on the Tinker service.

The SDK keeps the order of what is submitted, so a pass and the step after it are both on their way
before either is waited for.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import tinker

from actors.lm.adapter import Manifest, adapter_digest
from actors.lm.sampler import RemotePolicy
from actors.train.backend import AdamParams, Label, Passed, Pending, Stepped
from actors.train.datum import Datum
from actors.train.losses import LossName
from actors.train.on_tinker.asked import Asked, Parts
from actors.train.on_tinker.faults import is_not_offered, said, told
from actors.train.on_tinker.kept import Weights, download, write_kept
from actors.train.on_tinker.lora import ServiceLora
from actors.train.on_tinker.reference import ask_reference
from actors.train.on_tinker.service import Service
from actors.train.on_tinker.translate import passed, service_adam, service_datums, stepped
from actors.train.remote import TINKER, Kept, read_kept

_log = logging.getLogger(__name__)

T = TypeVar("T")
S = TypeVar("S")
_PART_ROWS = 128  # of what is only measured, which may be many times a batch
_POLICY_TTL_S = 24 * 3600  # of a version that only rollouts are sampled from
_EXPORT_TTL_S = 3600  # the shortest that the service takes; an export is removed once it is here


class TinkerBackend:
    """Trains a LoRA of a model of the service. It is made there at the first verb, or by `load`."""

    def __init__(
        self,
        service: Service,
        base_model: str,
        lora: ServiceLora,
        seed: int,
        patience_s: float,
    ) -> None:
        self._service, self._base_model, self._lora = service, base_model, lora
        self._seed, self._patience_s = seed, patience_s
        self._made: tinker.TrainingClient | None = None
        self._exports = True  # until the service says that it does not

    def forward(
        self,
        datums: Sequence[Datum],
        loss: LossName,
        loss_config: Mapping[str, float] | None = None,
    ) -> Pending[Passed]:
        """The loss of a batch of any size, nothing learnt from it. Asked for in parts."""
        parts = [datums[i : i + _PART_ROWS] for i in range(0, len(datums), _PART_ROWS)]
        futures = [self._client.forward(service_datums(part), loss, loss_config) for part in parts]
        return Parts([self._asked("forward", future, lambda told: told) for future in futures])

    def reference(
        self, datums: Sequence[Datum], loss_config: Mapping[str, float] | None = None
    ) -> Pending[Passed]:
        """What the base says of the targets whose weight is not 0; only at temperature 1."""
        if (loss_config or {}).get("temperature", 1.0) != 1:
            raise ValueError("the service scores at temperature 1")
        return ask_reference(self._base, datums, self._patience_s)

    def forward_backward(
        self,
        datums: Sequence[Datum],
        loss: LossName,
        loss_config: Mapping[str, float] | None = None,
    ) -> Pending[Passed]:
        """Add the gradients of the loss of a batch."""
        future = self._client.forward_backward(service_datums(datums), loss, loss_config)
        return self._asked("forward_backward", future, passed)

    def optim_step(self, adam: AdamParams) -> Pending[Stepped]:
        """One AdamW step on the gradients that were added since the last one."""
        return self._asked("optim_step", self._client.optim_step(service_adam(adam)), stepped)

    def save(self, folder: str, label: Label) -> str:
        """Keep a checkpoint on the service, and in `folder` what says where, with its weights."""
        client, name = self._client, _name(label)
        with told("saving a checkpoint"):
            state, sampler = client.save_state(name), client.save_weights_for_sampler(name)
            kept = Kept(
                state.result(timeout=self._patience_s).path,
                sampler.result(timeout=self._patience_s).path,
            )
        weights = self._exported(name, kept.state)
        digest = adapter_digest(*weights) if weights else self._service.digest(kept.sampler)
        manifest = Manifest(
            label.name, label.version, label.step, label.name, self._base_model, digest
        )
        write_kept(folder, manifest, kept, weights)
        return folder

    def load(self, path: str) -> None:
        """Continue from a folder that `save` wrote, or from a tinker:// path of a state."""
        state = path if path.startswith(TINKER) else read_kept(path).state
        absent = (
            f"{path}: the service no longer has {state}, so training cannot go on from here. "
            "Remove the directory to go on from the one before it, or give another run_id."
        )
        self._continue_from(state, absent)

    def snapshot(self, label: Label) -> RemotePolicy:
        """The adapter as it is now: a path on the service, which lets go of it after a day."""
        name = f"{label.name}-policy-{label.version:06d}"
        with told("saving a snapshot"):
            saving = self._client.save_weights_for_sampler(name, _POLICY_TTL_S)
            path = saving.result(timeout=self._patience_s).path
        return RemotePolicy(path, self._service.digest(path))

    @cached_property
    def _base(self) -> tinker.SamplingClient:
        with told(f"opening a sampler of {self._base_model}"):
            return self._service.clients.create_sampling_client(base_model=self._base_model).result(
                timeout=self._patience_s
            )

    @property
    def _client(self) -> tinker.TrainingClient:
        if self._made is None:
            with told(f"making a LoRA on {self._base_model}"):
                self._made = self._service.clients.create_lora_training_client(
                    self._base_model, seed=self._seed, **self._lora._asdict()
                ).result(timeout=self._patience_s)
        return self._made

    def _asked(self, doing: str, future: tinker.APIFuture[S], read: Callable[[S], T]) -> Pending[T]:
        return Asked(doing, future, read, self._patience_s)

    def _continue_from(self, state: str, absent: str | None = None) -> None:
        with told(f"loading {state}", absent):
            self._made = self._service.clients.create_training_client_from_state_with_optimizer(
                state
            ).result(timeout=self._patience_s)

    def _exported(self, name: str, state: str) -> Weights | None:
        """The weights as they are saved under `state`; None where the service gives none away."""
        if not self._exports:
            return None
        path = self._export(name)
        if path is None:
            self._exports = False
            # What the service did not take leaves a gap in the order of the client's requests, and
            # it would wait for it. A new client at the same place has none.
            self._continue_from(state)
            return None
        return download(self._service.rest, path, self._base_model)

    def _export(self, name: str) -> str | None:
        """Where the weights lie for download; None where the service does not offer that."""
        with told("saving weights for download"):
            try:
                export = self._client.save_weights_external(name, _EXPORT_TTL_S)
                return export.result(timeout=self._patience_s).path
            except tinker.TinkerError as error:
                if not is_not_offered(error):
                    raise
                _log.warning(
                    "The service gives no weights away (%s): checkpoints stay there, and eval "
                    "samples them there.",
                    said(error),
                )
                return None


def _name(label: Label) -> str:
    return f"{label.name}-step-{label.step:06d}"
