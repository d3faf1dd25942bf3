"""The peer: what most people write, `AsyncOpenAI` as it comes, a semaphore and `gather`."""

import asyncio
import sys
from collections.abc import Iterable

import openai

from jobs.bench.pool.child import Tally, measure
from jobs.bench.pool.load import Load


async def main(load: Load) -> None:
    """Do the load and print what it took."""
    async with openai.AsyncOpenAI(base_url=load.url, api_key="none") as client:
        places = asyncio.Semaphore(load.work.in_flight)

        async def answered(text: str) -> bool:
            async with places:
                reply = await client.chat.completions.create(
                    model="rules", messages=[{"role": "user", "content": text}]
                )
            return bool(reply.choices[0].message.content)

        async def ask(questions: Iterable[str], tally: Tally) -> None:
            outcomes = await asyncio.gather(*map(answered, questions), return_exceptions=True)
            tally.answered += outcomes.count(True)
            tally.failed += len(outcomes) - outcomes.count(True)

        await measure(load, ask)


if __name__ == "__main__":
    asyncio.run(main(Load.model_validate_json(sys.argv[1])))
