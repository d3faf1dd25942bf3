"""What LoRA's dropout drops: a share, at random, by where it is alone."""

import numpy as np
import pytest
import torch
from small_base import byte_tokenizer, small_llama
from torch import Tensor

from actors.lm.base import LoadedBase
from actors.train.on_torch.dropout import LoraDropout, _mixed, pass_key
from actors.train.on_torch.lora import add_lora
from configs.errors import UserError
from configs.sections import LoraConfig

PLACES = torch.arange(600)


def layers(share: float) -> tuple[LoraDropout, list[torch.nn.Module]]:
    """The dropout of a small model's q, k and v projections, of width 32."""
    base = LoadedBase("small", small_llama().eval(), byte_tokenizer(), "digest")
    lora = LoraConfig(rank=4, dropout=share, targets=["q_proj", "k_proj", "v_proj"])
    model = add_lora(base, lora, seed=3)
    dropout = LoraDropout(model, "default")
    found = [m for n, m in model.named_modules() if n.endswith("lora_dropout.default")]
    return dropout, found


def drawn(share: float, step: int = 0, number: int = 0, seed: int = 5, layer: int = 0) -> Tensor:
    """[600, 32] ones, dropped."""
    dropout, found = layers(share)
    with dropout.of(pass_key(seed, step, number), PLACES):
        return found[layer](torch.ones(len(PLACES), 32))


def murmur(words: np.ndarray) -> np.ndarray:
    """The finaliser as it is written in C."""
    words = words.astype(np.uint32)
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x85EBCA6B)
    words ^= words >> np.uint32(13)
    words *= np.uint32(0xC2B2AE35)
    return words ^ (words >> np.uint32(16))


def test_words_are_hashed_as_murmur_does():
    words = torch.randint(-(2**31), 2**31, (1001,), generator=torch.manual_seed(0)).int()
    expected = murmur(words.numpy().view(np.uint32))
    assert np.array_equal(_mixed(words.clone()).numpy().view(np.uint32), expected)
    assert _mixed(torch.tensor([1], dtype=torch.int32)).item() == 0x514E28B7


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_share_is_dropped_and_the_rest_grows(share: float):
    found = drawn(share)
    kept = found != 0
    assert found[kept].unique().tolist() == pytest.approx([1 / (1 - share)])
    deviation = (share * (1 - share)) ** 0.5
    assert abs(kept.float().mean() - (1 - share)) < 4 * deviation / found.numel() ** 0.5
    # Neither a token nor a feature has a share of its own: the spreads are those of a binomial.
    for axis in (0, 1):
        shares = kept.float().mean(axis)
        assert shares.std() == pytest.approx(deviation / found.shape[axis] ** 0.5, rel=0.4)


def test_no_draw_tells_another():
    """Neighbours, passes, steps, seeds and layers agree as often as chance does."""
    one = drawn(0.5) != 0
    others = {
        "feature": one.roll(1, 1),
        "token": one.roll(1, 0),
        "pass": drawn(0.5, number=1) != 0,
        "step": drawn(0.5, step=1) != 0,
        "seed": drawn(0.5, seed=6) != 0,
        "layer": drawn(0.5, layer=1) != 0,
        "later layer": drawn(0.5, layer=5) != 0,
    }
    for name, other in others.items():
        assert (one == other).float().mean() == pytest.approx(0.5, abs=0.015), name


def test_a_token_is_drawn_for_by_its_place_alone():
    whole = drawn(0.3)
    dropout, found = layers(0.3)
    some = torch.randperm(len(PLACES), generator=torch.manual_seed(1))[:40]
    with dropout.of(pass_key(5, 0, 0), PLACES[some]):
        assert torch.equal(found[0](torch.ones(4, 10, 32)).flatten(0, 1), whole[some])
        with dropout.among(torch.tensor([3, 9])):
            assert torch.equal(found[0](torch.ones(1, 2, 32))[0], whole[some[[3, 9]]])
        assert torch.equal(found[0](torch.ones(40, 32)), whole[some])


def test_outside_of_a_pass_that_learns_nothing_is_dropped():
    dropout, found = layers(0.9)
    ones = torch.ones(7, 32)
    assert found[0](ones) is ones
    with dropout.of(None, PLACES[:7]):
        assert found[0](ones) is ones


def test_a_layer_whose_tokens_are_others_is_told():
    dropout, found = layers(0.1)
    with (
        dropout.of(pass_key(0, 0, 0), PLACES),
        pytest.raises(UserError, match=r"q_proj.*dropout=0"),
    ):
        found[0](torch.ones(9, 32))
