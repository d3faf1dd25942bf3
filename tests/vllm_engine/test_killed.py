"""A replica that is killed leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

MAIN = """
import sys, time
from configs.sections import ServerConfig
from serve.engines.vllm.start import start_vllm_engine
if __name__ == "__main__":
    engine = start_vllm_engine(sys.argv[1], ServerConfig(max_adapters=1, cache_tokens=2048))
    print("started", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_takes_vllms_processes_with_it(
    base_directory: str, tmp_path: Path
) -> None:
    pytest.importorskip("vllm.v1.engine.async_llm", reason="vllm is not installed here")
    script = tmp_path / "start.py"
    script.write_text(MAIN)
    with subprocess.Popen(
        [sys.executable, str(script), base_directory],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:
        assert process.stdout is not None
        assert any("started" in line for line in process.stdout)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(signal.SIGKILL)
    while any(child.is_running() and child.status() != "zombie" for child in children):
        time.sleep(0.1)  # the suite's time limit ends this
