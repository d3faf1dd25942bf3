"""`eval`: an eval file x base and checkpoints -> conversations -> judged scores -> the table.

Sampling and judging overlap: a conversation goes to the judge as soon as it is held, while the
server holds the others. Both are records, so a run that was killed goes on where it was.
"""

import asyncio
from typing import Any, NamedTuple

from actors.lm.adapter import Adapter
from actors.lm.base import load_tokenizer, resolve_base_name
from actors.lm.engine import BASE
from actors.pool.provider import Provider, open_provider
from actors.store.inputs import content_digest, read_input
from actors.store.run import Run, open_run
from actors.store.storage import Storage
from configs.errors import JobFailed
from configs.eval import EvalConfig
from jobs import console
from jobs.cluster import ray_session
from jobs.properties.calls import chosen_model
from jobs.properties.checkpoints import read_checkpoints
from jobs.properties.conversations import cells
from jobs.properties.eval_stream import EvalStream
from jobs.properties.eval_table import report
from jobs.properties.judge import rubric_hash
from jobs.properties.prompt_file import EvalItem, parse_eval_file
from jobs.properties.results import plain, summarise
from serve.launch import adapter_server


class Inputs(NamedTuple):
    """What an evaluation reads."""

    items: list[EvalItem]
    adapters: dict[str, Adapter]
    digests: dict[str, str]  # of the inputs, by name


def run(config: EvalConfig) -> int:
    """Write `eval_results/{run_id}.eval-results.yaml` and print its table."""
    evaluate(config)
    return 0


def evaluate(config: EvalConfig) -> str:
    """Evaluate and return the path of the results."""
    inputs = _read_inputs(config)
    with open_provider(config.provider) as provider:
        console.say(f"provider: {provider.note}")
        judge = {
            "provider": provider.name,
            "judge_model": chosen_model(provider, config.judge_model, "judge_model"),
            "base_model": resolve_base_name(config.base_model),
        }
        config = config.model_copy(update=judge)
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


def _read_inputs(config: EvalConfig) -> Inputs:
    storage = Storage(config.storage)
    data = read_input(config.eval_file, storage)
    items = parse_eval_file(config.eval_file, data, config.property)[: config.max_prompts]
    adapters = read_checkpoints(config.checkpoint_paths, storage)
    digests = {name: adapter.digest for name, adapter in adapters.items()}
    load_tokenizer(config.base_model)  # builds `tiny`, and refuses a wrong name, before Ray starts
    return Inputs(items, adapters, {"eval_file": content_digest(data), **digests})


def _compute(
    config: EvalConfig, inputs: Inputs, provider: Provider, run: Run, results_file: str
) -> None:
    with (
        ray_session(),
        adapter_server(config.base_model, inputs.adapters, config.server) as client,
    ):
        loaded = client.adapters()
        digests = {BASE: loaded[BASE], **{name: loaded[name] for name in inputs.adapters}}
        planned = list(cells(config, inputs.items, digests, loaded[BASE]))
        stream = EvalStream(config, client, run.records("conversations"), run.records("judgements"))
        asyncio.run(stream.run(planned, provider))
    rows = [stream.row(cell) for cell in planned]
    if all(row["outcome"] != "judged" for row in rows):
        raise JobFailed(f"no conversation could be judged: {rows[0]['reason']}")
    run.write_output(
        results_file,
        {
            "provider": provider.note,
            "judge": {"model": config.judge_model, "rubric_hash": rubric_hash()},
            "models": _models(config, inputs, digests),
            "summaries": [plain(summary) for summary in summarise(rows)],
            "rows": rows,
        },
    )


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
