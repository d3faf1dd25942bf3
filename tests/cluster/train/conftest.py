"""A small base and a data set for runs on Ray Train."""

import pytest
from small_base import byte_tokenizer, write_small_base

from actors.lm.messages import assistant, user
from actors.train.datum import Datum, conversation_datum
from configs.sft import SftConfig


@pytest.fixture(scope="session")
def sft_config(tmp_path_factory: pytest.TempPathFactory) -> SftConfig:
    """Two epochs of three steps, the last one of an epoch with fewer rows than workers."""
    return SftConfig.model_validate(
        {
            "base_model": write_small_base(tmp_path_factory.mktemp("base")),
            "data_file": "data.jsonl",
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "warmup_steps": 2,
            "save_every": 2,
            "lora": {"rank": 4, "alpha": 8},
            "max_failures": 1,
        }
    )


@pytest.fixture(scope="session")
def datums() -> list[Datum]:
    tokenizer = byte_tokenizer()
    return [
        conversation_datum(tokenizer, [user("Q" * (i + 1)), assistant("yes " * (i % 4 + 1))])
        for i in range(9)
    ]
