"""`gen_eval`: properties -> situation categories -> realistic user messages."""

import asyncio
from typing import Any

from actors.pool.provider import Provider, open_provider
from actors.pool.requests import ChatRequest
from actors.store.run import Run, open_run
from configs.errors import JobFailed
from configs.gen_eval import GenEvalConfig
from jobs import console
from jobs.cluster import ray_session
from jobs.properties.accounts import account, account_line
from jobs.properties.calls import ask, resolved, writer_request
from jobs.properties.distinct import distinct
from jobs.properties.estimate import Stage
from jobs.properties.pooled import open_pool, say_estimate
from jobs.properties.schemas import Categories, EvalPrompts
from jobs.properties.templates import filled

# What stands in a typical call for what an earlier one will have written.
_TYPICAL_CATEGORY = "A person at work who has to decide something before Friday"
# Tokens of an answer: of one category, of one user message.
_CATEGORY_TOKENS, _MESSAGE_TOKENS = 16, 60


def run(config: GenEvalConfig) -> int:
    """Write `evals/{run_id}.eval.yaml` and `evals/{run_id}.eval-params.yaml`."""
    gen_eval(config)
    return 0


def gen_eval(config: GenEvalConfig) -> str:
    """Generate and return the path of the eval file."""
    with open_provider(config.provider, config.storage) as provider:
        console.say(f"provider: {provider.note}")
        config = resolved(config, provider)
        run = open_run(config, "gen_eval", "-".join(config.properties))
        eval_file = f"evals/{run.run_id}.eval.yaml"
        try:
            if not run.finished(eval_file):
                with ray_session():
                    asyncio.run(_write(config, provider, run))
            written = run.read_output(eval_file)
            console.say(
                f"{len(written['prompts'])} evaluation prompts of {_asked_for(config)} asked for; "
                f"calls: {account_line(written)}\n  {run.storage.path(eval_file)}"
            )
            return run.storage.path(eval_file)
        finally:
            run.close()


def _asked_for(config: GenEvalConfig) -> int:
    return len(config.properties) * config.num_categories * config.num_prompts


async def _write(config: GenEvalConfig, provider: Provider, run: Run) -> None:
    records = run.records("calls")
    async with open_pool(config, provider, run) as pool:
        say_estimate(config, provider, pool, stages(config), records)
        requests = [_categories_request(config, name) for name in config.properties]
        rows = await ask(pool, requests, records, "categories")
        categories = {
            name: row["value"]["categories"][: config.num_categories]
            for name, row in zip(config.properties, rows, strict=True)
            if row["outcome"] == "answered"
        }
        places = [(name, category) for name, found in categories.items() for category in found]
        requests = [_prompts_request(config, *place) for place in places]
        rows = await ask(pool, requests, records, "prompts")
        spent = await pool.spent()
    prompts = []
    for (name, category), row in zip(places, rows, strict=True):
        if row["outcome"] == "answered":
            turns = config.num_turns.get(name, 1)
            prompts += _eval_prompts(name, category, turns, row["value"])[: config.num_prompts]
    prompts = distinct(prompts, key=lambda p: (p["property"], *p["messages"]))
    written = {prompt["property"] for prompt in prompts}
    missing = [name for name in config.properties if name not in written]
    if missing:
        raise JobFailed(f"no usable prompt for {', '.join(missing)}; see {run.folder}/calls.")
    if not run.finished(f"evals/{run.run_id}.eval-params.yaml"):
        run.write_output(
            f"evals/{run.run_id}.eval-params.yaml",
            {"provider": provider.note, "categories": categories},
        )
    run.write_output(
        f"evals/{run.run_id}.eval.yaml",
        {"provider": provider.note, **account(records, spent), "prompts": prompts},
    )


def stages(config: GenEvalConfig) -> list[Stage]:
    """What there is to call, told by the property with the most turns."""
    longest = max(config.properties, key=lambda name: config.num_turns.get(name, 1))
    num_properties, categories = len(config.properties), config.num_categories
    messages = config.num_prompts * config.num_turns.get(longest, 1)
    request = _prompts_request(config, longest, _TYPICAL_CATEGORY)
    return [
        Stage(
            "categories",
            num_properties,
            _categories_request(config, longest),
            categories * _CATEGORY_TOKENS,
        ),
        Stage("prompts", num_properties * categories, request, messages * _MESSAGE_TOKENS),
    ]


def _categories_request(config: GenEvalConfig, name: str) -> ChatRequest:
    messages = filled("gen_eval/categories", property=name, number=config.num_categories)
    return writer_request(config, messages, Categories)


def _prompts_request(config: GenEvalConfig, name: str, category: str) -> ChatRequest:
    messages = filled(
        "gen_eval/prompts",
        property=name,
        category=category,
        number=config.num_prompts,
        turns=config.num_turns.get(name, 1),
    )
    return writer_request(config, messages, EvalPrompts)


def _eval_prompts(
    name: str, category: str, turns: int, value: dict[str, Any]
) -> list[dict[str, Any]]:
    """The prompts with the number of turns that was asked for; others are unusable."""
    conversations = [prompt["messages"] for prompt in value["prompts"]]
    return [
        {"property": name, "category": category, "messages": messages}
        for messages in conversations
        if len(messages) == turns and all(message.strip() for message in messages)
    ]
