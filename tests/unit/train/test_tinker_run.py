"""A run on the service: cut, lost and continued it ends with the same bits; what it cannot do."""

import os
import signal
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import pytest
from small_training import service_config
from tinker_front import NoDownloads, Opened

from actors.lm.adapter import CONFIG
from actors.lm.base import load_tokenizer
from actors.store.storage import Storage
from actors.train.checkpoint import SavedCheckpoint
from actors.train.datum import Datum
from actors.train.metrics import OnStep, StepMetrics
from actors.train.on_tinker.service import open_service
from actors.train.on_tinker.trainer import train_on_tinker
from actors.train.remote import RemoteAdapter, read_kept
from actors.train.sft_loop import SftData
from configs.errors import JobFailed, UserError
from configs.sft import SftConfig
from jobs.properties.checkpoints import read_checkpoints
from jobs.properties.samplers import adapter_digests
from serve.tinker_api.paths import session_of
from serve.tinker_client import open_tinker_client

pytestmark = pytest.mark.usefixtures("to_front")

Train = Callable[..., list[SavedCheckpoint]]


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def train(small_base: str, datums: list[Datum]) -> Train:
    def train(
        folder: Path,
        on_step: OnStep = lambda m: None,
        sleep: Callable[[float], None] = lambda s: None,
        **fields: object,
    ):
        return train_on_tinker(
            service_config(small_base, **fields),
            SftData(datums),
            run_id="run",
            folder=str(folder),
            on_step=on_step,
            sleep=sleep,
        )

    return train


def drop_clients(front: Opened) -> None:
    """As if the trainer had been restarted."""
    trainer = front.front.training._trainer.actor
    for run in list(trainer._tenants):
        trainer.drop(run)


def digests(saved: list[SavedCheckpoint]) -> list[tuple[int, int, str]]:
    return [(c.step, c.version, c.digest) for c in saved]


def test_a_run_cut_before_its_first_checkpoint_ends_with_the_same_bits(
    whole: list[SavedCheckpoint], train: Train, tmp_path: Path
):
    def cut(metrics: StepMetrics) -> None:
        raise Killed

    with pytest.raises(Killed):
        train(tmp_path, cut)
    steps: list[int] = []
    assert digests(train(tmp_path, lambda m: steps.append(m.step))) == digests(whole)
    assert steps == [1, 2, 3]


def train_until_killed(config: SftConfig, datums: list[Datum], folder: str) -> None:
    """What a process of its own does, which is gone after the second of three steps."""

    def kill(metrics: StepMetrics) -> None:
        if metrics.step == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    train_on_tinker(config, SftData(datums), run_id="run", folder=folder, on_step=kill)


def test_a_killed_run_ends_with_the_same_bits(
    whole: list[SavedCheckpoint],
    small_base: str,
    datums: list[Datum],
    train: Train,
    tmp_path: Path,
):
    arguments = service_config(small_base), datums, str(tmp_path)
    process = get_context("spawn").Process(target=train_until_killed, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    steps: list[int] = []
    assert digests(train(tmp_path, lambda m: steps.append(m.step))) == digests(whole)
    assert steps == [1, 2, 3]


def test_a_client_that_the_service_lost_is_made_anew_from_the_last_checkpoint(
    whole: list[SavedCheckpoint], front: Opened, train: Train, tmp_path: Path
):
    steps: list[int] = []

    def lose(metrics: StepMetrics) -> None:
        steps.append(metrics.step)
        if metrics.step == 2:
            drop_clients(front)

    assert digests(train(tmp_path, lose)) == digests(whole)
    assert steps == [1, 2, 3]
    with pytest.raises(JobFailed, match=r"more than max_failures=0 times.*\n.*not hold this"):
        train(tmp_path / "other", lose, max_failures=0)


def test_a_session_that_ends_in_the_middle_of_a_pass_is_made_anew(
    whole: list[SavedCheckpoint], front: Opened, train: Train, tmp_path: Path, monkeypatch
):
    wait = front.front.futures.wait

    async def end_session(request: str, patience_s: float) -> None:
        monkeypatch.setattr(front.front.futures, "wait", wait)
        front.front.sessions.close(session_of(request))

    def end(metrics: StepMetrics) -> None:
        if metrics.step == 2:
            monkeypatch.setattr(front.front.futures, "wait", end_session)

    pauses: list[float] = []
    assert digests(train(tmp_path, end, pauses.append)) == digests(whole)
    assert len(pauses) == 1


def test_a_service_that_is_away_for_a_while_is_waited_for(
    whole: list[SavedCheckpoint], front: Opened, train: Train, tmp_path: Path, monkeypatch
):
    def leave(metrics: StepMetrics) -> None:
        if metrics.step == 2:
            drop_clients(front)
            monkeypatch.setenv("TINKER_BASE_URL", "http://127.0.0.1:9")

    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            monkeypatch.setenv("TINKER_BASE_URL", front.url)

    assert digests(train(tmp_path, leave, sleep)) == digests(whole)
    assert pauses == [15, 60, 240]


def test_where_the_service_gives_no_weights_away_its_paths_are_the_checkpoint(
    whole: list[SavedCheckpoint],
    downloads: NoDownloads,
    train: Train,
    tmp_path: Path,
    monkeypatch,
    caplog,
):
    monkeypatch.setattr(downloads, "status", 404)
    saved = train(tmp_path)
    losses: list[float] = []
    train(tmp_path, lambda m: losses.append(m.loss))  # nothing is left to do
    assert caplog.text.count("The service gives no weights away (not here)") == 1
    assert [(c.step, c.version) for c in saved] == [(c.step, c.version) for c in whole]
    assert [c.loss for c in saved] == [c.loss for c in whole]
    kept = read_kept(saved[-1].path)
    with open_service() as service:
        assert saved[-1].digest == service.digest(kept.sampler)
    assert not (Path(saved[-1].path) / CONFIG).exists()
    read = read_checkpoints([saved[-1].path], Storage(str(tmp_path)))
    ((name, adapter),) = read.items()
    assert isinstance(adapter, RemoteAdapter)
    assert (name, adapter.path) == ("run@3", kept.sampler)
    assert adapter_digests(read) == {name: saved[-1].digest}


def test_an_export_that_fails_is_no_service_that_gives_no_weights_away(
    whole: list[SavedCheckpoint], downloads: NoDownloads, train: Train, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(downloads, "status", 410)  # a 429 or a 5xx the SDK would ask for minutes
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        monkeypatch.setattr(downloads, "status", None)

    assert digests(train(tmp_path, sleep=sleep)) == digests(whole)
    assert len(pauses) == 1


def test_what_the_service_cannot_be_asked(
    front: Opened, whole: list[SavedCheckpoint], train: Train, tmp_path: Path, monkeypatch
):
    with pytest.raises(UserError, match='base_model="/no/base": no model of the service'):
        train(tmp_path, base_model="/no/base")
    gone = {"gone": read_kept(whole[-1].path).sampler.replace("step-000003", "step-000009")}
    with open_service() as service, pytest.raises(UserError, match="not on the service"):
        open_tinker_client(service, front.base, gone, load_tokenizer(front.base))
    monkeypatch.setenv("TINKER_API_KEY", "tml-user")
    with pytest.raises(UserError, match=r"HOTHOUSE_ADMIN_KEYS.*may not do this"):
        train(tmp_path)
    monkeypatch.setenv("TINKER_API_KEY", "tml-wrong")
    with pytest.raises(UserError, match="Give a key of that service in TINKER_API_KEY"):
        train(tmp_path)
    monkeypatch.setenv("TINKER_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"TINKER_BASE_URL=http://127.0.0.1:9: nobody answers"):
        train(tmp_path)
    monkeypatch.delenv("TINKER_API_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="put TINKER_API_KEY=tml-"):
        train(tmp_path)


def test_a_checkpoint_that_has_left_the_service_is_told(
    front: Opened, train: Train, tmp_path: Path
):
    def cut(metrics: StepMetrics) -> None:
        if metrics.step == 2:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, cut)
    state = read_kept(f"{tmp_path}/checkpoints/step-000001").state
    with open_service() as service:
        service.rest.delete_checkpoint_from_tinker_path(state).result()
    with pytest.raises(UserError, match=r"step-000001: the service no longer has tinker://"):
        train(tmp_path)
