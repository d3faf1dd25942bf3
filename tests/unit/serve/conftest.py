"""The small base, two adapters for it, and every engine that can run here."""

import pytest
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.adapter import Adapter, read_adapter
from actors.lm.engine import Engine
from configs.sections import ServerConfig
from serve.engines import ENGINES


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_small_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory, base_directory: str) -> dict[str, Adapter]:
    root = tmp_path_factory.mktemp("adapters")
    options = {"one@1": {}, "two@1": {"r": 4, "target_modules": ["q_proj", "v_proj"]}}
    return {
        name: read_adapter(write_small_adapter(root / name, base_directory, seed, **chosen))
        for seed, (name, chosen) in enumerate(options.items())
    }


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, base_directory: str) -> Engine:
    """An engine without adapters; at most 2 fit, and 4 rows to a batch."""
    server = ServerConfig(device="cpu", max_adapters=2, max_batch=4)
    return ENGINES[request.param](base_directory, server)
