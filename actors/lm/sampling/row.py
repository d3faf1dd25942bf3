"""One completion while it is sampled: its tokens so far, and whether it is done.

Knows nothing of batches: whatever loop drives the model hands the rows and their logits to
`advance`, which chooses a token for each.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from actors.lm.engine import Limits
from actors.lm.refusals import BadRequest, BrokenAdapter
from actors.lm.requests import Piece, Sample, SampleRequest, TokenLogprob
from actors.lm.sampling.choose import Chance, Draws
from actors.lm.sampling.limits import check_request, ends_of
from actors.lm.sampling.logprobs import read_logprobs
from actors.lm.sampling.text import StopWatch, TextStream

if TYPE_CHECKING:
    from actors.lm.sampling.grammar import Grammar


class Row:
    """A checked request, bound to a slot, and what has been sampled for it.

    BadRequest when the request breaks a limit. One with a JSON schema is made in a thread: to
    compile a schema for the first time takes tens of milliseconds.
    """

    def __init__(
        self, request: SampleRequest, *, slot: int, adapter_digest: str, limits: Limits
    ) -> None:
        check_request(request, limits)
        self.request, self.slot = request, slot
        self.token_ids: list[int] = []
        self.abandoned = False  # set by whoever no longer wants the answer, in any thread
        self._digest = adapter_digest
        self._end_ids = ends_of(request, limits)
        self.grammar = _grammar(request.json_schema, limits)
        self._draws = Draws(request.seed)
        self._stream, self._watch = TextStream(limits.tokenizer), StopWatch(request.stop)
        self._text: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._prompt_logprobs: list[TokenLogprob | None] = [None] * len(request.prompt_ids)
        self._piece_from = (0, 0)  # tokens and texts that earlier pieces had
        self._finish_reason: Literal["stop", "length"] | None = None
        self._problem: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more is to be sampled."""
        return self.abandoned or self._finish_reason is not None or self._problem is not None

    @property
    def sequence(self) -> list[int]:
        """The prompt and what was sampled: what a cache must hold for the row to go on."""
        return [*self.request.prompt_ids, *self.token_ids]

    def accept_prompt(self, logits: Tensor, first: int) -> None:
        """Take the model's logits [t, V] at the prompt's places `first`..`first + t - 1`.

        Each tells of the token after it; a place may be told again.
        """
        prompt, count = self.request.prompt_ids, self.request.prompt_logprobs or 0
        told = prompt[first + 1 : first + 1 + len(logits)]
        if told:
            logprobs = logits[: len(told)].float().log_softmax(dim=-1)
            tokens = torch.tensor(told).to(logits.device)
            _, found = read_logprobs(logprobs, tokens, [count] * len(told))
            self._prompt_logprobs[first + 1 : first + 1 + len(told)] = found
            self._check_finite(found)
        if self.request.max_tokens == 0 and first + len(logits) >= len(prompt):
            self._finish_reason = "length"

    def next_chance(self) -> Chance:
        """How the next token is chosen; greedy rows use no draw."""
        request = self.request
        draw = self._draws.next() if request.temperature > 0 else 0.0
        return Chance(request.temperature, request.top_p, request.top_k, draw)

    def accept(self, token: int, logprob: TokenLogprob) -> None:
        """Add a sampled token, and see whether it ends the row."""
        if self.done:
            return
        self.token_ids.append(token)
        self._logprobs.append(logprob)
        self._check_finite([logprob])
        if self._problem:
            return
        if self.grammar and not self.grammar.accept(token):
            reason = "no token of this model goes on with the JSON schema's text"
            self._problem = BadRequest(reason, "response_format")
        elif token in self._end_ids:
            self._finish("stop")
        else:
            self._add_text(token)

    def take_piece(self) -> Piece | None:
        """What was gained since the last piece; None when nothing was."""
        tokens, texts = self._piece_from
        piece = Piece(self.token_ids[tokens:], self._logprobs[tokens:], "".join(self._text[texts:]))
        self._piece_from = len(self.token_ids), len(self._text)
        return piece if piece.token_ids or piece.text else None

    def result(self) -> Sample:
        """The finished sample; BrokenAdapter when the model's numbers were not finite."""
        if self._problem:
            raise self._problem
        if not self._finish_reason:
            raise ValueError("the row is not finished")
        return Sample(
            self.token_ids,
            self._logprobs,
            "".join(self._text),
            self._finish_reason,
            self._digest,
            None if self.request.prompt_logprobs is None else self._prompt_logprobs,
        )

    def _add_text(self, token: int) -> None:
        if text := self._watch.add(self._stream.add(token)):
            self._text.append(text)
        if self._watch.found or (self.grammar and self.grammar.ended):
            self._finish("stop")
        elif len(self.token_ids) == self.request.max_tokens:
            self._finish("length")

    def _finish(self, reason: Literal["stop", "length"]) -> None:
        self._text.append(self._watch.add(self._stream.end()) + self._watch.end())
        self._finish_reason = "stop" if self._watch.found else reason

    def _check_finite(self, logprobs: Sequence[TokenLogprob]) -> None:
        if not all(math.isfinite(told.logprob) for told in logprobs):
            name = self.request.adapter
            self._problem = BrokenAdapter(f'"{name}" gives numbers that are not finite')


def _grammar(schema: str | None, limits: Limits) -> "Grammar | None":
    if schema is None:
        return None
    from actors.lm.sampling.grammar import Grammar

    return Grammar(schema, limits)
