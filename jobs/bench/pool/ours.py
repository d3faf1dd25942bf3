"""The pool's side: a job's driver that streams questions through a ChatPool and counts answers."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import count

import ray

from actors.lm.messages import user
from actors.pool.books.at import BooksAt
from actors.pool.client import ChatPool
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion
from configs.sections import PoolConfig
from jobs.bench.pool.child import Tally, measure
from jobs.bench.pool.load import Load


async def main(load: Load) -> None:
    """Do the load and print what it took."""
    config = PoolConfig(max_concurrency=load.work.in_flight, max_workers=load.work.workers)
    books = BooksAt(load.storage, load.tag, load.tag, budget_usd=None, study_budget_usd=None)
    provider = Provider("bench", load.url, "none", "rules", "bench")
    keys = count()

    def requests(questions: Iterable[str]) -> Iterator[ChatRequest]:
        return (ChatRequest(f"{next(keys)}", [user(text)]) for text in questions)

    async def ask(questions: Iterable[str], tally: Tally) -> None:
        async for outcome in pool.complete(requests(questions)):
            if isinstance(outcome, Completion):
                tally.answered += 1
            else:
                tally.failed += 1

    async with ChatPool(provider, config, books) as pool:
        await measure(load, ask)


if __name__ == "__main__":
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.WARNING)
    asyncio.run(main(Load.model_validate_json(sys.argv[1])))
