"""The contract suite of the engines, on a GPU."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[1] / "unit" / "serve"


@pytest.mark.parametrize("engine", ["torch", "vllm"])
@pytest.mark.timeout(1800)
def test_engines_pass_the_contract_suite(engine: str) -> None:
    """In a process of its own: the memory of the GPU is free again after it."""
    if engine == "vllm" and find_spec("vllm") is None:
        pytest.skip("vllm is not installed here")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, sorted(SUITE.glob("test_engine_contract*.py")))],
        env=os.environ | {"HOTHOUSE_TEST_ENGINE": engine, "HOTHOUSE_TEST_DEVICE": "cuda"},
        cwd=SUITE.parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run.returncode == 0, run.stdout
