"""The line of one call: permits before an attempt, reports after it, money for what is on top."""

import asyncio
from dataclasses import dataclass
from typing import Any

from actors.pool.books.charges import Tariff
from actors.pool.books.client import Books
from actors.pool.calls.answers import Answer
from actors.pool.calls.call import Bill
from actors.pool.calls.retry import Trouble
from actors.pool.calls.transport import Transport
from actors.pool.limiter.gate import Ended, Gate, Permit
from configs.errors import BudgetReached

_SAYS_NOTHING = Ended("neutral")


@dataclass(slots=True)
class Halt:
    """Whether a stream has ended with an error: then nothing more is sent for it."""

    is_set: bool = False


class GatedLine:
    """What `Caller` needs of the world, for one call; `on_wire` shows who is being answered."""

    def __init__(
        self,
        transport: Transport,
        books: Books,
        gate: Gate,
        tariff: Tariff,
        key: str,
        bound_usd: float,
        tokens: int,
        halt: Halt,
        on_wire: set[asyncio.Task[Any] | None],
    ) -> None:
        self._transport, self._books, self._gate = transport, books, gate
        self._halt, self._on_wire = halt, on_wire
        self._tariff, self._key, self._tokens = tariff, key, tokens
        self._first_bound_usd = self._held_usd = bound_usd
        self._permit: Permit | None = None
        self.bill = Bill()

    async def turn(self) -> None:
        """Wait for a permit."""
        self._permit = await self._gate.acquire(self._tokens)
        if self._halt.is_set:
            raise asyncio.CancelledError

    def leave(self, ended: Ended = _SAYS_NOTHING) -> None:
        """Give the permit back, if there is one."""
        if self._permit is not None:
            self._gate.release(self._permit, ended)
            self._permit = None

    async def ask(self, payload: dict[str, Any], attempt: int) -> Answer | Trouble:
        """Attempt number `attempt` (from 1), under the permit; what it cost goes on the bill."""
        task, ended = asyncio.current_task(), _SAYS_NOTHING
        self._on_wire.add(task)
        try:
            found = await self._transport.ask(self._tariff.sent(payload))
            ended = how_it_ended(found, attempt)
            # Before the permit goes to another call of the stream.
            self._halt.is_set |= isinstance(found, Trouble) and found.action == "fatal"
        except asyncio.CancelledError:
            self.bill.presumed_usd += self._tariff.bound_usd(payload)
            raise
        finally:
            self._on_wire.discard(task)
            self.leave(ended)
        found, presumed_usd = self._tariff.charge(found, payload)
        self.bill.presumed_usd += presumed_usd
        return found

    async def pause(self, wait_s: float) -> None:
        """Wait, without a permit; an ended stream has no further attempts."""
        if self._halt.is_set:
            raise asyncio.CancelledError
        await asyncio.sleep(wait_s)

    async def pay_again(self, payload: dict[str, Any]) -> None:
        """Have money held for another attempt; BudgetReached where there is none."""
        bound_usd = max(self._first_bound_usd, self._tariff.bound_usd(payload))
        so_far_usd = self.bill.cost_usd + self.bill.presumed_usd
        if so_far_usd == 0 and bound_usd <= self._held_usd:
            return  # the attempt before came for free, and what was held for it is enough
        broke = await self._books.again(self._key, bound_usd, so_far_usd)
        if broke is not None:
            raise BudgetReached(broke.message)
        self._held_usd = bound_usd


def how_it_ended(found: Answer | Trouble, attempt: int) -> Ended:
    """What an attempt says to the limiter; a retry that works says nothing of what came before."""
    if not isinstance(found, Trouble):
        tokens = found.prompt_tokens + found.completion_tokens
        return Ended("ok" if attempt == 1 else "neutral", tokens)
    if found.kind == "rate_limited":
        return Ended("rate_limited", 0, found.retry_after_s)
    if found.kind in ("server", "timeout", "connection"):
        return Ended("server", 0, found.retry_after_s)
    return _SAYS_NOTHING
