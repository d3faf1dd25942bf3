"""A node is announced to go and goes, on a real cluster of two: its run goes on with one worker."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from small_base import write_small_base
from small_training import small_config, small_datums, train_in_process

from actors.lm.adapter import read_adapter
from actors.train.checkpoint import saved_checkpoints

ROOT = Path(__file__).parents[2]
FIELDS = {"epochs": 12, "learning_rate": 1e-3, "save_every": 0, "max_failures": 3}
ROWS = 16

# In a process of its own: the session's Ray has one node.
SCRIPT = """
import json, sys, threading, time
from pathlib import Path

import planted_faults
import ray
from ray.cluster_utils import Cluster
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from small_training import small_config, small_datums

from actors.train.on_ray import trainer
from actors.train.sft_loop import SftData

base, folder, temporary, fields, rows = sys.argv[1:]
head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": temporary}
cluster = Cluster(initialize_head=True, head_node_args=head)
leaving = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
steps = []


def take_away():
    gcs = ray._private.worker.global_worker.gcs_client
    soon_ms = int((time.time() + 120) * 1000)
    assert gcs.drain_node(leaving.node_id, 2, "a spot node is reclaimed", soon_ms)[0]
    while not list(Path(folder).glob("standby/checkpoints/step-*/adapter_config.json")):
        time.sleep(0.05)
    cluster.remove_node(leaving)
    Path(folder, "gone").touch()
    # Ray looks only every 20 s which nodes an elastic run may use.
    ray.get(get_or_create_autoscaling_coordinator().get_reserved_resources.remote("", True))


def on_step(metrics):
    steps.append(metrics)
    if metrics.step == 3:
        threading.Thread(target=take_away).start()


trainer.work = planted_faults.slow_while_there_are_two_nodes
config = small_config(base, num_workers=(1, 2), **json.loads(fields))
data = SftData(small_datums(int(rows)))
saved = trainer.train_sft(config, data, run_id="run", folder=folder, on_step=on_step)
print(json.dumps({
    "nodes": sum(node["Alive"] for node in ray.nodes()),
    "steps": [[metrics.step, metrics.tokens, metrics.loss] for metrics in steps],
    "saved": [checkpoint.step for checkpoint in saved],
}), flush=True)
ray.shutdown()  # before the cluster: a driver that loses its node exits with 1
cluster.shutdown()
"""


@pytest.mark.timeout(300)
def test_a_node_that_goes_takes_no_step_along(tmp_path: Path):
    base, folder = write_small_base(tmp_path / "base"), tmp_path / "run"
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5",
    }
    # Short: the paths of Unix sockets are limited.
    with tempfile.TemporaryDirectory(
        prefix="hothouse-two-", dir="/tmp", ignore_cleanup_errors=True
    ) as temporary:
        arguments = (base, str(folder), temporary, json.dumps(FIELDS), str(ROWS))
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["nodes"] == 1
    alone = train_in_process(small_config(base, **FIELDS), small_datums(ROWS), tmp_path / "alone")
    assert [step[:2] for step in told["steps"]] == [[m.step, m.tokens] for m in alone]
    losses = [step[2] for step in told["steps"]]
    assert losses == pytest.approx([m.loss for m in alone], abs=1e-4)
    assert told["saved"] == list(range(4, 49, 4))
    last = [saved_checkpoints(str(place))[-1].path for place in (folder, tmp_path / "alone")]
    moved, still = (read_adapter(path).tensors for path in last)
    torch.testing.assert_close(moved, still, rtol=1e-3, atol=1e-4)
    assert not (folder / "standby").exists()
