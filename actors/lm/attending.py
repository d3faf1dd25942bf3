"""Which attention function a model's layers call."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedConfig


@contextmanager
def attending(config: PreTrainedConfig, name: str) -> Iterator[None]:
    """Passes in here attend by the function registered as `name`; others as the model always does.

    transformers makes no masks for an attention that it has no mask function for.
    """
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before
