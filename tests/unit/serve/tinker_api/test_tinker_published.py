"""Which adapters the front has on the server, whatever comes in the middle of what."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from actors.lm.adapter import Manifest, write_adapter
from actors.lm.refusals import UnknownAdapter
from serve.calls import Loaded
from serve.openai.errors import Refused
from serve.tinker_api.front import Front
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import Checkpoint, now
from serve.tinker_api.paths import CheckpointPath, run_id
from serve.tinker_api.published import STAYS_S, Published
from serve.tinker_api.store import Store


class _Server:
    """Notes what is there; loads and unloads wait for `go`, and are never of one name at once."""

    def __init__(self) -> None:
        self.there: dict[str, str | None] = {}
        self.changing: set[str] = set()
        self.loads, self.unloaded = 0, list[str]()
        self.go, self.begun = asyncio.Event(), asyncio.Event()
        self.go.set()

    async def load(self, name: str, path: str | None = None, adapter: Any = None) -> Loaded:
        self.loads += 1
        await self._wait(name)
        self.there[f"{name}@1"] = path
        return Loaded(f"{name}@1", "digest", [])

    async def unload(self, name: str) -> list[str]:
        await self._wait(name.removesuffix("@1"))
        self.unloaded.append(name)
        if self.there.pop(name, "") == "":
            raise UnknownAdapter(name, [])
        return [name]

    async def ask(self, call: Any) -> Any:
        raise NotImplementedError

    async def _wait(self, name: str) -> None:
        assert name not in self.changing
        self.changing.add(name)
        self.begun.set()
        await self.go.wait()
        self.changing.remove(name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def _save(store: Store, name: str, digest: str = "digest") -> str:
    path = CheckpointPath(run_id("a" * 32, 0), "sampler_weights", name)
    folder = store.begin(path, Checkpoint("base", 4, True, True, now().isoformat()), None)
    tensors = {"base_model.model.x.lora_A.weight": torch.ones(4, 2)}
    write_adapter(folder, {"r": 4}, tensors, Manifest("a", 1, 1, "a", "base", digest))
    return str(path)


def _front(server: Any, store: Store, tmp_path: Path) -> Front:
    trainer: Any = None
    return Front(
        server, trainer, storage_root=str(tmp_path), base_names=["base"], context_tokens=1,
        device="cpu",
    )  # fmt: skip


def test_what_nobody_uses_goes_after_a_while(store: Store) -> None:
    async def main() -> None:
        now_s, server, used = 0.0, _Server(), set[str]()
        published = Published(server, store, lambda: now_s)
        path = _save(store, "a")
        adapter = await published.checkpoint(path)
        await published.snapshot("snapshot", object())
        now_s = STAYS_S - 1
        assert await published.checkpoint(path) == adapter
        now_s += 2
        await published.tidy(used.__contains__)
        assert server.unloaded == ["snapshot@1"]
        used.add(adapter)
        now_s += STAYS_S
        await published.tidy(used.__contains__)
        assert list(server.there) == [adapter]
        used.clear()
        await published.tidy(used.__contains__)
        assert server.there == {}
        assert await published.checkpoint(path) == adapter
        assert list(server.there) == [adapter]

    asyncio.run(main())


def test_an_adapter_that_is_asked_for_while_others_go_stays(store: Store) -> None:
    async def main() -> None:
        now_s, server = 0.0, _Server()
        published = Published(server, store, lambda: now_s)
        paths = [_save(store, name) for name in "ab"]
        first, second = [await published.checkpoint(path) for path in paths]
        now_s = STAYS_S + 1
        server.begun.clear()
        server.go.clear()
        tidying = asyncio.create_task(published.tidy(lambda adapter: False))
        await server.begun.wait()  # the first is on its way out
        assert await published.checkpoint(paths[1]) == second
        again = asyncio.create_task(published.checkpoint(paths[0]))
        while not published._loads:  # the test's own time limit bounds it
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # it begins, and has to wait for the unload
        server.go.set()
        await tidying
        assert await again == first
        assert set(server.there) == {first, second}
        assert server.unloaded == [first]

    asyncio.run(main())


def test_a_load_whose_client_is_gone_ends_and_is_given_back(store: Store) -> None:
    async def main() -> None:
        now_s, server = 0.0, _Server()
        published = Published(server, store, lambda: now_s)
        server.go.clear()
        asked = [published.checkpoint(_save(store, "a")), published.snapshot("s", object())]
        for one in asked:
            server.begun.clear()
            task = asyncio.create_task(one)
            await server.begun.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        server.go.set()
        while len(server.there) < len(asked):  # the test's own time limit bounds it
            await asyncio.sleep(0)
        now_s = STAYS_S + 1
        await published.tidy(lambda adapter: False)
        assert server.there == {}

    asyncio.run(main())


def test_what_is_saved_under_a_name_anew_is_loaded_anew(store: Store) -> None:
    async def main() -> None:
        server = _Server()
        published = Published(server, store, lambda: 0.0)
        for digest, loads in (("one", 1), ("one", 1), ("other", 2)):
            path = _save(store, "a", digest)
            await published.checkpoint(path)
            store.delete(CheckpointPath(run_id("a" * 32, 0), "sampler_weights", "a"))
            with pytest.raises(Refused, match="no checkpoint"):
                await published.checkpoint(path)
            assert server.loads == loads

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["checkpoint", "snapshot"])
def test_a_session_that_ends_while_its_sampler_is_made_has_none(
    store: Store, tmp_path: Path, kind: str
) -> None:
    async def main() -> None:
        server = _Server()
        front = _front(server, store, tmp_path)
        session = front.open_session(None, None).id
        sampler, path = f"{session}:sample:0", _save(store, "a")
        server.go.clear()
        making = asyncio.create_task(
            front.samplers.of_checkpoint(sampler, path)
            if kind == "checkpoint"
            else front.samplers.of_snapshot(sampler, [object()])
        )
        await server.begun.wait()
        front.end_session(session)
        front.end_session(session)  # by its client, and because it is silent
        server.go.set()
        with pytest.raises((Refused, Failed), match="session ended"):
            await making
        assert front.samplers.of_session(session) == []
        assert not front.samplers.use(*server.there)

    asyncio.run(main())


def test_an_adapter_without_any_session_goes_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.tinker_api.front._TIDY_S", 0.01)
    monkeypatch.setattr("serve.tinker_api.published.STAYS_S", -1.0)

    async def main() -> None:
        server = _Server()
        adapter = await _front(server, store, tmp_path).adapter_of(_save(store, "a"))
        while not server.unloaded:  # the test's own time limit bounds it
            await asyncio.sleep(0.01)
        assert server.unloaded == [adapter]

    asyncio.run(main())


def test_tidying_goes_on_after_a_fault(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("serve.tinker_api.front._TIDY_S", 0.01)
    monkeypatch.setattr("serve.tinker_api.sessions.IDLE_S", 0.0)

    async def main() -> None:
        front = _front(_Server(), store, tmp_path)
        ended: list[str] = []
        end_session: Callable[[str], None] = front.end_session

        def fails_once(session: str) -> None:
            ended.append(session)
            if len(ended) == 1:
                raise OSError("no luck")
            end_session(session)

        monkeypatch.setattr(front, "end_session", fails_once)
        front.open_session(None, None)
        while front.sessions.ids:  # the test's own time limit bounds it
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert "no luck" in capsys.readouterr().err
