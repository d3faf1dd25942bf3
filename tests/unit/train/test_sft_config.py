"""The config of `sft`, its preset, and what the driver hears of a run."""

import pytest

from actors.train.on_ray.feed import Feed
from actors.train.metrics import StepMetrics
from configs.errors import UserError
from configs.loader import load_config
from configs.sft import SftConfig


@pytest.mark.parametrize("files", [[], ["examples_file=a", "data_file=b"]])
def test_there_is_exactly_one_data_file(files: list[str]):
    with pytest.raises(UserError, match="exactly one of examples_file=PATH and data_file=PATH"):
        load_config(SftConfig, files)


def test_the_preset_fills_what_is_not_given():
    config = load_config(SftConfig, ["preset=llama-3.2-1b", "data_file=d", "lora.rank=8"])
    assert (config.dtype, config.epochs) == ("bfloat16", 5)
    assert (config.lora.rank, config.lora.dropout) == (8, 0.05)


def test_the_feed_has_every_step_once_when_a_worker_does_some_again():
    feed = Feed()
    steps = [StepMetrics(n, 0.1, 2.0, 10, 5, 1e-4, 1.0, 100.0) for n in (1, 2, 3)]
    for metrics in (steps[0], steps[1], steps[0], steps[1], steps[2]):
        feed.push(metrics)
    assert feed.since(0) == steps
    assert feed.since(2) == steps[2:]
