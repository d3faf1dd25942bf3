"""What jobs ask a server of their own: by the names that they gave the adapters."""

import asyncio
from collections.abc import Mapping, Sequence

from actors.lm.messages import Message
from actors.lm.requests import BASE, Question, Sample, Scores
from configs.sections import SamplingConfig
from serve.calls import Call
from serve.client import ServerClient

_QUESTIONS_AT_ONCE = 256  # of one call: so that several replicas have something to do


class AdapterClient:
    """Asks a server by given names.

    `names` maps them to `name@version`, `digests` those to contents. A given name stays with its
    adapter, also where a newer version of that name is loaded.
    """

    def __init__(
        self, server: ServerClient, names: Mapping[str, str], digests: Mapping[str, str]
    ) -> None:
        self.server, self._names = server, {BASE: BASE, **names}
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
            prompts=[list(messages)],
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=tuple(sampling.stop),
            seed=seed,
        )
        return (await self.server.ask(call)).choices[0].sample

    async def score(self, adapters: Sequence[str], questions: Sequence[Question]) -> list[Scores]:
        """What each adapter says to all the questions, in the order of the adapters."""
        names = [self._names.get(adapter, adapter) for adapter in adapters]
        starts = range(0, max(1, len(questions)), _QUESTIONS_AT_ONCE)
        chunks = [questions[start : start + _QUESTIONS_AT_ONCE] for start in starts]
        asked = [asyncio.ensure_future(self.server.score(names, chunk)) for chunk in chunks]
        try:
            by_chunk = await asyncio.gather(*asked)
        finally:
            for one in asked:  # where one failed, nobody wants the others
                one.cancel()
        return [_joined([scores[i] for scores in by_chunk]) for i in range(len(names))]

    def adapters(self) -> dict[str, str]:
        """Name -> digest of what was loaded at the start, `base` included."""
        return dict(self._digests)


def _joined(chunks: Sequence[Scores]) -> Scores:
    """One adapter's; a problem with some questions is one of all."""
    problem = next((one.problem for one in chunks if one.problem is not None), None)
    told = [] if problem is not None else [question for one in chunks for question in one.questions]
    return Scores(chunks[0].adapter_digest, told, problem)
