"""LoRA dropout whose draws depend on where they are made, never on what was drawn before.

What is dropped is a hash of (seed, step, pass), the token's place in the whole batch, the layer and
the feature, as in counter-based generators (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3"). So it is the same however a batch is split over ranks and micro-batches, on every
device, in a layer that is computed again and in a run that is continued.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from configs.errors import UserError


class PassKey(NamedTuple):
    """Two words that name a pass, as signed 32-bit integers."""

    low: int
    high: int


def pass_key(seed: int, step: int, number: int) -> PassKey:
    """Of the pass with this number since a step."""
    words = np.random.SeedSequence([seed, step, number]).generate_state(2, np.uint32)
    return PassKey(*words.view(np.int32).tolist())


class LoraDropout:
    """Takes the place of peft's own in the layers of one adapter; is off but in `of`."""

    def __init__(self, model: nn.Module, adapter: str) -> None:
        self.tokens: Tensor | None = None  # [N] words, of the tokens that go through the layers
        dropping = [
            (name, layer)
            for name, layer in model.named_modules()
            if isinstance(layer, LoraLayer)
            and adapter in layer.lora_dropout
            and isinstance(layer.lora_dropout[adapter], nn.Dropout)
        ]
        for number, (name, layer) in enumerate(dropping):
            first, before = layer.lora_A[adapter], layer.lora_dropout[adapter]
            assert isinstance(first, nn.Linear)
            assert isinstance(before, nn.Dropout)
            features = _feature_words(number, first.in_features).to(first.weight.device)
            told = name.removeprefix("base_model.model.")
            layer.lora_dropout[adapter] = _Dropout(before.p, self, features, told)

    @contextmanager
    def of(self, key: PassKey | None, places: Tensor) -> Iterator[None]:
        """Drop out in a pass; `places` [N] are its tokens' in the whole batch. None: nothing."""
        self.tokens = None if key is None else _token_words(key, places)
        try:
            yield
        finally:
            self.tokens = None

    @contextmanager
    def among(self, reads: Tensor) -> Iterator[None]:
        """The layers in here see some of the tokens alone."""
        before = self.tokens
        self.tokens = None if before is None else before[reads]
        try:
            yield
        finally:
            self.tokens = before


class _Dropout(nn.Dropout):
    """Of one layer. A hash of 32 bits decides over two features, by 16 bits each."""

    def __init__(self, share: float, of: LoraDropout, features: Tensor, name: str) -> None:
        super().__init__(share)
        self._of, self._features, self._name = of, features, name  # [ceil(F / 2)] words
        self._least_kept = min(round(share * 2**16), 2**16 - 1) - 2**15

    def forward(self, input: Tensor) -> Tensor:  # torch's name for it
        """[..., F] of N tokens; what is kept grows by 1 / (1 - share)."""
        tokens = self._of.tokens
        if tokens is None:
            return input
        if len(tokens) != input.shape[:-1].numel():
            raise UserError(
                f"lora.dropout: {self._name} does not see the tokens in their order (an expert?); "
                "give lora.dropout=0, or lora.targets without it."
            )
        drawn = _mixed(tokens.unsqueeze(-1) ^ self._features).view(torch.int16)
        kept = drawn[:, : input.shape[-1]].reshape(input.shape) >= self._least_kept
        return input * kept * (1 / (1 - self.p))


def _token_words(key: PassKey, places: Tensor) -> Tensor:
    return _mixed(_mixed(places.int() ^ key.low) ^ key.high)


def _feature_words(layer: int, features: int) -> Tensor:
    """[ceil(features / 2)], on the CPU."""
    pairs = torch.arange((features + 1) // 2, dtype=torch.int32)
    return _mixed(_mixed(pairs) ^ _mixed(torch.tensor(layer + 1, dtype=torch.int32)))


def _mixed(words: Tensor) -> Tensor:
    """Hashes of 32-bit words, in place: the finaliser of MurmurHash3 (Appleby 2011)."""
    words ^= _shifted(words, 16)
    words *= 0x85EBCA6B - 2**32
    words ^= _shifted(words, 13)
    words *= 0xC2B2AE35 - 2**32
    words ^= _shifted(words, 16)
    return words


def _shifted(words: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left: torch's own shift copies the sign."""
    return (words >> bits).bitwise_and_(2 ** (32 - bits) - 1)
