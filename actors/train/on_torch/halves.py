"""A causal language model in two halves: hidden states of all tokens, logits of some.

Logits of a whole batch would not fit: they are made, used and forgotten chunk by chunk. The second
half is the model as transformers wrote it with its decoder's answer given, so that whatever it does
to hidden states or logits (soft caps, scales) is done.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from actors.lm.scoring.forward import tree_reach
from actors.train.on_torch.documents import DOCUMENTS, Documents, packed
from actors.train.on_torch.rope import one_scale_tokens

_MOST_ERROR = 0.05  # rounding makes 1e-6 of it in float32 and 0.01 in bfloat16


class Halves:
    """`decode`, then `logits`. `reach`: the longest document that may share its line; 0: none."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model, self._decoder = model, model.get_decoder()
        if model.get_output_embeddings() is None or self._decoder is model:
            raise TypeError(f"{type(model).__name__} is no causal language model")
        self._place = next(
            (parent, name)
            for parent in model.modules()
            for name, child in parent.named_children()
            if child is self._decoder
        )
        self.reach = int(min(tree_reach(model), one_scale_tokens(model.config.get_text_config())))
        if self.reach and not self._packs():
            self.reach = 0

    def taking(self, inputs: dict[str, Any]) -> AbstractContextManager[None]:
        """Open while such inputs are decoded and, as layers may be computed again, learnt from."""
        return packed(self._decoder.config) if DOCUMENTS in inputs else nullcontext()

    def decode(self, inputs: dict[str, Any]) -> Any:
        """The decoder's answer, whose `last_hidden_state` is [B, T, H]."""
        return self._decoder(**inputs, use_cache=False)

    def logits(self, answer: BaseModelOutput, hidden: Tensor) -> Tensor:
        """[N, V] after hidden states [N, H] of the decoder's answer."""
        chunk = type(answer)(**(dict(answer) | {"last_hidden_state": hidden.unsqueeze(0)}))
        token_ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        with self._answered(chunk):
            return self._model(input_ids=token_ids, use_cache=False).logits[0]

    @contextmanager
    def _answered(self, answer: BaseModelOutput) -> Iterator[None]:
        parent, name = self._place
        parent._modules[name] = _Given(answer)
        try:
            yield
        finally:
            parent._modules[name] = self._decoder

    @torch.no_grad()
    def _packs(self) -> bool:
        """Whether two short documents in a line are to the model what each is alone."""
        model = self._model
        lengths, device = (7, 5), model.device
        ids = torch.arange(sum(lengths), device=device) % model.config.get_text_config().vocab_size
        inputs = {
            "input_ids": ids.unsqueeze(0),
            "position_ids": torch.cat([torch.arange(n, device=device) for n in lengths]).unsqueeze(
                0
            ),
            DOCUMENTS: Documents(lengths, device),
        }
        try:
            with self.taking(inputs):
                together = self.decode(inputs).last_hidden_state[0]
        except torch.OutOfMemoryError:  # says nothing of what the model can do
            raise
        except (TypeError, KeyError, AttributeError, RuntimeError):
            return False  # an option that this attention does not know, a GPU without the kernel
        alone = [self.decode({"input_ids": part[None]}) for part in ids.split(lengths)]
        wanted = torch.cat([answer.last_hidden_state[0] for answer in alone])
        return bool((together - wanted).norm() <= _MOST_ERROR * wanted.norm())


class _Given(nn.Module):
    """Stands where the decoder was, with its answer."""

    def __init__(self, answer: BaseModelOutput) -> None:
        super().__init__()
        self._answer = answer

    def forward(self, *_: object, **__: object) -> BaseModelOutput:
        """The answer."""
        return self._answer
