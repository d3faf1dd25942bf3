"""Workers that are killed or hang, in a real Ray Train: training goes on, and no bit changes."""

import logging
from pathlib import Path

import planted_faults
import pytest
import ray.cloudpickle
from small_training import Trained

from actors.train.datum import Datum
from actors.train.on_ray import trainer
from actors.train.sft_loop import SftData
from configs.sft import SftConfig

# Ray's workers cannot import what only the tests' path has.
ray.cloudpickle.register_pickle_by_value(planted_faults)


@pytest.mark.timeout(400)
def test_workers_that_end_badly_change_no_bit(
    trained_by_two: Trained,
    sft_config: SftConfig,
    datums: list[Datum],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    # On a busy machine a slow start may look like one more hang.
    config = sft_config.model_copy(
        update={"num_workers": 2, "max_failures": 10, "hang_timeout_s": 4.0}
    )
    monkeypatch.setattr(trainer, "work", planted_faults.ended_in_many_ways)
    folder, seen = tmp_path / "run", []
    with caplog.at_level(logging.WARNING):
        saved = trainer.train_sft(
            config,
            SftData(datums),
            run_id="run",
            folder=str(folder),
            on_step=lambda metrics: seen.append(metrics.step),
        )
    assert len(list(folder.glob("fault-*"))) == len(planted_faults.FAULTS)
    assert "Step 4 made no progress for 4 s (hang_timeout_s)" in caplog.text
    assert "planted_faults.py" in caplog.text  # where it stood
    assert caplog.text.count("Worker 0 failed: ActorDiedError") >= 2
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [(c.step, c.version, c.digest) for c in saved] == [
        (c.step, c.version, c.digest) for c in trained_by_two.saved
    ]
