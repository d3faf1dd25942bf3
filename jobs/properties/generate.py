"""`generate`: a property -> subtypes -> prompts per subtype -> one call per example."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from actors.pool.client import ChatPool
from actors.pool.provider import Provider, open_provider
from actors.store.inputs import content_digest, read_input
from actors.store.records import Records
from actors.store.run import Run, open_run
from actors.store.storage import Storage
from configs.errors import JobFailed, UserError
from configs.generate import GenerateConfig
from configs.loader import parse_yaml_mapping
from jobs import console
from jobs.cluster import ray_session
from jobs.properties.accounts import account, account_line
from jobs.properties.calls import ask, resolved
from jobs.properties.distinct import distinct
from jobs.properties.generate_calls import (
    example_request,
    prompts_request,
    stages,
    subtypes_request,
)
from jobs.properties.pooled import open_pool, say_estimate

_ANOTHER_TRY = "Give another model= or seed=, or more max_tokens= where a reply was cut off."


class Prompt(NamedTuple):
    """A prompt to be answered, and the subtype that it belongs to."""

    subtype: str
    text: str


def run(config: GenerateConfig) -> int:
    """Write `datasets/{run_id}.params.yaml` and `datasets/{run_id}.examples.yaml`."""
    generate(config)
    return 0


def generate(config: GenerateConfig) -> str:
    """Generate and return the path of the examples."""
    storage = Storage(config.storage)
    given, inputs = None, {}
    if config.params_file:
        data = read_input(config.params_file, storage)
        given = _given_prompts(config.params_file, parse_yaml_mapping(config.params_file, data))
        inputs = {"params_file": content_digest(data)}
    with open_provider(config.provider, config.storage) as provider:
        console.say(f"provider: {provider.note}")
        config = resolved(config, provider)
        run = open_run(config, "generate", config.property, inputs)
        examples_file = f"datasets/{run.run_id}.examples.yaml"
        try:
            if not run.finished(examples_file):
                with ray_session():
                    asyncio.run(_write(config, provider, run, given))
            _report(run, examples_file)
            return run.storage.path(examples_file)
        finally:
            run.close()


async def _write(
    config: GenerateConfig, provider: Provider, run: Run, given: list[Prompt] | None
) -> None:
    records = run.records("calls")
    async with open_pool(config, provider, run) as pool:
        planned = stages(config, None if given is None else len(given))
        say_estimate(config, provider, pool, planned, records)
        prompts = given
        if prompts is None:
            prompts = await _prompts(config, pool, records)
        params_file = f"datasets/{run.run_id}.params.yaml"
        if not run.finished(params_file):
            run.write_output(
                params_file,
                {
                    "provider": provider.note,
                    "subtypes": list(dict.fromkeys(p.subtype for p in prompts)),
                    "prompts": [{"subtype": p.subtype, "prompt": p.text} for p in prompts],
                },
            )
        requests = [
            example_request(config, prompt.text, sample)
            for prompt in prompts
            for sample in range(config.num_examples)
        ]
        rows = await ask(pool, requests, records, "examples")
        spent = await pool.spent()
    owners = [prompt for prompt in prompts for _ in range(config.num_examples)]
    examples = _examples(owners, rows)
    if not examples:
        raise JobFailed(
            f"examples: none of {len(rows)} calls gave one: {_reasons(rows)}. {_ANOTHER_TRY}"
        )
    run.write_output(
        f"datasets/{run.run_id}.examples.yaml",
        {
            "provider": provider.note,
            **account(records, spent),
            "examples": examples,
        },
    )


async def _prompts(config: GenerateConfig, pool: ChatPool, records: Records) -> list[Prompt]:
    """The first two stages: subtypes, then the prompts of every subtype at once."""
    (row,) = await ask(pool, [subtypes_request(config)], records, "subtypes")
    if row["outcome"] != "answered":
        raise JobFailed(f"subtypes: {row['outcome']}: {row['reason'].rstrip('.')}. {_ANOTHER_TRY}")
    subtypes = _texts(row["value"]["subtypes"])[: config.num_subtypes]
    requests = [prompts_request(config, subtype) for subtype in subtypes]
    rows = await ask(pool, requests, records, "prompts")
    prompts = [
        Prompt(subtype, text)
        for subtype, row in zip(subtypes, rows, strict=True)
        if row["outcome"] == "answered"
        for text in _texts(row["value"]["prompts"])[: config.num_prompts]
    ]
    if not prompts:
        raise JobFailed(f"prompts: no subtype has any: {_reasons(rows)}. {_ANOTHER_TRY}")
    return distinct(prompts, key=lambda prompt: prompt.text)


def _examples(prompts: Sequence[Prompt], rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "key": row["key"],
            "subtype": prompt.subtype,
            "prompt": prompt.text,
            "text": row["value"]["text"],
        }
        for prompt, row in zip(prompts, rows, strict=True)
        if row["outcome"] == "answered"
    ]


def _given_prompts(path: str, params: dict[str, Any]) -> list[Prompt]:
    rows = params.get("prompts")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: has no list of prompts; give a .params.yaml of `generate`.")
    for number, row in enumerate(rows, 1):
        texts = [row.get(k) for k in ("subtype", "prompt")] if isinstance(row, dict) else []
        if not (texts and all(isinstance(text, str) and text for text in texts)):
            raise UserError(f"{path}: prompt {number} needs a text under subtype and prompt.")
    return [Prompt(row["subtype"], row["prompt"]) for row in rows]


def _texts(texts: Sequence[str]) -> list[str]:
    return distinct((text.strip() for text in texts if text.strip()), key=str)


def _reasons(rows: Sequence[dict[str, Any]]) -> str:
    return "; ".join(sorted({str(row.get("reason")) for row in rows if "reason" in row}))[:300]


def _report(run: Run, examples_file: str) -> None:
    written = run.read_output(examples_file)
    console.say(f"{len(written['examples'])} examples; calls: {account_line(written)}")
    for name in (f"datasets/{run.run_id}.params.yaml", examples_file):
        console.say(f"  {run.storage.path(name)}")
