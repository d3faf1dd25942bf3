"""The rollouts that are kept: whole conversations, written once."""

from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from fake_sampler import problem

from actors.lm.messages import assistant, user
from actors.train.grpo.environment import Reward
from actors.train.grpo.files import RolloutFiles
from actors.train.grpo.rollout import Batch, Group, Rollout, Turn


def batch(value: float = 1.0) -> Batch:
    """One rollout of two turns."""
    first = Turn([1, 2], [3, 4], [-0.5, -0.5], "eins – ½", 3, False)
    second = Turn([1, 2, 3, 4, 5], [6], [-1.0], "zwei\u2028drei", 3, True, [user("und?")])
    rollout = Rollout([first, second], Reward(value, True, {"note": "ja", "judge": 0.5}), 17, 2)
    return Batch([Group(problem("p"), [rollout])])


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "disk" else f"memory://{tmp_path}"


def test_what_was_kept_can_be_read(folder: str) -> None:
    RolloutFiles(folder).keep(12, batch())
    [row] = RolloutFiles(folder).read(12)
    assert row == {
        "step": 12,
        "version": 3,
        "problem": "p",
        "reward": 1.0,
        "correct": True,
        "details": {"note": "ja", "judge": 0.5},
        "tokens": 3,
        "cut": True,
        "seed": 17,
        "choice": 2,
        "messages": [
            user("p"),
            assistant("eins – ½"),
            user("und?"),
            assistant("zwei\u2028drei"),
        ],
    }
    assert RolloutFiles(folder).read(11) == []


def test_other_rollouts_of_a_step_stand_beside_the_first(folder: str) -> None:
    files = RolloutFiles(folder)
    for value in (1.0, 1.0, 2.0, 1.0, 2.0, 3.0):
        files.keep(12, batch(value))
    fs, root = fsspec.core.url_to_fs(folder)
    names = sorted(path.rpartition("/")[2] for path in fs.ls(f"{root}/rollouts", detail=False))
    assert names == ["step-000012.2.jsonl", "step-000012.3.jsonl", "step-000012.jsonl"]
    assert [row["reward"] for row in files.read(12)] == [3.0]
    first = fs.cat_file(f"{root}/rollouts/step-000012.jsonl").decode()
    assert '"reward": 1.0' in first


def test_a_batch_has_a_line_for_each_rollout(folder: str) -> None:
    [group] = batch().groups_P
    two = replace(group, rollouts_G=[*group.rollouts_G] * 2)
    RolloutFiles(folder).keep(1, Batch([two, replace(group, rollouts_G=[], lost=2), group]))
    assert len(RolloutFiles(folder).read(1)) == 3
