"""Training through the SDK: exact, in order, each client for itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tinker
import torch
from tinker import types
from tinker_data import STILL, datum, logprobs, norm, rows, train
from tinker_front import Opened

ADAM = types.AdamParams(learning_rate=1e-2)


@pytest.fixture
def client(service: tinker.ServiceClient, opened: Opened) -> tinker.TrainingClient:
    return service.create_lora_training_client(opened.base, rank=4, seed=1).result()


def test_a_client_says_what_it_trains(client: tinker.TrainingClient, opened: Opened) -> None:
    info = client.get_info()
    assert (info.model_data.model_name, info.lora_rank, info.is_lora) == (opened.base, 4, True)
    assert client.get_tokenizer()("ab")["input_ids"]


def test_a_pass_tells_every_position_and_the_sum_of_its_losses(
    client: tinker.TrainingClient,
) -> None:
    data = [datum([1, 2, 3, 4], weights=[0.0, 1.0, 2.0]), datum([5, 6, 7])]
    output = client.forward_backward(data, "cross_entropy").result()
    told = logprobs(output)
    assert [len(row) for row in told] == [3, 2]
    expected = -(told[0][1] + 2 * told[0][2] + sum(told[1]))
    assert output.metrics["loss:sum"] == pytest.approx(expected, rel=1e-6)
    assert told[0][0] < 0  # also where nothing is learnt
    targets: Any = {"target_tokens": [6, 7]}
    unweighted = types.Datum(types.ModelInput.from_ints([5, 6]), targets)
    assert logprobs(client.forward([unweighted], "cross_entropy").result()) == [
        pytest.approx(told[1], abs=1e-6)
    ]


def test_a_forward_pass_leaves_no_gradients(client: tinker.TrainingClient) -> None:
    client.forward(rows(2, 9), "cross_entropy").result()
    assert norm(client.optim_step(STILL)) == 0


def test_gradients_add_up_until_a_step(client: tinker.TrainingClient) -> None:
    parts = [client.forward_backward([row], "cross_entropy") for row in rows(3, 9)]
    together = norm(client.optim_step(STILL))
    assert all(part.result() for part in parts)
    client.forward_backward(rows(3, 9), "cross_entropy").result()
    assert norm(client.optim_step(STILL)) == pytest.approx(together, rel=1e-5)


def test_custom_losses_have_exact_gradients(client: tinker.TrainingClient) -> None:
    data = [datum([1, 2, 3, 4], weights=[0.0, 0.0, 0.0]), datum([9, 8, 7])]
    seen = []

    def scaled(scale: float) -> Any:
        def loss(data: Any, logprobs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, dict]:
            seen.append([row.detach() for row in logprobs])
            return scale * torch.cat(list(logprobs)).sum(), {"scale": scale}

        return loss

    norms = []
    for scale in (-1.0, -2.0, 1.0):
        output = client.forward_backward_custom(data, scaled(scale)).result()
        norms.append(norm(client.optim_step(STILL)))
        assert output.metrics["scale"] == scale
        assert output.metrics["loss:sum"] == pytest.approx(scale * float(sum(map(sum, seen[0]))))
    assert norms == pytest.approx([norms[0], 2 * norms[0], norms[0]], rel=1e-5)
    plain = [datum([1, 2, 3, 4]), datum([9, 8, 7])]
    client.forward_backward(plain, "cross_entropy").result()
    assert norm(client.optim_step(STILL)) == pytest.approx(norms[0], rel=1e-5)


@pytest.mark.parametrize("loss", ["importance_sampling", "ppo", "cispo"])
def test_losses_of_reinforcement_learning(client: tinker.TrainingClient, loss: Any) -> None:
    tokens, advantages = [1, 2, 3, 4], np.array([1.0, 0.5, -2.0], np.float32)
    [told] = logprobs(client.forward([datum(tokens)], "cross_entropy").result())
    sampled = (np.array(told) - [0.5, 0.1, -0.4]).astype(np.float32)
    ratio = np.exp(np.array(told) - sampled)
    bounds = {} if loss == "importance_sampling" else {"clip_high_threshold": 1.3}
    low = {"ppo": 0.8, "cispo": 0.0}.get(loss, 0.0)
    clipped = np.clip(ratio, low, 1.3)
    expected = {
        "importance_sampling": -(ratio * advantages).sum(),
        "ppo": -np.minimum(ratio * advantages, clipped * advantages).sum(),
        "cispo": -(clipped * np.array(told) * advantages).sum(),
    }
    row = datum(tokens, logprobs=sampled, advantages=advantages)
    for run in (client.forward, client.forward_backward):
        output = run([row], loss, bounds).result()
        assert output.metrics["loss:sum"] == pytest.approx(expected[loss], rel=1e-4)
    assert norm(client.optim_step(STILL)) > 0


def test_a_large_batch_comes_in_parts_and_is_one(client: tinker.TrainingClient) -> None:
    data = [datum([i % 256, i % 7, 3]) for i in range(1100)]
    output = client.forward_backward(data, "cross_entropy").result()
    stepped = norm(client.optim_step(STILL))
    assert len(output.loss_fn_outputs) == 1100
    last = logprobs(client.forward(data[1090:], "cross_entropy").result())
    assert np.array(last) == pytest.approx(np.array(logprobs(output)[1090:]), abs=1e-4)
    halves = [client.forward_backward(data[i::2], "cross_entropy") for i in (0, 1)]
    total = sum(half.result().metrics["loss:sum"] for half in halves)
    assert output.metrics["loss:sum"] == pytest.approx(total, rel=1e-5)
    assert norm(client.optim_step(STILL)) == pytest.approx(stepped, rel=1e-4)


def test_tenants_of_other_ranks_train_as_if_alone(
    service: tinker.ServiceClient, opened: Opened
) -> None:
    def make(rank: int, **layers: Any) -> tinker.TrainingClient:
        return service.create_lora_training_client(
            opened.base, rank=rank, seed=rank, **layers
        ).result()

    alone = [train(make(8), 3, seed=10), train(make(2, train_mlp=False), 3, seed=20)]
    first, second = make(8), make(2, train_mlp=False)
    together: list[list[tuple[float, float]]] = [[], []]
    for step in range(3):
        together[0] += train(first, 1, seed=10 + step)
        together[1] += train(second, 1, seed=20 + step)
    assert together == alone
    assert alone[0] != alone[1]


def test_training_goes_on_from_a_state_to_the_same_bits(
    client: tinker.TrainingClient, service: tinker.ServiceClient
) -> None:
    train(client, 2, seed=0)
    saved = client.save_state("half").result().path
    whole = train(client, 2, seed=2)
    resumed = service.create_training_client_from_state_with_optimizer(saved).result()
    assert resumed.get_info().lora_rank == 4
    assert train(resumed, 2, seed=2) == whole
    weights = service.create_training_client_from_state(saved).result()
    [first, second] = train(weights, 2, seed=2)
    assert first == whole[0]
    assert second != whole[1]  # another optimiser
    client._load_state_impl(saved, optimizer=True, weights_access_token=None).result()
    assert train(client, 2, seed=2) == whole


def test_a_failed_request_poisons_its_client_and_no_other(
    client: tinker.TrainingClient, service: tinker.ServiceClient, opened: Opened
) -> None:
    other = service.create_lora_training_client(opened.base, rank=2).result()
    broken = client.forward_backward([datum([1, 9999, 2])], "cross_entropy")
    behind = client.optim_step(ADAM)
    with pytest.raises(tinker.RequestFailedError, match=r"datum 0: .* 0\.\.261") as caught:
        broken.result()
    assert caught.value.category == "user"
    with pytest.raises(tinker.RequestFailedError, match=r"earlier request .* last checkpoint"):
        behind.result()
    assert train(other, 1, seed=0)


@pytest.mark.parametrize(
    ("path", "token", "told"),
    [
        ("tinker://0034d8c9-0a88-52a9-b2b7-bce7cb1e6fef:train:0/weights/80", None, "no checkpoint"),
        (f"tinker://{'0' * 32}:train:0/weights/80", None, "no checkpoint"),
        (f"tinker://{'0' * 32}:train:0/weights/80", "of another account", "weights_access_token"),
    ],
)
def test_a_load_that_cannot_be_fails_in_its_turn(
    client: tinker.TrainingClient, path: str, token: str | None, told: str
) -> None:
    loading = client._load_state_impl(path, optimizer=False, weights_access_token=token)
    behind = client.optim_step(ADAM)
    with pytest.raises(tinker.RequestFailedError, match=told):
        loading.result(timeout=60)
    with pytest.raises(tinker.RequestFailedError, match=rf"earlier request .*{told}"):
        behind.result(timeout=60)


def test_a_save_that_cannot_be_leaves_its_client_whole(client: tinker.TrainingClient) -> None:
    secret = client.save_weights_external("out", age_encryption_recipients=["age1x"])
    with pytest.raises(tinker.RequestFailedError, match="does not encrypt"):
        secret.result(timeout=60)
    assert train(client, 1, seed=0)


@pytest.mark.parametrize(
    ("loss", "inputs", "told"),
    [
        ("dro", {}, "known are cross_entropy"),
        ("cross_entropy", {"weights": [1.0]}, "weights has 1 values for 2 tokens"),
        ("cross_entropy", {"weights": [1.0, float("nan")]}, "not finite"),
        ("cross_entropy", {"logprobs": [1.0, 2.0]}, '"logprobs" is not read by this loss'),
        ("ppo", {"advantages": [1.0, 2.0]}, "logprobs is missing"),
        ("cross_entropy", {"target_tokens": np.ones((2, 3), np.int64)}, "one value per token"),
    ],
)
def test_batches_that_cannot_be_used(
    client: tinker.TrainingClient, loss: Any, inputs: dict[str, Any], told: str
) -> None:
    with pytest.raises(tinker.RequestFailedError, match=told):
        client.forward([datum([1, 2, 3], **inputs)], loss).result()
    client.forward([datum([1, 2, 3])], "cross_entropy").result()  # nothing was changed


def test_settings_that_adam_does_not_take(client: tinker.TrainingClient) -> None:
    with pytest.raises(tinker.RequestFailedError, match="beta1 and beta2"):
        client.optim_step(types.AdamParams(beta2=1.0)).result()
    with pytest.raises(tinker.RequestFailedError, match="earlier"):
        client.optim_step(ADAM).result()


def test_clients_that_cannot_be_made(service: tinker.ServiceClient, opened: Opened) -> None:
    with pytest.raises(tinker.NotFoundError, match=r"other/base.* not served here"):
        service.create_lora_training_client("other/base").result()
    with pytest.raises(tinker.RequestFailedError, match=r"rank=100000 must lie in 1\.\.512"):
        service.create_lora_training_client(opened.base, rank=100_000).result()
    with pytest.raises(tinker.BadRequestError, match="adamw is the only one"):
        service.create_lora_training_client(
            opened.base, optimizer=types.DimuonOptimizerConfig()
        ).result()
    nowhere = f"tinker://{'0' * 32}:train:0/weights/none"
    with pytest.raises(tinker.NotFoundError, match="no checkpoint"):
        service.create_training_client_from_state(nowhere).result()
    with pytest.raises(tinker.BadRequestError, match="weights_access_token"):
        service.create_training_client_from_state(nowhere, weights_access_token="x").result()
