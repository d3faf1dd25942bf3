"""Conversations flow from the adapter server to the judge, both at work at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from actors.pool.client import ChatPool
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Failure
from actors.store.records import Records
from configs.eval import EvalConfig
from jobs import console
from jobs.properties.calls import PASSING, outcome_row, pool_note, refuse_unanswered
from jobs.properties.conversations import Cell, hold
from jobs.properties.distinct import distinct
from jobs.properties.judge import judge_request
from jobs.properties.results import conversation_row
from serve.client import AdapterClient


class EvalStream:
    """Conversations flow from the server to the judge; what is stored already flows past both."""

    def __init__(
        self,
        config: EvalConfig,
        client: AdapterClient,
        conversations: Records,
        judgements: Records,
    ) -> None:
        self._config, self._client = config, client
        self._conversations, self._judgements = conversations, judgements
        rows_in_flight = 2 * config.server.max_batch * config.server.num_replicas
        self._places = asyncio.Semaphore(rows_in_flight)

    async def run(self, planned: Sequence[Cell], provider: Provider) -> None:
        """Hold and judge every cell; JobFailed when calls found no answer for now."""
        unanswered: Counter[str] = Counter()
        # Adapters of the same content share their conversations: one of each is held.
        planned = distinct(planned, key=lambda cell: cell.key)
        async with ChatPool(provider, self._config.pool) as pool:
            with console.progress("judged", len(planned)) as shown:
                async for outcome in pool.complete(self._requests(planned, shown)):
                    if isinstance(outcome, Failure) and outcome.kind in PASSING:
                        unanswered[outcome.kind] += 1
                    else:
                        self._judgements.append(outcome.key, **outcome_row(outcome))
                    shown.advance(note=pool_note(pool))
        self._judgements.flush()
        refuse_unanswered(unanswered, len(planned), "judge")

    def row(self, cell: Cell) -> dict[str, Any]:
        """The row of the results for a cell that `run` has been through."""
        request = self._request(cell)
        judgement = None if request is None else self._judgements[request.key]
        return conversation_row(cell, self._conversations[cell.key], judgement)

    async def _requests(
        self, planned: Sequence[Cell], shown: console.Progress
    ) -> AsyncIterator[ChatRequest]:
        """Requests to judge, in the order in which conversations end."""
        tasks = [asyncio.create_task(self._held(cell)) for cell in planned]
        try:
            for next_done in asyncio.as_completed(tasks):
                cell = await next_done
                request = self._request(cell)
                if request is None or request.key in self._judgements:
                    shown.advance()
                else:
                    yield request
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._conversations.flush()

    async def _held(self, cell: Cell) -> Cell:
        if cell.key not in self._conversations:
            async with self._places:
                fields = await hold(self._client, cell, self._config)
            self._conversations.append(cell.key, **fields)
        return cell

    def _request(self, cell: Cell) -> ChatRequest | None:
        """None for a conversation that could not be held."""
        conversation = self._conversations[cell.key]
        if "reason" in conversation:
            return None
        messages = conversation["messages"]
        return judge_request(self._config, cell.key, cell.item.property, messages)
