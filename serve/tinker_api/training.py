"""The door's side of training: what clients ask takes its turn and goes to the trainer.

The trainer answers in the order of its calls, so a client's request is handed over the moment its
turn has come, without waiting for the one before it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from ray.exceptions import ActorUnavailableError, RayActorError

from serve.tinker_api.futures import PROTOBUF, Failed, Futures, Outcome, answered
from serve.tinker_api.kept import Run
from serve.tinker_api.operations import Loading, Saving
from serve.tinker_api.paths import CheckpointPath, absent, invalid, request_id
from serve.tinker_api.sequencing import Turns
from serve.tinker_api.sessions import Sessions

_LOST = "the trainer died over this request; make the training client anew from its last checkpoint"
_BACK_S = 0.5
_GRAD_NORM = "unclipped_grad_l2:mean"  # as the hosted service names it


class _Turn(NamedTuple):
    call: Callable[[], Awaitable[Any]]
    handed: "asyncio.Future[Awaitable[Any]]"


class _Client(NamedTuple):
    run: Run
    turns: Turns[_Turn]


class Training:
    """Every training client that there is, by its run's id."""

    def __init__(self, trainer: Any, sessions: Sessions, futures: Futures) -> None:
        self._trainer, self._sessions, self._futures = trainer, sessions, futures
        self._clients: dict[str, _Client] = {}

    def run(self, run_id: str) -> Run:
        """What a client that is there was made with; 404 where there is none."""
        return self._client(run_id).run

    def create(self, run: Run, loading: Loading | None) -> str:
        """A new training client, with a checkpoint's weights where `loading` says so."""
        request = request_id(run.id, 0)
        if request in self._futures:
            return request
        self._clients[run.id] = _Client(run, Turns())

        async def work() -> Outcome:
            await _opened(self._created(run, loading))
            if loading is None:
                return answered({"model_id": run.id, "type": "create_model"})
            return answered({"path": str(loading.path), "model_id": run.id, "type": "load_weights"})

        self._futures.begin(request, work())
        return request

    def run_pass(self, run_id: str, seq_id: int, body: bytes) -> str:
        """A forward or a forward and backward pass."""
        trainer = self._trainer
        return self._later(
            run_id,
            seq_id,
            lambda: trainer.run_pass.remote(run_id, body),
            lambda output: Outcome(output, PROTOBUF),
        )

    def step(self, run_id: str, seq_id: int, params: Mapping[str, Any]) -> str:
        """An optimiser step with Adam's settings, as they came."""
        trainer = self._trainer
        return self._later(
            run_id,
            seq_id,
            lambda: trainer.step.remote(run_id, params),
            lambda norm: answered({"metrics": {_GRAD_NORM: norm}}),
        )

    def save(self, run_id: str, seq_id: int, saving: Saving, kind: str) -> str:
        """A checkpoint; `kind` is the answer's type."""
        trainer = self._trainer
        return self._later(
            run_id,
            seq_id,
            lambda: trainer.save.remote(run_id, saving),
            lambda _: answered({"path": str(saving.path), "type": kind}),
        )

    def load(self, run_id: str, seq_id: int, loading: Loading) -> str:
        """A checkpoint's weights for a client that exists."""
        trainer = self._trainer
        return self._later(
            run_id,
            seq_id,
            lambda: trainer.load.remote(run_id, loading),
            lambda _: answered(
                {"path": str(loading.path), "model_id": run_id, "type": "load_weights"}
            ),
        )

    def snapshot(
        self, run_id: str, seq_id: int, publish: Callable[[Any], Awaitable[Outcome]]
    ) -> str:
        """The adapter as it is at its turn; `publish` gets it afterwards, and holds nobody up."""
        trainer = self._trainer
        return self._later(run_id, seq_id, lambda: trainer.snapshot.remote(run_id), publish)

    def refuse(self, run_id: str, seq_id: int, message: str, *, changes: bool) -> str:
        """A request that fails in its turn; `changes` where it was to change the adapter."""
        trainer = self._trainer
        return self._later(
            run_id,
            seq_id,
            lambda: trainer.refuse.remote(run_id, message, changes),
            lambda _: answered({}),
        )

    def expire(self, path: CheckpointPath) -> None:
        """Remove a checkpoint whose time is over, between two requests that could save it anew."""
        self._trainer.expire.remote(path)

    def drop(self, run_id: str) -> None:
        """Forget a training client."""
        if self._clients.pop(run_id, None) is not None:
            self._trainer.drop.remote(run_id)

    def _later(
        self,
        run_id: str,
        seq_id: int,
        call: Callable[[], Awaitable[Any]],
        told: Callable[[Any], Outcome | Awaitable[Outcome]],
    ) -> str:
        """The id of a request that the trainer gets in its turn; `told` makes its outcome."""
        turns, request = self._client(run_id).turns, request_id(run_id, seq_id)
        if request in self._futures:
            return request
        try:
            turns.check(seq_id)
        except ValueError as error:
            raise invalid(str(error)) from None
        turn = _Turn(call, asyncio.get_running_loop().create_future())

        async def work() -> Outcome:
            outcome = told(await _opened(await turn.handed))
            return outcome if isinstance(outcome, Outcome) else await outcome

        self._futures.begin(request, work())
        for ready in turns.arrive(seq_id, turn):
            ready.handed.set_result(ready.call())
        return request

    async def _created(self, run: Run, loading: Loading | None) -> Any:
        """What the trainer says; one that is being started again is asked until it is there."""
        while True:
            try:
                return await self._trainer.create.remote(run, loading)
            except ActorUnavailableError:
                await asyncio.sleep(_BACK_S)

    def _client(self, run_id: str) -> "_Client":
        self._sessions.alive(run_id)
        if run_id not in self._clients:
            raise absent(f'there is no training client "{run_id[:300]}"')
        return self._clients[run_id]


async def _opened(reply: Awaitable[Any]) -> Any:
    try:
        answer = await reply
    except RayActorError:
        raise Failed(_LOST, "server") from None
    if isinstance(answer, Failed):
        raise answer
    return answer
