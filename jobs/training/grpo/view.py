"""What a person sees of a GRPO run: its task, its steps, its answers, its checkpoints."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from actors.lm.base import resolve_base_name
from actors.store.run import Run
from actors.train.checkpoint import SavedCheckpoint
from actors.train.grpo.metrics import GrpoMetrics
from actors.train.grpo.tasks.checkers import JUDGE
from configs.grpo import GrpoConfig
from configs.sft import LOW_LEARNING_RATE
from jobs import console
from jobs.console import duration, short_digest
from jobs.training.grpo.tasks import Task

_SHOWN_ANSWERS = 6
_PROBLEM_CHARACTERS, _ANSWER_CHARACTERS = 40, 300


def say_plan(run_id: str, config: GrpoConfig, task: Task, done: int) -> None:
    """What is about to be trained on, and what looks wrong with it."""
    held_out = f"{len(task.held_out):,} held out" if task.held_out else "none held out to measure"
    console.say(f"{task.label}: {len(task.training):,} problems, {held_out}; {_rewards(config)}.")
    console.say(
        f"{run_id}: {config.steps} steps of {config.problems_per_batch} problems x "
        f"{config.group_size} answers{f'; goes on after step {done}' if done else ''}."
    )
    if config.learning_rate < LOW_LEARNING_RATE:
        console.say(
            f"learning_rate={config.learning_rate} is one for full fine-tuning; a LoRA hardly "
            "moves at it, 4e-5 is usual."
        )


def _rewards(config: GrpoConfig) -> str:
    if config.checker != JUDGE:
        return f"rewards by checker={config.checker}"
    judge = config.judge
    return f"rewards by {', '.join(judge.models)}: {judge.direction} {judge.property}"


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
    if step.start_reward is not None:
        note = held_out_note(step.start_reward, step.start_greedy, step.start_pass)
        console.say(f"Before step 1: {note}")
    if step.eval_reward is not None:
        note = held_out_note(step.eval_reward, step.eval_greedy, step.eval_pass)
        console.say(f"Step {step.step}: {note}")


def held_out_note(reward: float, greedy: float | None, passes: Mapping[str, float] | None) -> str:
    """What the policy is worth on held-out problems."""
    parts = [f"held out: reward {reward:.3f}"]
    if greedy is not None:
        parts.append(f"greedy {greedy:.3f}")
    parts += [f"pass@{k} {share:.3f}" for k, share in (passes or {}).items()]
    return ", ".join(parts)


def show_answers(step: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of the first rollouts of as many problems as there is room for."""
    first = {row["problem"]: row for row in reversed(rows)}
    shown = [row for row in rows if row is first[row["problem"]]][:_SHOWN_ANSWERS]
    console.table(
        ["problem", "answer", "reward"],
        [
            [
                _cut(_asked(row), _PROBLEM_CHARACTERS),
                _cut(row["messages"][-1]["content"], _ANSWER_CHARACTERS),
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


def _asked(row: Mapping[str, Any]) -> str:
    """What the user said last before the answer."""
    asked = [message["content"] for message in row["messages"] if message["role"] == "user"]
    return asked[-1] if asked else row["problem"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cut(text: str, characters: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= characters else line[: characters - 3] + "..."
