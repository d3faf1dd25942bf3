"""The step loop's body: admit rows, run the model once over all of them, let finished ones go."""

import torch
from torch import Tensor

from actors.lm.decode.attention import StepAttention, step_logits
from actors.lm.decode.cache import Cache
from actors.lm.decode.packed import Packed, pack
from actors.lm.decode.probe import cache_shape
from actors.lm.decode.seats import Seats
from actors.lm.engine import EngineStats
from actors.lm.refusals import BadRequest
from actors.lm.requests import SampleRequest
from actors.lm.sampling.advance import advance
from actors.lm.sampling.row import Row
from actors.lm.slots.bank import SlotBank


class Stepper:
    """Rows of many adapters on one base model. Belongs to one thread."""

    def __init__(
        self, bank: SlotBank, *, cache_tokens: int, step_tokens: int, max_rows: int
    ) -> None:
        """UserError when the base cannot be run step by step.

        Args:
            bank: the base and its adapters.
            cache_tokens: tokens whose keys and values are held at once.
            step_tokens: tokens of a step at most.
            max_rows: rows of a step at most.
        """
        self._bank, self._model = bank, bank.base.model
        self._cache = Cache(cache_shape(self._model), cache_tokens)
        # With a token for each row there is always one left for a prompt that is being read.
        self._step_tokens = step_tokens
        self._seats = Seats(self._cache, min(max_rows, step_tokens))
        self._roots: dict[int, int] = {}  # slot -> root of its adapter's prefixes
        self._prompt_tokens = self._generated_tokens = 0

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._seats.waiting or self._seats.running)

    def check(self, request: SampleRequest) -> None:
        """BadRequest when the cache is too small for a request, however long it waits."""
        prompt, room = len(request.prompt_ids), self._cache.book.bound_tokens
        if prompt + request.max_tokens > room:
            raise BadRequest(
                f"prompt ({prompt} tokens) and completion ({request.max_tokens}) exceed the "
                f"{room} tokens that the cache has room for; raise server.cache_tokens",
                "prompt" if prompt >= room else "max_tokens",
            )

    def add(self, row: Row) -> None:
        """Queue a row whose request was checked."""
        if row.slot not in self._roots:
            self._roots[row.slot] = self._cache.prefixes.root()
        self._seats.add(row, self._roots[row.slot])

    def forget(self, slot: int) -> None:
        """The slot's adapter is unloaded: nothing that it computed may be found again."""
        if slot in self._roots:
            self._cache.prefixes.forget(self._roots.pop(slot))

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Run the model once; the rows that gained a token or are done."""
        self._seats.dismiss_done()
        self._seats.admit()
        work = self._seats.share(self._step_tokens)
        if not work:
            return self._seats.take_left()
        self._cache.compact()
        packed = pack([(run.row, run.seat, tokens) for run, tokens in work])
        self._sample(packed, self._forward(packed))
        for run, tokens in work:
            unread = max(0, len(run.row.request.prompt_ids) - run.seat.cached)
            self._prompt_tokens += min(tokens, unread)
            self._cache.computed(run.seat, tokens)
        self._seats.dismiss_done()
        going_on = [choice.row for choice in packed.choices if not choice.row.done]
        return self._seats.take_left() + going_on

    def drop_running(self) -> list[Row]:
        """Give up the rows of a step that failed, and the cache; the rows are returned."""
        return self._seats.drop_running()

    def leave_device(self) -> None:
        """Move weights to the host and give the cache up; there must be no work."""
        self._cache.give_up()
        self._bank.move(torch.device("cpu"))
        torch.cuda.empty_cache()

    def return_to_device(self) -> None:
        """After `leave_device`, be able to work again."""
        self._bank.move(self._cache.memory.shape.device)
        self._cache.take_back()

    def stats(self) -> EngineStats:
        """How busy it is."""
        return EngineStats(
            running=len(self._seats.running),
            waiting=len(self._seats.waiting),
            cache_tokens_used=self._cache.used_tokens,
            cache_tokens=self._cache.tokens,
            prompt_tokens=self._prompt_tokens,
            cached_prompt_tokens=self._seats.reused_tokens,
            generated_tokens=self._generated_tokens,
        )

    def _forward(self, packed: Packed) -> Tensor:
        """Logits [R, V] at the places that are read."""
        memory = self._cache.memory
        cells = {length: self._cache.book.cells(length) for length in memory.slabs}
        step = StepAttention(memory, packed.stretches, cells)
        with self._bank.routed(packed.tokens_per_slot):
            return step_logits(self._model, packed.token_ids, packed.positions, packed.reads, step)

    def _sample(self, packed: Packed, logits: Tensor) -> None:
        for prompt in packed.prompts:
            prompt.row.accept_prompt(logits[prompt.logits], prompt.first)
        choices = [choice for choice in packed.choices if not choice.row.done]
        if not choices:
            return
        if len(choices) < len(logits):
            chosen = torch.tensor([choice.logit for choice in choices])
            logits = logits.index_select(0, chosen.to(logits.device))
        advance([choice.row for choice in choices], logits)
        self._generated_tokens += len(choices)
