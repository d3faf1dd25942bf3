"""Ours: the torch engine, without Ray and without HTTP."""

import asyncio

from actors.lm.adapter import read_adapter
from actors.lm.engine import Engine
from actors.lm.requests import SampleRequest
from configs.sections import ServerConfig
from jobs.bench.serve.child import by_callers, serve, started
from jobs.bench.serve.work import Row, Work, adapter_name
from serve.engines import ENGINES


async def main() -> None:
    """Load and answer."""
    start = started()
    settings = ServerConfig.model_validate({"device": start.device})
    engine: Engine = ENGINES["torch"](start.base, settings)
    for number, path in enumerate(start.adapters):
        await engine.load(adapter_name(number), read_adapter(path))

    async def sample(rows: list[Row]) -> list[list[int]]:
        samples = await engine.sample([_request(row) for row in rows])
        return [found.token_ids for found in samples]

    async def work_done(work: Work) -> list[list[int]]:
        return await by_callers(work, sample)

    await serve(work_done)
    await engine.close()


def _request(row: Row) -> SampleRequest:
    return SampleRequest(
        adapter_name(row.adapter), row.prompt_ids, max_tokens=row.new_tokens, temperature=0.0
    )


if __name__ == "__main__":
    asyncio.run(main())
