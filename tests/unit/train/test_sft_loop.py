"""The loop: what it asks a backend for and when, what it measures, where it stops."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_base import byte_tokenizer, small_llama
from small_training import conversation_datum
from transformers import PreTrainedModel

from actors.lm.base import LoadedBase
from actors.lm.messages import assistant, user
from actors.train.backend import Passed, Pending, TrainingBackend
from actors.train.checkpoint import saved_checkpoints
from actors.train.datum import Datum, normalised
from actors.train.metrics import StepMetrics
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.lora import add_lora
from actors.train.sft_loop import SftData, finished, sft
from configs.errors import UserError
from configs.sft import SftConfig

Train = Callable[..., list[StepMetrics]]
Config = Callable[..., SftConfig]


def torch_backend(config: SftConfig, model: PreTrainedModel | None = None) -> TorchBackend:
    base = LoadedBase("small", model or small_llama(), byte_tokenizer(), "digest")
    return TorchBackend(add_lora(base, config.lora, config.seed), seed=0, micro_batch_tokens=512)


@dataclass
class Deferred:
    """A real backend that notes what is asked of it, and when its answers are read."""

    backend: TrainingBackend
    events: list[str] = field(default_factory=list)

    def __getattr__(self, verb: str) -> Callable[..., Pending[Any]]:
        def ask(*arguments: Any) -> Pending[Any]:
            self.events.append(verb)
            return Answer(verb, getattr(self.backend, verb)(*arguments).result(), self.events)

        return ask


@dataclass
class Answer:
    verb: str
    value: Any
    events: list[str]

    def result(self) -> Any:
        self.events.append(f"{self.verb}?")
        return self.value


def run_loop(
    backend: Any, config: SftConfig, data: SftData, kept: list[int] | None = None
) -> list[StepMetrics]:
    history: list[StepMetrics] = []
    kept = [] if kept is None else kept
    sft(
        *(backend, data, config, history),
        on_step=lambda metrics: None,
        keep=lambda done: kept.append(len(done)),
    )
    return history


def test_a_pass_and_its_step_are_asked_for_before_either_is_waited_for(
    sft_config: Config, datums: list[Datum]
):
    config = sft_config(epochs=1)
    recorded = Deferred(torch_backend(config))
    run_loop(recorded, config, SftData(datums))
    step = ["forward_backward", "optim_step", "forward_backward?", "optim_step?"]
    assert recorded.events == step * 3


def test_the_loss_is_per_target_token_of_the_batch(sft_config: Config, datums: list[Datum]):
    config = sft_config(epochs=1, batch_size=len(datums), lora={"rank": 4})
    (metrics,) = run_loop(torch_backend(config), config, SftData(datums))
    passed = torch_backend(config).forward(datums, "cross_entropy").result()
    targets = sum(datum.target_tokens for datum in datums)
    assert metrics.loss == pytest.approx(passed.loss / targets, rel=1e-5)
    assert (metrics.tokens, metrics.target_tokens) == (sum(map(len, datums)), targets)


def test_held_out_rows_are_measured_at_the_ends_of_epochs_as_they_are_after_the_step(
    sft_config: Config, datums: list[Datum]
):
    config = sft_config(epochs=2, validation_share=0.2)
    backend = torch_backend(config)
    data = SftData(datums[:8], validation=datums[8:])
    history = run_loop(backend, config, data)
    assert [m.step for m in history if m.validation_loss is not None] == [2, 4]
    after = backend.forward(normalised(data.validation), "cross_entropy").result().loss
    assert history[-1].validation_loss == after


def test_a_run_without_progress_stops_at_its_last_patience_and_keeps_that_state(
    sft_config: Config, datums: list[Datum]
):
    # At this rate no weight moves: the second and third validation are no better than the first.
    config = sft_config(
        epochs=9, learning_rate=1e-30, validation_share=0.2, validate_every=1, patience=2
    )
    kept: list[int] = []
    history = run_loop(torch_backend(config), config, SftData(datums[:8], datums[8:]), kept)
    assert (len(history), kept) == (3, [2, 3])
    assert finished(config, 8, history)
    assert not finished(config, 8, history[:2])


def test_a_stopped_run_stays_stopped_and_one_cut_before_stops_at_the_same_bits(
    sft_config: Config, train_here: Train, datums: list[Datum], tmp_path: Path
):
    config = sft_config(
        epochs=9, learning_rate=1e-30, validation_share=0.2, validate_every=1, patience=2
    )
    steps = train_here(config, tmp_path / "whole", validation=datums[:3])

    def cut(metrics: StepMetrics) -> None:
        if metrics.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_here(config, tmp_path / "cut", on_step=cut, validation=datums[:3])
    again = train_here(config, tmp_path / "cut", validation=datums[:3])
    assert [m.validation_loss for m in again] == [m.validation_loss for m in steps]
    whole, continued = (saved_checkpoints(str(tmp_path / name)) for name in ("whole", "cut"))
    assert [(c.step, c.version, c.digest) for c in continued] == [
        (c.step, c.version, c.digest) for c in whole
    ]
    assert len(train_here(config, tmp_path / "whole", validation=datums[:3])) == 3


def test_a_row_that_is_not_a_number_is_named_and_nothing_after_it_is_kept(sft_config: Config):
    tokenizer = byte_tokenizer()
    asked = ["Q", "QQ", "Z", "QQQ", "Q", "QQ", "QQQQ", "Q"]
    rows = [conversation_datum(tokenizer, [user(text), assistant("yes")]) for text in asked]
    model = small_llama()
    head = model.lm_head.weight.detach().clone()
    model.model.embed_tokens.weight.data[tokenizer.convert_tokens_to_ids("Z")] = torch.nan
    model.lm_head.weight = torch.nn.Parameter(head, requires_grad=False)
    config = sft_config(epochs=1, batch_size=4, save_every=1)
    kept: list[int] = []
    data = SftData(rows, places=[f"rows.jsonl:{number + 1}" for number in range(len(rows))])
    with pytest.raises(UserError, match=r"Step [12]: the loss is nan .*, in rows.jsonl:3\."):
        run_loop(torch_backend(config, model), config, data, kept)
    assert kept in ([], [1])


def test_a_validation_that_is_not_a_number_stops_before_its_checkpoint(
    sft_config: Config, datums: list[Datum]
):
    config = sft_config(epochs=1, validation_share=0.2)

    @dataclass
    class Blind:
        backend: TorchBackend

        def __getattr__(self, verb: str) -> Any:
            return getattr(self.backend, verb)

        def forward(self, batch: Sequence[Datum], loss: Any) -> Pending[Passed]:
            nothing = [replace(d, weights=np.full(len(d), np.nan, np.float32)) for d in batch]
            return self.backend.forward(nothing, loss)

    kept: list[int] = []
    data = SftData(datums[:4], validation=datums[4:])
    with pytest.raises(UserError, match="Step 1: the validation loss is nan"):
        run_loop(Blind(torch_backend(config)), config, data, kept)
    assert kept == []
