"""The front: everything that the protocol's endpoints share, and what ends with a session."""

import asyncio
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from serve.tinker_api.futures import Futures
from serve.tinker_api.kept import Run, now
from serve.tinker_api.paths import absent, invalid, run_id
from serve.tinker_api.published import Published, Publisher
from serve.tinker_api.runs import Runs
from serve.tinker_api.sampling import Answering, Samplers
from serve.tinker_api.sessions import Session, Sessions
from serve.tinker_api.store import Store
from serve.tinker_api.training import Training

_TIDY_S = 30.0
_EXPIRE_S = 600.0  # it reads an entry of every checkpoint
_MOST_RUNS = 10**9
_SEEDS = 2**31


class Server(Publisher, Answering, Protocol):
    """`serve.client.ServerClient`, or a test's stand-in."""


class Front:
    """One base model behind Tinker's protocol. Its methods belong to one event loop."""

    def __init__(
        self,
        server: Server,
        trainer: Any,
        *,
        storage_root: str,
        base_names: Sequence[str],
        context_tokens: int,
        device: str,
    ) -> None:
        """`base_names` all mean the base, the first is its own; `device` is what trains."""
        self.base_names, self.context_tokens = list(base_names), context_tokens
        self.device = device
        self.runs, self.store = Runs(storage_root), Store(storage_root)
        self.sessions, self.futures = Sessions(time.monotonic), Futures(time.monotonic)
        self.training = Training(trainer, self.sessions, self.futures)
        self.published = Published(server, self.store, time.monotonic)
        self.samplers = Samplers(server, self.published, self.sessions)
        self._tidying: list[asyncio.Task[None]] = []

    @property
    def base_name(self) -> str:
        """What the base is called in answers."""
        return self.base_names[0]

    def check_base(self, name: str) -> None:
        """404 for another base than the server's."""
        if name not in self.base_names:
            known = ", ".join(self.base_names)
            raise absent(f'base_model "{name[:300]}" is not served here; this server has {known}')

    def new_run(
        self,
        session_id: str,
        number: int,
        user_metadata: dict[str, Any] | None,
        *,
        rank: int,
        seed: int | None,
        train_mlp: bool,
        train_attn: bool,
    ) -> Run:
        """A session's training client of that number, as it is to be made."""
        session = self.sessions.alive(session_id)
        if not 0 <= number < _MOST_RUNS:
            raise invalid(f"model_seq_id={number} must lie in 0..{_MOST_RUNS - 1}")
        drawn = secrets.randbelow(_SEEDS) if seed is None else seed % _SEEDS
        run = Run(
            run_id(session_id, number), self.base_name, rank, drawn, train_mlp, train_attn,
            now().isoformat(), user_metadata,
        )  # fmt: skip
        if run.id not in session.runs:
            session.runs.append(run.id)
        return run

    def open_session(
        self, user_metadata: dict[str, Any] | None, display_name: str | None
    ) -> Session:
        """A new session."""
        self._keep_tidy()
        return self.sessions.open(user_metadata, display_name)

    async def adapter_of(self, model_path: str) -> str:
        """A checkpoint's name on the server, for who has no session; 404 where there is none."""
        self._keep_tidy()
        return await self.published.checkpoint(model_path)

    def end_session(self, session_id: str) -> None:
        """Give back what a session holds, if it still holds it; its checkpoints stay."""
        session = self.sessions.close(session_id)
        if session is None:
            return
        self.futures.forget_session(session.id)
        for run in session.runs:
            self.training.drop(run)
        self.samplers.forget_session(session.id)

    def _keep_tidy(self) -> None:
        """From now on what nobody needs is given back."""
        if not self._tidying:
            again = (_again(self._tidy, _TIDY_S), _again(self._expire, _EXPIRE_S))
            self._tidying = [asyncio.create_task(each) for each in again]

    async def _tidy(self) -> None:
        self.futures.forget_told()
        for session_id in self.sessions.silent():
            self.end_session(session_id)
        await self.published.tidy(self.samplers.use)

    async def _expire(self) -> None:
        for path in await asyncio.to_thread(self.store.expired):
            self.training.expire(path)


async def _again(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """What fails is logged and tried again: else nothing would ever be given back any more."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await work()
        except Exception:
            traceback.print_exc()
