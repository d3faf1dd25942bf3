"""The peer: lm-eval's own `hf` model, whose adapters are swapped in process."""

from collections.abc import Sequence
from typing import Any

from actors.lm.requests import Likelihood
from jobs.bench.score.tasks import Asked

_BATCH = 64


class Peer:
    """lm-eval's HFLM on a base, or on a base with adapters."""

    def __init__(self, base: str, adapters: Sequence[str] = ()) -> None:
        from lm_eval.models.huggingface import HFLM
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._model: Any = AutoModelForCausalLM.from_pretrained(base)
        for name in adapters:
            if isinstance(self._model, PeftModel):
                self._model.load_adapter(name, adapter_name=_short(name))
            else:
                self._model = PeftModel.from_pretrained(self._model, name, _short(name))
        self._adapters = adapters
        self._lm = HFLM(
            pretrained=self._model,
            tokenizer=AutoTokenizer.from_pretrained(base),
            batch_size=_BATCH,
            device="cpu",
        )

    def answers(self, asked: Asked) -> list[list[Likelihood]]:
        """What each adapter, or the base where there are none, says to all instances."""
        told = []
        for name in self._adapters or [None]:
            if name is not None:
                self._model.set_adapter(_short(name))
            pairs = self._lm.loglikelihood(asked.instances, disable_tqdm=True)
            told.append([Likelihood(*pair) for pair in pairs])
        return told


def _short(path: str) -> str:
    return path.rsplit("/", 1)[-1]  # a module's name holds no dots and slashes
