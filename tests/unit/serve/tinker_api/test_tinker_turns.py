"""The front's pure parts: turns, outcomes, sessions, names, the store, all with clocks of ours."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_base import small_llama
from tinker import types
from tinker_front import OneThread

from serve.openai.errors import Refused
from serve.tinker_api.front import Front
from serve.tinker_api.futures import Failed, Futures, Outcome, answered
from serve.tinker_api.kept import Run
from serve.tinker_api.lora import layers_of, lora_of
from serve.tinker_api.paths import (
    CheckpointPath,
    parse_path,
    request_id,
    run_folder,
    run_id,
    run_of_folder,
    session_of,
)
from serve.tinker_api.sample_calls import call_of
from serve.tinker_api.sequencing import MOST_AHEAD, Turns
from serve.tinker_api.sessions import IDLE_S, Sessions

SESSION = "a" * 32
RUN = Run(run_id(SESSION, 0), "base", 4, 0, True, True, "2026-01-01T00:00:00+00:00")


@given(st.permutations(range(1, 9)), st.lists(st.integers(-2, 12)))
def test_turns_come_in_order_and_once(order: list[int], again: list[int]) -> None:
    turns, ran = Turns[int](), []
    for number in [*order[:4], *again, *order[4:], *again]:
        ran += turns.arrive(number, number)
    assert ran == sorted({*order, *(number for number in again if number > 8)} & set(ran))
    assert ran[:8] == list(range(1, 9))
    assert turns.waits_for == len(ran) + 1


def test_turns_that_may_come() -> None:
    turns = Turns[int]()
    turns.arrive(1, 1)
    for number in (2, MOST_AHEAD + 2):
        turns.check(number)
    for number in (1, MOST_AHEAD + 3):
        with pytest.raises(ValueError, match=f"seq_id={number} is not one of 2.."):
            turns.check(number)


def test_outcomes_stay_for_as_long_as_a_session_may_be_silent() -> None:
    now = 0.0

    async def main() -> None:
        nonlocal now
        futures, go = Futures(lambda: now), asyncio.Event()

        async def work() -> Outcome:
            await go.wait()
            return answered({"done": True})

        async def fail() -> Outcome:
            raise Failed("no room", "server")

        futures.begin("s:1", work())
        assert await futures.wait("s:1", 0) is None
        go.set()
        assert await futures.wait("s:1", 9) == Outcome(b'{"done": true}')
        futures.begin("s:2", fail())
        failed = await futures.wait("s:2", 9)
        assert failed == Outcome(b'{"error": "no room", "category": "server"}')
        now = IDLE_S - 1
        futures.forget_told()
        assert await futures.wait("s:1", 9)  # its first telling may never have arrived
        now = IDLE_S + 1
        futures.forget_told()
        assert await futures.wait("s:1", 9)
        with pytest.raises(Refused, match="no request"):
            await futures.wait("s:2", 9)
        go.clear()
        futures.begin("t:1", work())
        await asyncio.sleep(0)
        futures.forget_session("t")
        assert "t:1" not in futures

    asyncio.run(main())


def test_outcomes_that_were_told_have_a_share_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.tinker_api.futures.KEPT_BYTES", 30_000)
    now = 0.0

    async def work() -> Outcome:
        return Outcome(bytes(10_000))

    async def main() -> None:
        nonlocal now
        futures = Futures(lambda: now)
        for request in ("other:1", "s:1", "s:2", "s:3", "s:4"):
            now += 1
            futures.begin(request, work())
            if request != "s:2":  # nobody has asked for it yet
                assert await futures.wait(request, 9)
        await asyncio.sleep(0)
        futures.forget_told()
        kept = [one for one in ("other:1", "s:1", "s:2", "s:3", "s:4") if one in futures]
        assert kept == ["other:1", "s:2", "s:3", "s:4"]

    asyncio.run(main())


def test_a_fault_of_ours_is_the_servers(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> Any:
        futures = Futures(lambda: 0.0)

        async def fault() -> Outcome:
            raise KeyError("secret")

        futures.begin("s:1", fault())
        return await futures.wait("s:1", 9)

    body = asyncio.run(main()).body
    assert b'"category": "server"' in body
    assert b"secret" not in body
    assert "KeyError: 'secret'" in capsys.readouterr().err


def test_silent_sessions() -> None:
    now = 0.0
    sessions = Sessions(lambda: now, iter("abc").__next__)
    for _ in range(3):
        sessions.open(None, None)
    assert sessions.ids == ["c", "b", "a"]
    now = IDLE_S - 1
    sessions.alive("b:train:0:7")  # a request of its training client is a sign of life
    now = IDLE_S + 1
    assert sessions.silent() == ["a", "c"]
    sessions.close("a")
    for name, status in (("a:sample:0", 410), ("nobody", 404)):
        with pytest.raises(Refused) as caught:
            sessions.alive(name)
        assert caught.value.failure.status == status


def test_names() -> None:
    path = CheckpointPath(RUN.id, "weights", "step-1.5_a")
    assert parse_path(str(path)) == path
    assert str(types.ParsedCheckpointTinkerPath.from_tinker_path(str(path)).checkpoint_id) == (
        path.checkpoint_id
    )
    assert run_of_folder(run_folder(RUN.id)) == RUN.id
    assert run_of_folder("else") is None
    assert session_of(request_id(RUN.id, 3)) == SESSION


@given(st.text())
def test_no_path_leads_out_of_the_store(text: str) -> None:
    for path in (text, f"tinker://{text}", f"tinker://{RUN.id}/weights/{text}"):
        try:
            found = parse_path(path)
        except Refused:
            continue
        assert str(found) == path
        assert "/" not in found.name
        assert not found.name.startswith(".")


def test_groups_of_layers() -> None:
    layers = layers_of(small_llama())
    assert layers.attention == [f"self_attn.{name}_proj" for name in ("k", "o", "q", "v")]
    assert layers.others == ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"]
    assert lora_of(layers, RUN).targets == "all-linear"
    neither = Run(RUN.id, "base", 4, 0, False, False, RUN.created)
    with pytest.raises(ValueError, match="nothing is left"):
        lora_of(layers, neither)


@pytest.mark.parametrize(
    ("stop", "strings", "ends"),
    [
        (None, (), None),
        ([], (), frozenset()),
        ("a", ("a",), None),
        (["a", "b"], ("a", "b"), None),
        ([5, 6], (), frozenset({5, 6})),
    ],
)
def test_what_stops_a_sample(stop: Any, strings: tuple[str, ...], ends: Any) -> None:
    request = types.SampleRequest(
        prompt=types.ModelInput.from_ints([1]),
        sampling_params=types.SamplingParams(max_tokens=3, stop=stop, top_k=-1, seed=-1),
        num_samples=2,
    )
    call = call_of(request, "one@1")
    assert (call.stop, call.end_ids) == (strings, ends)
    assert (call.model, call.prompts, call.n, call.top_k) == ("one@1", [[1]], 2, 0)
    assert call.seed == 2**63 - 1


class _Trainer:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def create(self, run: Run, loading: Any) -> None:
        pass

    def drop(self, run: str) -> None:
        self.dropped.append(run)


def test_what_a_silent_session_held_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.tinker_api.front._TIDY_S", 0.01)
    monkeypatch.setattr("serve.tinker_api.sessions.IDLE_S", 0.0)
    trainer, nobody = _Trainer(), cast(Any, None)

    async def main() -> None:
        front = Front(
            nobody,
            OneThread(trainer),
            storage_root=str(tmp_path),
            base_names=["base"],
            context_tokens=1,
            device="cpu",
        )
        session = front.open_session(None, None)
        run = front.new_run(session.id, 0, None, rank=1, seed=None, train_mlp=True, train_attn=True)
        request = front.training.create(run, None)
        assert await front.futures.wait(request, 9)
        front.samplers.of_base(f"{session.id}:sample:0")
        while not trainer.dropped:  # the test's own time limit bounds it
            await asyncio.sleep(0.01)
        assert trainer.dropped == [run.id]
        assert front.samplers.of_session(session.id) == []
        with pytest.raises(Refused, match="silent") as caught:
            front.training.run(run.id)
        assert caught.value.failure.status == 410

    asyncio.run(main())
