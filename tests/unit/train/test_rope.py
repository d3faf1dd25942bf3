"""Models whose positions depend on the length of a row."""

import pytest
from transformers import LlamaConfig

from actors.train.on_torch.rope import check_scales, one_scale_tokens
from configs.errors import UserError


def config(rope_type: str, **fields: object) -> LlamaConfig:
    rope = {"rope_type": rope_type, "rope_theta": 10000.0, **fields}
    return LlamaConfig(max_position_embeddings=64, rope_parameters=rope)


def test_rows_beyond_the_context_are_refused_where_each_changes_the_others():
    dynamic = config("dynamic", factor=2.0)
    check_scales(dynamic, 64)
    check_scales(config("default"), 65)
    with pytest.raises(UserError, match=r"beyond 64 tokens.*rope_type=dynamic.*max_tokens=64"):
        check_scales(dynamic, 65)


def test_rows_of_one_scale_end_where_the_other_begins():
    factors = {"short_factor": [1.0] * 64, "long_factor": [2.0] * 64}
    longrope = config("longrope", original_max_position_embeddings=16, **factors)
    assert one_scale_tokens(longrope) == 16
    for_layers = LlamaConfig(max_position_embeddings=64)
    for_layers.rope_parameters = {"full_attention": longrope.rope_parameters}
    assert one_scale_tokens(for_layers) == 16
    assert one_scale_tokens(config("default")) > 64
    for_layers.rope_parameters = None
    assert one_scale_tokens(for_layers) > 64
