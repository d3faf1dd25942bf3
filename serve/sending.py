"""Send a call to some replica: again when a dying replica took it along, never twice otherwise.

Cancelling the caller cancels the call, and that its rows in the engine.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator

from serve.calls import Overloaded, Refusal, Unavailable

_TRIES = 4  # then something kills every replica that takes this call
_PAUSE_S = 0.2  # before the second try, twice as long before the third
_RETRY_AFTER_S = 2.0
_LOST = "every replica that took this request died of something; the server's log says why"
_FULL = "the server's queue is full"
_NONE = "the server has no replica that could answer"


async def send(handle: DeploymentHandle, method: str, *arguments: Any, tries: int = _TRIES) -> Any:
    """What a replica answers; a refusal is raised. Overloaded, Unavailable."""
    for again in range(tries):
        await asyncio.sleep(again * _PAUSE_S)
        response: DeploymentResponse = getattr(handle, method).remote(*arguments)
        try:
            return _opened(await response)
        except asyncio.CancelledError:
            response.cancel()
            raise
        except RayActorError:  # nobody had seen its answer
            continue
        except BackPressureError:
            raise Overloaded(_FULL, _RETRY_AFTER_S) from None
        except DeploymentUnavailableError:
            raise Unavailable(_NONE) from None
    raise Unavailable(_LOST)


async def stream(handle: DeploymentHandle, method: str, *arguments: Any) -> AsyncGenerator[Any]:
    """The parts of a replica's answer. Unavailable where it dies after the first one was given."""
    for again in range(_TRIES):
        await asyncio.sleep(again * _PAUSE_S)
        parts: DeploymentResponseGenerator = getattr(handle, method).remote(*arguments)
        has_begun = False
        try:
            async for part in parts:
                yield _opened(part)
                has_begun = True
            return
        except RayActorError:
            if has_begun:
                raise Unavailable("the replica died in the middle of this answer") from None
        except BackPressureError:
            raise Overloaded(_FULL, _RETRY_AFTER_S) from None
        except DeploymentUnavailableError:
            raise Unavailable(_NONE) from None
        finally:
            parts.cancel()  # of what is over already, nothing
    raise Unavailable(_LOST)


async def tell(call: Awaitable[Any]) -> Any:
    """What the shelf answers; a refusal is raised."""
    try:
        return _opened(await call)
    except RayActorError:
        raise Unavailable("the server is gone: its shelf of adapters does not answer") from None


def _opened(reply: Any) -> Any:
    if isinstance(reply, Refusal):
        raise reply.error
    return reply
