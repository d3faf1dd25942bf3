"""One base in memory, several adapters that train in turn."""

from itertools import count

import peft
import torch

from actors.lm.base import LoadedBase
from actors.lm.dense import quicken
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora, peft_config
from configs.sections import LoraConfig


class SharedBase:
    """Makes training backends on one base, which knows one adapter at a time.

    Each of them computes what it would compute alone, whatever the others do between its calls.
    They are called from one thread.
    """

    def __init__(
        self, base: LoadedBase, micro_batch_tokens: int | None, *, reads_all: bool = False
    ) -> None:
        """Takes a base that lies where it computes.

        `reads_all`: log-probabilities are computed also where nothing is learnt.
        """
        quicken(base.model)
        self.base = base
        self._micro_batch_tokens, self._reads_all = micro_batch_tokens, reads_all
        self._model: peft.PeftModel | None = None
        self._names = (f"adapter{number}" for number in count())
        self._of_backend: dict[TorchBackend, str] = {}

    def adapter(self, lora: LoraConfig, seed: int) -> TorchBackend:
        """A fresh adapter; UserError for targets or layers that the base does not have."""
        name = next(self._names)
        if self._model is None:
            self._model = add_lora(self.base, lora, seed, name)
        else:
            config = peft_config(self.base, lora)
            torch.manual_seed(seed)
            self._model.add_adapter(name, config)
            config.base_model_name_or_path = self.base.name
            self._model.set_adapter(name)
        backend = TorchBackend(
            self._model,
            seed=seed,
            micro_batch_tokens=self._micro_batch_tokens,
            adapter=name,
            reads_all=self._reads_all,
        )
        self._of_backend[backend] = name
        return backend

    def drop(self, backend: TorchBackend) -> None:
        """Forget an adapter; its backend cannot be used any more."""
        assert self._model is not None
        name = self._of_backend.pop(backend)
        if others := list(self._of_backend.values()):
            self._model.set_adapter(others[0])  # peft warns when the active one goes
        self._model.delete_adapter(name)
