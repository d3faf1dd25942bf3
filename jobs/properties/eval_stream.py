"""Conversations flow from the adapter server to the judges, all at work at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from actors.pool.client import ChatPool
from actors.pool.requests import ChatRequest
from actors.store.records import Records
from configs.errors import BudgetReached
from configs.eval import EvalConfig
from jobs import console
from jobs.properties.accounts import budget_reached
from jobs.properties.calls import PASSING, Unanswered
from jobs.properties.conversations import Cell, hold
from jobs.properties.distinct import distinct
from jobs.properties.judge import Judges
from jobs.properties.judgements import Judgements
from jobs.properties.pooled import progress
from jobs.properties.results import conversation_row
from jobs.properties.samplers import Sampler


class EvalStream:
    """Conversations flow from the server to the judges; what is stored already flows past both."""

    def __init__(
        self,
        config: EvalConfig,
        client: Sampler,
        judges: Judges,
        conversations: Records,
        judgements: Judgements,
    ) -> None:
        self._config, self._client, self.judges = config, client, judges
        self._conversations, self._judgements = conversations, judgements
        rows_in_flight = 2 * config.server.max_batch * config.server.num_replicas
        self._places = asyncio.Semaphore(rows_in_flight)

    def missing(self, planned: Sequence[Cell]) -> Counter[str]:
        """Judge -> judgements that are not stored yet; of conversations to come, all of them."""
        missing = Counter(dict.fromkeys(self.judges.models, 0))
        for cell in distinct(planned, key=lambda cell: cell.key):
            if cell.key not in self._conversations:
                missing.update(self.judges.models)
                continue
            requests = self._requests_of(cell).items()
            missing.update(judge for judge, r in requests if r.key not in self._judgements)
        return missing

    async def run(self, planned: Sequence[Cell], pool: ChatPool) -> None:
        """Hold and judge every cell.

        Raises:
            JobFailed: some calls found no answer for now; the others are stored.
            BudgetReached: the rest would cost more than it may; what was answered is stored.
        """
        unanswered = Unanswered()
        # Adapters of the same content share their conversations: one of each is held.
        planned = distinct(planned, key=lambda cell: cell.key)
        total = len(planned) * len(self.judges.models)
        try:
            async with progress(pool, "judged", total) as shown:
                async for ended in self.judges.judge(pool, self._requests(planned, shown)):
                    if ended.failure is not None and ended.failure.kind in PASSING:
                        unanswered.add(ended.failure)
                    else:
                        self._judgements.append(ended)
                    shown.advance()
        except BudgetReached as reached:
            stored = total - self.missing(planned).total()
            raise budget_reached(reached, "judge", stored, total, await pool.spent()) from None
        finally:
            self._judgements.flush()
        unanswered.refuse(total, "judge")

    def rows(self, cell: Cell) -> list[dict[str, Any]]:
        """The rows of the results for a cell that `run` has been through, one for each judge."""
        requests = self._requests_of(cell)
        found = {judge: self._judgements[request.key] for judge, request in requests.items()}
        conversation = self._conversations[cell.key]
        return [
            conversation_row(cell, conversation, judge, found.get(judge))
            for judge in self.judges.models
        ]

    async def _requests(
        self, planned: Sequence[Cell], shown: console.Progress
    ) -> AsyncGenerator[ChatRequest, None]:
        """Requests to judge, in the order in which conversations end."""
        tasks = [asyncio.create_task(self._held(cell)) for cell in planned]
        try:
            for next_done in asyncio.as_completed(tasks):
                requests = self._requests_of(await next_done).values()
                missing = [r for r in requests if r.key not in self._judgements]
                shown.advance(len(self.judges.models) - len(missing))
                for request in missing:
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

    def _requests_of(self, cell: Cell) -> dict[str, ChatRequest]:
        """Judge -> request; empty for a conversation that could not be held."""
        conversation = self._conversations[cell.key]
        if "reason" in conversation:
            return {}
        return self.judges.requests(cell.key, cell.item.property, conversation["messages"])
