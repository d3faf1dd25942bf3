"""A run on rewards that is cut short and continued ends with the same bits, rollouts included."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_grpo import (
    PlainLetters,
    assert_same_steps,
    digests_of,
    rollouts_of,
    run_small_grpo,
    small_grpo_config,
)

from actors.train.grpo.metrics import GrpoMetrics
from actors.train.standby import latest_state, standby_path
from configs.errors import UserError

WAYS: dict[str, dict[str, Any]] = {
    "one update": {},
    "several updates": {
        "minibatches": 2,
        "epochs": 2,
        "loss": "ppo",
        "kl_to_base": 0.05,
        "temperature": 0.8,
        "eval_every": 2,
    },
    "replaced, with a warm start": {
        "no_signal": "replace",
        "kl_to_base": 0.05,
        "kl_in": "k3",
        "warm_start": {"steps": 2, "batch_size": 4},
    },
}


class Killed(Exception):
    """Stands for the end of the process."""


def cut_after(step: int) -> Callable[[GrpoMetrics], None]:
    def on_step(row: GrpoMetrics) -> None:
        if row.step == step:
            raise Killed

    return on_step


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_was_cut_ends_with_the_same_bits(outspoken_base: str, tmp_path: Path, way: str):
    config = small_grpo_config(outspoken_base, **WAYS[way])
    whole = run_small_grpo(config, tmp_path / "whole")
    for step in (1, 4):  # the first before there is a checkpoint
        with pytest.raises(Killed):
            run_small_grpo(config, tmp_path / "cut", on_step=cut_after(step))
    continued = run_small_grpo(config, tmp_path / "cut")
    assert_same_steps(continued, whole)
    assert digests_of(tmp_path / "cut") == digests_of(tmp_path / "whole")
    assert rollouts_of(tmp_path / "cut") == rollouts_of(tmp_path / "whole")
    assert len(rollouts_of(tmp_path / "whole")) == 5


def test_a_run_goes_on_from_the_step_at_which_a_notice_came(outspoken_base: str, tmp_path: Path):
    config = small_grpo_config(outspoken_base, save_every=5)
    whole = run_small_grpo(config, tmp_path / "whole")
    done: list[int] = []

    def on_step(row: GrpoMetrics) -> None:
        done.append(row.step)
        if row.step == 4:
            raise Killed

    cut = tmp_path / "cut"
    with pytest.raises(Killed):
        run_small_grpo(config, cut, on_step=on_step, leaving=lambda: done[-1] == 3)
    assert latest_state(str(cut)) == standby_path(str(cut), 3)
    assert_same_steps(run_small_grpo(config, cut), whole)
    assert digests_of(cut) == digests_of(tmp_path / "whole")
    assert not (cut / "standby").exists()


def test_another_task_is_refused(outspoken_base: str, tmp_path: Path):
    config = small_grpo_config(outspoken_base, steps=2)
    run_small_grpo(config, tmp_path)
    with pytest.raises(UserError, match="was trained on another task"):
        run_small_grpo(config, tmp_path, task=PlainLetters(digest="other problems"))
