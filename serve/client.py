"""The adapter server's client inside the cluster: a Ray Serve handle, no HTTP."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from actors.lm.messages import Message
from actors.lm.requests import BASE, Sample
from configs.sections import SamplingConfig
from serve.calls import Answer, Call, Refusal

_MAX_LOST_REPLICAS = 3  # then something kills every replica that takes this call


async def ask(handle: DeploymentHandle, call: Call) -> Answer:
    """Send a call to a replica; UnknownAdapter, BadRequest and BrokenAdapter come as themselves.

    A call that a dying replica took with it goes to another one; nobody had seen its answer.
    """
    reply = await _sent(handle, call)
    if isinstance(reply, Refusal):
        raise reply.error
    return reply


async def _sent(handle: DeploymentHandle, call: Call) -> Answer | Refusal:
    for _ in range(_MAX_LOST_REPLICAS):
        with suppress(RayActorError):
            return cast("Answer | Refusal", await handle.answer.remote(call))
    return cast("Answer | Refusal", await handle.answer.remote(call))


class AdapterClient:
    """Asks a server. Many calls at once are what it is made for: the engine batches them.

    `names` maps the names given at the start to `name@version`, `digests` those to contents. A
    given name stays with its adapter, also where a newer version of that name is loaded.
    """

    def __init__(
        self, handle: DeploymentHandle, names: Mapping[str, str], digests: Mapping[str, str]
    ) -> None:
        self._handle, self._names = handle, {BASE: BASE, **names}
        self._digests = {name: digests[full] for name, full in self._names.items()}

    async def chat(
        self,
        adapter: str,
        messages: Sequence[Message],
        sampling: SamplingConfig,
        seed: int | None = None,
    ) -> Sample:
        """The assistant's next turn. The same seed gives the same answer."""
        call = Call(
            model=self._names.get(adapter, adapter),
            prompt=list(messages),
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=tuple(sampling.stop),
            seed=seed,
        )
        return (await ask(self._handle, call)).completions[0].sample

    def adapters(self) -> dict[str, str]:
        """Name -> digest of what was loaded at the start, `base` included."""
        return dict(self._digests)
