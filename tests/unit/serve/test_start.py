"""What cannot be started, or listened on, is the user's error."""

import socket

import pytest
import torch

from configs.errors import UserError
from configs.sections import ServerConfig
from serve.address import base_url, check_free
from serve.engines.torch import start_torch_engine


def test_a_base_that_does_not_exist() -> None:
    with pytest.raises(UserError, match=r'base_model="\./nowhere": no such directory'):
        start_torch_engine("./nowhere", ServerConfig(device="cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_does_not_exist(base_directory: str) -> None:
    with pytest.raises(UserError, match="no GPU is visible"):
        start_torch_engine(base_directory, ServerConfig(device="cuda"))


def test_a_port_in_use_and_an_address_of_another_machine() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Cannot listen on 127.0.0.1:{port}.*another port="):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)
    with pytest.raises(UserError, match="Cannot listen on"):
        check_free("192.0.2.1", port)


def test_the_url_that_is_shown_can_be_reached() -> None:
    assert base_url("0.0.0.0", 8000) == "http://127.0.0.1:8000"
    assert base_url("::1", 8000) == "http://[::1]:8000"
