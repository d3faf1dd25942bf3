"""Too large a micro-batch ends a run with what makes it smaller, whatever torch says of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from actors.train.metrics import StepMetrics
from configs.errors import JobFailed
from configs.sft import SftConfig

SAID = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.25 GiB of "
    "which 1.20 GiB is free. " + "See documentation for Memory Management. " * 9
)


@pytest.mark.parametrize(
    ("fields", "mends"),
    [
        (
            {"micro_batch_tokens": 4096},
            "Give gradient_checkpointing=true or a smaller micro_batch_tokens (it is 4096)",
        ),
        (
            {"gradient_checkpointing": True},
            "Give a smaller micro_batch_tokens (it is the default): the same",
        ),
    ],
)
def test_a_pass_without_room_names_what_makes_it_smaller(
    sft_config: Callable[..., SftConfig],
    train_here: Callable[..., list[StepMetrics]],
    tmp_path: Path,
    fields: dict[str, object],
    mends: str,
):
    def no_room(metrics: StepMetrics) -> None:
        raise torch.OutOfMemoryError(SAID)

    with pytest.raises(JobFailed, match=r"Tried to allocate 2.00 GiB.*\[...\] Give") as told:
        train_here(sft_config(**fields), tmp_path, no_room)
    assert mends in str(told.value)
    assert len(str(told.value)) < 600
