"""One front for all of these tests, asked by the real SDK; without Ray."""

from collections.abc import Iterator

import pytest
import tinker
import torch
from tinker_front import KEY, Opened, local_front


@pytest.fixture(scope="session")
def opened(base_directory: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    threads = torch.get_num_threads()
    with local_front(base_directory, tmp_path_factory.mktemp("storage")) as opened:
        torch.set_num_threads(1)
        yield opened
    torch.set_num_threads(threads)


@pytest.fixture
def service(opened: Opened) -> Iterator[tinker.ServiceClient]:
    service = tinker.ServiceClient(base_url=opened.url, api_key=KEY)
    yield service
    service.close("success").result()


@pytest.fixture
def rest(opened: Opened) -> tinker.RestClient:
    return tinker.RestClient(base_url=opened.url, api_key=KEY)
