"""The small base and adapters of different shapes for it."""

from pathlib import Path
from typing import Any

import pytest
from small_adapters import write_small_adapter
from small_base import write_small_base

from actors.lm.base import LoadedBase, load_base

_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "attention": {"r": 4, "target_modules": ["q_proj", "v_proj"]},
    "rslora": {"r": 12, "use_rslora": True},
    "patterns": {
        "rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 16},
        "alpha_pattern": {"up_proj": 3},
    },
    "last": {"r": 3, "layers_to_transform": [1]},
}


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
    root: Path = tmp_path_factory.mktemp("adapters")
    return {
        name: write_small_adapter(root / name, base_directory, seed, **options)
        for seed, (name, options) in enumerate(_OPTIONS.items(), start=1)
    }
