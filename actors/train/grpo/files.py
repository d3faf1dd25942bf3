"""The rollouts that a run learned from, kept: `rollouts/step-000012.jsonl`, a line a rollout.

Nothing is overwritten. A synchronous run that continues samples the same again and meets its own
file; an asynchronous one may have sampled otherwise, and keeps that as `step-000012.2.jsonl`.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from actors.store.storage import Storage
from actors.train.grpo.rollout import Batch, Group, Rollout

_FOLDER = "rollouts"


class RolloutFiles:
    """The rollouts of a run, by the number of the step that learned from them."""

    def __init__(self, folder: str) -> None:
        """`folder` is the run's own, a path or a URL."""
        self._storage = Storage(folder)

    def keep(self, step: int, batch: Batch) -> None:
        """Write the step's rollouts, unless they are there already."""
        data = "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(step, batch)
        ).encode()
        for name in _names(step):
            if not self._storage.exists(name):
                self._storage.write_new(name, data)
                return
            if self._storage.read(name) == data:
                return

    def read(self, step: int) -> list[dict[str, Any]]:
        """The rollouts of a step as they were written last; empty where there are none."""
        newest = None
        for name in _names(step):
            if not self._storage.exists(name):
                break
            newest = name
        if newest is None:
            return []
        lines = self._storage.read(newest).decode().split("\n")
        return [json.loads(line) for line in lines if line]


def _names(step: int) -> Iterator[str]:
    """Where the rollouts of a step may stand, those of its first try first."""
    for number in count(1):
        again = "" if number == 1 else f".{number}"
        yield f"{_FOLDER}/step-{step:06d}{again}.jsonl"


def _rows(step: int, batch: Batch) -> Iterator[dict[str, Any]]:
    for group in batch.groups_P:
        for rollout in group.rollouts_G:
            yield _row(step, group, rollout)


def _row(step: int, group: Group, rollout: Rollout) -> dict[str, Any]:
    return {
        "step": step,
        "version": rollout.turns[0].version,  # of all its turns
        "problem": group.problem.key,
        "reward": rollout.reward.value,
        "correct": rollout.reward.is_correct,
        "details": rollout.reward.details,
        "tokens": rollout.num_tokens,
        "cut": rollout.is_cut,
        "seed": rollout.seed,
        "choice": rollout.choice,
        "messages": [*group.problem.messages, *rollout.messages],
    }
