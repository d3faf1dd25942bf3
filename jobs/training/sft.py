"""`sft`: examples or messages -> LoRA adapter checkpoints, on Ray Train."""

import os
import re
import shlex

from actors.lm.base import load_skeleton, load_tokenizer, resolve_base_name
from actors.store.inputs import content_digest, read_input
from actors.store.run import Run, open_run
from actors.store.storage import Storage
from actors.train.checkpoint import SavedCheckpoint, saved_checkpoints
from actors.train.data.rows import Row, make_datums, parse_conversations, parse_examples
from actors.train.datum import Datum
from actors.train.on_torch.lora import resolve_targets
from actors.train.metrics import MetricsFile, StepMetrics
from actors.train.sft_loop import sft_schedule
from configs.errors import UserError
from configs.sft import LOW_LEARNING_RATE, SftConfig
from jobs import console
from jobs.cluster import ray_session


def run(config: SftConfig) -> int:
    """Train, and print the checkpoints with the command that evaluates them."""
    train(config)
    return 0


def train(config: SftConfig) -> list[str]:
    """Train to the end and return the paths of the checkpoints, in the order of their steps."""
    data, rows = _read_rows(config)
    datums = make_datums(load_tokenizer(config.base_model), rows, config.max_tokens)
    inputs = {"data": data, "base_model": resolve_base_name(config.base_model)}
    resolve_targets(load_skeleton(config.base_model), config.lora.targets)
    run = open_run(config, "sft", data_label(config.data_path), inputs)
    try:
        folder = run.storage.path(run.folder)
        saved = saved_checkpoints(folder)
        if saved and not config.resume:
            raise UserError(
                f'Run "{run.run_id}" was begun already; give run_id=ANOTHER_NAME, or '
                "resume=true to continue it."
            )
        if not saved or saved[-1].step < sft_schedule(config, len(datums)).total_steps:
            saved = _train(config, datums, run, folder)
        _report(config, run, saved)
        return [checkpoint.path for checkpoint in saved]
    finally:
        run.close()


def data_label(path: str) -> str:
    """What a data file is about, for the run's name: its own without `generate` and digest."""
    stem = os.path.basename(path).split(".")[0]
    return re.sub(r"^generate-(.+)-[0-9a-f]{8}$", r"\1", stem)


def _read_rows(config: SftConfig) -> tuple[str, list[Row]]:
    """Digest and rows of the data file."""
    parse = parse_examples if config.examples_file else parse_conversations
    data = read_input(config.data_path, Storage(config.storage))
    return content_digest(data), parse(config.data_path, data)


def _train(config: SftConfig, datums: list[Datum], run: Run, folder: str) -> list[SavedCheckpoint]:
    from actors.train.on_ray.trainer import train_sft  # Ray Train takes seconds; a finished run needs none

    schedule = sft_schedule(config, len(datums))
    targets = sum(datum.target_tokens for datum in datums)
    console.say(
        f"{run.run_id}: {len(datums)} rows with {targets} target tokens, "
        f"{schedule.total_steps} steps, {len(schedule.save_points())} checkpoints."
    )
    if config.learning_rate < LOW_LEARNING_RATE:
        console.say(
            f"learning_rate={config.learning_rate} is one for full fine-tuning; a LoRA hardly "
            "moves at it, 2e-4 is usual."
        )
    metrics = MetricsFile(run.storage, f"{run.folder}/metrics.jsonl")
    with ray_session(), console.progress("sft", schedule.total_steps) as shown:
        _check_room(config.num_workers)
        console.say("Starting the training processes (about 15 s).")

        def on_step(step: StepMetrics) -> None:
            metrics.add(step)
            shown.advance(note=f"loss {step.loss:.3f}, {step.tokens_per_s:.0f} tokens/s")

        # Workers have a working directory of their own: a relative base would not be found there.
        placed = config.model_copy(update={"base_model": resolve_base_name(config.base_model)})
        saved = train_sft(placed, datums, run_id=run.run_id, folder=folder, on_step=on_step)
    metrics.close()
    return saved


def _check_room(num_workers: int) -> None:
    """A cluster may grow; a Ray of our own does not, and Ray Train would wait for ever."""
    import ray

    cpus = int(ray.cluster_resources().get("CPU", 0))
    if "RAY_ADDRESS" not in os.environ and num_workers > cpus:
        raise UserError(
            f"num_workers={num_workers}, but the local Ray has {cpus} CPUs; give num_workers="
            f"{cpus} or less, or run on a cluster (docs/cluster.md)."
        )


def _report(config: SftConfig, run: Run, saved: list[SavedCheckpoint]) -> None:
    names = [f"{run.folder}/{c.path.split(f'{run.folder}/')[-1]}" for c in saved]
    console.table(
        ("checkpoint", "version", "step", "loss", "digest"),
        (
            (name, f"@{c.version}", str(c.step), f"{c.loss:.3f}", c.digest[:12])
            for name, c in zip(names, saved, strict=True)
        ),
        title=f"{run.run_id} on {resolve_base_name(config.base_model)}",
        numbers=True,
    )
    fields = [
        "eval_file=evals/RUN.eval.yaml",
        f"base_model={config.base_model}",
        f"checkpoint_paths=[{', '.join(names)}]",
        *([f"storage={config.storage}"] if config.storage != "." else []),
    ]
    console.say("Evaluate them:\n  python -m jobs eval " + shlex.join(fields))
