"""The endpoint as a child process that ends with its parent, even one that is killed with -9."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.pool.endpoint.faults import FaultConfig

_ROOT = Path(__file__).parents[3]
_MODULE = "actors.pool.endpoint"
_EXIT_S = 5


@contextmanager
def endpoint_process(faults: FaultConfig | None = None) -> Iterator[str]:
    """Start the endpoint on a free loopback port; yields its base URL once it answers."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    switches = (faults or FaultConfig()).model_dump_json()
    process = subprocess.Popen(
        [sys.executable, "-m", _MODULE, "--until-stdin-closes", "--faults", switches],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # ctrl-C is the parent's to handle: calls in flight end first
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the embedded endpoint ended at once (exit {process.wait()})")
        yield json.loads(line)["url"]
    finally:
        process.stdin.close()
        try:
            process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
