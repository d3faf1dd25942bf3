"""Ask the writer's model, keep every answer as a record, and ask only what is not stored yet.

A refusal is an answer. A call that can never succeed (the schema is not met after every try, the
endpoint rejects the request) is a stored failure. A call that found no answer for now (limits,
time-outs, outages) is stored nowhere: the same command asks it again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel

from actors.lm.messages import Conversation
from actors.pool.client import ChatPool
from actors.pool.provider import Provider
from actors.pool.requests import ChatRequest, Completion, Failure
from actors.store.records import Records, record_key
from configs.errors import BudgetReached, JobFailed, UserError
from configs.sections import WriterConfig
from jobs.properties.accounts import budget_reached
from jobs.properties.distinct import distinct
from jobs.properties.pooled import progress

PASSING = frozenset({"rate_limited", "server", "timeout", "connection"})


Written = TypeVar("Written", bound=WriterConfig)


def resolved(config: Written, provider: Provider) -> Written:
    """The config with the provider and model that answer, which the environment may have chosen."""
    model = chosen_model(provider, config.model, "model")
    return config.model_copy(update={"provider": provider.name, "model": model})


def chosen_model(provider: Provider, given: str | None, field: str) -> str:
    """The model to ask; UserError where neither the user nor the provider names one."""
    model = given or provider.default_model
    if model is None:
        raise UserError(f"provider={provider.name} has no default model: give {field}=NAME.")
    return model


def writer_request(
    config: WriterConfig,
    messages: Conversation,
    schema: type[BaseModel],
    sample: int = 0,
) -> ChatRequest:
    """A call to the writer's model, its key made from all that determines the answer."""
    key = record_key(
        provider=config.provider,
        model=config.model,
        messages=messages,
        schema=_json_schema(schema),
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        seed=config.seed,
        sample=sample,
    )
    return ChatRequest(
        key=key,
        messages=messages,
        model=config.model,
        schema=schema,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        seed=config.seed,
        sample=sample,
    )


@lru_cache
def _json_schema(schema: type[BaseModel]) -> dict[str, Any]:
    return schema.model_json_schema()


def outcome_row(outcome: Completion | Failure) -> dict[str, Any]:
    """The fields of a record: what came of one call."""
    if isinstance(outcome, Failure):
        return {
            "outcome": "failed",
            "reason": f"{outcome.kind}: {outcome.message}",
            "attempts": outcome.attempts,
            "cost_usd": outcome.cost_usd,
        }
    fields = {
        "attempts": outcome.attempts,
        "cost_usd": outcome.cost_usd,
        "model": outcome.model,
    }
    if outcome.refusal:
        return {"outcome": "refused", "reason": outcome.text, **fields}
    value = None if outcome.value is None else outcome.value.model_dump(mode="json")
    fields["schema_mode"] = outcome.schema_mode
    return {"outcome": "answered", "value": value, **fields}


async def ask(
    pool: ChatPool, requests: Sequence[ChatRequest], records: Records, stage: str
) -> list[dict[str, Any]]:
    """One row per request, in their order; those that are stored already cost nothing.

    Raises:
        JobFailed: some calls found no answer for now, or one failed and on_error is stop; the
            others are stored.
        BudgetReached: the rest would cost more than it may; what was answered is stored.
    """
    missing = distinct((r for r in requests if r.key not in records), key=lambda r: r.key)
    unanswered = Unanswered()
    if pool.on_error == "stop":
        refuse_stored_failure((records[r.key] for r in requests if r.key in records), stage)
    try:
        async with progress(pool, stage, len(requests)) as shown:
            shown.advance(len(requests) - len(missing))
            async for outcome in pool.complete(missing):
                if isinstance(outcome, Failure) and outcome.kind in PASSING:
                    unanswered.add(outcome)
                else:
                    records.append(outcome.key, stage=stage, **outcome_row(outcome))
                shown.advance()
    except BudgetReached as reached:
        stored = sum(request.key in records for request in requests)
        raise budget_reached(reached, stage, stored, len(requests), await pool.spent()) from None
    finally:
        records.flush()
    unanswered.refuse(len(requests), stage)
    return [records[request.key] for request in requests]


def refuse_stored_failure(rows: Iterable[Mapping[str, Any]], stage: str) -> None:
    """JobFailed where an earlier try of the run stored a failure, and on_error is stop."""
    failed = next((row for row in rows if row["outcome"] == "failed"), None)
    if failed is not None:
        raise JobFailed(
            f"{stage}: a call failed in an earlier try of this run ({failed['reason']}), and "
            "on_error=stop. Give another model= or seed=, or on_error=continue to do without it."
        )


class Unanswered:
    """Calls that found no answer for now."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._last = ""

    def add(self, failure: Failure) -> None:
        """Count one."""
        self._kinds[failure.kind] += 1
        self._last = failure.message

    def refuse(self, total: int, stage: str) -> None:
        """Stop the job if there are any; JobFailed says which, why, and what to do."""
        count = self._kinds.total()
        if not count:
            return
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self._kinds.items()))
        stored = "What was answered is stored: run" if count < total else "Run"
        raise JobFailed(
            f"{stage}: {count} of {total} calls found no answer ({kinds}; the last: "
            f"{self._last}). {stored} the same command again to ask only these."
        )
