"""Sample a batch of rows of different adapters to their ends.

The batch is fixed when it starts and shrinks as rows finish. Only this file knows that: rows,
slots and token choice would serve a loop that admits new rows between steps just as well.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache

from actors.lm.sampling.choose import choose_tokens
from actors.lm.sampling.row import Row
from actors.lm.slots.bank import SlotBank
from actors.lm.slots.linear import group_rows

# Taking rows out copies the cache: worth it once a quarter of the rows would be computed in vain.
_SPARSE_SHARE = 0.75


def generate(bank: SlotBank, rows: Sequence[Row]) -> Iterator[Row]:
    """Run the model until every row is done; rows come back in the order they finish."""
    batch = _Batch(bank, rows)
    while batch.live:
        with bank.routed(batch.groups):
            while not batch.is_sparse:
                yield from batch.step()
        batch.drop_done_rows()


def left_padded(sequences: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids [B, T] that end together, and the mask [B, T] of those that are real."""
    width = max(len(ids) for ids in sequences)
    tokens = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in sequences])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in sequences])
    return tokens.to(device), mask.to(device)


def positions(mask: Tensor) -> Tensor:
    """Position of every token [B, T] in its own row, whatever its padding."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


class _Batch:
    """Rows in slot order with their shared cache."""

    def __init__(self, bank: SlotBank, rows: Sequence[Row]) -> None:
        order, self.groups = group_rows([row.slot for row in rows])
        self.rows = [rows[i] for i in order]
        self._model = bank.base.model
        self._cache = DynamicCache(config=self._model.config)
        prompts = [row.request.prompt_ids for row in self.rows]
        self._inputs, self._mask = left_padded(prompts, self._model.device)
        self._positions = positions(self._mask)

    @property
    def live(self) -> int:
        """Rows that are not done."""
        return sum(not row.done for row in self.rows)

    @property
    def is_sparse(self) -> bool:
        """Whether the batch would be cheaper to go on with after dropping what is done."""
        return self.live <= _SPARSE_SHARE * len(self.rows) and self.live < len(self.rows)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Sample one token for every row; returns the rows that this finished."""
        output = self._model(
            input_ids=self._inputs,
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float()
        requests = [row.request for row in self.rows]
        tokens = choose_tokens(
            logits,
            [request.temperature for request in requests],
            [request.top_p for request in requests],
            [row.next_draw() for row in self.rows],
        )
        logprobs = logits.log_softmax(dim=-1).gather(1, tokens.unsqueeze(1)).squeeze(1)
        self._inputs = tokens.unsqueeze(1)
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.rows), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1
        finished = []
        for row, token, logprob in zip(self.rows, tokens.tolist(), logprobs.tolist(), strict=True):
            if not row.done:
                row.accept(token, logprob)
                if row.done:
                    finished.append(row)
        return finished

    @torch.inference_mode()
    def drop_done_rows(self) -> None:
        """Keep the rows that go on, in the order that their slots then ask for."""
        going_on = [i for i, row in enumerate(self.rows) if not row.done]
        order, self.groups = group_rows([self.rows[i].slot for i in going_on])
        kept = [going_on[i] for i in order]
        self.rows = [self.rows[i] for i in kept]
        index = torch.tensor(kept, dtype=torch.long, device=self._mask.device)
        self._cache.batch_select_indices(index)
        self._inputs, self._mask = self._inputs[index], self._mask[index]
        self._positions = self._positions[index]
