"""The small base and adapters of different shapes for it."""

import pytest
from small_adapters import write_small_adapters
from small_base import write_small_base

from actors.lm.base import LoadedBase, load_base


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_small_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def base(base_directory: str) -> LoadedBase:
    """Loaded anew for every test: slots are installed into it."""
    return load_base(base_directory)


@pytest.fixture(scope="session")
def adapter_paths(tmp_path_factory: pytest.TempPathFactory, base_directory: str) -> dict[str, str]:
    """Name -> PEFT directory; ranks, targets and scalings differ."""
    return write_small_adapters(tmp_path_factory.mktemp("adapters"), base_directory)
