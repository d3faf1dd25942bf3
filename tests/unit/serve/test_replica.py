"""A shelf and its replicas in one process, on engines without a model: names, loads, rows."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine
from local_actor import kept
from ray.exceptions import ActorDiedError
from replica_house import House, adapter, opened, run_house

from actors.lm.refusals import BadRequest, RefusedAdapter, UnknownAdapter
from actors.lm.requests import Question
from serve.calls import Answer, Call, Delta, Opened, Overloaded, Refusal
from serve.crowd import Crowd
from serve.shelf import AdapterShelf, Holdings


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`run(test, *engines)` runs `test(house)`."""
    return lambda test, *engines: run_house(test, monkeypatch, tmp_path, *engines)


def test_a_load_is_known_everywhere_when_it_is_answered(run: Any) -> None:
    async def test(house: House) -> None:
        for version in range(1, 6):
            loaded = await house.load("one", adapter(version), at=version % 2)
            assert (loaded.model, len(loaded.probe)) == (f"one@{version}", 3)
            for at in (0, 1):
                for name in ("one", "one@latest", f"one@{version}"):
                    answer = await house.ask(name, at)
                    assert answer.model == f"one@{version}"
                    assert answer.choices[0].sample.adapter_digest == loaded.digest
        assert await house.shelf.remove("one@5") == ["one@5"]
        assert {(await house.ask("one", at)).model for at in (0, 1)} == {"one@4"}
        await house.shelf.remove("one")
        for at in (0, 1):
            with pytest.raises(UnknownAdapter, match="Loaded: base"):
                await house.ask("one", at)

    run(test, FakeEngine(), FakeEngine())


def test_more_adapters_than_slots_take_turns(run: Any) -> None:
    async def test(house: House) -> None:
        digests = {}
        for number in range(5):
            loaded = await house.load(f"n{number}", adapter(number))
            digests[loaded.model] = loaded.digest
        answers = await asyncio.gather(*(house.ask(f"n{i % 5}", n=1) for i in range(5)))
        assert {a.model: a.choices[0].sample.adapter_digest for a in answers} == digests
        scores = opened(await house.replicas[0].score(list(digests), [Question([1], [[2]])]))
        assert [one.adapter_digest for one in scores] == list(digests.values())
        # Who left came back: more loads than adapters, never more adapters than slots.
        assert house.engines[0].loads > 5
        assert len(house.engines[0].loaded) <= 3

    run(test, FakeEngine(max_adapters=2))


def test_a_refused_adapter_leaves_nothing_behind(run: Any) -> None:
    async def test(house: House) -> None:
        with pytest.raises(RefusedAdapter, match="somebody/else"):
            await house.load("one", adapter(1, base="somebody/else"))
        await house.shelf.give_up("one@1")
        with pytest.raises(UnknownAdapter):
            await house.ask("one@1")
        house.engines[0].problem = "its log-probabilities are not finite"
        with pytest.raises(RefusedAdapter, match="not finite"):
            await house.load("one", adapter(2))
        house.engines[0].problem = None
        assert (await house.load("one", adapter(3))).model == "one@3"

    run(test)


def test_what_was_asked_before_an_unload_is_answered(run: Any) -> None:
    async def test(house: House) -> None:
        loaded = await house.load("one", adapter(1))
        asked = asyncio.create_task(house.ask("one", max_tokens=40))
        while not house.engines[0].running:
            await asyncio.sleep(0)
        await house.shelf.remove("one")
        assert "one@1" in house.engines[0].loaded
        assert (await asked).choices[0].sample.text == loaded.digest[:40]
        while "one@1" in house.engines[0].loaded:
            await asyncio.sleep(0)

    run(test, FakeEngine(step_s=0.01))


def test_who_waits_for_a_slot_while_its_adapter_is_unloaded_is_answered(run: Any) -> None:
    async def test(house: House) -> None:
        digests = {name: (await house.load(name, adapter(i))).digest for i, name in enumerate("ab")}
        busy = asyncio.create_task(house.ask("b", max_tokens=64))
        while not house.engines[0].running:
            await asyncio.sleep(0)
        waiting = asyncio.create_task(house.ask("a", max_tokens=40))
        await asyncio.sleep(0.02)
        await house.shelf.remove("a")
        with pytest.raises(UnknownAdapter):
            await house.ask("a")
        assert not busy.done()
        assert (await waiting).choices[0].sample.text == digests["a"][:40]
        await busy
        while house.shelf._leaving:  # it is not kept for ever
            await asyncio.sleep(0.01)

    run(test, FakeEngine(max_adapters=1, step_s=0.01))


def test_adapters_that_are_unloaded_while_others_are_scored_are_scored_as_well(run: Any) -> None:
    async def test(house: House) -> None:
        loaded = [await house.load(name, adapter(i)) for i, name in enumerate("ab")]
        busy = asyncio.create_task(house.ask("b", max_tokens=64))
        while not house.engines[0].running:
            await asyncio.sleep(0)
        questions = [Question([1], [[2]])]
        scoring = asyncio.create_task(house.replicas[0].score(["a", "b"], questions))
        await asyncio.sleep(0.02)
        await house.shelf.remove("b")
        assert not busy.done()
        scores = opened(await scoring)
        assert [one.adapter_digest for one in scores] == [one.digest for one in loaded]

    run(test, FakeEngine(max_adapters=1, step_s=0.01))


@pytest.mark.parametrize("ends", ["published", "given up"])
def test_a_name_is_loaded_once_at_a_time(run: Any, ends: str) -> None:
    async def test(house: House) -> None:
        shelf, one = house.shelf, adapter(1)
        full = opened(await shelf.reserve("one", one))
        with pytest.raises(RefusedAdapter, match="being loaded with this content, as one@1"):
            opened(await shelf.reserve("one", one))
        if ends == "published":
            opened(await shelf.publish(full))
            await shelf.remove(full)
        else:
            await shelf.give_up(full)
        with pytest.raises(RefusedAdapter, match="not held any more"):
            opened(await shelf.publish(full))
        assert (await house.load("one", one)).model == full
        await house.ask(full)

    run(test)


def test_a_stream_that_is_closed_has_ended_its_rows(run: Any) -> None:
    async def test(house: House) -> None:
        stream = house.replicas[0].stream(Call("base", ["Hello"], max_tokens=64))
        assert isinstance(await anext(stream), Opened)
        await stream.aclose()
        assert not house.engines[0].running

    run(test, FakeEngine(step_s=0.01))


def test_who_goes_away_takes_its_rows_along(run: Any) -> None:
    async def test(house: House) -> None:
        asked = asyncio.create_task(house.ask("base", n=3, max_tokens=64))
        stream = house.replicas[0].stream(Call("base", ["Hello"], max_tokens=64))
        assert isinstance(await anext(stream), Opened)
        assert house.replicas[0]._engine.stats().running == 4
        asked.cancel()
        await stream.aclose()
        await asyncio.wait([asked])
        while house.engines[0].running:
            await asyncio.sleep(0)

    run(test, FakeEngine(step_s=0.05))


def test_a_stream_opens_gains_and_ends_with_the_whole_answer(run: Any) -> None:
    async def test(house: House) -> None:
        call = Call("base", ["Hello", "World"], max_tokens=9)
        first, *deltas, answer = [part async for part in house.replicas[0].stream(call)]
        assert isinstance(first, Opened)
        texts = ["", ""]
        for delta in deltas:
            assert isinstance(delta, Delta)
            for index, piece in delta.pieces:
                texts[index] += piece.text
        assert isinstance(answer, Answer)
        assert texts == [choice.sample.text for choice in answer.choices] == ["b" * 9] * 2
        refused = [part async for part in house.replicas[0].stream(Call("nobody", ["Hello"]))]
        assert [type(part) for part in refused] == [Refusal]

    run(test)


def test_too_many_are_told_to_come_again(run: Any) -> None:
    async def test(house: House) -> None:
        asked = [asyncio.create_task(house.ask("base")) for _ in range(7)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        [refusal] = [one for one in results if isinstance(one, Exception)]
        assert isinstance(refusal, Overloaded)
        assert refusal.retry_after_s >= 1
        await house.ask("base")

    run(test, FakeEngine(step_s=0.001))


def test_a_call_of_many_rows_waits_for_a_queue_that_has_room() -> None:
    crowd = Crowd(seats=2, max_queued=4)
    with crowd.place(2), crowd.place(1):
        with pytest.raises(Overloaded, match="1 requests wait"), crowd.place(4):
            pytest.fail("it went in")
        with crowd.place(3):
            pass
    with crowd.place(100):  # or it could never be asked
        pass


def test_a_replica_tells_how_busy_it_is_and_whether_it_lives(run: Any) -> None:
    async def test(house: House) -> None:
        await house.load("one", adapter(1), at=1)
        told = await house.shelf.roll_call()
        assert sorted(len(one.resident) for one in told.values()) == [0, 1]
        await house.replicas[0].check_health()
        house.engines[0].death = "the model's thread has ended"
        with pytest.raises(RuntimeError, match="thread has ended"):
            await house.replicas[0].check_health()

    run(test, FakeEngine(), FakeEngine())


def test_a_replica_whose_shelf_died_loads_no_model(run: Any, monkeypatch: Any) -> None:
    async def test(house: House) -> None:
        async def die(shelf: AdapterShelf) -> None:
            raise ActorDiedError

        monkeypatch.setattr(AdapterShelf, "attend", die)
        await house.start_replica(FakeEngine())
        late = house.replicas[-1]
        assert not hasattr(late, "_engine")
        assert (await late.describe()).problem == "the server is gone: its shelf of adapters died"
        await late.check_health()  # or Serve would start it again and again

    run(test)


def test_token_ids_of_prompts(run: Any) -> None:
    async def test(house: House) -> None:
        assert await house.replicas[0].tokenize([5, 6], False) == [5, 6]
        with pytest.raises(BadRequest, match="special tokens"):
            opened(await house.replicas[0].tokenize([5, 6], True))

    run(test)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../outside", "storage root only"),
        ("/etc", "storage root only"),
        ("file:///etc", "storage root only"),
        ("s3://bucket/x", "storage root only"),
        ("link", "storage root only"),
        ("absent", "no such folder"),
        ("empty", "adapter_config.json is missing"),
        ("a\0b", "storage root only"),
    ],
)
def test_paths_stay_under_the_storage_root(
    run: Any, tmp_path: Path, path: str, message: str
) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "empty").mkdir()

    async def test(house: House) -> None:
        with pytest.raises(RefusedAdapter, match=message):
            await house.load("one", path)

    run(test)


def test_large_adapters_are_refused(run: Any, tmp_path: Path) -> None:
    async def test(house: House) -> None:
        shelf = AdapterShelf([], Holdings(str(tmp_path), max_adapter_bytes=3), keep=kept)
        with pytest.raises(RefusedAdapter, match="4 bytes; this server takes 3"):
            opened(await shelf.reserve("one", adapter(1)))

    run(test)
