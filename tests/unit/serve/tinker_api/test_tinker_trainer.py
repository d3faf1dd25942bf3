"""The trainer without its front: what it computes, what it keeps, what it tells of failures."""

import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tinker.proto import tinker_public_pb2 as proto

from actors.lm.base import load_base
from actors.train.on_torch.shared_base import SharedBase
from configs.errors import UserError
from serve.tinker_api import wire
from serve.tinker_api.faults import told
from serve.tinker_api.futures import Failed
from serve.tinker_api.kept import Run
from serve.tinker_api.launch import Place, place_of
from serve.tinker_api.lora import layers_of, lora_of
from serve.tinker_api.operations import Loading, Saving, adam_of
from serve.tinker_api.paths import CheckpointPath, Kind, run_id
from serve.tinker_api.store import Store
from serve.tinker_api.trainer import Trainer

ADAM = {"learning_rate": 1e-2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def trainer(base_directory: str, root: Path) -> Trainer:
    return Trainer(base_directory, "float32", "cpu", str(root), keep=lambda adapter: adapter)


@pytest.fixture
def make(trainer: Trainer, base_directory: str) -> Callable[..., Run]:
    """A new training client, perhaps from a checkpoint."""
    session = uuid.uuid4().hex
    made: list[Run] = []

    def new(rank: int = 2, loading: Loading | None = None) -> Run:
        run = Run(run_id(session, len(made)), base_directory, rank, 0, True, True, "2026-01-01")
        made.append(run)
        failure = trainer.create(run, loading)
        if failure is not None:
            raise failure
        return run

    return new


def _body(rows: list[list[int]]) -> bytes:
    message = proto.ForwardBackwardRequest(loss_fn="cross_entropy")
    for tokens in rows:
        row = message.data.add()
        row.model_input.add().encoded_text.tokens = np.array(tokens[:-1], "<i4").tobytes()
        row.loss_fn_inputs["target_tokens"].dense = np.array(tokens[1:], "<i8").tobytes()
        row.loss_fn_inputs["target_tokens"].dtype = proto.DTYPE_INT64
    return message.SerializeToString()


def _train(trainer: Trainer, run: Run, steps: int) -> None:
    for _ in range(steps):
        assert isinstance(trainer.run_pass(run.id, _body([[1, 2, 3]])), bytes)
        assert isinstance(trainer.step(run.id, ADAM), float)


def _saved(trainer: Trainer, run: Run, name: str, kind: Kind = "weights") -> CheckpointPath:
    path = CheckpointPath(run.id, kind, name)
    assert trainer.save(run.id, Saving(path, None, None)) is None
    return path


def test_a_batch_is_computed_as_in_process(
    trainer: Trainer, make: Callable[..., Run], base_directory: str
) -> None:
    """To the same bits: in the same portions too."""
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 256, (40, 65)).tolist()
    run = make()
    assert isinstance(trainer.run_pass(run.id, _body(rows)), bytes)
    base = load_base(base_directory)
    lora = lora_of(layers_of(base.model), run)
    alone = SharedBase(base, None, reads_all=True).adapter(lora, run.seed)
    datums = wire.datums(wire.parse_pass(_body(rows)), vocabulary=262)
    alone.forward_backward(datums, "cross_entropy")
    assert trainer.step(run.id, ADAM) == alone.optim_step(adam_of(ADAM)).result().grad_norm


def test_a_checkpoint_says_all_the_steps_it_has_seen(
    trainer: Trainer, make: Callable[..., Run], root: Path
) -> None:
    store, first = Store(str(root)), make()
    _train(trainer, first, 3)
    path = _saved(trainer, first, "three")
    resumed, other = make(loading=Loading(path, with_optimizer=True)), make()
    assert trainer.load(other.id, Loading(path, with_optimizer=False)) is None
    for run in (resumed, other):
        _train(trainer, run, 1)
        assert store.manifest(_saved(trainer, run, "four")).step == 4


def test_what_cannot_be_loaded_is_told_in_the_clients_own_words(
    trainer: Trainer, make: Callable[..., Run], root: Path
) -> None:
    first = make()
    path = _saved(trainer, first, "one")
    failure = trainer.load(make(rank=4).id, Loading(path, with_optimizer=True))
    assert str(failure) == (
        f"{path} has rank 2 with train_mlp=True and train_attn=True, and this training client "
        "another LoRA; make one with create_training_client_from_state"
    )
    sampler = _saved(trainer, first, "one", "sampler_weights")
    with pytest.raises(Failed) as caught:
        make(loading=Loading(sampler, with_optimizer=True))
    assert str(caught.value).startswith(f"{sampler}: trainer/optimizer.safetensors is missing")


def test_a_client_that_could_not_be_made(trainer: Trainer, make: Callable[..., Run]) -> None:
    with pytest.raises(Failed, match="rank=0 must lie in"):
        make(rank=0)
    failed = trainer.step(run_id("0" * 32, 0), ADAM)
    assert "could not be made, or the trainer was restarted" in str(failed)


@pytest.mark.parametrize("kind", [UserError, ValueError, OSError])
def test_where_the_storage_lies_is_not_for_clients(kind: type[Exception]) -> None:
    def work() -> None:
        raise kind("/home/me/data/tinker/x/run.json cannot be written: No space left on device.")

    failure = told(work, "/home/me/data")
    assert "/home" not in str(failure)
    assert "the server's storage/tinker/x/run.json cannot be written" in str(failure)


def test_where_a_trainer_runs() -> None:
    on_cpu = Place("cpu", {"num_cpus": 1, "num_gpus": 0})
    assert place_of({"CPU": 1.0}, "auto") == place_of({"CPU": 2.0, "GPU": 1.0}, "cpu") == on_cpu
    assert place_of({"GPU": 1.0}, "auto").device == "cuda"
    for nothing in ({}, {"CPU": 0.5, "GPU": 0.5}):
        with pytest.raises(UserError, match=r"no CPU .* Lower server\.num_replicas"):
            place_of(nothing, "auto")
