"""The embedded endpoint, in a process of its own."""

from collections.abc import Iterator

import pytest
from pool_endpoint import Endpoint

from actors.pool.endpoint.process import endpoint_process


@pytest.fixture(scope="session")
def running_endpoint(
    ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    with endpoint_process() as url:
        yield Endpoint(url, str(tmp_path_factory.mktemp("study")))


@pytest.fixture
def endpoint(running_endpoint: Endpoint) -> Endpoint:
    """The endpoint on a good day, its counts at zero."""
    running_endpoint.faults()
    return running_endpoint
