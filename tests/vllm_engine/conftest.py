"""A vllm engine with more adapters than fit one step of it."""

from collections.abc import Iterator

import pytest
from looped_engine import LoopedEngine, looped
from small_adapters import write_small_adapters
from small_base import write_small_base
from vllm_tests import run

from actors.lm.adapter import Adapter, read_adapter
from configs.sections import ServerConfig
from serve.engines.vllm import arguments
from serve.engines.vllm.start import start_vllm_engine

PLACES = 3  # adapters in one step
# A cache this small uses its blocks again soon.
SERVER = ServerConfig(engine="vllm", max_adapters=6, max_batch=8, cache_tokens=2048)


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_small_base(tmp_path_factory.mktemp("base"), head_width=32)


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory, base_directory: str) -> dict[str, Adapter]:
    """Name -> adapter; ranks, targets and scalings differ."""
    paths = write_small_adapters(tmp_path_factory.mktemp("adapters"), base_directory)
    return {name: read_adapter(path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def shared_engine(base_directory: str) -> Iterator[LoopedEngine]:
    pytest.importorskip("vllm", reason="vllm is not installed here; `make test-vllm` has it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "PLACES_IN_STEP", PLACES)
        with looped(lambda: start_vllm_engine(base_directory, SERVER)) as engine:
            yield engine


@pytest.fixture
def engine(shared_engine: LoopedEngine) -> Iterator[LoopedEngine]:
    """Without adapters."""
    yield shared_engine
    run(shared_engine.forget())
