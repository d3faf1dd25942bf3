"""Several adapters on one base: each trains as if it were alone."""

import hashlib
import warnings

import pytest
from small_base import byte_tokenizer, small_llama

from actors.lm.base import LoadedBase
from actors.train.backend import AdamParams, Label, Passed
from actors.train.datum import Datum, normalised
from actors.train.on_torch.backend import TorchBackend
from actors.train.on_torch.shared_base import SharedBase
from configs.errors import UserError
from configs.sections import LoraConfig

LABEL = Label("run", 1, 1)
TENANTS = [
    (LoraConfig(rank=4, alpha=8, dropout=0.3), 1),
    (LoraConfig(rank=2, alpha=8, targets=["q_proj", "lm_head"]), 2),
]


def shared_base(**options: bool) -> SharedBase:
    model = small_llama().eval().requires_grad_(False)
    return SharedBase(LoadedBase("small", model, byte_tokenizer(), "digest"), 64, **options)


def step(backend: TorchBackend, batch: list[Datum]) -> tuple[float, float | None]:
    passed = backend.forward_backward(batch, "cross_entropy")
    stepped = backend.optim_step(AdamParams(learning_rate=0.1))
    return passed.result().loss, stepped.result().grad_norm


def test_two_tenants_in_turn_get_the_bits_that_each_gets_alone(datums: list[Datum]):
    batch = normalised(datums)
    alone = []
    for lora, seed in TENANTS:
        backend = shared_base().adapter(lora, seed)
        alone.append(([step(backend, batch) for _ in range(3)], backend.snapshot(LABEL).digest))
    shared = shared_base()
    backends = [shared.adapter(lora, seed) for lora, seed in TENANTS]
    told: list[list[tuple[float, float | None]]] = [[], []]
    for _ in range(3):
        passes = [backend.forward_backward(batch, "cross_entropy") for backend in backends]
        for backend, passed, steps in zip(backends, passes, told, strict=True):
            norm = backend.optim_step(AdamParams(learning_rate=0.1)).result().grad_norm
            steps.append((passed.result().loss, norm))
    digests = [backend.snapshot(LABEL).digest for backend in backends]
    assert list(zip(told, digests, strict=True)) == alone


def test_tenants_come_and_go(datums: list[Datum]):
    batch = normalised(datums)
    (lora, seed), (other, _) = TENANTS
    expected = step(shared_base().adapter(lora, seed), batch)
    shared = shared_base()
    first, stays = shared.adapter(lora, seed), shared.adapter(other, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shared.drop(first)
    kept = step(stays, batch)
    assert step(shared.adapter(lora, seed), batch) == expected
    shared.drop(stays)
    assert kept == step(shared_base().adapter(other, 5), batch)


def test_a_base_without_tenants_takes_new_ones(datums: list[Datum]):
    batch = normalised(datums)
    (lora, seed), _ = TENANTS
    shared = shared_base()
    first = shared.adapter(lora, seed)
    expected = step(first, batch)
    shared.drop(first)
    assert step(shared.adapter(lora, seed), batch) == expected


def test_unknown_targets_leave_the_base_as_it_was(datums: list[Datum]):
    batch = normalised(datums)
    (lora, seed), _ = TENANTS
    shared = shared_base()
    with pytest.raises(UserError, match="q_prj"):
        shared.adapter(LoraConfig(targets=["q_prj"]), 0)
    backend = shared.adapter(lora, seed)
    with pytest.raises(UserError, match="q_prj"):
        shared.adapter(LoraConfig(targets=["q_prj"]), 0)
    assert step(backend, batch) == step(shared_base().adapter(lora, seed), batch)


def test_reading_everything_tells_more_and_learns_the_same(datums: list[Datum]):
    batch = normalised(datums)
    (lora, seed), _ = TENANTS
    found: list[Passed] = []
    norms = []
    for reads_all in (False, True):
        backend = shared_base(reads_all=reads_all).adapter(lora, seed)
        found.append(backend.forward_backward(batch, "cross_entropy").result())
        norms.append(backend.optim_step(AdamParams(learning_rate=0.1)).result().grad_norm)
    some, every = found
    assert every.loss == pytest.approx(some.loss, abs=1e-6)
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    for datum, few, all_of_them in zip(batch, some.logprobs, every.logprobs, strict=True):
        assert (all_of_them < 0).all()
        assert few == pytest.approx(all_of_them * datum.taught("cross_entropy"), abs=1e-5)


def test_training_leaves_the_base_alone(datums: list[Datum]):
    shared = shared_base()
    base = {name: p.clone() for name, p in shared.base.model.named_parameters()}
    before = hashlib.sha256(b"".join(p.numpy().tobytes() for p in base.values())).hexdigest()
    backend = shared.adapter(*TENANTS[0])
    step(backend, normalised(datums))
    frozen = [
        p.detach().numpy().tobytes()
        for name, p in shared.base.model.named_parameters()
        if "lora_" not in name
    ]
    assert len(frozen) == len(base)
    assert hashlib.sha256(b"".join(frozen)).hexdigest() == before
    assert not any(
        p.grad is not None for n, p in shared.base.model.named_parameters() if "lora_" not in n
    )
