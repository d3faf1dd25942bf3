"""The small base, two adapters for it, and the engine that the contract suite is run on."""

import asyncio
import os
from collections.abc import Iterator

import pytest
from looped_engine import LoopedEngine, looped
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.engine import Engine
from configs.sections import ServerConfig
from serve.engines import ENGINES

# `make test-vllm` runs the same suite on the other one.
ENGINE = os.environ.get("HOTHOUSE_TEST_ENGINE", "torch")
DEVICE = os.environ.get("HOTHOUSE_TEST_DEVICE", "cpu")
# At most 2 adapters fit, and 4 rows to a batch.
SERVER = ServerConfig.model_validate({"device": DEVICE, "max_adapters": 2, "max_batch": 4})


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    # vllm's attention on CPUs takes heads of at least 32.
    width = 32 if ENGINE == "vllm" else 8
    return write_small_base(tmp_path_factory.mktemp("base"), width)


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory, base_directory: str) -> dict[str, Adapter]:
    root = tmp_path_factory.mktemp("adapters")
    options = {"one@1": {}, "two@1": {"r": 4, "target_modules": ["q_proj", "v_proj"]}}
    return {
        name: read_adapter(write_small_adapter(root / name, base_directory, seed, **chosen))
        for seed, (name, chosen) in enumerate(options.items())
    }


@pytest.fixture(scope="session")
def vllm_engine(base_directory: str) -> Iterator[LoopedEngine]:
    """Started once: it takes 20 seconds."""
    with looped(lambda: ENGINES["vllm"](base_directory, SERVER)) as engine:
        yield engine


@pytest.fixture
def engine(request: pytest.FixtureRequest, base_directory: str) -> Iterator[Engine]:
    """An engine without adapters."""
    if ENGINE == "vllm":
        engine = request.getfixturevalue("vllm_engine")
    else:
        engine = ENGINES[ENGINE](base_directory, SERVER)
    yield engine
    asyncio.run(engine.close())
