"""Ours: the torch engine, without Ray and without HTTP."""

import asyncio

from actors.lm.adapter import read_adapter
from actors.lm.engine import Engine
from actors.lm.requests import SampleRequest
from configs.sections import ServerConfig
from jobs.bench.serve.child import by_callers, serve, started
from jobs.bench.serve.work import Row, Work, adapter_name
from serve.engines import ENGINES

_NEW = "new"


async def main() -> None:
    """Load and answer."""
    start = started()
    settings = ServerConfig.model_validate({"device": start.device})
    engine: Engine = ENGINES["torch"](start.base, settings)
    for number, path in enumerate(start.adapters):
        await engine.load(adapter_name(number), read_adapter(path))

    async def sample(rows: list[Row]) -> list[list[int]]:
        return await _tokens(engine, [_request(row, adapter_name(row.adapter)) for row in rows])

    async def work_done(work: Work) -> list[list[int]]:
        if work.load is None:
            return await by_callers(work, sample)
        await engine.load(_NEW, read_adapter(work.load))
        tokens = await _tokens(engine, [_request(row, _NEW) for row in work.rows])
        await engine.unload(_NEW)
        return tokens

    await serve(work_done)
    await engine.close()


def _request(row: Row, name: str) -> SampleRequest:
    return SampleRequest(name, row.prompt_ids, max_tokens=row.new_tokens, temperature=0.0)


async def _tokens(engine: Engine, requests: list[SampleRequest]) -> list[list[int]]:
    return [sample.token_ids for sample in await engine.sample(requests)]


if __name__ == "__main__":
    asyncio.run(main())
