"""A call's answer piece by piece, as its engine gains it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from actors.lm.engine import Engine
from actors.lm.requests import Piece
from serve.answering import Asked
from serve.calls import Answer, Delta, Opened
from serve.tokens import TokenTexts

_PIECES_S = 0.02  # a message costs a millisecond on either side: pieces this close travel together

Pieces = asyncio.Queue[tuple[int, Piece] | None]  # (choice, piece); None: the last was before


async def parts_of(
    asked: Asked, engine: Engine, texts: TokenTexts
) -> AsyncGenerator[Opened | Delta | Answer]:
    """What opens the stream, what choices gain, and the whole answer last.

    A request that is refused raises before anything is said. To close it ends the rows.
    """
    opened, gained = Opened(asked.model, asked.fingerprint, asked.digest), Pieces()
    sampling = asyncio.create_task(
        engine.sample(asked.requests(), lambda i, piece: gained.put_nowait((i, piece)))
    )
    sampling.add_done_callback(lambda _: gained.put_nowait(None))
    try:
        first = await gained.get()
        if first is not None:
            yield opened
        async for pieces in _gathered(gained, first):
            yield asked.delta(pieces, texts)
        samples = await sampling
        if first is None:
            yield opened
        yield asked.answer(samples, texts)
    finally:
        sampling.cancel()
        await asyncio.wait([sampling])  # until then its rows use the adapter


async def _gathered(
    gained: Pieces, first: tuple[int, Piece] | None
) -> AsyncIterator[list[tuple[int, Piece]]]:
    """Pieces as they come, those that are close together in one list; the first at once."""
    one = first
    while one is not None:
        pieces = [one]
        while not gained.empty() and (one := gained.get_nowait()) is not None:
            pieces.append(one)
        yield pieces
        if one is None:
            return
        await asyncio.sleep(_PIECES_S)
        one = await gained.get()
