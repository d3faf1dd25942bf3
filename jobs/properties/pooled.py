"""A run's calls: the pool with the run's books, what it will cost, and how far it is."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from actors.pool.books.at import BooksAt
from actors.pool.client import ChatPool
from actors.pool.counts import Counts
from actors.pool.provider import Provider
from actors.store.run import Run
from configs.errors import UserError
from configs.sections import PooledConfig
from jobs import console
from jobs.properties.estimate import Stage, estimate

_NOTE_EVERY_S = 1.0


@asynccontextmanager
async def open_pool(config: PooledConfig, provider: Provider, run: Run) -> AsyncIterator[ChatPool]:
    """The pool of one run, on the Ray that this process is part of."""
    books = BooksAt(
        run.storage.path(""),
        run.run_id,
        uuid.uuid4().hex,
        config.budget_usd,
        config.study_budget_usd,
        provider.replay_only,
    )
    async with ChatPool(provider, config.pool, books, on_error=config.on_error) as pool:
        yield pool


def say_estimate(
    config: PooledConfig,
    provider: Provider,
    pool: ChatPool,
    stages: Sequence[Stage],
    records: Iterable[Mapping[str, Any]],
) -> None:
    """Print what the calls that are not stored yet will cost; a replay costs nothing.

    Raises:
        UserError: a budget is set, and nothing says what a call costs.
    """
    if provider.replay_only:
        return
    prices = config.pool.prompt_usd_per_million, config.pool.completion_usd_per_million
    budgets = (config.budget_usd, config.study_budget_usd)
    is_capped = any(budget is not None for budget in budgets)
    if is_capped and (prices[0] is None) != (prices[1] is None):
        raise UserError(
            "A budget needs both prices: give pool.prompt_usd_per_million= and "
            "pool.completion_usd_per_million= (0: it is free)."
        )
    stored = Counter(row["stage"] for row in records)
    found = estimate(stages, stored, provider, pool.prices)
    console.say(str(found))
    if found.calls and found.about_usd is None and is_capped:
        raise UserError(
            f"A budget needs prices, and {provider.name} states none for the model. Give "
            "pool.prompt_usd_per_million= and pool.completion_usd_per_million= (0: it is free)."
        )


@asynccontextmanager
async def progress(pool: ChatPool, name: str, total: int) -> AsyncIterator[console.Progress]:
    """Progress of calls, its note kept up to date also while nothing comes in."""
    with console.progress(name, total) as shown:
        pace = console.Pace()

        def note() -> None:
            counts = pool.counts
            ended = counts.done + counts.failed
            shown.note(pool_note(counts, pace.per_s(ended, time.monotonic())))

        async def keep_noting() -> None:
            while True:
                note()
                await asyncio.sleep(_NOTE_EVERY_S)

        noting = asyncio.create_task(keep_noting())
        try:
            yield shown
        finally:
            noting.cancel()
            note()


def pool_note(counts: Counts, per_s: float) -> str:
    """What stands beside progress: `12/s, 34 in flight, 3 x 429, 5 cached, $0.0123`."""
    parts = [f"{per_s:.3g}/s", f"{counts.in_flight} in flight"]
    if counts.rate_limited:
        parts.append(f"{counts.rate_limited} x 429")
    if counts.cached:
        parts.append(f"{counts.cached} cached")
    return ", ".join([*parts, f"${counts.cost_usd:.4f}"])
