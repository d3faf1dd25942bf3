"""The clerk who keeps the books: entries in, verdicts out, one transaction a batch.

Given the time, it does nothing but reckon and write; who calls whom is the actor's business.
What is stored and what is in flight is in the file alone, so a clerk that is killed is replaced by
the next; only who waits is in memory, and owners repeat that to a new one.
"""

import json
from collections import defaultdict
from collections.abc import Iterable

from actors.pool.books.attendance import Attendance
from actors.pool.books.entries import (
    Again,
    Broke,
    Close,
    Entry,
    Failed,
    Member,
    Mine,
    NotRecorded,
    Open,
    Said,
    Stored,
    Verdict,
)
from actors.pool.books.in_flight import Held, InFlight
from actors.pool.books.key import answer_digest
from actors.pool.books.ledger import Hold, Ledger, Short, in_usd
from actors.pool.books.store import Row, Store
from actors.pool.books.waiting import Ask, Waiting

_UNKNOWN = "?"


class Clerk:
    """Keeps one file; `now_s` is the wall clock, which processes on one machine share."""

    def __init__(self, store: Store, now_s: float) -> None:
        self._store, self._flight = store, InFlight(store.db)
        self._attendance = Attendance(store.db, now_s)
        self._waiting = Waiting()
        self._said: defaultdict[str, list[Said]] = defaultdict(list)
        self._hits, self._cost = 0, 0
        # Of the turn in progress:
        self._ledger = Ledger({})
        self._found: dict[str, bytes] = {}
        self._freed: set[str] = set()
        self._now_s = now_s

    def turn(self, member: Member, entries: Iterable[Entry], now_s: float) -> None:
        """Enter a batch; `take` has what there is to say about it, and about earlier ones."""
        entries = list(entries)
        found = self._store.answers(e.key for e in entries if isinstance(e, Open))
        rest = []
        for entry in entries:
            if isinstance(entry, Open) and _fits(entry, found.get(entry.key)):
                self._store_found(Ask(member, entry), found[entry.key])
            else:
                rest.append(entry)
        if not rest and self._attendance.is_fresh(member.owner, now_s):
            return
        with self._store.writing():
            self._begin(now_s)
            self._hear(member)
            # Looked up again: another process may have stored one in between.
            self._found = self._store.answers(e.key for e in rest if isinstance(e, Open))
            for entry in rest:
                self._enter(member, entry)
            self._finish()

    def tick(self, now_s: float) -> None:
        """See what time and other processes may have changed; to be called every second or so."""
        dead = self._attendance.silent(now_s)
        if not dead and not len(self._waiting):
            return
        with self._store.writing():
            self._begin(now_s)
            for owner in dead:
                self._bury(owner)
            self._freed.update(self._waiting.keys)
            self._finish()

    def has_news(self, owner: str) -> bool:
        """Whether there is something to say to an owner."""
        return owner in self._said

    def take(self, owner: str) -> list[Said]:
        """What there is to say to an owner, once."""
        return self._said.pop(owner, [])

    def take_figures(self) -> tuple[int, int]:
        """Answers found and nano-dollars settled since the last time."""
        figures = self._hits, self._cost
        self._hits = self._cost = 0
        return figures

    def _begin(self, now_s: float) -> None:
        self._ledger, self._found, self._freed = self._store.ledger(), {}, set()
        self._now_s = now_s

    def _finish(self) -> None:
        """Let those go on for whom something came free, and write the sums down."""
        self._found |= self._store.answers(self._freed - self._found.keys())
        for key in self._freed:
            for ask in self._waiting.take_key(key):
                self._decide(ask)
        for run in self._waiting.runs:
            self._pay_line(run)
        self._store.keep(self._ledger.moved)

    def _enter(self, member: Member, entry: Entry) -> None:
        if isinstance(entry, Open):
            self._decide(Ask(member, entry))
        elif isinstance(entry, Again):
            self._again(Ask(member, entry), entry)
        elif isinstance(entry, Close):
            self._close(member, entry)
        else:
            self._bury(entry.owner)

    def _decide(self, ask: Ask, *, is_next: bool = False) -> None:
        """Answer an ask, or let it wait; `is_next`: it was first in the line for money."""
        key = ask.entry.key
        if isinstance(ask.entry, Again):
            self._pay(ask, is_next)
        elif _fits(ask.entry, self._found.get(key)):
            self._store_found(ask, self._found[key])
        elif ask.member.replay_only:
            failure = self._store.failure(key)
            self._say(ask, NotRecorded() if failure is None else Failed(failure))
        elif (holder := self._flight.holder(key)) is None:
            self._pay(ask, is_next)
        elif holder == ask.id:
            self._say(ask, Mine())
        else:
            self._waiting.for_key(ask)

    def _pay(self, ask: Ask, is_next: bool) -> None:
        entry, run = ask.entry, ask.member.run_id
        short = self._ledger.short(run, entry.bound, ask.member.budgets)
        if short is not None and short.for_good:
            self._say(ask, Broke(_broke(short, entry.bound)))
        elif is_next and short is not None:
            self._waiting.for_money_as_before(ask)
        elif not is_next and (short is not None or self._has_to_queue(ask)):
            self._waiting.for_money(ask)
        else:
            held = self._flight.held(ask.id)
            hold = self._ledger.reserve(run, held.hold if held else Hold(), entry.bound)
            if isinstance(entry, Open) and entry.misfit is not None:
                self._store.drop(entry.key)
                self._found.pop(entry.key, None)
            attempt = entry.attempt if isinstance(entry, Again) else 1
            self._flight.hold(ask.id, Held(entry.key, run, attempt, hold))
            self._say(ask, Mine())

    def _has_to_queue(self, ask: Ask) -> bool:
        head = self._waiting.first_for_money(ask.member.run_id)
        if head is None:
            return False
        return isinstance(head.entry, Again) or isinstance(ask.entry, Open)

    def _pay_line(self, run: str) -> None:
        """Serve a run's line for money until its head has to go on waiting."""
        while (ask := self._waiting.first_for_money(run)) is not None:
            self._waiting.drop(ask.id, ask.entry.key, run)
            # The call may have been made elsewhere meanwhile.
            self._found |= self._store.answers([ask.entry.key])
            self._decide(ask, is_next=True)
            if self._waiting.first_for_money(run) is ask:
                return

    def _again(self, ask: Ask, entry: Again) -> None:
        held = self._flight.held(ask.id)
        if held is not None and held.attempt >= entry.attempt:
            self._say(ask, Mine())
            return
        if held is not None:
            hold = self._ledger.sink(held.run_id, held.hold, entry.so_far)
            self._flight.hold(ask.id, held._replace(hold=hold))
        self._pay(ask, is_next=False)

    def _close(self, member: Member, entry: Close) -> None:
        id_ = member.owner, entry.ticket
        self._waiting.drop(id_, entry.key, member.run_id)
        held = self._flight.held(id_)
        if held is not None:  # else it was counted already
            self._ledger.settle(held.run_id, held.hold, entry.cost, entry.presumed)
            self._flight.release(id_)
            self._cost += entry.cost
        if entry.answer is not None or entry.failure is not None:
            self._store.put(_row(member, entry, self._now_s))
        if entry.answer is not None:
            self._found[entry.key] = entry.answer
        self._freed.add(entry.key)

    def _bury(self, owner: str) -> None:
        for id_ in self._flight.tickets(owner):
            held = self._flight.held(id_)
            assert held is not None
            self._ledger.presume(held.run_id, held.hold)
            self._flight.release(id_)
            self._freed.add(held.key)
        self._waiting.drop_owner(owner)
        self._attendance.forget(owner)
        self._said.pop(owner, None)

    def _hear(self, member: Member) -> None:
        if self._attendance.is_fresh(member.owner, self._now_s):
            return
        if self._attendance.is_new(member.owner):
            for owner in self._attendance.left_before(member):
                self._bury(owner)
            if member.answering is not None:
                self._store.introduce(member.answering)
        self._attendance.hear(member, self._now_s)

    def _store_found(self, ask: Ask, answer: bytes) -> None:
        self._hits += 1
        self._say(ask, Stored(answer))

    def _say(self, ask: Ask, verdict: Verdict) -> None:
        self._said[ask.member.owner].append((ask.entry.ticket, verdict))


def _fits(entry: Open, answer: bytes | None) -> bool:
    """Whether a stored answer is one to who asks."""
    if answer is None or entry.misfit is None:
        return answer is not None
    return answer_digest(answer) != entry.misfit


def _row(member: Member, entry: Close, now_s: float) -> Row:
    provider = member.answering.name if member.answering else _UNKNOWN
    model = json.loads(entry.request)["model"] if entry.request else _UNKNOWN
    return Row(entry.key, provider, model, entry.request, entry.answer, now_s, entry.failure)


def _broke(short: Short, bound: int) -> str:
    return (
        f"{short.budget}={in_usd(short.limit):g} is used up: ${in_usd(short.gone):.4f} is spent or "
        f"may be, and the next call may cost ${in_usd(bound):.4f}. What was answered is stored; "
        f"give a larger {short.budget} to go on."
    )
