"""`eval`: an eval file x base and checkpoints -> conversations -> judged scores -> the tables.

Sampling and judging overlap: a conversation goes to the judges as soon as it is held, while the
server holds the others. Both are records, kept by what determined them and not by run, so that
another checkpoint, judge or rubric computes what is new and nothing else.
"""

import asyncio
from typing import Any

from actors.lm.base import resolve_base_name
from actors.lm.requests import BASE
from actors.pool.books.client import Spent
from actors.pool.provider import Provider, open_provider
from actors.store.records import Records
from actors.store.run import Run, open_run
from configs.base import digest
from configs.errors import JobFailed, UserError
from configs.eval import EvalConfig
from jobs import console
from jobs.cluster import ray_session
from jobs.properties.accounts import costs
from jobs.properties.conversations import Cell, cells
from jobs.properties.eval_estimate import stages, votes_note
from jobs.properties.eval_inputs import Inputs, read_inputs
from jobs.properties.eval_stream import EvalStream
from jobs.properties.eval_table import report
from jobs.properties.judge import Judges
from jobs.properties.judgements import Judgements
from jobs.properties.pooled import open_pool, say_estimate
from jobs.properties.results import agreements, summarise
from jobs.properties.results_file import plain, plain_agreement
from jobs.properties.samplers import open_samplers


def run(config: EvalConfig) -> int:
    """Write `eval_results/{run_id}.eval-results.yaml` and print its tables."""
    evaluate(config)
    return 0


def evaluate(config: EvalConfig) -> str:
    """Evaluate and return the path of the results."""
    inputs = read_inputs(config)
    with open_provider(config.provider, config.storage) as provider:
        console.say(f"provider: {provider.note}")
        chosen = {
            "provider": provider.name,
            "judge_models": _judge_models(config, provider),
            "base_model": resolve_base_name(config.base_model),
        }
        config = config.model_copy(update=chosen)
        label = f"{inputs.items[0].property}-{len(inputs.adapters)}-checkpoints"
        run = open_run(config, "eval", label, inputs.digests)
        results_file = f"eval_results/{run.run_id}.eval-results.yaml"
        try:
            if not run.finished(results_file):
                _compute(config, inputs, provider, run, results_file)
            report(run.read_output(results_file))
            console.say(f"  {run.storage.path(results_file)}")
            return run.storage.path(results_file)
        finally:
            run.close()


def _judge_models(config: EvalConfig, provider: Provider) -> list[str]:
    models = config.judge_models or [m for m in [provider.default_model] if m]
    if not models:
        raise UserError(f"provider={provider.name} has no default model: give judge_models=[NAME].")
    return models


def _compute(
    config: EvalConfig, inputs: Inputs, provider: Provider, run: Run, results_file: str
) -> None:
    # The server's dtype is no part of a conversation's key, and the file bounds what is read.
    origin = [config.base_model, config.server.dtype, inputs.digests["eval_file"]]
    folder = f"evaluations/{digest(origin)[:12]}"
    conversations = Records(run.storage, f"{folder}/conversations")
    shared = Records(run.storage, f"{folder}/judgements")
    judgements = Judgements(shared, run.records("failed_judgements"))
    judges = Judges(config, inputs.rubrics)
    with ray_session(), open_samplers(config, inputs.adapters) as client:
        loaded = client.adapters()
        digests = {BASE: loaded[BASE], **{name: loaded[name] for name in inputs.adapters}}
        planned = list(cells(config, inputs.items, digests, loaded[BASE]))
        stream = EvalStream(config, client, judges, conversations, judgements)
        spent = asyncio.run(_stream(stream, planned, config, provider, run))
    rows = [row for cell in planned for row in stream.rows(cell)]
    if all(row["outcome"] != "judged" for row in rows):
        raise JobFailed(f"no conversation could be judged: {rows[0]['reason']}")
    run.write_output(
        results_file,
        {
            "provider": provider.note,
            **costs(spent),
            "judge": {
                "models": config.judge_models,
                "score": config.judge_score,
                "rubrics": {name: rubric.hash for name, rubric in inputs.rubrics.items()},
            },
            "models": _models(config, inputs, digests),
            "summaries": [plain(summary) for summary in summarise(rows)],
            "agreement": plain_agreement(agreements(rows) if len(config.judge_models) > 1 else {}),
            "rows": rows,
        },
    )


async def _stream(
    stream: EvalStream, planned: list[Cell], config: EvalConfig, provider: Provider, run: Run
) -> Spent:
    """Hold and judge what is missing; what the run has cost so far."""
    async with open_pool(config, provider, run) as pool:
        missing = stream.missing(planned)
        calls = stages(config, stream.judges, planned[0].item, missing)
        say_estimate(config, provider, pool, calls, records=())
        if note := votes_note(config, missing):
            console.say(note)
        await stream.run(planned, pool)
        return await pool.spent()


def _models(
    config: EvalConfig, inputs: Inputs, digests: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """What each name of the table stands for."""
    models: dict[str, dict[str, Any]] = {
        BASE: {"digest": digests[BASE], "base_model": config.base_model}
    }
    for path, (name, adapter) in zip(config.checkpoint_paths, inputs.adapters.items(), strict=True):
        step = adapter.manifest.step if adapter.manifest else None
        models[name] = {"digest": digests[name], "path": path, "step": step}
    return models
