"""Decode without an engine: a stepper on a small base, and what transformers says instead."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from actors.lm.base import LoadedBase
from actors.lm.decode.stepper import Stepper
from actors.lm.engine import Limits
from actors.lm.requests import SampleRequest
from actors.lm.sampling.limits import limits_of
from actors.lm.sampling.row import Row
from actors.lm.slots.bank import SlotBank

ROOMY = {"cache_tokens": 65_536, "step_tokens": 512, "max_rows": 64}
# Prompts are read in many chunks, rows are turned out and come back, slabs grow and shrink.
TIGHT = {"cache_tokens": 512, "step_tokens": 24, "max_rows": 16}


@dataclass
class Decoder:
    """A stepper, and the slots of its adapters by name."""

    base: LoadedBase
    options: dict[str, int] = field(default_factory=lambda: dict(ROOMY))
    slots: dict[str, int] = field(default_factory=lambda: {"base": 0})

    def __post_init__(self) -> None:
        self.bank = SlotBank(self.base, 8)
        self.stepper = Stepper(self.bank, **self.options)
        self.limits: Limits = limits_of(self.base)

    def row(self, request: SampleRequest) -> Row:
        """A row that is not queued yet."""
        slot = self.slots[request.adapter]
        return Row(request, slot=slot, adapter_digest=request.adapter, limits=self.limits)

    def run(self, rows: Sequence[Row], *, late: Sequence[Row] = ()) -> int:
        """Run rows to their ends, some of them added after the third step; returns the steps."""
        for row in rows:
            self.stepper.add(row)
        steps = 0
        while self.stepper.has_work or (late and steps < 3):
            self.stepper.step()
            steps += 1
            if steps == 3:
                for row in late:
                    self.stepper.add(row)
            assert steps < 5_000, f"no end: {self.stepper.stats()}"
        return steps


def requests(
    count: int, names: Sequence[str], seed: int = 1, most_tokens: int = 24, **options: Any
) -> list[SampleRequest]:
    """Prompts of very different lengths; every second begins like the others."""
    rng = random.Random(seed)
    common = [rng.randrange(5, 250) for _ in range(50)]
    return [
        SampleRequest(
            adapter=rng.choice(list(names)),
            prompt_ids=[
                *(common[: rng.randint(0, 50)] if i % 2 else ()),
                *(rng.randrange(5, 250) for _ in range(rng.randint(1, 50))),
            ],
            max_tokens=rng.randint(1, most_tokens),
            **options,
        )
        for i in range(count)
    ]


def generated(model: Any, request: SampleRequest) -> list[int]:
    """What transformers (or peft) says, greedily and without an end token."""
    prompt = torch.tensor([list(request.prompt_ids)])
    whole = model.generate(
        input_ids=prompt, max_new_tokens=request.max_tokens, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return whole[0, prompt.shape[1] :].tolist()
