"""The tokens of a step as the model takes them: one after another, sorted by slot. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from actors.lm.decode.cache import Seat
from actors.lm.decode.parts import Stretch
from actors.lm.sampling.row import Row


class PromptRead(NamedTuple):
    """Logits that tell of a row's prompt."""

    row: Row
    logits: slice  # of the step's
    first: int  # place in the prompt


class Choice(NamedTuple):
    """A row whose next token can be chosen."""

    row: Row
    logit: int  # which of the step's


class Packed(NamedTuple):
    """A step of N tokens, R of which the model's head is applied to."""

    token_ids: list[int]  # [N]
    positions: list[int]  # [N]
    tokens_per_slot: dict[int, int]
    stretches: list[Stretch]
    reads: list[int]  # [R], which of the N; at least one
    prompts: list[PromptRead]
    choices: list[Choice]


def pack(work: Sequence[tuple[Row, Seat, int]]) -> Packed:
    """Lay out rows that bring the next so many tokens each."""
    packed = Packed([], [], {}, [], [], [], [])
    for row, seat, tokens in sorted(work, key=lambda one: one[0].slot):
        first, start, end = len(packed.token_ids), seat.cached, seat.cached + tokens
        packed.token_ids.extend(_ids(row, start, end))
        packed.positions.extend(range(start, end))
        of_slot = packed.tokens_per_slot.get(row.slot, 0)
        packed.tokens_per_slot[row.slot] = of_slot + tokens
        packed.stretches.append(Stretch(seat.cell, first, tokens, start))
        _add_reads(packed, row, start, end)
    return packed if packed.reads else packed._replace(reads=[0])


def _add_reads(packed: Packed, row: Row, start: int, end: int) -> None:
    prompt, first = len(row.request.prompt_ids), len(packed.token_ids) - (end - start)
    of_prompt = min(end, prompt) - start if row.request.prompt_logprobs is not None else 0
    if of_prompt > 0:
        read = slice(len(packed.reads), len(packed.reads) + of_prompt)
        packed.prompts.append(PromptRead(row, read, start))
        packed.reads.extend(range(first, first + of_prompt))
    if end == prompt + len(row.token_ids):
        if of_prompt < end - start:
            packed.reads.append(first + end - start - 1)
        packed.choices.append(Choice(row, len(packed.reads) - 1))


def _ids(row: Row, start: int, end: int) -> Sequence[int]:
    prompt = row.request.prompt_ids
    if end <= len(prompt):
        return prompt[start:end]
    if start >= len(prompt):
        return row.token_ids[start - len(prompt) : end - len(prompt)]
    return row.sequence[start:end]
