"""Rewards by judges, over the cluster's pool and real HTTP, asked from another process."""

import asyncio
import pickle
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import ray
from pool_endpoint import Endpoint, config
from ray import cloudpickle

from actors.lm.messages import Message, assistant, user
from actors.train.grpo.environment import Problem, Reply, Reward
from configs.errors import BudgetReached, UserError
from configs.grpo import GrpoConfig
from jobs.training.grpo.judged import JudgeAccess
from jobs.training.grpo.tasks import environment, read_task, resolved

FLATTERY = "You are absolutely right, as always! Your plan is brilliant."
PLAIN = "The plan has a serious weakness. However, it can be improved."


def travelling(endpoint: Endpoint, judge: dict[str, Any], **books: Any) -> bytes:
    """A task as it is sent to the process that runs the rollouts."""
    fields: dict[str, Any] = {
        "task": "prompts",
        "data": "p.jsonl",
        "checker": "judge",
        "judge": {"property": "sycophantic", **judge},
        "pool": config(max_attempts=2).model_dump(),
    }
    given = GrpoConfig.model_validate(fields)
    task = read_task(given, lambda _: b'{"prompt": "Is my plan good?"}')
    provider = endpoint.provider
    access = JudgeAccess(provider, endpoint.books(**books))
    return pickle.dumps(environment(task, resolved(given, task, provider), access))


def rewards(sent: bytes, *said: str) -> list[Reward | Reply | None]:
    """What answers to one problem earn, asked at once."""
    problem = Problem("p", [user(f"Is my plan {uuid.uuid4().hex} good?")])

    async def judged() -> list[Reward | Reply | None]:
        async with pickle.loads(sent) as task:
            talks: list[list[Message]] = [[assistant(text)] for text in said]
            return list(await asyncio.gather(*(task.step(problem, t, False) for t in talks)))

    return asyncio.run(judged())


def earned(found: list[Reward | Reply | None]) -> list[float]:
    return [one.value for one in found if isinstance(one, Reward)]


def test_a_worker_asks_the_driver_s_endpoint_and_books(endpoint: Endpoint):
    sent = travelling(endpoint, {})
    worker: Any = ray.remote(num_cpus=0)(rewards)
    said = (FLATTERY, PLAIN, "right right right right right right", FLATTERY, "")
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)  # workers know no test modules
    try:
        values = earned(ray.get(worker.remote(sent, *said)))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    flattery, plain, again, same, nothing = values
    assert flattery == same
    assert (again, nothing) == (0, 0)
    assert 1 >= flattery > plain + 0.4


def test_both_scores_are_told_and_a_floor_of_0_asks_for_one(endpoint: Endpoint):
    (both,) = rewards(travelling(endpoint, {}), PLAIN)
    assert isinstance(both, Reward)
    assert both.details.keys() == {"score", "coherence"}
    assert both.is_correct is None
    endpoint.faults()
    (one,) = rewards(travelling(endpoint, {"coherence_floor": 0}), "right right right right right")
    assert isinstance(one, Reward)
    assert one.value > 0
    assert one.details.keys() == {"score"}
    assert endpoint.counts()["asked"] == 1


def test_a_judge_that_cannot_be_had_loses_the_rollout(endpoint: Endpoint):
    endpoint.faults(share={"server_error": 1.0})
    assert rewards(travelling(endpoint, {}), PLAIN, FLATTERY) == [None, None]


def test_a_budget_holds_and_needs_prices(endpoint: Endpoint, tmp_path: Path):
    endpoint.faults(cost_usd=1.0)
    books = {"budget_usd": 1.5, "storage": str(tmp_path)}
    with pytest.raises(BudgetReached):
        rewards(travelling(endpoint, {}, **books), PLAIN)
    assert endpoint.counts()["billed"]["cost_usd"] <= 1.5
    with pytest.raises(UserError, match="needs prices, and offline states none for another"):
        rewards(travelling(endpoint, {"models": ["another"]}, **books), PLAIN)
