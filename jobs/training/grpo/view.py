"""What a person sees of a GRPO run: its task, its steps, its answers, its checkpoints."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from actors.lm.base import resolve_base_name
from actors.store.run import Run
from actors.train.checkpoint import SavedCheckpoint
from actors.train.grpo.metrics import GrpoMetrics
from configs.grpo import GrpoConfig
from configs.sft import LOW_LEARNING_RATE
from jobs import console
from jobs.console import duration, short_digest

_SHOWN_ANSWERS = 6
_PROBLEM_CHARACTERS, _ANSWER_CHARACTERS = 40, 300


def say_plan(run_id: str, config: GrpoConfig, task_lines: Sequence[str], done: int) -> None:
    """What is about to be trained on, and what looks wrong with it."""
    for line in task_lines:
        console.say(line)
    console.say(
        f"{run_id}: {config.steps} steps of {config.problems_per_batch} problems x "
        f"{config.group_size} answers{f'; goes on after step {done}' if done else ''}."
    )
    if config.learning_rate < LOW_LEARNING_RATE:
        console.say(
            f"learning_rate={config.learning_rate} is one for full fine-tuning; a LoRA hardly "
            "moves at it, 4e-5 is usual."
        )


def step_note(step: GrpoMetrics, total_steps: int, steps_per_s: float) -> str:
    """What stands beside the progress: the newest numbers, and the time left where it is known."""
    parts = [
        f"reward {step.reward:.3f}",
        f"length {step.length:.1f}",
        f"kl {step.kl:.1g}",
        f"{step.tokens_per_s:.0f} tokens/s",
    ]
    if steps_per_s and step.step < total_steps:
        parts.append(f"{duration((total_steps - step.step) / steps_per_s)} left")
    return ", ".join(parts)


def say_news(step: GrpoMetrics) -> None:
    """What must not be missed in a step: alarms, a rollback, a measurement."""
    for alarm in step.alarms:
        console.say(f"Step {step.step}: {alarm}")
    if step.rolled_back_to is not None:
        console.say(f"Step {step.step}: the weights are those of step {step.rolled_back_to} again.")
    if note := eval_note(step):
        console.say(f"Step {step.step}: {note}")


def eval_note(step: GrpoMetrics) -> str:
    """The held-out problems' numbers, empty where they were not measured."""
    if step.eval_reward is None:
        return ""
    parts = [f"held out: reward {step.eval_reward:.3f}"]
    if step.eval_greedy is not None:
        parts.append(f"greedy {step.eval_greedy:.3f}")
    parts += [f"pass@{k} {share:.3f}" for k, share in (step.eval_pass or {}).items()]
    return ", ".join(parts)


def show_answers(step: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of the first rollouts of as many problems as there is room for."""
    first = {row["problem"]: row for row in reversed(rows)}
    shown = [row for row in rows if row is first[row["problem"]]][:_SHOWN_ANSWERS]
    console.table(
        ["problem", "answer", "reward"],
        [
            [
                _cut(row["problem"], _PROBLEM_CHARACTERS),
                _cut(row["turns"][-1]["text"], _ANSWER_CHARACTERS),
                f"{row['reward']:.2f}",
            ]
            for row in shown
        ],
        title=f"Step {step}: an answer to each of {len(shown)} problems",
    )


def report(
    config: GrpoConfig,
    run: Run,
    saved: Sequence[SavedCheckpoint],
    history: Sequence[GrpoMetrics],
) -> None:
    """The checkpoints that stand, and the command that serves the last of them."""
    names = [f"{run.folder}/{c.path.split(f'{run.folder}/')[-1]}" for c in saved]
    measured = {row.step: row for row in history}
    rows = [measured.get(c.step) for c in saved]
    columns = {
        "checkpoint": names,
        "version": [f"@{c.version}" for c in saved],
        "step": [str(c.step) for c in saved],
        "reward": [_number(row.reward if row else None) for row in rows],
        "held out": [_number(row.eval_reward if row else None) for row in rows],
        "greedy": [_number(row.eval_greedy if row else None) for row in rows],
        "digest": [short_digest(c.digest) for c in saved],
    }
    console.table(
        list(columns),
        zip(*columns.values(), strict=True),
        title=f"{run.run_id} on {resolve_base_name(config.base_model)}",
        numbers=True,
    )
    alarms = sum(bool(row.alarms) for row in history)
    if alarms:
        console.say(f"{alarms} of {len(history)} steps gave an alarm; metrics.jsonl has them.")
    fields = [
        f"base_model={config.base_model}",
        f"adapters={{{run.run_id}: {names[-1]}}}",
        *([f"storage={config.storage}"] if config.storage != "." else []),
    ]
    console.say("Serve the last:\n  python -m jobs serve " + shlex.join(fields))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cut(text: str, characters: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 3] + "..."
