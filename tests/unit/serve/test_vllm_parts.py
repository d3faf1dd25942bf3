"""The parts of the vllm engine that are ours, with a stand-in for vllm."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from actors.lm.adapter import Adapter
from actors.lm.base import load_base
from actors.lm.refusals import BadRequest, BrokenAdapter, RefusedAdapter, UnknownAdapter
from actors.lm.requests import Likely, Piece, SampleRequest, TokenLogprob
from actors.lm.sampling.limits import limits_of
from configs.errors import UserError
from configs.sections import ServerConfig
from serve.engines.vllm import shelf
from serve.engines.vllm.api import Api
from serve.engines.vllm.completion import told
from serve.engines.vllm.engine import VllmEngine
from serve.engines.vllm.meter import Meter
from serve.engines.vllm.residents import Base
from serve.engines.vllm.start import start_vllm_engine

A = ord("A") - 33  # the byte-level tokenizer's id


class FakeError(Exception):
    pass


@dataclass
class FakeLlm:
    """Answers every request with A's until it may sample no more, or is closed."""

    errored: bool = False
    refuses: str | None = None
    logprob: float = -1.0
    log: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def add_lora(self, lora: Any) -> bool:
        if self.refuses:
            raise RuntimeError(self.refuses)
        self.log.append(f"add {lora.lora_name}")
        return True

    async def remove_lora(self, lora_id: int) -> bool:
        self.log.append(f"remove {lora_id}")
        return True

    async def generate(
        self, prompt: Any, params: Any, request_id: str, *, lora_request: Any
    ) -> AsyncIterator[Any]:
        name = lora_request.lora_name if lora_request else "base"
        ids, likely = prompt["prompt_token_ids"], SimpleNamespace(logprob=self.logprob, rank=1)
        try:
            await self.go_on.wait()
            for _ in range(params.max_tokens):
                yield SimpleNamespace(
                    prompt_token_ids=ids,
                    prompt_logprobs=[None, *({token: likely} for token in ids[1:])],
                    outputs=[SimpleNamespace(token_ids=[A], logprobs=[{A: likely}])],
                )
            self.log.append(f"end {name}")
        except GeneratorExit:
            self.log.append(f"abort {name}")
            raise

    def shutdown(self) -> None:
        self.log.append("shutdown")


def _api() -> Api:
    kinds = SimpleNamespace(DELTA="delta", FINAL_ONLY="final")
    make = SimpleNamespace
    return Api(make, None, make, kinds, make, make, make, FakeError, "cpu")


@pytest.fixture(scope="module")
def base(base_directory: str) -> Base:
    loaded = load_base(base_directory)
    limits = limits_of(loaded)
    return Base(loaded.name, loaded.digest, nn.Module.to(loaded.model, "meta"), limits)


@pytest.fixture(autouse=True)
def adapters_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shelf, "_MEMORY", tmp_path)


def _engine(llm: FakeLlm, base: Base) -> VllmEngine:
    llm.go_on.set()
    return VllmEngine(llm, _api(), base, Meter(256, 2), max_adapters=2, max_batch=2)


def test_without_vllm_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, base_directory: str
) -> None:
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", None)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(__path__=[]))
    with pytest.raises(UserError, match=r"pip install 'hothouse\[vllm\]'"):
        start_vllm_engine(base_directory, ServerConfig(engine="vllm"))


def test_the_likeliest_are_told_in_their_order() -> None:
    ranked = {
        7: SimpleNamespace(logprob=-4.0, rank=9),
        5: SimpleNamespace(logprob=-1.0, rank=2),
        3: SimpleNamespace(logprob=-0.5, rank=1),
    }
    assert told(7, ranked, 2) == TokenLogprob(-4.0, (Likely(3, -0.5), Likely(5, -1.0)))
    assert told(3, ranked, 1) == TokenLogprob(-0.5, (Likely(3, -0.5),))
    assert told(5, ranked, 0) == TokenLogprob(-1.0, ())


def test_a_row_that_is_done_is_aborted_in_vllm(base: Base) -> None:
    async def main() -> None:
        llm, pieces = FakeLlm(), []

        def on_piece(i: int, piece: Piece) -> None:
            pieces.append(piece)

        engine = _engine(llm, base)
        request = SampleRequest("base", [5], max_tokens=9, stop=("AAA",))
        [sample] = await engine.sample([request], on_piece)
        assert (sample.token_ids, sample.text) == ([A] * 3, "")
        assert sample.finish_reason == "stop"
        assert "".join(piece.text for piece in pieces) == ""
        assert llm.log == ["abort base"]
        [sample] = await engine.sample([replace(request, stop=())])
        assert (sample.text, sample.finish_reason) == ("A" * 9, "length")
        assert engine.stats().running == 0

    asyncio.run(main())


def test_unload_waits_for_answers_and_then_gives_the_place_back(
    base: Base, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        llm = FakeLlm()
        engine = _engine(llm, base)
        llm.go_on.clear()
        one, two = adapters.values()
        await engine.load("one@1", one)
        await engine.load("two@1", two)
        running = asyncio.create_task(engine.sample([SampleRequest("one@1", [5], max_tokens=2)]))
        await asyncio.sleep(0)
        leaving = asyncio.create_task(engine.unload("one@1"))
        await asyncio.sleep(0.01)
        with pytest.raises(UnknownAdapter):
            await engine.sample([SampleRequest("one@1", [5])])
        with pytest.raises(RefusedAdapter, match="2 places"):
            await engine.load("one@2", one)
        leaving.cancel()  # whoever asked goes away; the place comes back all the same
        llm.go_on.set()
        assert len((await running)[0].token_ids) == 2
        while "remove 1" not in llm.log:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        await engine.load("one@1", one)
        assert llm.log.index("remove 1") > max(
            i for i, line in enumerate(llm.log) if line.endswith("one@1#1")
        )
        assert llm.log[-1] == "add one@1#3"

    asyncio.run(main())


def test_a_refusal_by_vllm_is_told_and_its_death_is_not_a_refusal(
    base: Base, adapters: dict[str, Adapter]
) -> None:
    async def main() -> None:
        llm = FakeLlm(refuses="no such module")
        engine, one = _engine(llm, base), adapters["one@1"]
        with pytest.raises(RefusedAdapter, match="no such module"):
            await engine.load("one@1", one)
        llm.errored = True
        with pytest.raises(RuntimeError, match="no such module"):
            await engine.load("one@1", one)
        with pytest.raises(RuntimeError, match="stopped"):
            engine.check_alive()
        assert list(engine.adapters()) == ["base"]

    asyncio.run(main())


def test_ranks_and_temperatures_that_vllm_does_not_take_are_refused_by_name(
    base: Base, adapters: dict[str, Adapter]
) -> None:
    one = adapters["one@1"]
    wide = {
        key: value.repeat(16, 1) if "lora_A" in key else value.repeat(1, 16)
        for key, value in one.tensors.items()
    }

    async def main() -> None:
        engine = _engine(FakeLlm(), base)
        with pytest.raises(RefusedAdapter, match=r"rank 128.* up to 64"):
            await engine.load("one@1", replace(one, config=one.config | {"r": 128}, tensors=wide))
        with pytest.raises(BadRequest, match=r"temperature=2\.5") as refusal:
            await engine.sample([SampleRequest("base", [5], temperature=2.5)])
        assert refusal.value.field == "temperature"

    asyncio.run(main())


def test_numbers_that_are_not_finite_are_an_error(base: Base) -> None:
    async def main() -> None:
        engine = _engine(FakeLlm(logprob=float("nan")), base)
        for request in (
            SampleRequest("base", [5], max_tokens=2),
            SampleRequest("base", [5, 6], max_tokens=0, prompt_logprobs=1),
        ):
            with pytest.raises(BrokenAdapter):
                await engine.sample([request])

    asyncio.run(main())


def test_folders_of_killed_processes_are_swept_and_those_of_others_kept(
    tmp_path: Path,
) -> None:
    living = shelf.Shelf()
    killed = tmp_path / "hothouse-adapters-killed"
    killed.mkdir()
    (killed / "lock").touch()
    new = shelf.Shelf()
    assert not killed.exists()
    assert len(list(tmp_path.iterdir())) == 2
    living.close()
    new.close()
    assert not list(tmp_path.iterdir())
