"""Fixtures that every suite shares: the data folder, and one Ray cluster a session."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test waits for a hub

# No test asserts on time, examples of a property included.
settings.register_profile("hothouse", deadline=None)
settings.load_profile("hothouse")

DATA = Path(os.environ.get("HOTHOUSE_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How `make test` spreads the suite over two processes."""
    from spreading import OneRayEach

    return OneRayEach(config, log)


@pytest.fixture
def data_folder() -> Path:
    """Public research data; tests that use it are skipped where it is absent."""
    if not DATA.exists():
        pytest.skip(f"research data is not at {DATA}; set HOTHOUSE_DATA to run this test")
    return DATA


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A real local Ray of its own, started once a session, the dashboard off.

    More logical CPUs than cores: actors of several tests wait rather than compute.
    """
    import ray

    folder = f"/tmp/hothouse-test-{os.getpid()}"  # short: Unix socket paths are limited
    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        _temp_dir=folder,
        log_to_driver=False,
    )
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)  # a Ray that ends may still write its logs
