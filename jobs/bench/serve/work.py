"""What a side of the bench is asked to do, and what it measures: JSON between processes."""

import random

from configs.base import Config


class Start(Config):
    """What a side loads before it is given work."""

    base: str
    adapters: tuple[str, ...]  # folders; adapter i answers to `a{i}`
    device: str


class Row(Config):
    """A completion to sample, greedily."""

    adapter: int | None  # None: the base
    prompt_ids: list[int]
    new_tokens: int  # exactly: the base's end token is never the likeliest


class Work(Config):
    """Rows to sample: all at once, or by so many callers that each wait for their answer."""

    rows: list[Row]
    callers: int | None = None
    load: str | None = None  # an adapter's folder: loaded first, and all rows are asked of it


class Measured(Config):
    """What some work took from the first request to the last answer."""

    cpu_s: float
    wall_s: float
    sampled: list[list[int]]  # by row

    @property
    def tokens(self) -> int:
        """Tokens sampled."""
        return sum(map(len, self.sampled))


def adapter_name(number: int | None) -> str:
    """What the sides call an adapter; None is the base."""
    return "base" if number is None else f"a{number}"


def mixed_rows(rows: int, adapters: int, vocabulary: int, seed: int) -> list[Row]:
    """Prompts of 8 to 40 tokens with 4 to 64 new ones each, spread evenly over the adapters.

    Another seed gives other prompts: who kept the last ones' keys and values gains nothing.
    """
    rng = random.Random(seed)
    new_tokens = [4 + round(60 * i / max(1, rows - 1)) for i in range(rows)]
    rng.shuffle(new_tokens)
    return [
        Row(
            adapter=i % adapters if adapters else None,
            prompt_ids=[rng.randrange(2, vocabulary) for _ in range(rng.randint(8, 40))],
            new_tokens=new_tokens[i],
        )
        for i in range(rows)
    ]
