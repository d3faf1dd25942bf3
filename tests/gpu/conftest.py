"""Tests that need a GPU. They need neither Ray nor, but for the engine of that name, vllm."""

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU is visible here")
