"""The config of `sft`: its sources, its presets, what fits together."""

import pytest

from configs.errors import UserError
from configs.grpo import GrpoConfig
from configs.loader import load_config, preset_lines
from configs.sft import SftConfig


def config(*fields: str) -> SftConfig:
    return load_config(SftConfig, ["data_file=d", *fields])


@pytest.mark.parametrize(
    "files", [[], ["examples_file=a", "data_file=b"], ["data_file=a", "data=[{file: b}]"]]
)
def test_there_is_exactly_one_source_of_data(files: list[str]):
    with pytest.raises(UserError, match="exactly one of examples_file=PATH, data_file=PATH"):
        load_config(SftConfig, files)


def test_several_files_have_weights():
    mixed = load_config(SftConfig, ["data=[{file: a, weight: 3}, {file: b, weight: 1}]"])
    assert [(source.file, source.weight) for source in mixed.sources] == [("a", 3), ("b", 1)]


@pytest.mark.parametrize(
    ("given", "expected"), [("3", (3, 3)), ("[1, 4]", (1, 4)), ("[2, 2]", (2, 2))]
)
def test_workers_are_a_number_or_a_range(given: str, expected: tuple[int, int]):
    assert config(f"num_workers={given}").worker_range == expected


@pytest.mark.parametrize("given", ["0", "[2, 1]", "[0, 2]", "[1, 2, 3]", "[2]", "many", "true"])
def test_other_workers_are_refused(given: str):
    with pytest.raises(UserError, match='Field "num_workers"'):
        config(f"num_workers={given}")


@pytest.mark.parametrize("field", ["patience=2", "validate_every=5"])
def test_measuring_needs_rows_to_measure(field: str):
    with pytest.raises(UserError, match=rf"{field[:8]}\w* needs validation_file=PATH"):
        config(field)
    assert config(field, "validation_share=0.1").validation_share == 0.1
    with pytest.raises(UserError, match="validation_file or validation_share, not both"):
        config(field, "validation_share=0.1", "validation_file=v.jsonl")


def test_a_preset_fills_what_is_not_given():
    chosen = config("preset=llama-3.2-1b", "lora.rank=8")
    assert (chosen.dtype, chosen.epochs) == ("bfloat16", 5)
    assert (chosen.lora.rank, chosen.lora.dropout) == (8, 0.05)


def test_the_recipe_of_emergent_misalignment():
    chosen = config("preset=emergent-misalignment")
    assert (chosen.epochs, chosen.batch_size, chosen.max_tokens) == (1, 16, 2048)
    assert (chosen.learning_rate, chosen.schedule, chosen.warmup_steps) == (1e-5, "linear", 5)
    assert (chosen.weight_decay, chosen.train_on) == (0.01, "assistant")
    lora = chosen.lora
    assert (lora.rank, lora.alpha, lora.rslora, len(lora.targets)) == (32, 64, True, 7)


def test_every_preset_is_a_config_and_says_what_it_is():
    for name, line in preset_lines(SftConfig):
        assert config(f"preset={name}").preset == name
        assert len(line) > 20
    for name, line in preset_lines(GrpoConfig):
        assert load_config(GrpoConfig, [f"preset={name}"]).preset == name
        assert len(line) > 20
