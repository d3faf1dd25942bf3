"""The small base, two adapters for it, and the engine that the contract suite is run on."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from engine_tests import DEVICE, ENGINE
from looped_engine import LoopedEngine, looped
from peft import PeftModel
from small_adapters import write_small_adapter
from small_base import write_small_base
from transformers import LlamaForCausalLM

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.engine import Engine
from configs.sections import ServerConfig
from serve.engines import ENGINES

# At most 2 adapters fit, and 4 rows to a batch.
SERVER = ServerConfig.model_validate({"device": DEVICE, "max_adapters": 2, "max_batch": 4})


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    # vllm's attention on CPUs takes heads of at least 32.
    width = 32 if ENGINE == "vllm" else 8
    return write_small_base(tmp_path_factory.mktemp("base"), width)


@pytest.fixture(scope="session")
def adapter_paths(tmp_path_factory: pytest.TempPathFactory, base_directory: str) -> dict[str, str]:
    """Name -> PEFT directory; ranks and targets differ."""
    root = tmp_path_factory.mktemp("adapters")
    options = {"one@1": {}, "two@1": {"r": 4, "target_modules": ["q_proj", "v_proj"]}}
    return {
        name: write_small_adapter(root / name, base_directory, seed, **chosen)
        for seed, (name, chosen) in enumerate(options.items())
    }


@pytest.fixture(scope="session")
def adapters(adapter_paths: dict[str, str]) -> dict[str, Adapter]:
    return {name: read_adapter(path) for name, path in adapter_paths.items()}


@pytest.fixture(scope="session")
def references(base_directory: str, adapter_paths: dict[str, str]) -> dict[str, Any]:
    """Name -> what transformers and peft make of the same files, base included."""
    models: dict[str, Any] = {"base": LlamaForCausalLM.from_pretrained(base_directory)}
    for name, path in adapter_paths.items():
        plain = LlamaForCausalLM.from_pretrained(base_directory)
        models[name] = PeftModel.from_pretrained(plain, path)
    return models


@pytest.fixture(scope="session")
def vllm_engine(base_directory: str) -> Iterator[LoopedEngine]:
    """Started once: it takes 20 seconds."""
    with looped(lambda: ENGINES["vllm"](base_directory, SERVER)) as engine:
        yield engine


@pytest.fixture
def engine(
    request: pytest.FixtureRequest, base_directory: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An engine without adapters."""
    monkeypatch.setattr("serve.engines.torch.cores", lambda: 1)  # what a small model can use
    if ENGINE == "vllm":
        engine = request.getfixturevalue("vllm_engine")
    else:
        engine = ENGINES[ENGINE](base_directory, SERVER)
    yield engine
    asyncio.run(engine.close())
