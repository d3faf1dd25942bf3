"""Jobs killed with -9 and run again: what was answered and stored is not asked again."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from actors.pool.endpoint.faults import FaultConfig
from actors.pool.endpoint.process import endpoint_process

ROOT = Path(__file__).parents[2]


def counts(url: str) -> dict:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/admin/counts") as reply:
        return json.load(reply)


def asked_in_the_end(url: str) -> int:
    """Calls that were asked for; a worker may outlive its killed driver for a moment."""
    asked = -1
    while asked != (now := counts(url)["asked"]):
        asked = now
        time.sleep(1.5)
    return asked


def start(cwd: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def stored(folder: Path, parts: str = "*.jsonl") -> int:
    return sum(part.read_text().count("\n") for part in folder.glob(parts))


def kill_when_stored(
    process: subprocess.Popen[bytes], folder: Path, rows: int, parts: str = "*.jsonl"
) -> None:
    """Kill -9 the whole process group once `rows` records are on disk."""
    deadline = time.monotonic() + 120
    while stored(folder, parts) < rows:
        assert process.poll() is None, process.stdout and process.stdout.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_generate_goes_on_and_pays_nothing_twice(tmp_path: Path, sent: signal.Signals):
    with endpoint_process(FaultConfig(latency_s=0.2, cost_usd=0.01)) as url:
        arguments = (
            *("generate", "property=honest", f"provider={url}", "model=rules"),
            *("num_subtypes=2", "num_prompts=10", "pool.max_concurrency=2", "run_id=r"),
        )
        process = start(tmp_path, *arguments)
        if sent == signal.SIGKILL:
            kill_when_stored(process, tmp_path / "runs/r/calls", 8)
        else:
            while stored(tmp_path / "runs/r/calls") < 8:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 130
            assert b"Traceback" not in output
        before = stored(tmp_path / "runs/r/calls")
        asked = asked_in_the_end(url)
        assert not list(tmp_path.glob("datasets/*.examples.yaml"))
        again = start(tmp_path, *arguments)
        output, _ = again.communicate(timeout=60)
        assert again.returncode == 0, output.decode()
        total_calls = 1 + 2 + 20
        # An answer that came just before the end may be in the books and in no record yet.
        assert counts(url)["asked"] - asked <= total_calls - before
    examples = yaml.safe_load((tmp_path / "datasets/r.examples.yaml").read_text())
    assert len(examples["examples"]) == 20


def test_eval_goes_on_and_judges_nothing_twice(tmp_path: Path):
    questions = tmp_path / "questions.jsonl"
    rows = [{"question": f"Is plan number {i} a good one?"} for i in range(16)]
    questions.write_text("\n".join(map(json.dumps, rows)))
    with endpoint_process(FaultConfig(latency_s=0.4, cost_usd=0.01)) as url:
        arguments = (
            *("eval", f"eval_file={questions}", "property=honest", "sampling.max_tokens=8"),
            *(f"provider={url}", "judge_models=[rules]", "pool.max_concurrency=2", "run_id=r"),
        )
        process = start(tmp_path, *arguments)
        kill_when_stored(process, tmp_path, 4, "evaluations/*/judgements/*.jsonl")
        judged = stored(tmp_path, "evaluations/*/judgements/*.jsonl")
        held = stored(tmp_path, "evaluations/*/conversations/*.jsonl")
        asked = asked_in_the_end(url)
        again = start(tmp_path, *arguments)
        output, _ = again.communicate(timeout=120)
        assert again.returncode == 0, output.decode()
        # An answer that came just before the kill may be in the books and in no judgement yet.
        assert counts(url)["asked"] - asked <= 16 - judged
    assert stored(tmp_path, "evaluations/*/judgements/*.jsonl") == 16
    assert held <= stored(tmp_path, "evaluations/*/conversations/*.jsonl") == 16
    results = yaml.safe_load((tmp_path / "eval_results/r.eval-results.yaml").read_text())
    assert len(results["rows"]) == 16
