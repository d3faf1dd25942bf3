"""One completion while it is being sampled: its tokens so far, and whether it is done.

Knows nothing of batches: whatever loop drives the model asks `next_draw` and calls `accept` once
a token.
"""

import math
from collections.abc import Sequence
from typing import Literal

from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from actors.lm.base import LoadedBase
from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import Sample, SampleRequest
from actors.lm.sampling.choose import Draws

# A window that starts inside a character or a word still shows the stop string whole.
_WINDOW_SLACK_TOKENS = 8


def limits_of(base: LoadedBase) -> Limits:
    """Read the limits off a model's configs."""
    end = base.model.generation_config.eos_token_id if base.model.generation_config else None
    ends = {*(end if isinstance(end, list) else [end]), base.tokenizer.eos_token_id} - {None}
    config = base.model.config.get_text_config()
    return Limits(
        base.tokenizer, frozenset(ends), config.max_position_embeddings, config.vocab_size
    )


def check_tokens(ids: Sequence[int], extra_tokens: int, limits: Limits) -> None:
    """BadRequest unless the ids exist and they fit the context with `extra_tokens` more."""
    if not ids:
        raise BadRequest("the prompt holds no tokens", "prompt")
    if not all(0 <= token < limits.vocabulary for token in ids):
        raise BadRequest(f"token ids must lie in 0..{limits.vocabulary - 1}", "prompt")
    if len(ids) + extra_tokens > limits.context_tokens:
        raise BadRequest(
            f"prompt ({len(ids)} tokens) and completion ({extra_tokens}) exceed the model's "
            f"context of {limits.context_tokens} tokens",
            "prompt" if len(ids) >= limits.context_tokens else "max_tokens",
        )


def check_sampling(request: SampleRequest) -> None:
    """BadRequest unless every sampling parameter is in its range."""
    if request.max_tokens < 1:
        raise BadRequest(f"max_tokens={request.max_tokens} must be at least 1", "max_tokens")
    if not (math.isfinite(request.temperature) and request.temperature >= 0):
        raise BadRequest(
            f"temperature={request.temperature} must be finite and at least 0", "temperature"
        )
    if not 0 < request.top_p <= 1:
        raise BadRequest(f"top_p={request.top_p} must lie above 0 and be at most 1", "top_p")
    if "" in request.stop:
        raise BadRequest("a stop string is empty", "stop")


class Row:
    """A checked request, bound to a slot, and what has been sampled for it."""

    def __init__(
        self, request: SampleRequest, *, slot: int, adapter_digest: str, limits: Limits
    ) -> None:
        check_sampling(request)
        check_tokens(request.prompt_ids, request.max_tokens, limits)
        self.request, self.slot = request, slot
        self._digest, self._limits = adapter_digest, limits
        self._draws = Draws(request.seed)
        self.token_ids: list[int] = []
        self._logprobs: list[float] = []
        self._finish_reason: Literal["stop", "length"] | None = None
        self.abandoned = False  # set by whoever no longer wants the answer, in any thread
        longest = max((len(stop.encode()) for stop in request.stop), default=0)
        self._window_tokens = longest + _WINDOW_SLACK_TOKENS

    @property
    def done(self) -> bool:
        """Whether nothing more is to be sampled."""
        return self.abandoned or self._finish_reason is not None

    def next_draw(self) -> float:
        """The row's next uniform number; greedy rows use none."""
        return self._draws.next() if self.request.temperature > 0 else 0.0

    def accept(self, token: int, logprob: float) -> None:
        """Add a sampled token, and see whether it ends the row."""
        self.token_ids.append(token)
        self._logprobs.append(logprob)
        if token in self._limits.end_ids or not math.isfinite(logprob) or self._stop_in_sight():
            self._finish_reason = "stop"
        elif len(self.token_ids) == self.request.max_tokens:
            self._finish_reason = "length"

    def result(self) -> Sample:
        """The finished sample; BrokenAdapter when the model's numbers were not finite."""
        if not self._finish_reason:
            raise ValueError("the row is not finished")
        if not math.isfinite(self._logprobs[-1]):
            raise BrokenAdapter(f'"{self.request.adapter}" gives numbers that are not finite')
        text = cut_at_stop(self._text(self.token_ids), self.request.stop)
        return Sample(self.token_ids, self._logprobs, text, self._finish_reason, self._digest)

    def _stop_in_sight(self) -> bool:
        if not self.request.stop:
            return False
        tail = self._text(self.token_ids[-self._window_tokens :])
        return any(stop in tail for stop in self.request.stop)

    def _text(self, token_ids: list[int]) -> str:
        return decode(self._limits.tokenizer, token_ids)


def decode(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    """The text that a reader sees, without special tokens."""
    text = tokenizer.decode(
        list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return str(text)


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """The text before the first occurrence of any stop string."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
