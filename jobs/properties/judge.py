"""Judge conversations: what each judge is asked, and what came of it as the fields of a record.

A judgement's key holds all that determined it, the hash of its property's own rubric included: a
changed rubric, or one more judge, leaves every other judgement where it is.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from actors.lm.messages import Message
from actors.pool.client import ChatPool
from actors.pool.judging.judge import NumberJudge
from actors.pool.judging.scored import Scored
from actors.pool.requests import ChatRequest, Failure
from actors.store.records import record_key
from configs.eval import EvalConfig
from jobs.judging.rubrics import Rubric
from jobs.judging.transcript import transcript
from jobs.properties.calls import outcome_row
from jobs.properties.schemas import Judgement

EXHIBITS_FROM = 50.0  # a number from here on counts as a yes


class Judged(NamedTuple):
    """The end of one judgement: its record's fields, or the failure of its calls."""

    key: str
    row: dict[str, Any]
    failure: Failure | None = None


class Judges:
    """The judges of an evaluation, as its config names them, with the rubric of each property."""

    def __init__(self, config: EvalConfig, rubrics: Mapping[str, Rubric]) -> None:
        self._config, self._rubrics = config, rubrics
        self.models = config.judge_models

    def requests(
        self, conversation_key: str, property_name: str, messages: Sequence[Message]
    ) -> dict[str, ChatRequest]:
        """Judge -> the call, or the first of the calls, that judges one conversation."""
        config, rubric = self._config, self._rubrics[property_name]
        as_number = config.judge_score == "number"
        ways: dict[str, Any] = (
            {"votes": config.judge_votes}
            if as_number
            else {"at": config.judge_temperature, "max_tokens": config.judge_max_tokens}
        )
        asked = rubric.filled(property_name, transcript(messages))
        return {
            model: ChatRequest(
                key=record_key(
                    conversation=conversation_key,
                    messages=messages,
                    property=property_name,
                    rubric=rubric.hash,
                    provider=config.provider,
                    judge=model,
                    score=config.judge_score,
                    seed=config.seed,
                    **ways,
                ),
                messages=asked,
                model=model,
                schema=None if as_number else Judgement,
                temperature=None if as_number else config.judge_temperature,
                max_tokens=None if as_number else config.judge_max_tokens,
                seed=config.seed,
            )
            for model in self.models
        }

    async def judge(
        self, pool: ChatPool, requests: AsyncIterator[ChatRequest]
    ) -> AsyncIterator[Judged]:
        """What became of `requests`, in the order in which they end."""
        if self._config.judge_score == "number":
            async for scored in NumberJudge(pool, self._config.judge_votes).score(requests):
                yield _judged(scored) if isinstance(scored, Scored) else _failed(scored)
            return
        async for outcome in pool.complete(requests):
            if isinstance(outcome, Failure):
                yield _failed(outcome)
            else:
                yield Judged(outcome.key, {**outcome_row(outcome), "mode": "verdict"})


def _judged(scored: Scored) -> Judged:
    fields = {
        "mode": scored.mode,
        "said": list(scored.said),
        "mass": None if scored.mass is None else round(scored.mass, 4),
        "attempts": scored.attempts,
        "cost_usd": scored.cost_usd,
        "model": scored.model,
    }
    if scored.score is None:
        reason = f"by {scored.mode}: {' | '.join(scored.said)}"
        return Judged(scored.key, {"outcome": scored.outcome, "reason": reason, **fields})
    value = {"score": round(scored.score, 2), "exhibits": scored.score >= EXHIBITS_FROM}
    return Judged(scored.key, {"outcome": "answered", "value": value, **fields})


def _failed(failure: Failure) -> Judged:
    return Judged(failure.key, outcome_row(failure), failure)
