"""The front: everything that the protocol's endpoints share, and what ends with a session."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any

from serve.tinker_api.futures import Futures
from serve.tinker_api.kept import Run, now
from serve.tinker_api.paths import absent, invalid, run_id
from serve.tinker_api.sampling import Publisher, Samplers
from serve.tinker_api.sessions import Session, Sessions
from serve.tinker_api.store import Store
from serve.tinker_api.training import Training

_TIDY_S = 30.0
_MOST_RUNS = 10**9
_SEEDS = 2**31


class Front:
    """One base model behind Tinker's protocol. Its methods belong to one event loop."""

    def __init__(
        self,
        server: Publisher,
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
        self.store = Store(storage_root)
        self.sessions, self.futures = Sessions(time.monotonic), Futures(time.monotonic)
        self.training = Training(trainer, self.sessions, self.futures)
        self.samplers = Samplers(server, self.store)
        self._tidying: asyncio.Task[None] | None = None

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
        """A new session; from the first one on, silent ones are looked for."""
        if self._tidying is None:
            self._tidying = asyncio.create_task(self._tidy())
        return self.sessions.open(user_metadata, display_name)

    async def end_session(self, session_id: str) -> None:
        """Give back what a session holds; its checkpoints stay."""
        session = self.sessions.alive(session_id)
        self.sessions.close(session_id)
        self.futures.forget_session(session_id)
        for run in session.runs:
            self.training.drop(run)
        await self.samplers.release(session_id)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_S)
            self.futures.forget_told()
            for session in self.sessions.silent():
                await self.end_session(session)
