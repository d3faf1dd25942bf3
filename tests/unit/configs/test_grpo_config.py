"""The config of `grpo`: what fits together, and what follows from what was given."""

import pytest

from configs.base import result_fields
from configs.errors import UserError
from configs.grpo import GrpoConfig
from configs.loader import load_config


def config(*fields: str) -> GrpoConfig:
    return load_config(GrpoConfig, fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["task=prompts"], "task=prompts needs data=PATH"),
        (["numbers=words"], "numbers=words is for task=arithmetic, not for gsm8k"),
        (["checker=judge"], r"checker=judge needs judge\.property=NAME"),
        (["lora.dropout=0.1"], r"lora\.dropout must be 0"),
        (["quantization=nf4", "dtype=bfloat16"], "quantization=nf4: the server holds the base"),
        (["share_gpus=true", "max_staleness=1"], "share_gpus=true needs max_staleness=0"),
        (["share_gpus=true", "backend=tinker"], "share_gpus=true is for backend=ray"),
        (["temperature=0.7", "backend=tinker"], "backend=tinker needs temperature=1"),
        (["temperature=0.7", "server.engine=vllm"], r"server\.engine=vllm needs temperature=1"),
        (["task=prompts", "lora.dropout=0.1"], r"task=prompts needs .*; lora\.dropout must"),
    ],
)
def test_what_can_never_work_is_refused(fields: list[str], said: str):
    with pytest.raises(UserError, match=said):
        config(*fields)


def test_the_sampler_computes_in_the_trainer_s_type_unless_it_is_told_otherwise():
    def types(*fields: str) -> tuple[str, str]:
        found = config(*fields)
        return found.dtype, found.server.dtype

    assert types() == ("float32", "float32")
    assert types("dtype=bfloat16", "server.max_batch=8") == ("bfloat16", "bfloat16")
    assert types("dtype=bfloat16", "server.dtype=float32") == ("bfloat16", "float32")
    one, same = config("dtype=bfloat16"), config("dtype=bfloat16", "server.dtype=bfloat16")
    assert result_fields(one) == result_fields(same)
    assert GrpoConfig.model_validate(one.model_dump()) == one
