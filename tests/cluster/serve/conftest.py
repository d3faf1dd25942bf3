"""The small base with two adapters, as directories that a replica can read."""

from pathlib import Path

import pytest
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.adapter import Adapter, read_adapter


@pytest.fixture(scope="session")
def serve_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    base = write_small_base(folder / "base")
    write_small_adapter(folder / "one", base, seed=1)
    write_small_adapter(folder / "two", base, seed=2, r=4, target_modules=["q_proj", "v_proj"])
    return folder


@pytest.fixture(scope="session")
def base_model(serve_folder: Path) -> str:
    return str(serve_folder / "base")


@pytest.fixture(scope="session")
def adapters(serve_folder: Path) -> dict[str, Adapter]:
    return {name: read_adapter(str(serve_folder / name)) for name in ("one", "two")}
